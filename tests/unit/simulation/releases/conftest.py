"""A simulated release server with one release, and clients that speak to it without a socket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest

from muster.simulation.releases.app import create_app
from muster.simulation.releases.faults import parse
from muster.simulation.releases.options import Options, Rate
from support.releases import write_asset

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.applications import Starlette

    from support.releases import Request

CONTENT = bytes(range(256)) * 800  # more than three chunks


@dataclass
class Clock:
    """A clock that a test moves."""

    time: float = 1_700_000_000.25

    def __call__(self) -> float:
        return self.time


@dataclass
class Releases:
    """A server. Its clients are told apart by their address."""

    options: Options
    clock: Clock = field(default_factory=Clock)
    app: Starlette = field(init=False)

    content = CONTENT
    asset = "/acme/worker/releases/download/v1.2.0/worker.tar.gz"
    object = "/objects/acme/worker/v1.2.0/worker.tar.gz"

    def __post_init__(self) -> None:
        self.app = create_app(self.options, self.clock)

    @property
    def directory(self) -> Path:
        return self.options.directory

    @property
    def log(self) -> list[Request]:
        requests: list[Request] = self.app.state.log.requests
        return requests

    def arm(self, fault: str) -> None:
        self.app.state.faults.arm(parse(fault))

    async def get(
        self, path: str, client: str = "10.0.0.1", method: str = "GET", **headers: str
    ) -> httpx.Response:
        """Ask; a header's name has underscores for its hyphens."""
        transport = httpx.ASGITransport(self.app, client=(client, 50_000))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(transport=transport, base_url="http://releases:80") as http:
            return await http.request(method, path, headers=named)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(
        tmp_path / "served",
        objects_host="objects.test",
        limit=Rate(3, 10),
        api_limit=Rate(2, 3600),
        log_file=tmp_path / "log",
    )


@pytest.fixture
def releases(options: Options) -> Releases:
    """A server whose clients may ask 3 times in 10 seconds."""
    write_asset(options.directory, "acme/worker", "v1.2.0", "worker.tar.gz", CONTENT)
    return Releases(options)
