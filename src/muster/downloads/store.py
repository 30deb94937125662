"""The store: verified files by their digest, shared by all that run on one machine.

In its folder:

- ``objects/SHA256``: the bytes, read-only, and ``SHA256.stamp``: what the file looked like when its
  digest was last computed, so that only a file that was touched since is read again
- ``names/KIND/NAME.json``: what is known under a name: a release, a model
- ``unpacked/``: worker packages, ready to run
- ``partial/``, ``locks/``, ``pauses/``, ``trash/``: downloads under way, who uses and who fetches
  what, which hosts want quiet, what is about to be deleted
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from muster.downloads import locks
from muster.downloads.errors import ContentMismatch
from muster.downloads.files import read_json, write_json
from muster.downloads.partial import Partial
from muster.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from muster.downloads.content import Content
    from muster.downloads.fetching import Fetcher, OnProgress

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Entry:
    """One object: its digest, its size in bytes, when it was last used (epoch), and by whom now."""

    sha256: str
    size: int
    used_at: float
    in_use: bool


class Store:
    """The store in one folder. Any number of threads, processes and containers may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Return where an object is, or would be."""
        return self.folder / "objects" / sha256

    @asynccontextmanager
    async def hold(
        self, url: str, content: Content, fetcher: Fetcher, on_progress: OnProgress
    ) -> AsyncIterator[Path]:
        """Give the verified object, fetched if need be, once however many ask; it is kept inside.

        An object that is there and is not what it should be is removed, said so, and fetched anew.
        Raises ``DownloadFailed``, ``ContentMismatch`` and ``NoSpace``.
        """
        with locks.shared(self._user_lock(content.sha256)):
            if not self._is_as_verified(content.sha256):
                async with locks.waited_for(self._lock("fetch", content.sha256)):
                    if not await self._is_good(content):
                        await self._fetch(url, content, fetcher, on_progress)
            yield self.path(content.sha256)

    @contextmanager
    def use(self, content: Content) -> Iterator[Path]:
        """Give an object that is there and was verified; it is kept inside.

        It is not read: raises ``ContentMismatch`` if it was touched since it was, and ``NotFound``.
        """
        file = self.path(content.sha256)
        with locks.shared(self._user_lock(content.sha256)):
            if not file.exists():
                raise NotFound(f"There is no {content.sha256} in the store {self.folder}.")
            if not self._is_as_verified(content.sha256):
                raise ContentMismatch(
                    str(file), "state", expected="as when it was verified", found="changed since"
                )
            yield file

    def verify(self, content: Content, *, thoroughly: bool = False) -> None:
        """Raise ``ContentMismatch`` if an object is not what it should be.

        It is read only if it was touched since it was last, or ``thoroughly``.
        """
        file = self.path(content.sha256)
        stamp = _stamp(file)
        if not thoroughly and read_json(self._stamp_file(content.sha256)) == stamp:
            return
        with file.open("rb") as source:
            sha256 = hashlib.file_digest(source, "sha256").hexdigest()
        content.check(str(file), size=stamp["size"], sha256=sha256)
        write_json(self._stamp_file(content.sha256), stamp)

    def entries(self) -> list[Entry]:
        """Return all objects, the least recently used first."""
        found = []
        for file in (self.folder / "objects").glob("*"):
            if file.suffix:
                continue
            with locks.alone(self._user_lock(file.name)) as free:
                used_at = self._user_lock(file.name).stat().st_mtime
            try:
                size = file.stat().st_size
            except FileNotFoundError:  # removed meanwhile
                continue
            found.append(Entry(file.name, size, used_at, not free))
        return sorted(found, key=lambda entry: entry.used_at)

    def remove(self, sha256: str) -> bool:
        """Remove an object unless it is in use; return whether it is gone."""
        with locks.alone(self._user_lock(sha256)) as free:
            if free:
                self._discard(sha256)
        self.empty_trash()
        return free

    def empty_trash(self) -> None:
        """Delete what was removed; also what a process that was killed did not come to."""
        # The folder itself stays: another process may be about to move something into it.
        for left in (self.folder / "trash").glob("*"):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    def sweep_partials(self, max_age_s: float) -> int:
        """Delete downloads under way that nobody has gone on with for long; return how many."""
        swept = 0
        for file in (self.folder / "partial").glob("*.part"):
            with locks.alone(self._lock("fetch", file.stem)) as free:
                if not free or not file.exists():  # fetched meanwhile
                    continue
                if time.time() - file.stat().st_mtime > max_age_s:
                    Partial(file).discard()
                    swept += 1
        return swept

    def partial_bytes(self) -> int:
        """Return the bytes of downloads under way."""
        total = 0
        for file in (self.folder / "partial").glob("*.part"):
            with suppress(FileNotFoundError):  # fetched meanwhile
                total += file.stat().st_size
        return total

    def throw_away(self, path: Path) -> None:
        """Take a file or folder out of the way in one step; ``empty_trash`` deletes it."""
        trash = self.folder / "trash"
        trash.mkdir(parents=True, exist_ok=True)
        path.rename(trash / f"{path.name}-{time.time_ns()}")

    def _is_as_verified(self, sha256: str) -> bool:
        try:
            return read_json(self._stamp_file(sha256)) == _stamp(self.path(sha256))
        except FileNotFoundError:
            return False

    async def _is_good(self, content: Content) -> bool:
        """Read an object if need be, and remove a bad one: for one at a time."""
        if not self.path(content.sha256).exists():
            return False
        try:
            await asyncio.to_thread(self.verify, content)
        except ContentMismatch as error:
            _log.error("stored_file_refused", why=str(error))
            self._discard(content.sha256)
            await asyncio.to_thread(self.empty_trash)
            return False
        return True

    async def _fetch(
        self, url: str, content: Content, fetcher: Fetcher, on_progress: OnProgress
    ) -> None:
        part = Partial(self.folder / "partial" / f"{content.sha256}.part")
        await part.open()
        try:
            part.check_space(content.size)
            await fetcher.file(url, part, content, on_progress)
            # In a thread: a large file takes long to reach the disk.
            await asyncio.to_thread(part.publish, self.path(content.sha256))
        finally:
            await part.close()
        write_json(self._stamp_file(content.sha256), _stamp(self.path(content.sha256)))

    def _discard(self, sha256: str) -> None:
        self._stamp_file(sha256).unlink(missing_ok=True)
        if self.path(sha256).exists():
            self.throw_away(self.path(sha256))

    def _stamp_file(self, sha256: str) -> Path:
        return self.folder / "objects" / f"{sha256}.stamp"

    def _user_lock(self, sha256: str) -> Path:
        return self._lock("use", sha256)

    def _lock(self, kind: str, name: str) -> Path:
        return self.folder / "locks" / f"{kind}-{name}"


def _stamp(file: Path) -> dict[str, int]:
    """Return what changes whenever a file's bytes do; nobody but root can set a ``ctime``."""
    status = file.stat()
    return {
        "size": status.st_size,
        "inode": status.st_ino,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }
