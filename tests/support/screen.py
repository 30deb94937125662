"""What a viewer of the live stream has on its screen, by the published protocol alone."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from muster.tasks import end
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx

Json = dict[str, Any]


class Screen:
    """Takes the stream's bytes as they come; keeps the document, and every message."""

    def __init__(self) -> None:
        self.document: Json = {}
        self.messages: list[Json] = []
        self.comments = 0
        self.last_id = ""
        self.retry_ms = 0
        self.ended = False
        self._rest = b""

    def feed(self, content: bytes) -> None:
        """Take bytes, wherever they are cut."""
        *blocks, self._rest = (self._rest + content).split(b"\n\n")
        for block in blocks:
            self._take(block.decode())

    def of(self, kind: str) -> list[Json]:
        """Return the messages of that type."""
        return [message for message in self.messages if message["type"] == kind]

    async def until(
        self, found: Callable[[Json], object], what: str, timeout_s: float = 10
    ) -> Json:
        """Wait until the document shows it."""
        await eventually(
            lambda: self.document and found(self.document),
            what,
            timeout_s=timeout_s,
            ignoring=(KeyError,),
        )
        return self.document

    async def hears(self, kind: str, timeout_s: float = 10) -> Json:
        """Wait for a message of that type; return the newest."""
        await eventually(lambda: self.of(kind), f"a message {kind!r} comes", timeout_s=timeout_s)
        return self.of(kind)[-1]

    def _take(self, block: str) -> None:
        for line in block.splitlines():
            name, _, value = line.partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "retry":
                self.retry_ms = int(value)
            elif name == "data":
                self._show(json.loads(value))
            else:
                assert line.startswith(":"), f"not of the protocol: {line!r}"
                self.comments += 1

    def _show(self, message: Json) -> None:
        self.messages.append(message)
        content = {name: v for name, v in message.items() if name not in {"type", "at"}}
        if message["type"] == "snapshot":
            self.document = content
        elif message["type"] == "delta":
            self.document = merged(self.document, content)


def merged(document: Json, patch: Json) -> Json:
    """Merge a patch into a document, as RFC 7396 says."""
    result = dict(document)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            before = result.get(name)
            result[name] = merged(before if isinstance(before, dict) else {}, value)
        else:
            result[name] = value
    return result


@asynccontextmanager
async def watching(
    http: httpx.AsyncClient, headers: dict[str, str] | None = None, **params: str
) -> AsyncIterator[Screen]:
    """Watch a view over HTTP until the block ends."""
    screen = Screen()
    async with http.stream("GET", "/v1/stream", params=params, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["Content-Type"].startswith("text/event-stream")

        async def read() -> None:
            async for content in response.aiter_bytes():
                screen.feed(content)
            screen.ended = True

        reading = asyncio.create_task(read())
        try:
            yield screen
        finally:
            await end(reading)
