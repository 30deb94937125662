"""A lean client of the monitor's stream: one socket, no HTTP library."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any, cast

from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Callable

    Told = Callable[[str, dict[str, Any]], None]


class Stream(asyncio.Protocol):
    """One connection. It calls ``told`` with each message's id and content, if it is to decode.

    ``received`` counts the bytes of the body as they came, compressed or not.
    """

    def __init__(self, request: bytes, told: Told | None) -> None:
        self.closed: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.status: int | None = None
        self.received = 0
        self.transport: asyncio.Transport | None = None
        self._request = request
        self._told = told
        self._head = b""
        self._chunks = _Chunks()
        self._unzip: Any = None
        self._lines = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(exc)

    def data_received(self, data: bytes) -> None:
        if self.status is None:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self.status = int(head.split(b" ", 2)[1])
            if b"content-encoding: gzip" in head.lower():
                self._unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self.received += len(data)
        if self._told and self.status == 200:
            self._decode(data)

    def close(self) -> None:
        """End it from here."""
        if self.transport:
            self.transport.abort()

    def _decode(self, data: bytes) -> None:
        body = self._chunks.feed(data)
        if self._unzip:
            body = self._unzip.decompress(body)
        *messages, self._lines = (self._lines + body).split(b"\n\n")
        for message in messages:
            event_id, content = "", b""
            for line in message.split(b"\n"):
                name, _, value = line.partition(b": ")
                if name == b"id":
                    event_id = value.decode()
                elif name == b"data":
                    content = value
            if content and self._told:
                self._told(event_id, from_json(content))


class _Chunks:
    """Takes the frames off a chunked body."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> bytes:
        self._buffer += data
        body = []
        while True:
            size, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                break
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            body.append(rest[:length])
            self._buffer = rest[length + 2 :]
        return b"".join(body)


def request(view: str, token: str, *, gzip: bool = True, last: str = "") -> bytes:
    """Return the request for a view."""
    lines = [
        f"GET /v1/stream?{view} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept: text/event-stream",
        f"Authorization: Bearer {token}",
    ]
    if gzip:
        lines.append("Accept-Encoding: gzip")
    if last:
        lines.append(f"Last-Event-ID: {last}")
    return "\r\n".join([*lines, "", ""]).encode()
