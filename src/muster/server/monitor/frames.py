"""Messages as bytes: encoded once, and compressed once, for all viewers that get them."""

from __future__ import annotations

import struct
import zlib
from functools import cached_property
from typing import Any

from pydantic_core import to_json

GZIP_HEADER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF))
LAST_BLOCK = b"\x03\x00"
LEVEL = 5
RAW = -15

_deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, RAW)


class Frame:
    """One message of the stream.

    ``deflated`` ends with a full flush: it refers to nothing before, so that any viewer's stream
    can go on with it.
    """

    def __init__(self, plain: bytes) -> None:
        self.plain = plain

    @cached_property
    def deflated(self) -> bytes:
        """The message as blocks of raw deflate."""
        return _deflate.compress(self.plain) + _deflate.flush(zlib.Z_FULL_FLUSH)


def message(content: dict[str, Any], event_id: str = "", *, retry_ms: int | None = None) -> Frame:
    """Return a message. It has no event name: a browser drops those that it does not know."""
    retry = b"retry: %d\n" % retry_ms if retry_ms is not None else b""
    name = b"id: %s\n" % event_id.encode() if event_id else b""
    return Frame(b"%s%sdata: %s\n\n" % (retry, name, to_json(content)))


def comment(text: str = "", *, retry_ms: int | None = None) -> Frame:
    """Return a comment, which viewers do not see, but proxies do."""
    retry = b"retry: %d\n\n" % retry_ms if retry_ms is not None else b""
    return Frame(b": %s\n\n%s" % (text.encode(), retry))


class Plain:
    """A viewer's stream as it is."""

    encoding = None

    def begin(self) -> bytes:
        """Return what comes first."""
        return b""

    def add(self, frame: Frame) -> bytes:
        """Return a frame's bytes for this stream."""
        return frame.plain

    def end(self) -> bytes:
        """Return what comes last."""
        return b""


class Gzip:
    """A viewer's stream as gzip: a header of its own, shared blocks, a check sum of its own."""

    encoding = "gzip"

    def __init__(self) -> None:
        self._crc = 0
        self._size = 0

    def begin(self) -> bytes:
        """Return what comes first."""
        return GZIP_HEADER

    def add(self, frame: Frame) -> bytes:
        """Return a frame's bytes for this stream."""
        self._crc = zlib.crc32(frame.plain, self._crc)
        self._size += len(frame.plain)
        return frame.deflated

    def end(self) -> bytes:
        """Return what comes last."""
        return LAST_BLOCK + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)


def accepts_gzip(header: str) -> bool:
    """Tell whether an ``Accept-Encoding`` header lets an answer be gzip."""
    weights = {}
    for item in header.lower().split(","):
        name, _, parameter = item.partition(";")
        weight = parameter.replace(" ", "").removeprefix("q=") or "1"
        try:
            weights[name.strip()] = float(weight)
        except ValueError:
            weights[name.strip()] = 0
    return weights.get("gzip", weights.get("*", 0)) > 0
