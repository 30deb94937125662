"""What tests of downloads share: a server's stand-in that counts, small packages, small models."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from muster.downloads.catalogue import Model
from muster.downloads.content import Content
from muster.downloads.errors import DownloadFailed
from muster.downloads.fetching import Text
from muster.downloads.packages import CODE, command, environment
from muster.downloads.places import Host
from muster.downloads.releases import Release
from support.waiting import eventually

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping

    import pytest

    from muster.downloads.fetching import OnProgress
    from muster.downloads.models import Models
    from muster.downloads.packages import Package, Packages
    from muster.downloads.partial import Partial
    from muster.downloads.store import Store

URL = "https://files.example/file"
DATA = b"the very bytes " * 1000
SIZE = 10
"""Bytes of a model that ``brought`` brings."""


def sha256_of(data: bytes) -> str:
    """Return the digest of some bytes as the store writes it."""
    return hashlib.sha256(data).hexdigest()


def content_of(data: bytes) -> Content:
    """Return what a file with these bytes must be."""
    return Content(sha256_of(data), len(data))


GOOD = content_of(DATA)


def nothing_told(done: int, total: int | None) -> None:
    """Take progress, and do nothing with it."""


@dataclass
class FakeFetcher:
    """Stands in for ``Fetcher``: serves bytes by URL, and notes each request.

    A URL that is not in ``files`` cannot be had. With ``gate`` set to an unset event, a file's
    transfer stops half way until it is set; it may be set from any thread.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    gate: threading.Event | None = None
    asked: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)

    async def file(
        self, url: str, part: Partial, content: Content, on_progress: OnProgress
    ) -> None:
        """Feed the part with the file, and verify it as ``Fetcher`` does."""
        data = self._answer(url)
        part.restart('"v1"')
        await part.append(data[: len(data) // 2])
        await part.flush()
        on_progress(part.size, len(data))
        if self.gate is not None:
            await eventually(self.gate.is_set, "the gate opens", timeout_s=30)
        await part.append(data[len(data) // 2 :])
        await part.flush()
        on_progress(part.size, len(data))
        content.check(url, size=part.size, sha256=part.sha256)

    async def text(self, url: str, known: Text | None = None) -> Text:
        """Return the text, or ``known`` if that has the ETag of what is served."""
        data = self._answer(url)
        etag = f'"{sha256_of(data)[:8]}"'
        if known is not None and known.etag == etag:
            self.unchanged.append(url)
            return known
        return Text(data.decode(), etag)

    async def redirect(self, url: str) -> str:
        """Return where the URL leads."""
        self.asked.append(url)
        if url not in self.redirects:
            raise DownloadFailed(url, "it should redirect, and does not", "Check the host.")
        return self.redirects[url]

    def publish(self, release: Release, data: bytes, *, checksum: str | None = None) -> str:
        """Serve a release's file and its checksum; make it the latest; return its digest."""
        digest = sha256_of(data)
        self.files[release.url] = data
        said = f"{digest}  {release.asset}\n" if checksum is None else checksum
        self.files[release.checksum.url] = said.encode()
        latest = Release(release.host, release.repository, None, release.asset)
        self.redirects[latest.url] = release.url
        return digest

    def _answer(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.files:
            raise DownloadFailed(url, "the host answers 404 Not Found", "Check the release.")
        return self.files[url]


async def fetched(store: Store, fetcher: FakeFetcher, content: Content = GOOD) -> bytes:
    """Return what the store gives for ``URL``."""
    async with store.hold(URL, content, fetcher, nothing_told) as file:  # type: ignore[arg-type]
        return file.read_bytes()


def planted(store: Store, data: bytes, name: str = GOOD.sha256) -> Path:
    """Put a file among the objects that was never verified."""
    file = store.path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def fetch_lock(store: Store) -> Path:
    """Return the lock that whoever fetches ``DATA`` holds alone."""
    return store.folder / "locks" / f"fetch-{GOOD.sha256}"


def release_named(
    tag: str | None, *, asset: str = "worker.pyz", repo: str = "acme/muster"
) -> Release:
    """Return a release on a host that does not exist."""
    return Release(Host.parse("releases.example"), repo, tag, asset)


def make_package(
    version: str, *, exit_code: int = 0, extra: Mapping[str, bytes] | None = None
) -> bytes:
    """Return a worker package: as much of Muster as answers ``--version``.

    ``extra`` are more files, by their paths in the archive.
    """
    main = f"print('muster {version}')\nraise SystemExit({exit_code})\n"
    files = {
        "__main__.py": b"raise SystemExit('never run')\n",
        f"{CODE}/muster/__init__.py": b"",
        f"{CODE}/muster/cli/__init__.py": b"",
        f"{CODE}/muster/cli/__main__.py": main.encode(),
        **(extra or {}),
    }
    return make_zip(files)


def make_zip(files: Mapping[str, bytes]) -> bytes:
    """Return an archive of files by their names; a name that ends with ``/`` is a folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            member = zipfile.ZipInfo("x")
            member.filename = name  # the constructor would mend some
            out.writestr(member, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def make_model(name: str, data: bytes, *, path: str = "") -> Model:
    """Return a catalogue's entry for a model with these bytes."""
    url = f"https://files.example/{sha256_of(data)[:8]}"
    return Model(name=name, url=url, sha256=sha256_of(data), size=len(data), path=path)


def spoil(file: Path, data: bytes) -> None:
    """Write other bytes into a file that is read-only, as a faulty disk or a person would."""
    file.chmod(0o644)
    file.write_bytes(data)
    file.chmod(0o444)


@contextmanager
def counted_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Give a list that grows by the name of each file whose digest is computed from its bytes."""
    reads: list[str] = []
    real = hashlib.file_digest

    def counting(source: io.BufferedReader, digest: str) -> object:
        reads.append(source.name)
        return real(source, digest)

    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "file_digest", counting)
        yield reads


async def until_fetching(fetcher: FakeFetcher, requests: int = 1) -> None:
    """Wait until so many requests have reached the fetcher."""
    await eventually(lambda: len(fetcher.asked) >= requests, "the fetch begins")


def opened_by(pid: int, file: Path) -> int:
    """Return how many times a process has a file open: a lock is waited for with its file open."""
    opened = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            opened += descriptor.readlink() == file
    return opened


async def held(
    packages: Packages, release: Release | None = None, sha256: str | None = None
) -> Package:
    """Return a package as it was while it was held: ``v1`` unless another is named."""
    async with packages.hold(release or release_named("v1"), sha256, nothing_told) as package:
        return package


def run(package: Package) -> str:
    """Return what the package says when workers are started from it."""
    answer = subprocess.run(
        command("--version"),
        env={**os.environ, **environment(package.code)},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


def brought(models: Models, name: str, *, data: bytes = b"", path: str = "") -> Model:
    """Put a model's file into the store, as a download does, and offer it: 10 bytes of its own."""
    data = data or name.encode().ljust(10, b".")
    model = make_model(name, data, path=path)
    file = models.store.path(model.sha256)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o444)
        models.store.verify(model.content)
    models.offer(model)
    return model


def used(models: Models, model: Model, at: float) -> None:
    """Make it so that the model was last used at that time."""
    with models.using([model.name]):
        pass
    os.utime(models.store.folder / "locks" / f"use-{model.sha256}", (at, at))
