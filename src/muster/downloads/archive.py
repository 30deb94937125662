"""Unpacking zip archives that may be anything, and comparing what was unpacked with them."""

from __future__ import annotations

import errno
import shutil
import stat
import zlib
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from muster.downloads.errors import ContentMismatch, UnsafeArchive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from zipfile import ZipInfo

MOST_FILES = 50_000
MOST_BYTES = 4 * 1024**3
_ENCRYPTED = 0x1
_BLOCK_BYTES = 1024 * 1024
_DAMAGE = (BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError, zlib.error)


def unpack(archive: Path, under: str, target: Path) -> None:
    """Unpack an archive's files below the folder ``under`` into the new folder ``target``.

    Raises ``UnsafeArchive``, before anything is written, for a path that leads elsewhere, a link, a
    name that is there twice, or more files or bytes than any release has; and for a damaged file,
    which leaves nothing behind.
    """
    with _opened(archive) as source:
        for member, path in _files(archive, source, under):
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                with (
                    _damage_told(archive, f"{member.filename!r} is damaged"),
                    source.open(member) as content,
                    file.open("xb") as out,
                ):
                    shutil.copyfileobj(content, out, _BLOCK_BYTES)
                    if out.tell() != member.file_size:
                        raise BadZipFile(f"it holds {out.tell()} bytes")
            except UnsafeArchive:
                shutil.rmtree(target, ignore_errors=True)
                raise


def compare(archive: Path, under: str, target: Path) -> None:
    """Raise ``ContentMismatch`` unless ``target`` holds exactly the archive's files, unchanged."""
    with _opened(archive) as source:
        expected = {path: member for member, path in _files(archive, source, under)}
    found = {
        PurePosixPath(file.relative_to(target).as_posix())
        for file in target.rglob("*")
        if not file.is_dir() or file.is_symlink()
    }
    for path in sorted(found.symmetric_difference(expected)):
        there = path in found
        raise ContentMismatch(
            str(target / path),
            "presence",
            expected="that of its release: none" if there else "that of its release",
            found="there" if there else "missing",
        )
    for path, member in expected.items():
        _compare(target / path, member)


def _compare(file: Path, member: ZipInfo) -> None:
    if not stat.S_ISREG(file.lstat().st_mode):
        raise ContentMismatch(
            str(file), "kind", expected="a file", found="a link or a special file"
        )
    crc = 0
    size = 0
    with file.open("rb") as source:
        while block := source.read(_BLOCK_BYTES):
            crc = zlib.crc32(block, crc)
            size += len(block)
    if size != member.file_size:
        raise ContentMismatch(
            str(file), "size", expected=f"{member.file_size} bytes", found=f"{size} bytes"
        )
    if crc != member.CRC:
        raise ContentMismatch(
            str(file), "checksum", expected=f"{member.CRC:08x}", found=f"{crc:08x}"
        )


def _opened(archive: Path) -> ZipFile:
    with _damage_told(archive, "it is not a zip archive"):
        return ZipFile(archive)


@contextmanager
def _damage_told(archive: Path, problem: str) -> Iterator[None]:
    """Turn all that zipfile raises for bytes that are not what they say into one exception."""
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a seek to nowhere
            raise
        told = f"{problem} ({str(error) or type(error).__name__})"
        raise UnsafeArchive(str(archive), told) from None


def _files(archive: Path, source: ZipFile, under: str) -> Iterator[tuple[ZipInfo, PurePosixPath]]:
    """Yield the files below ``under`` with their paths there, once all members were looked at."""
    members = source.infolist()
    if len(members) > MOST_FILES:
        raise UnsafeArchive(str(archive), f"it holds {len(members)} files, over {MOST_FILES}")
    size = sum(member.file_size for member in members)
    if size > MOST_BYTES:
        raise UnsafeArchive(str(archive), f"it unpacks to {size} bytes, over {MOST_BYTES}")
    seen: set[PurePosixPath] = set()
    for member in members:
        if problem := _problem(member, seen):
            raise UnsafeArchive(str(archive), f"{member.filename!r} {problem}")
        seen.add(PurePosixPath(member.filename))
    files = {PurePosixPath(member.filename) for member in members if not member.is_dir()}
    for path in (*seen, PurePosixPath(under) / "any"):
        if parent := next((parent for parent in path.parents if parent in files), None):
            raise UnsafeArchive(str(archive), f"{str(parent)!r} is a file and a folder")
    for member in members:
        path = PurePosixPath(member.filename)
        if not member.is_dir() and path.is_relative_to(under):
            yield member, path.relative_to(under)


def _problem(member: ZipInfo, seen: set[PurePosixPath]) -> str | None:
    name = member.orig_filename
    path = PurePosixPath(name)
    mode = member.external_attr >> 16
    if not name:
        return "names no file"
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        return "leads out of the archive's folder"
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is a link or a special file"
    if path in seen:
        return "is there twice"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    plain = member.compress_type in {ZIP_STORED, ZIP_DEFLATED}
    return None if plain else "is compressed as no release is"
