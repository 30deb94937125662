"""A download under way on disk: what is there, and by what the rest will be known as its own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from muster.downloads.errors import NoSpace
from muster.downloads.files import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_BYTES = 1024 * 1024
RESERVE_BYTES = 1024**3
"""What a download leaves free on the disk."""


class Partial:
    """The bytes of one file that have arrived, and their running SHA-256.

    ``validator`` is what the server called this version of the file (a strong ETag, else its
    Last-Modified): with it the rest is asked for by ``If-Range``. Without one nothing is resumed.
    A process that is killed leaves a beginning of the file, never anything else: the validator of
    new bytes is written only once the old bytes are gone.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.size = 0
        self._note = file.with_suffix(".json")
        self._digest = hashlib.sha256()
        self._block = bytearray()
        self._writing: asyncio.Future[None] | None = None
        self._descriptor = -1

    @property
    def validator(self) -> str:
        """What the bytes that are there belong to; empty when they cannot be resumed."""
        return str(read_json(self._note).get("validator", ""))

    @property
    def sha256(self) -> str:
        """The digest of what was written out; all of it after ``flush``."""
        return self._digest.hexdigest()

    async def open(self) -> None:
        """Open the file and read what is there."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self.validator:
            os.ftruncate(self._descriptor, 0)
        await asyncio.to_thread(self._take_in)

    async def close(self) -> None:
        """Write out what arrived, for whoever goes on with it, and let go of the file."""
        try:
            await self.flush()
        finally:
            os.close(self._descriptor)

    def restart(self, validator: str) -> None:
        """Forget what is there; the bytes to come belong to this version."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.size = 0
        self._digest = hashlib.sha256()
        self._block.clear()
        write_json(self._note, {"validator": validator})

    def check_space(self, total: int | None) -> None:
        """Raise ``NoSpace`` unless the disk has room for what is missing of so many bytes."""
        missing = max(0, (total or 0) - self.size)
        free = shutil.disk_usage(self.file.parent).free
        if missing + RESERVE_BYTES > free:
            raise NoSpace(
                f"{self.file.parent} has {free} bytes free; {missing} are to be fetched and "
                f"{RESERVE_BYTES} must be left. Run `muster store prune`, or use a larger disk."
            )

    async def append(self, chunk: bytes) -> None:
        """Take bytes in. They are hashed and written in a thread, a block behind."""
        self.size += len(chunk)
        self._block += chunk
        if len(self._block) >= BLOCK_BYTES:
            await self._write_out()

    async def flush(self) -> None:
        """Wait until all that was taken in is written and hashed."""
        await self._write_out()
        await self._written()

    def discard(self) -> None:
        """Remove the file and what is known of it."""
        self.file.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def publish(self, target: Path) -> None:
        """Move the file, which nobody may write to any more, to where it is used from."""
        os.fchmod(self._descriptor, 0o444)
        os.fsync(self._descriptor)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.file.replace(target)
        self._note.unlink(missing_ok=True)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _take_in(self) -> None:
        while block := os.read(self._descriptor, BLOCK_BYTES):
            self._digest.update(block)
            self.size += len(block)

    async def _write_out(self) -> None:
        await self._written()
        if self._block:
            block, self._block = self._block, bytearray()
            loop = asyncio.get_running_loop()
            self._writing = loop.run_in_executor(None, self._write, block)

    async def _written(self) -> None:
        """Wait for the block under way, even when cancelled: its thread cannot be stopped."""
        cancelled = False
        while self._writing is not None:
            try:
                await asyncio.wait([self._writing])
            except asyncio.CancelledError:
                cancelled = True
            else:
                self._writing.result()  # one that failed stays, so that no gap is written over
                self._writing = None
        if cancelled:
            raise asyncio.CancelledError

    def _write(self, block: bytearray) -> None:
        self._digest.update(block)
        view = memoryview(block)
        while view:
            view = view[os.write(self._descriptor, view) :]
