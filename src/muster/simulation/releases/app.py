"""The addresses of releases, as GitHub has them, and those by which a test controls the server."""

from __future__ import annotations

import re
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.routing import Route

from muster.errors import InvalidInput
from muster.simulation.releases import refusals
from muster.simulation.releases.delivery import Delivery
from muster.simulation.releases.faults import Faults, parse
from muster.simulation.releases.folder import Folder, Versions
from muster.simulation.releases.limits import FixedWindow, SlidingWindow
from muster.simulation.releases.log import CONTROL, Log, Recorder, client_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from muster.simulation.releases.options import Options

    Endpoint = Callable[[Request], Awaitable[ASGIApp]]


def create_app(options: Options, now: Callable[[], float] = time.time) -> Starlette:
    """Return a simulated release server as an ASGI application. ``now`` is its clock.

    Its ``state`` holds ``faults`` and ``log``.
    """
    faults, log = Faults(), Log(now, options.log_file)
    api = Api(options, faults, log, now)
    release = "/{owner}/{repo}/releases"
    routes = [
        Route(f"{CONTROL}/faults", api.faults, methods=["GET", "POST", "DELETE"]),
        Route(f"{CONTROL}/log", api.log, methods=["GET", "DELETE"]),
        Route("/files/{path:path}", api.limited(api.file)),
        Route("/objects/{owner}/{repo}/{tag:path}/{asset}", api.faulty(api.object)),
        Route("/repos/{owner}/{repo}/releases/latest", api.faulty(api.described)),
        Route(f"{release}/latest", api.limited(api.latest)),
        Route(f"{release}/latest/download/{{asset}}", api.limited(api.latest_asset)),
        Route(f"{release}/tag/{{tag:path}}", api.limited(api.page)),
        Route(f"{release}/download/{{tag:path}}/{{asset}}", api.limited(api.download)),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Recorder, log=log)])
    app.state.faults, app.state.log = faults, log
    return app


class Api:
    """The handlers."""

    def __init__(
        self, options: Options, faults: Faults, log: Log, now: Callable[[], float]
    ) -> None:
        self._folder = Folder(options.directory)
        self._versions = Versions()
        self._objects_host = options.objects_host
        self._window = SlidingWindow(options.limit, now) if options.limit else None
        self._api_window = FixedWindow(options.api_limit, now)
        self._faults = faults
        self._log = log
        self._now = now

    def limited(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint with its limit and its faults in front."""
        faulty = self.faulty(endpoint)

        async def answer(request: Request) -> ASGIApp:
            seconds = self._window.take(client_of(request.scope)) if self._window else None
            return await faulty(request) if seconds is None else refusals.too_many(seconds)

        return answer

    def faulty(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint with the faults in front that answer in its place."""

        async def answer(request: Request) -> ASGIApp:
            fault = self._faults.take(*refusals.KINDS, path=request.scope["path"])
            if fault:
                return refusals.by_fault(fault, client_of(request.scope), self._now())
            return await endpoint(request)

        return answer

    async def latest(self, request: Request) -> ASGIApp:
        """Redirect to the page of the latest release."""
        owner, repo = request.path_params["owner"], request.path_params["repo"]
        tag = self._folder.latest(owner, repo)
        if tag is None:
            return refusals.not_found()
        return _redirect(_here(request), owner, repo, "releases/tag", tag)

    async def latest_asset(self, request: Request) -> ASGIApp:
        """Redirect to a file of the latest release, whether there is one of that name or not."""
        owner, repo = request.path_params["owner"], request.path_params["repo"]
        tag = self._folder.latest(owner, repo)
        if tag is None:
            return refusals.not_found()
        asset = request.path_params["asset"]
        return _redirect(_here(request), owner, repo, "releases/download", tag, asset)

    async def page(self, request: Request) -> ASGIApp:
        """Show a release."""
        if not self._folder.assets(**request.path_params):
            return refusals.not_found()
        return HTMLResponse("<!DOCTYPE html>\n<html><body>A release</body></html>\n")

    async def download(self, request: Request) -> ASGIApp:
        """Redirect to the bytes of a file; the address is another one each time."""
        if self._folder.asset(**request.path_params) is None:
            return refusals.not_found()
        query = f"?signature={secrets.token_hex(16)}"
        parts = (request.path_params[name] for name in ("owner", "repo", "tag", "asset"))
        return _redirect(self._objects(request), "objects", *parts, query=query)

    async def object(self, request: Request) -> ASGIApp:
        """Send a file of a release. The signature is not checked."""
        return self._send(self._folder.asset(**request.path_params))

    async def file(self, request: Request) -> ASGIApp:
        """Send a file that belongs to no release."""
        return self._send(self._folder.file(request.path_params["path"]))

    async def described(self, request: Request) -> ASGIApp:
        """Describe the latest release, as the API does, which counts and limits by itself."""
        client = client_of(request.scope)
        budget = self._api_window.take(client)
        if budget.exceeded:
            return refusals.primary(budget, client)
        owner, repo = request.path_params["owner"], request.path_params["repo"]
        tag = self._folder.latest(owner, repo)
        if tag is None:
            return refusals.not_found_by_api(budget)
        assets = self._folder.assets(owner, repo, tag)
        page = f"{_here(request)}/{quote(f'{owner}/{repo}')}/releases"
        body = {
            "tag_name": tag,
            "name": tag,
            "draft": False,
            "prerelease": False,
            "html_url": f"{page}/tag/{quote(tag)}",
            "assets": [await self._described_asset(page, tag, path) for path in assets],
        }
        return JSONResponse(body, headers=budget.headers)

    async def faults(self, request: Request) -> Response:
        """Arm a fault (POST ``{"fault": "cut=65536*2"}``), disarm all, or show them."""
        if request.method == "DELETE":
            self._faults.disarm()
        elif request.method == "POST":
            try:
                self._faults.arm(parse((await request.json())["fault"]))
            except InvalidInput as error:
                return JSONResponse({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
        return JSONResponse({"faults": [str(fault) for fault in self._faults.armed]})

    async def log(self, request: Request) -> Response:
        """Show the log, or clear it (DELETE)."""
        if request.method == "DELETE":
            self._log.clear()
        return JSONResponse(self._log.as_json())

    def _send(self, path: Path | None) -> ASGIApp:
        return Delivery(path, self._versions, self._faults) if path else refusals.not_found()

    def _objects(self, request: Request) -> str:
        """Return the address of the host that has the bytes."""
        host = self._objects_host
        if host is None:
            return _here(request)
        has_port = re.search(r":[0-9]+$", host)
        port = "" if has_port or request.url.port is None else f":{request.url.port}"
        return f"{request.url.scheme}://{host}{port}"

    async def _described_asset(self, page: str, tag: str, path: Path) -> dict[str, Any]:
        version = await to_thread.run_sync(self._versions.at, path)
        return {
            "name": path.name,
            "content_type": "application/octet-stream",
            "state": "uploaded",
            "size": version.size,
            "digest": f"sha256:{version.sha256}",
            "browser_download_url": f"{page}/download/{quote(tag)}/{quote(path.name)}",
        }


def _here(request: Request) -> str:
    """Return the address by which the client knows this server."""
    return f"{request.url.scheme}://{request.url.netloc}"


def _redirect(host: str, *parts: str, query: str = "") -> Response:
    path = "/".join(quote(part, safe="/@+") for part in parts)
    return RedirectResponse(f"{host}/{path}{query}", HTTPStatus.FOUND)
