"""A line that can be cut: a TCP proxy before a server."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Line:
    """Passes bytes on between clients and ``target``, until it is told otherwise.

    ``refusals`` is how many of the next connections get a 503.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._mode: Literal["pass", "refuse", "503"] = "pass"
        self.refusals = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def reset(self) -> None:
        """Reset all connections, as a line that breaks does."""
        for writer in self._writers:
            _reset(writer)

    def cut(self) -> None:
        """Reset all connections, and those that come."""
        self._mode = "refuse"
        self.reset()

    def mend(self) -> None:
        """Pass on again."""
        self._mode = "pass"

    def answer_503(self, times: int) -> None:
        """Reset all connections, and answer so many of the next ones with a 503."""
        self.refusals = times
        self.reset()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        if self._mode == "refuse":
            _reset(writer)
            return
        if self.refusals:
            self.refusals -= 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(UNAVAILABLE)
            writer.close()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        self._writers |= {writer, back}
        try:
            await asyncio.gather(_pass(reader, back), _pass(there, writer))
        finally:
            self._writers -= {writer, back}


@asynccontextmanager
async def line_to(target: int) -> AsyncIterator[Line]:
    """Give a line to a port of this host."""
    line = Line(target)
    server = await asyncio.start_server(line.handle, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.cut()
        await asyncio.sleep(0.05)  # what was cut ends


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = cast("socket.socket", writer.get_extra_info("socket"))
    if sock.fileno() != -1:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
