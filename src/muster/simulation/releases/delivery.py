"""Sends a file, or the part that was asked for, with the faults that are armed for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders

from muster.simulation.releases.faults import Kind
from muster.simulation.releases.selection import select

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from muster.simulation.releases.faults import Faults
    from muster.simulation.releases.folder import Version, Versions

CHUNK_BYTES = 64 * 1024
_HOUR_S = 3600


class ConnectionCut(Exception):
    """The fault ``cut``: a server closes the connection; ``httpx.ASGITransport`` raises this."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a body is sent: up to ``stop``, then its end, nothing at all, or a closed connection."""

    stop: int
    cut: bool
    stall: bool
    wrong: bool
    bytes_per_second: int | None

    @property
    def chunk_bytes(self) -> int:
        """How much is sent at once."""
        if self.bytes_per_second is None:
            return CHUNK_BYTES
        return max(1, min(CHUNK_BYTES, self.bytes_per_second // 20))


class Delivery:
    """An answer that holds a file. It is read as it is sent, however large it is."""

    def __init__(self, path: Path, versions: Versions, faults: Faults) -> None:
        self._path = path
        self._versions = versions
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer (ASGI)."""
        method, path = scope["method"], scope["path"]
        async with await anyio.open_file(self._path, "rb") as file:
            version = await to_thread.run_sync(self._versions.of, file.wrapped)
            version = _told(version, self._faults, method, path)
            selection = select(method, Headers(scope=scope), version)
            headers = MutableHeaders(selection.headers(version))
            await send(
                {
                    "type": "http.response.start",
                    "status": int(selection.status),
                    "headers": headers.raw,
                }
            )
            if method == "HEAD" or not selection.length:
                await send({"type": "http.response.body"})
                return
            manner = _manner(selection.length, self._faults, path)
            await file.seek(selection.start)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_end_with_client, receive, tasks.cancel_scope)
                await _send_body(file, manner, send)
                tasks.cancel_scope.cancel()
        if manner.cut:
            raise ConnectionCut


def _told(version: Version, faults: Faults, method: str, path: str) -> Version:
    """Return the version that the answer tells of. Only what has a body can be too short."""
    if method == "GET" and (fault := faults.take(Kind.TRUNCATE, path=path, below=version.size)):
        version = replace(version, size=fault.number)
    if faults.take(Kind.CHANGED, path=path):
        version = _changed(version)
    if faults.take(Kind.NO_VALIDATOR, path=path):
        version = replace(version, etag=None, last_modified=None)
    return version


def _changed(version: Version) -> Version:
    """Return another version, the same each time."""
    digest = hashlib.sha256(f"changed {version.sha256}".encode()).hexdigest()
    modified = parsedate_to_datetime(version.last_modified or formatdate(0)).timestamp()
    return replace(
        version,
        etag=f'"{digest[:32]}"',
        last_modified=formatdate(modified + _HOUR_S, usegmt=True),
    )


def _manner(length: int, faults: Faults, path: str) -> Manner:
    cut = faults.take(Kind.CUT, path=path, below=length)
    stall = faults.take(Kind.STALL, path=path)
    slow = faults.take(Kind.SLOW, path=path)
    stop = length
    if stall:
        stop = min(CHUNK_BYTES, length // 2)
    if cut:
        stop = min(stop, cut.number)
    return Manner(
        stop=stop,
        cut=cut is not None,
        stall=stall is not None and cut is None,
        wrong=faults.take(Kind.WRONG, path=path) is not None,
        bytes_per_second=slow.number if slow else None,
    )


async def _send_body(file: anyio.AsyncFile[bytes], manner: Manner, send: Send) -> None:
    left = manner.stop
    while left and (chunk := await file.read(min(manner.chunk_bytes, left))):
        left -= len(chunk)
        if manner.bytes_per_second:
            await anyio.sleep(len(chunk) / manner.bytes_per_second)
        if manner.wrong:
            chunk = bytes([chunk[0] ^ 0xFF]) + chunk[1:]
        more = bool(left) or manner.cut or manner.stall
        await send({"type": "http.response.body", "body": chunk, "more_body": more})
    if manner.stall:
        await anyio.sleep_forever()


async def _end_with_client(receive: Receive, scope: anyio.CancelScope) -> None:
    """Stop sending when the client goes away; a server takes what is sent then without a word."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
