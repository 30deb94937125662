"""Worker packages: the releases of Muster that machines run their workers from.

A package is one zip file that Python can run (made by ``nox -s package``), with Muster and all that
it needs below ``site-packages/``. A machine keeps it unpacked in a folder that is named by version
and digest, and starts its workers with that folder on Python's path and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog

from muster.downloads import archive, locks
from muster.downloads.content import Content
from muster.downloads.errors import ContentMismatch, DownloadFailed
from muster.downloads.fetching import Text
from muster.downloads.files import read_json, write_json
from muster.downloads.http import Refused
from muster.downloads.releases import Release, release_of
from muster.errors import MusterError, NotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from muster.downloads.fetching import Fetcher, OnProgress
    from muster.downloads.store import Store

CODE = "site-packages"
NOTE = "release.json"
"""The file beside ``site-packages`` that says which release it is."""

_CHECKSUM_CHARACTERS = 64
_START_S = 60.0
_MOVES = 3

_log = structlog.get_logger()


class PackageBroken(MusterError):
    """A worker package does not run on this machine."""


@dataclass(frozen=True, slots=True)
class Package:
    """A worker package, unpacked: which release it is, and where its code lies."""

    release: Release
    sha256: str
    folder: Path

    @property
    def version(self) -> str:
        """The release's tag."""
        return str(self.release.tag)

    @property
    def code(self) -> Path:
        """What goes onto Python's path."""
        return self.folder / CODE


class Packages:
    """The worker packages in a store."""

    def __init__(self, store: Store, fetcher: Fetcher) -> None:
        self._store = store
        self._fetcher = fetcher

    @asynccontextmanager
    async def hold(
        self, release: Release, sha256: str | None, on_progress: OnProgress
    ) -> AsyncIterator[Package]:
        """Give a release's package, verified and unpacked; it stays inside, whoever cleans up.

        Without ``sha256`` the digest is the one that is published beside the package. One that is
        given and in the store needs no server. Raises ``DownloadFailed``, ``ContentMismatch``,
        ``NoSpace``, ``UnsafeArchive``, and ``PackageBroken`` if it does not run here.
        """
        release = await self._resolved(release, sha256)
        digest = sha256 or await self._published_digest(release)
        content = Content(digest)
        async with self._store.hold(release.url, content, self._fetcher, on_progress) as file:
            package = Package(release, digest, self._folder(release, digest))
            await self._unpacked(file, package)
            self._remember(package)
            yield package

    @asynccontextmanager
    async def hold_older(self, release: Release) -> AsyncIterator[Package]:
        """Give the package of this file that was used last; it is kept inside.

        One that was spoiled is passed over, and said so. Raises ``NotFound`` if there is none.
        """
        for known in self._known(release):
            content = Content(known.sha256)
            with ExitStack() as stack:
                try:
                    await asyncio.to_thread(self._store.verify, content)
                    file = stack.enter_context(self._store.use(content))
                    await self._unpacked(file, known)
                except (MusterError, FileNotFoundError) as error:
                    _log.error("older_package_refused", release=str(known.release), why=str(error))
                    continue
                yield known
                return
        raise NotFound(f"No release of {release.repository} is in the store.")

    async def _resolved(self, release: Release, sha256: str | None) -> Release:
        """Return the release with its tag: which one the latest is, its redirect tells."""
        if release.tag is not None:
            return release
        for known in self._known(release):
            if known.sha256 == sha256:
                return known.release
        latest = release
        for _ in range(_MOVES):  # a repository that was renamed leads to its new name first
            leads_to = (await self._fetcher.redirect(latest.url)).partition("?")[0]
            named = release_of(leads_to)
            if named is None:
                break
            if named.tag is not None:
                return release.at(named.tag)
            latest = named
        raise DownloadFailed(
            release.url, f"it leads to {leads_to}, which names no release", "Name one by tag."
        )

    async def _published_digest(self, release: Release) -> str:
        """Return the digest that the release says, asked anew each time: tags can be moved."""
        note = self._checksum_file(release)
        kept = read_json(note)
        known = Text(str(kept.get("text", "")), str(kept.get("etag", ""))) if kept else None
        remedy = "Publish what `sha256sum` prints under this name, or set WORKER_RELEASE_SHA256."
        try:
            said = await self._fetcher.text(release.checksum.url, known)
        except Refused as error:
            raise Refused(error.url, error.problem, remedy) from None
        digest = next(iter(said.text.split(maxsplit=1)), "").lower()
        if len(digest) != _CHECKSUM_CHARACTERS or not set(digest) <= set("0123456789abcdef"):
            raise DownloadFailed(release.checksum.url, "it does not begin with a SHA-256", remedy)
        write_json(note, {"url": release.url, "text": said.text, "etag": said.etag})
        return digest

    async def _unpacked(self, file: Path, package: Package) -> None:
        """Make the package's folder hold what its file holds, and no more: one at a time."""
        lock = self._store.folder / "locks" / f"unpack-{package.sha256}"
        async with locks.waited_for(lock):
            await self._unpack(file, package)

    async def _unpack(self, file: Path, package: Package) -> None:
        if package.folder.exists():
            try:
                await asyncio.to_thread(archive.compare, file, CODE, package.code)
                _check_note(package)
            except ContentMismatch as error:
                _log.error("unpacked_package_refused", why=str(error))
                self._store.throw_away(package.folder)
                self._store.empty_trash()
            else:
                return
        package.folder.parent.mkdir(parents=True, exist_ok=True)
        for left in package.folder.parent.glob(f".{package.folder.name}-*"):  # by a kill
            shutil.rmtree(left)
        fresh = Path(tempfile.mkdtemp(dir=package.folder.parent, prefix=f".{package.folder.name}-"))
        try:
            await asyncio.to_thread(archive.unpack, file, CODE, fresh / CODE)
            write_json(fresh / NOTE, _note(package))
            await _try_out(fresh / CODE, package)
            await asyncio.to_thread(fresh.rename, package.folder)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise

    def _known(self, release: Release) -> list[Package]:
        """Return the packages of this file's releases that are in the store, last used first."""
        found = []
        for note in (self._store.folder / "names" / "release").glob("*.json"):
            kept = read_json(note)
            other = release_of(str(kept.get("url", "")))
            sha256 = str(kept.get("sha256", ""))
            if other is None or other.at("") != release.at(""):
                continue
            if self._store.path(sha256).exists():
                used_at = float(kept.get("used_at", 0))
                found.append((used_at, Package(other, sha256, self._folder(other, sha256))))
        return [package for _, package in sorted(found, key=lambda pair: -pair[0])]

    def _remember(self, package: Package) -> None:
        note = {"url": package.release.url, "sha256": package.sha256, "used_at": time.time()}
        write_json(self._name(package.release), note)

    def _name(self, release: Release) -> Path:
        return self._store.folder / "names" / "release" / _file_name(release)

    def _checksum_file(self, release: Release) -> Path:
        return self._store.folder / "names" / "checksum" / _file_name(release)

    def _folder(self, release: Release, sha256: str) -> Path:
        return self._store.folder / "unpacked" / f"{quote(str(release.tag), safe='')}-{sha256[:16]}"


def command(*arguments: str) -> tuple[str, ...]:
    """Return the command line that runs a package's Muster, in its ``environment``.

    Neither the current folder nor what is installed beside this Python is on its path.
    """
    return (sys.executable, "-P", "-s", "-S", "-m", "muster.cli", *arguments)


def environment(code: Path) -> dict[str, str]:
    """Return the variables that lead ``command`` to a package's code, which it leaves as it is."""
    return {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"}


def _file_name(release: Release) -> str:
    """Return a name of the same length for every URL: some are too long for a file's name."""
    return f"{hashlib.sha256(release.url.encode()).hexdigest()[:32]}.json"


def _note(package: Package) -> dict[str, str]:
    return {
        "name": package.release.repository,
        "version": package.version,
        "sha256": package.sha256,
    }


def _check_note(package: Package) -> None:
    """Raise ``ContentMismatch`` unless the folder tells the workers in it what they are."""
    file = package.folder / NOTE
    if (found := read_json(file)) != _note(package):
        raise ContentMismatch(
            str(file), "content", expected=_note(package), found=found or "nothing"
        )


def _plain_environment() -> dict[str, str]:
    """Return what a program needs of our environment, and none of our secrets."""
    needed = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in needed if name in os.environ}


async def _try_out(code: Path, package: Package) -> None:
    """Raise ``PackageBroken`` unless the package runs here: for this Python, this processor."""
    process = await asyncio.create_subprocess_exec(
        *command("--version"),
        env={**_plain_environment(), **environment(code)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_START_S):
            said, _ = await process.communicate()
    except TimeoutError:
        said = f"it does not answer within {_START_S:g} s".encode()
    finally:
        if process.returncode is None:  # too slow, or nobody waits any more
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise PackageBroken(
            f"{package.release} ({package.release.asset}) does not run on this machine: {last}. "
            "Check WORKER_RELEASE_ASSET: it must be built for this Python and processor."
        )
