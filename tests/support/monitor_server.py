"""A server process that a test watches, kills and starts again on the same port."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import psutil

from muster.server.auth import Role, TokensFile, new_token
from support.redis import free_port
from support.server_process import command
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CROWDED = {
    "MUSTER_VIEWERS": "2000",
    "MUSTER_VIEWERS_PER_USER": "2000",
    "MUSTER_VIEWERS_PER_ADDRESS": "2000",
}
"""Settings for a test whose viewers all come from here, with one token."""


class MonitorServer:
    """One ``muster server``, and a token that opens it."""

    def __init__(self, folder: Path, redis_url: str, queue: str, **settings: str) -> None:
        file = TokensFile(folder / "tokens.toml")
        self.token, entry = new_token("viewer", Role.OPERATE)
        file.add(entry)
        self.port = free_port()
        self.log = folder / "server.log"
        self._command = command(
            REDIS_URL=redis_url,
            MUSTER_QUEUE=queue,
            MUSTER_PORT=str(self.port),
            MUSTER_TOKENS_FILE=str(file.path),
            **settings,
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> psutil.Process:
        """The process, to measure it."""
        assert self._process
        return psutil.Process(self._process.pid)

    def start(self) -> None:
        """Start it, without waiting for it."""
        argv, environment = self._command
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(argv, env=environment, stdout=output, stderr=output)

    def ready(self) -> float:
        """Wait until it answers; return since when it does."""
        eventually_blocking(self.answers, "the server is ready", timeout_s=60)
        return time.time()

    def answers(self) -> bool:
        """Tell whether it is ready."""
        try:
            answer = httpx.get(f"{self.url}/readyz", trust_env=False, timeout=2)
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    def knows(self, machines: int) -> None:
        """Wait until it has read of so many machines: a page that is opened before stays empty."""
        eventually_blocking(
            lambda: self._machines() == machines, f"the server knows {machines} machines"
        )

    def _machines(self) -> int:
        answer = httpx.get(
            f"{self.url}/v1/snapshot",
            headers={"Authorization": f"Bearer {self.token}"},
            trust_env=False,
        )
        known: int = answer.json()["fleet"]["machines"]["total"] if answer.is_success else 0
        return known

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it, and see that it ends well."""
        assert self._process
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=20)
        finally:
            self.kill()

    def cpu_s(self) -> float:
        """Return how many seconds of a core it has used."""
        times = self.process.cpu_times()
        return times.user + times.system

    def cpu_share(self, seconds: float) -> float:
        """Return how much of a core it uses, over the next seconds, in percent."""
        began, used = time.monotonic(), self.cpu_s()
        time.sleep(seconds)
        return (self.cpu_s() - used) / (time.monotonic() - began) * 100


@contextmanager
def monitor_server(
    folder: Path, redis_url: str, queue: str, **settings: str
) -> Iterator[MonitorServer]:
    """Run a server until the block ends."""
    server = MonitorServer(folder, redis_url, queue, **settings)
    server.start()
    try:
        server.ready()
        yield server
    finally:
        server.stop()
