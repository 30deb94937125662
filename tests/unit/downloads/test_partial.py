"""The beginning of a file on disk: what a process leaves, and how the next one goes on."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

from muster.downloads import partial
from muster.downloads.partial import BLOCK_BYTES, Partial
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio

DATA = bytes(range(256)) * (5 * BLOCK_BYTES // 512)  # two blocks and a half


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("chunk", [1024 * 7, BLOCK_BYTES, BLOCK_BYTES - 1, len(DATA)])
async def test_it_knows_the_digest_of_all_that_arrived(part: Partial, chunk: int) -> None:
    part.restart('"1"')
    for start in range(0, len(DATA), chunk):
        await part.append(DATA[start : start + chunk])
    await part.flush()

    assert (part.size, part.sha256) == (len(DATA), sha256(DATA))
    assert part.file.read_bytes() == DATA


async def test_a_part_of_nothing_is_empty(part: Partial) -> None:
    assert (part.size, part.sha256, part.validator) == (0, sha256(b""), "")
    assert stat.S_IMODE(part.file.stat().st_mode) == 0o600


async def test_another_process_goes_on_where_one_was_killed(part: Partial) -> None:
    part.restart('"1"')
    await part.append(DATA[:BLOCK_BYTES])
    await part.append(b"in memory yet")
    await eventually(lambda: part.file.stat().st_size == BLOCK_BYTES, "a block is written")

    # A kill lets go of the file without another word.
    heir = Partial(part.file)
    await heir.open()

    assert heir.validator == '"1"'
    start = heir.size
    assert start == BLOCK_BYTES
    await heir.append(DATA[start:])
    await heir.close()
    assert (heir.size, heir.sha256) == (len(DATA), sha256(DATA))
    assert heir.file.read_bytes() == DATA


async def test_closing_keeps_what_arrived(part: Partial) -> None:
    part.restart('"1"')
    await part.append(b"begin")
    await part.flush()
    heir = Partial(part.file)
    await heir.open()
    await heir.append(b"ning")
    await heir.close()

    last = Partial(part.file)
    await last.open()
    await last.close()

    assert (last.size, last.sha256) == (9, sha256(b"beginning"))


@pytest.mark.parametrize("note", [None, b"", b"{", b"{}", b'{"validator": ""}'])
async def test_bytes_of_an_unknown_version_are_not_gone_on_with(
    part: Partial, note: bytes | None
) -> None:
    part.restart('"1"')
    await part.append(b"begin")
    await part.flush()
    known = part.file.with_suffix(".json")
    if note is None:
        known.unlink()
    else:
        known.write_bytes(note)

    heir = Partial(part.file)
    await heir.open()
    await heir.close()

    assert (heir.size, heir.sha256, heir.file.read_bytes()) == (0, sha256(b""), b"")


async def test_restart_forgets(part: Partial) -> None:
    part.restart('"1"')
    await part.append(DATA)
    await part.flush()
    await part.append(b"still in memory")

    part.restart('"2"')

    assert (part.size, part.sha256, part.validator) == (0, sha256(b""), '"2"')
    await part.append(b"new")
    await part.flush()
    assert (part.sha256, part.file.read_bytes()) == (sha256(b"new"), b"new")


async def test_a_new_version_is_noted_only_when_the_old_bytes_are_gone(
    part: Partial, monkeypatch: pytest.MonkeyPatch
) -> None:
    part.restart('"1"')
    await part.append(b"old")
    await part.flush()
    there: list[bytes] = []
    write_json = partial.write_json

    def noting(file: Path, value: Any) -> None:
        there.append(part.file.read_bytes())
        write_json(file, value)

    monkeypatch.setattr(partial, "write_json", noting)
    part.restart('"2"')

    assert there == [b""]


@pytest.fixture
def write_blocks(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Writing to disk waits for this."""
    go_on = threading.Event()
    write = os.write

    def slow(descriptor: int, data: memoryview) -> int:
        go_on.wait(10)
        return write(descriptor, data)

    monkeypatch.setattr(partial.os, "write", slow)
    return go_on


async def test_an_append_that_is_cancelled_leaves_a_readable_beginning(
    part: Partial, write_blocks: threading.Event
) -> None:
    part.restart('"1"')
    await part.append(DATA[:BLOCK_BYTES])
    appending = asyncio.create_task(part.append(DATA[BLOCK_BYTES : 2 * BLOCK_BYTES]))
    await asyncio.sleep(0)
    appending.cancel()
    await asyncio.sleep(0)
    assert not appending.done(), "a thread that writes cannot be stopped, so it is waited for"

    write_blocks.set()
    with pytest.raises(asyncio.CancelledError):
        await appending
    await part.flush()

    assert part.file.read_bytes() == DATA[: part.size]
    assert part.sha256 == sha256(DATA[: part.size])
    heir = Partial(part.file)
    await heir.open()
    await heir.close()
    assert heir.sha256 == sha256(DATA[: heir.size])


def failing_once(real: Callable[..., int]) -> Callable[..., int]:
    """Write half of what comes first, fail, and then work again, as a disk that was full."""
    state = ["half", "fail"]

    def write(descriptor: int, data: memoryview) -> int:
        match state.pop(0) if state else "work":
            case "half":
                return real(descriptor, data[: len(data) // 2])
            case "fail":
                raise OSError(28, "No space left on device")
            case _:
                return real(descriptor, data)

    return write


async def test_nothing_is_written_behind_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Partial(tmp_path / "file.part")
    await part.open()
    part.restart('"1"')
    monkeypatch.setattr(partial.os, "write", failing_once(os.write))
    await part.append(DATA[:BLOCK_BYTES])

    with pytest.raises(OSError, match="No space left"):
        await part.append(DATA[BLOCK_BYTES : 2 * BLOCK_BYTES])
    with pytest.raises(OSError, match="No space left"):
        await part.close()

    heir = Partial(part.file)
    await heir.open()
    await heir.close()
    assert 0 < heir.size < BLOCK_BYTES
    assert heir.file.read_bytes() == DATA[: heir.size]


async def test_what_is_published_is_read_only_and_gone_from_where_it_arrived(
    part: Partial, tmp_path: Path
) -> None:
    part.restart('"1"')
    await part.append(DATA)
    await part.flush()

    target = tmp_path / "objects" / "digest"
    part.publish(target)

    assert target.read_bytes() == DATA
    assert stat.S_IMODE(target.stat().st_mode) == 0o444
    assert list(part.file.parent.iterdir()) == []


async def test_publishing_replaces_what_was_there(part: Partial, tmp_path: Path) -> None:
    target = tmp_path / "digest"
    target.write_bytes(b"spoiled")
    part.restart('"1"')
    await part.append(b"good")
    await part.flush()

    part.publish(target)

    assert target.read_bytes() == b"good"


async def test_discarding_leaves_nothing(part: Partial) -> None:
    part.restart('"1"')
    await part.append(b"begin")
    await part.flush()

    part.discard()
    part.discard()

    assert list(part.file.parent.iterdir()) == []
