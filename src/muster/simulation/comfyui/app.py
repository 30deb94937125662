"""The HTTP and websocket endpoints; each also exists under ``/api``."""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute

from muster.errors import InvalidInput
from muster.simulation.comfyui.checks import problem
from muster.simulation.comfyui.execution import Executor
from muster.simulation.comfyui.faults import Kind, parse
from muster.simulation.comfyui.graph import validate
from muster.simulation.comfyui.nodes import node_types

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from muster.simulation.comfyui.options import Options

COMFYUI_VERSION = "0.3.64"
GIB = 1024**3


def create_app(options: Options) -> Starlette:
    """Return a simulated ComfyUI as an ASGI application. Its temp folder is wiped at start."""
    executor = Executor(options)
    api = Api(executor)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        shutil.rmtree(options.folders.temp, ignore_errors=True)
        for folder in (options.folders.output, options.folders.temp, options.folders.input):
            folder.mkdir(parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(executor.work()),
                tasks.create_task(executor.hub.publish()),
            ]
            yield
            for task in running:
                task.cancel()

    routes = [
        WebSocketRoute("/ws", api.socket),
        Route("/prompt", api.post_prompt, methods=["POST"]),
        Route("/prompt", api.get_prompt),
        Route("/queue", api.get_queue),
        Route("/queue", api.post_queue, methods=["POST"]),
        Route("/interrupt", api.interrupt, methods=["POST"]),
        Route("/history", api.all_history),
        Route("/history/{prompt_id}", api.history),
        Route("/view", api.view),
        Route("/upload/image", api.upload, methods=["POST"]),
        Route("/system_stats", api.system_stats),
        Route("/object_info", api.object_info),
        Route("/object_info/{name}", api.object_info),
    ]
    control = [
        Route("/simulation", api.simulation),
        Route("/simulation/faults", api.faults, methods=["GET", "POST", "DELETE"]),
    ]
    app = Starlette(routes=[*routes, *control, Mount("/api", routes=routes)], lifespan=lifespan)
    app.state.executor = executor
    return app


class Api:
    """The handlers."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._options = executor.options
        self._number = 0

    async def socket(self, socket: WebSocket) -> None:
        """Serve ``/ws?clientId=``."""
        if self._executor.faults.fires(Kind.REFUSE):
            await socket.close()
            return
        await socket.accept()
        hub, current = self._executor.hub, self._executor.current
        sid = hub.register(socket.query_params.get("clientId"), socket)
        try:
            hub.send("status", {**self._executor.status(), "sid": sid}, sid)
            if current and current.client_id == sid and current.node_id is not None:
                hub.send("executing", {"node": current.node_id}, sid)
            await hub.listen(sid, socket)
        finally:
            hub.unregister(sid)

    async def post_prompt(self, request: Request) -> Response:
        """Check and queue a prompt."""
        body = await _prompt_body(request)
        if body is None:
            return _crash()
        number = self._numbered(body)
        if "prompt" not in body:
            error = problem("no_prompt", "No prompt provided", "No prompt provided")
            return _refused(error, {})
        verdict = validate(body["prompt"], node_types(self._options))
        if verdict.error:
            return _refused(verdict.error, verdict.node_errors)
        prompt_id = str(body.get("prompt_id") or uuid.uuid4())
        extra_data = dict(body.get("extra_data", {}))
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        try:
            self._executor.prompts.put(
                (number, prompt_id, body["prompt"], extra_data, verdict.outputs)
            )
        except TypeError:
            return _crash()
        self._executor.announce()
        return JSONResponse(
            {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        )

    async def get_prompt(self, _: Request) -> Response:
        """Tell how long the queue is."""
        return JSONResponse(self._executor.status()["status"])

    async def get_queue(self, _: Request) -> Response:
        """Show what runs and what waits."""
        prompts = self._executor.prompts
        running = [prompts.running] if prompts.running else []
        return JSONResponse({"queue_running": running, "queue_pending": prompts.waiting})

    async def post_queue(self, request: Request) -> Response:
        """Delete waiting prompts; a running one is not touched."""
        body = await request.json()
        if body.get("clear"):
            self._executor.prompts.pending.clear()
            self._executor.announce()
        for prompt_id in body.get("delete", []):
            if self._executor.prompts.delete(prompt_id):
                self._executor.announce()
        return Response()

    async def interrupt(self, request: Request) -> Response:
        """Interrupt what runs, or one prompt if it is the one that runs."""
        raw = await request.body()
        wanted = (await request.json()).get("prompt_id") if raw else None
        running = self._executor.prompts.running
        if wanted is None or (running and running[1] == wanted):
            self._executor.interrupted = True
        return Response()

    async def all_history(self, _: Request) -> Response:
        """Show all that is over."""
        return JSONResponse(self._executor.prompts.history)

    async def history(self, request: Request) -> Response:
        """Show one prompt, or nothing until it is over."""
        prompt_id = request.path_params["prompt_id"]
        entry = self._executor.prompts.history.get(prompt_id)
        return JSONResponse({prompt_id: entry} if entry else {})

    async def view(self, request: Request) -> Response:
        """Send a file."""
        query = request.query_params
        folder = self._options.folders.by_type(query.get("type", "output"))
        path = _inside(folder, query.get("subfolder", ""), query.get("filename", ""))
        if path is None:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        if not path.is_file():
            return Response(status_code=HTTPStatus.NOT_FOUND)
        return FileResponse(path)

    async def upload(self, request: Request) -> Response:
        """Store an image among the inputs, under another name if that one is taken."""
        async with request.form() as form:
            image = form.get("image")
            kind = str(form.get("type", "input"))
            subfolder = str(form.get("subfolder", ""))
            if not isinstance(image, UploadFile) or not image.filename:
                return Response(status_code=HTTPStatus.BAD_REQUEST)
            path = _inside(self._options.folders.by_type(kind), subfolder, image.filename)
            if path is None:
                return Response(status_code=HTTPStatus.BAD_REQUEST)
            content = await image.read()
            if form.get("overwrite") not in {"true", "1"}:
                path = _free_name(path, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return JSONResponse({"name": path.name, "subfolder": subfolder, "type": kind})

    async def system_stats(self, _: Request) -> Response:
        """Describe the system; the device is an invention."""
        uname = os.uname()
        device = {
            "name": "cuda:0 Simulated GPU",
            "type": "cuda",
            "index": 0,
            "vram_total": 24 * GIB,
            "vram_free": 22 * GIB,
            "torch_vram_total": 0,
            "torch_vram_free": 0,
        }
        system = {"os": uname.sysname.lower(), "comfyui_version": COMFYUI_VERSION, "argv": []}
        return JSONResponse({"system": system, "devices": [device]})

    async def object_info(self, request: Request) -> Response:
        """Describe the node classes, or one; an unknown one is an empty answer."""
        types = node_types(self._options)
        wanted = request.path_params.get("name")
        names = types if wanted is None else [name for name in types if name == wanted]
        return JSONResponse({name: types[name].info() for name in names})

    async def simulation(self, _: Request) -> Response:
        """Tell what this simulator is and what it did."""
        return JSONResponse(
            {
                "gpu": self._options.gpu,
                "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
                "pid": os.getpid(),
                "executed": self._executor.executed,
            }
        )

    async def faults(self, request: Request) -> Response:
        """Arm a fault (POST ``{"fault": "raise=KSampler*1"}``), disarm all, or show them."""
        faults = self._executor.faults
        if request.method == "DELETE":
            faults.disarm()
        elif request.method == "POST":
            try:
                faults.arm(parse((await request.json())["fault"]))
            except InvalidInput as error:
                return JSONResponse({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
        return JSONResponse({"faults": [str(fault) for fault in faults.armed]})

    def _numbered(self, body: dict[str, Any]) -> float:
        if "number" in body:
            return float(body["number"])
        number = -self._number if body.get("front") else self._number
        self._number += 1
        return number


async def _prompt_body(request: Request) -> dict[str, Any] | None:
    """Return what was posted, or None if it is of a form that makes ComfyUI crash."""
    try:
        body = await request.json()
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    graph = body.get("prompt", {})
    well_formed = isinstance(graph, dict) and all(isinstance(n, dict) for n in graph.values())
    return body if well_formed else None


def _refused(error: dict[str, Any], node_errors: dict[str, Any]) -> Response:
    return JSONResponse({"error": error, "node_errors": node_errors}, HTTPStatus.BAD_REQUEST)


def _crash() -> Response:
    return Response("500 Internal Server Error", HTTPStatus.INTERNAL_SERVER_ERROR)


def _inside(folder: Path | None, subfolder: str, filename: str) -> Path | None:
    """Return the path of a file in ``folder``, or None where it would leave it."""
    if folder is None or not filename or ".." in filename or filename.startswith("/"):
        return None
    path = folder / subfolder / filename
    return path if path.resolve().is_relative_to(folder.resolve()) else None


def _free_name(path: Path, content: bytes) -> Path:
    """Return ``path``, or ``name (1).png`` and so on where other content has that name."""
    candidate, number = path, 0
    while candidate.exists() and candidate.read_bytes() != content:
        number += 1
        candidate = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return candidate
