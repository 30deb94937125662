"""Makes small real PNG images: the same seed gives the same bytes."""

from __future__ import annotations

import hashlib
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIDE = 64
TILE = 8


def make_png(seed: str) -> bytes:
    """Return a PNG of 64 by 64 pixels in 8 by 8 tiles whose colours come from ``seed``."""
    tiles = SIDE // TILE
    colours = hashlib.shake_256(seed.encode()).digest(3 * tiles * tiles)
    rows = bytearray()
    for y in range(SIDE):
        first = 3 * tiles * (y // TILE)
        row = colours[first : first + 3 * tiles]
        pixels = b"".join(row[3 * x : 3 * x + 3] * TILE for x in range(tiles))
        rows += b"\x00" + pixels  # each row begins with its filter: none
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)  # 8 bits, RGB
    return (
        SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(bytes(rows)))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
