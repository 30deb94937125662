"""What lies in the served folder, looked up anew for each request."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from email.utils import formatdate
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LATEST = "latest"

_READ_BYTES = 1024 * 1024


class Folder:
    """The served folder: its layout is told in the package's docstring."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def latest(self, owner: str, repo: str) -> str | None:
        """Return the tag of the latest release, or None if there is none."""
        path = self._inside(owner, repo, LATEST)
        return (path.read_text(encoding="utf-8").strip() or None) if path else None

    def asset(self, owner: str, repo: str, tag: str, asset: str) -> Path | None:
        """Return a file of a release, or None if there is none."""
        return self._inside(owner, repo, tag, asset)

    def assets(self, owner: str, repo: str, tag: str) -> list[Path]:
        """Return all files of a release; none if there is no such release."""
        folder = self._directory / owner / repo / tag
        if not self._holds(folder) or not folder.is_dir():
            return []
        files = (path for path in folder.iterdir() if path.is_file())
        return sorted(path for path in files if not path.name.startswith("."))

    def file(self, path: str) -> Path | None:
        """Return a file that belongs to no release, or None if there is none."""
        return self._inside("files", path)

    def _inside(self, *parts: str) -> Path | None:
        path = self._directory.joinpath(*parts)
        try:
            return path if self._holds(path) and path.is_file() else None
        except (OSError, ValueError):  # No file can have that name.
            return None

    def _holds(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self._directory.resolve())


@dataclass(frozen=True, slots=True)
class Version:
    """A file at one time. A validator that is None is not told."""

    size: int
    sha256: str
    etag: str | None
    last_modified: str | None


class Versions:
    """Reads files' versions, and each content only once."""

    def __init__(self) -> None:
        self._digests: dict[tuple[int, int, int, int], str] = {}

    def of(self, file: IO[bytes]) -> Version:
        """Return the version of an open file, whose position is moved."""
        stat = os.fstat(file.fileno())
        key = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = _sha256(file)
        digest = self._digests[key]
        return Version(
            size=stat.st_size,
            sha256=digest,
            etag=f'"{digest[:32]}"',
            last_modified=formatdate(stat.st_mtime, usegmt=True),
        )

    def at(self, path: Path) -> Version:
        """Return the version of the file at a path."""
        with path.open("rb") as file:
            return self.of(file)


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_READ_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
