"""Simulated ComfyUIs as processes of their own, over TCP."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from muster.worker.connectors.comfyui import ComfyUI
from muster.worker.connectors.comfyui.api import ComfyApi
from muster.worker.connectors.comfyui.inputs import Inputs
from support.redis import free_port
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@dataclass
class Service:
    """A simulator's process. It keeps its port and its folders when it is started again."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "muster.simulation.comfyui", "--port", str(self.port)]
        folders = ["--base-directory", str(self.folder)]
        self.process = subprocess.Popen([*command, *folders, *self.options])
        eventually_blocking(
            lambda: self.get("/system_stats"),
            "the simulator answers",
            ignoring=(httpx.TransportError,),
            timeout_s=30,
        )

    def get(self, path: str) -> Any:
        """Ask it something."""
        return httpx.get(f"{self.url}{path}", trust_env=False).json()

    def arm(self, fault: str) -> None:
        """Arm a fault."""
        answer = httpx.post(f"{self.url}/simulation/faults", json={"fault": fault}, trust_env=False)
        assert answer.status_code == 200

    def send(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(10)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it accept connections but answer nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Any]:
    """Start simulators; options are those of its command line."""
    with ExitStack() as services:

        def make(*options: str) -> Service:
            service = Service(tmp_path / "comfyui", options)
            service.start()
            services.callback(lambda: service.send(signal.SIGKILL))
            return service

        yield make


@pytest.fixture
def service(make_service: Any) -> Service:
    """A simulator whose sampling step takes 20 ms."""
    made: Service = make_service("--step-time", "0.02")
    return made


@pytest.fixture
async def connector(service: Service) -> AsyncIterator[ComfyUI]:
    """A connector to it, over TCP."""
    made = ComfyUI(ComfyApi(service.url), Inputs(frozenset()))
    yield made
    await made.close()
