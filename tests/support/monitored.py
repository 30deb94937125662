"""A Muster server that a test may kill and start again, at the same address."""

from __future__ import annotations

import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from muster.server.auth import Role, TokensFile, new_token
from support.redis import free_port
from support.server_process import command
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class MonitoredServer:
    """Its process, its tokens, its port."""

    folder: Path
    redis_url: str
    queue: str
    port: int = field(default_factory=free_port)
    tokens: dict[Role, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        for role in Role:
            self.tokens[role], entry = new_token(f"{role}-token", role)
            self.tokens_file.add(entry)

    @property
    def tokens_file(self) -> TokensFile:
        """The file with a token of each role."""
        return TokensFile(self.folder / "tokens.toml")

    def start(self) -> None:
        """Start the process, and wait until it can work."""
        argv, environment = command(
            REDIS_URL=self.redis_url,
            MUSTER_QUEUE=self.queue,
            MUSTER_PORT=str(self.port),
            MUSTER_TOKENS_FILE=str(self.tokens_file.path),
        )
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
        eventually_blocking(
            lambda: httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False).status_code,
            "the server is ready",
            until=lambda status: status == 200,
            timeout_s=60,
            ignoring=(httpx.TransportError,),
        )

    def kill(self) -> None:
        """End it as a crash does."""
        assert self.process
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self) -> None:
        """End it as an operator does; it takes the time to say good-bye."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)

    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "server.log").read_text(encoding="utf-8")


@contextmanager
def monitored(folder: Path, redis_url: str, queue: str) -> Iterator[MonitoredServer]:
    """Run such a server until the block ends."""
    server = MonitoredServer(folder, redis_url, queue)
    server.start()
    try:
        yield server
    finally:
        server.stop()
