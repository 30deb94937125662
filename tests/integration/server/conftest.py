"""A server as users run it, with a Redis that asks for a password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.server_process import Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx


@pytest.fixture
def server(tmp_path: Path, redis_url: str, queue_name: str) -> Iterator[Server]:
    with serving(tmp_path, redis_url, queue_name) as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client
