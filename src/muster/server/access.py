"""The access log: who asked for what, how it ended, how long it took. Never a token or a query."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

QUIET = frozenset({"/healthz", "/readyz"})

log = structlog.get_logger()


class AccessLog:
    """Logs each HTTP request once its answer is sent; good health checks are left out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and take note."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = perf_counter()
        try:
            await self.app(scope, receive, noting)
        finally:
            if scope["path"] not in QUIET or status != 200:
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    ms=round((perf_counter() - started) * 1000, 1),
                    caller=scope.get("caller"),
                )
