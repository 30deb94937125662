"""Integration tests use real processes and loopback TCP; their Redis asks for a password."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.redis import on_tcp, running
from support.releases import ReleaseServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.redis import Listen


@pytest.fixture(scope="session")
def listen() -> Listen:
    """How Redis listens in this tier."""
    return on_tcp


@pytest.fixture(scope="session")
def redis_url(listen: Listen) -> Iterator[str]:
    """The address of a real Redis that this process's tests share; see ``queue_name``."""
    with running(listen, appendonly=False) as server:
        yield server.url


@pytest.fixture
def serve_releases() -> Iterator[Callable[..., ReleaseServer]]:
    """Start a release server with these options (``"--limit", "6/10"``)."""
    with ExitStack() as servers:
        yield lambda *options: servers.enter_context(ReleaseServer(*options))
