"""A Muster server in the test's process, for blocking clients."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from muster.server.app import create_app
from muster.server.auth import Role, TokensFile, new_token
from muster.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI

URL = "http://127.0.0.1:8700"


@dataclass(frozen=True)
class RunningServer(httpx.BaseTransport):
    """A transport to an app that runs on an event loop in a thread of its own."""

    app: FastAPI
    portal: BlockingPortal
    tokens: dict[Role, str]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Have the app answer."""
        request.read()
        return self.portal.call(self._answer, request)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        response = await httpx.ASGITransport(self.app).handle_async_request(request)
        return httpx.Response(
            response.status_code, headers=response.headers, content=await response.aread()
        )


@contextmanager
def running_server(folder: Path, redis_url: str, queue: str) -> Iterator[RunningServer]:
    """Run a server with a token of each role; its tokens file lies in the folder."""
    tokens_file = TokensFile(folder / "tokens.toml")
    tokens = {}
    for role in Role:
        tokens[role], entry = new_token(f"{role}-token", role)
        tokens_file.add(entry)
    app = create_app(
        ServerSettings.load(redis_url=redis_url, queue=queue, tokens_file=tokens_file.path)
    )
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
    ):
        yield RunningServer(app, portal, tokens)
