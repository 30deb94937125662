"""Unit tests use no network: their Redis listens on a unix socket, any other socket is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.network import no_network
from support.redis import on_unix_socket, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.redis import Listen


@pytest.fixture(scope="session")
def listen() -> Listen:
    """How Redis listens in this tier."""
    return on_unix_socket


@pytest.fixture(scope="session")
def redis_url(listen: Listen) -> Iterator[str]:
    """The address of a real Redis that this process's tests share; see ``queue_name``."""
    with running(listen, appendonly=False) as server:
        yield server.url


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    with no_network():
        yield
