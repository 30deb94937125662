"""A screen: what a page holds of the fleet, kept right through drops as a good client does."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from muster.tasks import end
from support.streams import Stream, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    Document = dict[str, Any]

RETRY_S = 0.5
"""What the server tells browsers to wait for, after a connection that broke."""

ANEW_S = (1.0, 10.0)
"""Between these lies what the page waits for before it opens a stream that was refused."""


class Screen:
    """Follows one view, and notes when it last became what ``wanted`` says it should be.

    After a broken connection it comes back as a browser does by itself; after one that was refused,
    which browsers give up on, as the page does (``again`` in ``server/web/js/feed/stream.js``):
    jittered, and later the longer it lasts.
    """

    def __init__(self, port: int, view: str, token: str) -> None:
        self.port = port
        self.document: Document = {}
        self.messages: list[str] = []
        self.levels: list[str] = []
        self.connects = 0
        self.drops = 0
        self.skipped: list[str] = []
        self.wanted: Callable[[Document], bool] = bool
        self.right_at: float | None = None
        self._view = view
        self._token = token
        self._last = ""
        self._stream: Stream | None = None
        self._lost_at: float | None = None

    async def run(self) -> None:
        """Show the view until cancelled."""
        while True:
            try:
                stream = await self._connect()
                await stream.closed
            except OSError:
                await asyncio.sleep(RETRY_S)
                continue
            finally:
                if self._stream:
                    self._stream.close()
            self.drops += 1
            if stream.status == 200:
                self._lost_at = None
                await asyncio.sleep(RETRY_S)
            else:
                self._lost_at = self._lost_at or time.monotonic()
                least, most = ANEW_S
                wait_s = min(most, max(least, (time.monotonic() - self._lost_at) / 10))
                await asyncio.sleep(wait_s * random.uniform(0.5, 1))

    def want(self, wanted: Callable[[Document], bool]) -> None:
        """Say what it is to show; ``right_at`` is then the time at which it does, or None."""
        self.wanted = wanted
        self.right_at = time.time() if self.document and wanted(self.document) else None

    async def _connect(self) -> Stream:
        loop = asyncio.get_running_loop()
        message = request(self._view, self._token, last=self._last)
        _, self._stream = await loop.create_connection(
            lambda: Stream(message, self._told), "127.0.0.1", self.port
        )
        self.connects += 1
        return self._stream

    def _told(self, event_id: str, message: dict[str, Any]) -> None:
        self._last = event_id or self._last
        kind = message["type"]
        self.messages.append(kind)
        if kind == "snapshot":
            self.document = {k: v for k, v in message.items() if k not in {"type", "at"}}
        elif kind == "delta":
            merge(self.document, {k: v for k, v in message.items() if k not in {"type", "at"}})
        elif kind == "level":
            self.levels.append(message["level"])
        elif kind in {"busy", "bye"}:
            self.skipped.append(message["reason"])
        if kind in {"snapshot", "delta"}:
            if not self.wanted(self.document):
                self.right_at = None
            elif self.right_at is None:
                self.right_at = time.time()


@asynccontextmanager
async def showing(screens: list[Screen]) -> AsyncIterator[list[Screen]]:
    """Run screens for as long as the block lasts."""
    tasks = [asyncio.create_task(screen.run()) for screen in screens]
    try:
        yield screens
    finally:
        await end(*tasks)


def merge(document: Document, patch: Document) -> None:
    """Apply a JSON merge patch in place."""
    for name, value in patch.items():
        if value is None:
            document.pop(name, None)
        elif isinstance(value, dict):
            inner = document.get(name)
            if not isinstance(inner, dict):
                inner = document[name] = {}
            merge(inner, value)
        else:
            document[name] = value
