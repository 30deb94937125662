"""A network that a test can harm: a TCP proxy between a browser and a server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
STREAM = b"GET /v1/stream"
COMPRESSED = (b"Accept-Encoding:", b"X-Not-Accepted:")


@dataclass(eq=False)
class _Line:
    """One connection: what the browser sends goes up, what the server answers comes down."""

    browser: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    streams: bool = False

    def end(self) -> None:
        """End it in order: what is under way arrives."""
        for end in (self.browser, self.server):
            if end:
                end.close()

    def cut(self) -> None:
        """End it as a network does, by a reset."""
        for end in (self.browser, self.server):
            if end:
                end.transport.abort()


@dataclass
class Proxy:
    """Passes bytes on from its own port to ``target``, until it is told otherwise.

    ``rewrite`` replaces words in what the server says, by others of the same length.
    """

    target: int
    port: int = 0
    rewrite: dict[bytes, bytes] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)
    refused: int = 0
    _lines: set[_Line] = field(default_factory=set)
    _mode: str = "open"
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Where a browser reaches the server through this network."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def streams(self) -> int:
        """How many event streams are open now."""
        return sum(line.streams for line in self._lines)

    async def cut(self) -> None:
        """Break all connections, and let no new ones through."""
        await self._be("cut")
        await self.reset()

    async def reset(self) -> None:
        """Break all connections; new ones are let through."""
        for line in list(self._lines):
            line.cut()

    async def refuse(self) -> None:
        """Break all connections, and answer every new request with 503."""
        await self._be("unavailable")
        await self.reset()

    async def silence(self) -> None:
        """Keep the connections, and let no answer through on those that are there."""
        self._flowing.clear()

    async def restore(self) -> None:
        """Be a good network again."""
        await self._be("open")
        self._flowing.set()

    async def _be(self, mode: str) -> None:
        self._mode = mode

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        line = _Line(writer)
        self._lines = self._lines | {line}
        try:
            if self._mode == "cut":
                return
            if self._mode == "unavailable":
                await reader.readuntil(b"\r\n\r\n")
                self.refused += 1
                writer.write(UNAVAILABLE)
                await writer.drain()
                return
            answers, line.server = await asyncio.open_connection("127.0.0.1", self.target)
            up = asyncio.create_task(self._up(reader, line))
            down = asyncio.create_task(self._down(answers, writer))
            _, unfinished = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._lines = self._lines - {line}
            if self._mode == "cut":
                line.cut()
            line.end()

    async def _up(self, reader: asyncio.StreamReader, line: _Line) -> None:
        assert line.server
        while data := await reader.read(65536):
            if data.startswith((b"GET ", b"POST ", b"DELETE ")):
                self.asked.append(data.partition(b" HTTP")[0])
                line.streams = data.startswith(STREAM)
            if self.rewrite:
                data = data.replace(*COMPRESSED)  # so that words can be found in the answer
            line.server.write(data)
            await line.server.drain()

    async def _down(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await answers.read(65536):
            await self._flowing.wait()
            for word, other in self.rewrite.items():
                assert len(word) == len(other), "chunks have their lengths in front"
                data = data.replace(word, other)
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def proxy_to(target: int) -> AsyncIterator[Proxy]:
    """Run a proxy to a port of this computer."""
    proxy = Proxy(target)
    proxy._flowing.set()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.restore()
        await proxy.reset()
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 5)
