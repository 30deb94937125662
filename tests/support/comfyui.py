"""A simulated ComfyUI in the test's own process, and what a connector needs of a worker."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn
from websockets.asyncio.client import connect, unix_connect

from muster.artifacts import ArtifactStore
from muster.jobs.model import JobRequest
from muster.simulation.comfyui.__main__ import Server
from muster.simulation.comfyui.app import create_app
from muster.simulation.comfyui.faults import parse
from muster.simulation.comfyui.options import Folders, Options
from muster.worker.connectors.comfyui.api import ComfyApi
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette
    from starlette.types import Receive, Scope, Send

    from muster.simulation.comfyui.execution import Executor

URL = "http://comfyui"


@dataclass
class Simulator:
    """A simulator that listens on a unix socket."""

    uds: str
    folders: Folders
    executor: Executor

    def arm(self, fault: str) -> None:
        """Arm a fault."""
        self.executor.faults.arm(parse(fault))

    def client(self) -> httpx.AsyncClient:
        """Return a plain HTTP client."""
        return httpx.AsyncClient(base_url=URL, transport=self.transport())

    def transport(self) -> httpx.AsyncHTTPTransport:
        """Return a way to it for httpx."""
        return httpx.AsyncHTTPTransport(uds=self.uds, verify=False)

    def socket(self, url: str = "ws://comfyui/ws?clientId=me") -> connect:
        """Return a way to it for websockets."""
        return unix_connect(self.uds, url, ping_interval=None, close_timeout=0.2)

    def api(self) -> ComfyApi:
        """Return the connector's way to it."""
        return ComfyApi(URL, transport=self.transport(), open_socket=self.socket)

    def outputs(self) -> list[str]:
        """Return the names of the images that it saved."""
        return sorted(path.name for path in self.folders.output.rglob("*.png"))

    async def idle(self) -> None:
        """Wait until nothing waits or runs."""
        await eventually(lambda: self.executor.prompts.remaining == 0, "the simulator is idle")


class Site:
    """One server, in which each test has an application of its own: starting servers takes time."""

    def __init__(self, uds: str) -> None:
        self.uds = uds
        self._app: Starlette | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the present application (ASGI)."""
        assert self._app is not None, "no test runs"
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def simulator(self, *, step_time: float = 0.001) -> AsyncIterator[Simulator]:
        """Run a new simulator."""
        with tempfile.TemporaryDirectory(prefix="muster-") as name:
            folders = Folders.under(Path(name))
            self._app = create_app(Options(folders=folders, step_time=step_time))
            executor = self._app.state.executor
            async with self._app.router.lifespan_context(self._app):
                yield Simulator(self.uds, folders, executor)
                await executor.hub.drop()
            self._app = None


@asynccontextmanager
async def serving() -> AsyncIterator[Site]:
    """Listen on a unix socket."""
    # Not pytest's tmp_path: its long names do not fit into a unix socket's address.
    with tempfile.TemporaryDirectory(prefix="muster-") as name:
        site = Site(f"{name}/comfyui.sock")
        config = uvicorn.Config(
            site, uds=site.uds, ws="websockets-sansio", lifespan="off", log_config=None
        )
        server = Server(config)
        task = asyncio.create_task(server.serve())
        try:
            await eventually(lambda: server.started, "the simulator listens")
            yield site
        finally:
            server.should_exit = True
            await task


@dataclass
class AttemptContext:
    """What a worker gives a connector for one attempt; ``told`` are the progress reports."""

    payload: dict[str, Any]
    job_id: str = "0123456789abcdef"
    attempt: int = 1
    artifacts: ArtifactStore = field(default_factory=lambda: ArtifactStore("memory://"))
    told: list[tuple[float, str]] = field(default_factory=list)

    @property
    def request(self) -> JobRequest:
        """The job."""
        return JobRequest(service="comfyui", payload=self.payload)

    async def progress(self, fraction: float, message: str = "") -> None:
        """Note a report."""
        self.told.append((fraction, message))

    async def read(self, url: str) -> bytes:
        """Return an artifact's content."""
        return b"".join([chunk async for chunk in self.artifacts.get(url)])
