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
from websockets.asyncio.client import unix_connect

from muster.artifacts import ArtifactStore
from muster.jobs.model import JobRequest
from muster.simulation.comfyui.__main__ import Server
from muster.simulation.comfyui.app import create_app
from muster.simulation.comfyui.faults import parse
from muster.simulation.comfyui.options import Folders, Options
from muster.worker.connectors.comfyui_api import ComfyApi
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
        return httpx.AsyncHTTPTransport(uds=self.uds)

    def socket(self, url: str = "ws://comfyui/ws?clientId=me") -> unix_connect:
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


@asynccontextmanager
async def simulated(*, step_time: float = 0.001) -> AsyncIterator[Simulator]:
    """Run a simulator."""
    # Not pytest's tmp_path: its long names do not fit into a unix socket's address.
    with tempfile.TemporaryDirectory(prefix="muster-") as name:
        folders = Folders.under(Path(name))
        app = create_app(Options(folders=folders, step_time=step_time))
        uds = str(Path(name) / "comfyui.sock")
        config = uvicorn.Config(
            app,
            uds=uds,
            ws="websockets-sansio",
            lifespan="on",
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        server = Server(config)
        serving = asyncio.create_task(server.serve())
        try:
            await eventually(lambda: server.started, "the simulator listens")
            yield Simulator(uds, folders, app.state.executor)
        finally:
            server.should_exit = True
            await serving


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
