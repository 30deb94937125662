from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muster.downloads import archive
from muster.downloads.errors import ContentMismatch, UnsafeArchive
from support.downloads import make_zip

if TYPE_CHECKING:
    from collections.abc import Callable

UNDER = "site-packages"
FILES = {f"{UNDER}/a.py": b"a = 1\n", f"{UNDER}/pack/b.py": b"b = 2\n" * 1000}

# Where the fields of a member are in the central directory: APPNOTE.TXT, section 4.3.12.
FLAGS, CRC, SIZE, NAME_LENGTH, EXTRA_LENGTH = 8, 16, 24, 28, 30


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "inside" / "target"


def written(folder: Path, data: bytes) -> Path:
    file = folder / "archive.zip"
    file.write_bytes(data)
    return file


def with_central(data: bytes, values: dict[int, bytes]) -> bytes:
    """Change fields in the central directory, which says what the members are: in all of them."""
    changed = bytearray(data)
    at = changed.find(b"PK\x01\x02")
    while at >= 0:
        for field, value in values.items():
            changed[at + field : at + field + len(value)] = value
        at = changed.find(b"PK\x01\x02", at + 4)
    return bytes(changed)


def with_kind(kind: int) -> bytes:
    """Return an archive of one member that is not a plain file."""
    buffer = io.BytesIO()
    member = zipfile.ZipInfo(f"{UNDER}/member")
    member.create_system = 3
    member.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr(member, "/etc/passwd")
    return buffer.getvalue()


def files_below(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*")}


def refusal(tmp_path: Path, target: Path, data: bytes) -> str:
    """Unpack what must be refused; return why, once nothing was found to be written."""
    file = written(tmp_path, data)
    before = files_below(tmp_path)
    with pytest.raises(UnsafeArchive) as caught:
        archive.unpack(file, UNDER, target)
    assert not target.exists()
    assert files_below(tmp_path) - before <= {"inside"}
    said = str(caught.value)
    assert said.startswith(f"{file} is refused: ")
    assert said.endswith("Nothing of it was unpacked.")
    return said


def test_only_the_files_below_the_folder_are_unpacked(tmp_path: Path, target: Path) -> None:
    others = {"__main__.py": b"", "other/c.py": b"", f"{UNDER}-not/d.py": b"", f"{UNDER}/e/": b""}
    file = written(tmp_path, make_zip(FILES | others))

    archive.unpack(file, UNDER, target)

    assert files_below(target) == {"a.py", "pack", "pack/b.py"}
    assert (target / "pack" / "b.py").read_bytes() == FILES[f"{UNDER}/pack/b.py"]
    archive.compare(file, UNDER, target)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        f"{UNDER}/../../evil",
        f"{UNDER}/..",
        "..",
        "/evil",
        "//evil",
        f"{UNDER}\\..\\..\\evil",
        "C:evil",
        "C:/evil",
        f"{UNDER}/a\0/../../evil",
        "elsewhere/../../evil",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, target: Path, name: str) -> None:
    said = refusal(tmp_path, target, make_zip(FILES | {name: b"evil"}))

    assert "leads out of the archive's folder" in said


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_a_link_or_a_device_is_refused(tmp_path: Path, target: Path, kind: int) -> None:
    assert "is a link or a special file" in refusal(tmp_path, target, with_kind(kind))


@pytest.mark.parametrize("again", [f"{UNDER}/a.py", f"{UNDER}//a.py", f"{UNDER}/./a.py"])
def test_a_name_that_is_there_twice_is_refused(tmp_path: Path, target: Path, again: str) -> None:
    data = make_zip(FILES | {f"{UNDER}/_.py".ljust(len(again), "_"): b""})
    data = data.replace(f"{UNDER}/_.py".ljust(len(again), "_").encode(), again.encode())

    assert "is there twice" in refusal(tmp_path, target, data)


@pytest.mark.parametrize(
    "more", [f"{UNDER}/a.py/c.py", UNDER, f"{UNDER}/.", f"{UNDER}/a.py/", f"{UNDER}/a.py/d/"]
)
def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path, target: Path, more: str) -> None:
    said = refusal(tmp_path, target, make_zip({more: b""} | FILES))

    assert "is a file and a folder" in said or "is there twice" in said


def test_a_file_without_a_name_is_refused(tmp_path: Path, target: Path) -> None:
    nameless = {NAME_LENGTH: struct.pack("<H", 0), EXTRA_LENGTH: struct.pack("<H", 1)}

    assert "names no file" in refusal(
        tmp_path, target, with_central(make_zip({"x": b""}), nameless)
    )


def test_too_many_files_are_refused(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_FILES", 2)
    file = written(tmp_path, make_zip(FILES))
    archive.unpack(file, UNDER, target.with_name("fits"))

    said = refusal(tmp_path / "inside", target, make_zip(FILES | {"c": b""}))

    assert "it holds 3 files, over 2" in said


def test_an_absurd_size_is_refused_by_what_the_archive_says(tmp_path: Path, target: Path) -> None:
    data = with_central(make_zip(FILES), {SIZE: struct.pack("<I", 3 * 1024**3)})

    said = refusal(tmp_path, target, data)

    assert f"it unpacks to {6 * 1024**3} bytes, over {archive.MOST_BYTES}" in said


def test_more_bytes_than_an_archive_admits_are_not_written(tmp_path: Path, target: Path) -> None:
    bomb = make_zip({f"{UNDER}/bomb": b"\0" * 10_000_000})
    data = with_central(bomb, {SIZE: struct.pack("<I", 10)})

    assert "is damaged" in refusal(tmp_path, target, data)


def test_an_encrypted_file_is_refused(tmp_path: Path, target: Path) -> None:
    data = with_central(make_zip(FILES), {FLAGS: b"\1"})

    assert "is encrypted" in refusal(tmp_path, target, data)


def test_a_rare_compression_is_refused(tmp_path: Path, target: Path) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as out:
        out.writestr(f"{UNDER}/a.py", b"x")

    assert "is compressed as no release is" in refusal(tmp_path, target, file.read_bytes())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"message": "API rate limit exceeded"}', id="JSON"),
        pytest.param(make_zip(FILES)[:-30], id="truncated"),
        pytest.param(make_zip(FILES)[:100], id="a beginning"),
    ],
)
def test_what_is_not_a_zip_is_refused(tmp_path: Path, target: Path, data: bytes) -> None:
    assert "it is not a zip archive (" in refusal(tmp_path, target, data)
    with pytest.raises(UnsafeArchive, match="not a zip archive"):
        archive.compare(written(tmp_path, data), UNDER, target)


def test_a_file_with_a_wrong_checksum_is_refused_and_leaves_nothing(
    tmp_path: Path, target: Path
) -> None:
    data = with_central(make_zip(FILES), {CRC: b"\0\0\0\0"})

    said = refusal(tmp_path, target, data)

    assert "'site-packages/a.py' is damaged (Bad CRC-32" in said


def _change(file: Path) -> None:
    file.write_bytes(b"a = 2\n")


def _truncate(file: Path) -> None:
    file.write_bytes(b"a = 1")


def _link(file: Path) -> None:
    file.rename(file.parents[1] / "same")
    file.symlink_to(file.parents[1] / "same")


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _add(file: Path) -> None:
    file.with_name("added.py").touch()


def _add_link(file: Path) -> None:
    file.with_name("linked").symlink_to("/etc")


@pytest.mark.parametrize(
    ("spoil", "name", "expected", "found"),
    [
        (_change, "a.py", "af2fda68", "840289ab"),
        (_truncate, "a.py", "6 bytes", "5 bytes"),
        (Path.unlink, "a.py", "that of its release", "missing"),
        (_folder, "a.py", "that of its release", "missing"),
        (_add, "added.py", "that of its release: none", "there"),
        (_add_link, "linked", "that of its release: none", "there"),
        (_link, "a.py", "a file", "a link or a special file"),
        (_pipe, "a.py", "a file", "a link or a special file"),
    ],
)
def test_what_was_unpacked_and_is_not_the_same_any_more_is_told(
    tmp_path: Path,
    target: Path,
    spoil: Callable[[Path], None],
    name: str,
    expected: str,
    found: str,
) -> None:
    file = written(tmp_path, make_zip(FILES))
    archive.unpack(file, UNDER, target)

    spoil(target / "a.py")

    with pytest.raises(ContentMismatch) as caught:
        archive.compare(file, UNDER, target)
    assert caught.value.file == str(target / name)
    assert (caught.value.expected, caught.value.found) == (expected, found)
    assert all(part in str(caught.value) for part in (name, expected, found))


def test_a_folder_that_is_gone_is_told(tmp_path: Path, target: Path) -> None:
    with pytest.raises(ContentMismatch, match="missing"):
        archive.compare(written(tmp_path, make_zip(FILES)), UNDER, target)
