from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import pytest

from muster.machine import relay
from muster.machine.relay import Relay
from muster.tasks import end

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "worker-gpu0.log"


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_passes_on_new_lines_with_their_programs_name(log: Path, out: io.StringIO) -> None:
    append(log, "of an earlier run\n")
    passing_on = Relay({"worker-gpu0": log}, out)

    append(log, "one\ntwo\n")
    passing_on.copy()
    append(log, "three\n")
    passing_on.copy()
    passing_on.copy()

    assert out.getvalue() == "[worker-gpu0] one\n[worker-gpu0] two\n[worker-gpu0] three\n"


def test_waits_for_the_end_of_a_line(log: Path, out: io.StringIO) -> None:
    passing_on = Relay({"worker-gpu0": log}, out)  # before there is a log

    append(log, "half ")
    passing_on.copy()
    assert out.getvalue() == ""
    append(log, "and half\n")
    passing_on.copy()

    assert out.getvalue() == "[worker-gpu0] half and half\n"


def test_reads_a_rotated_file_from_its_beginning(log: Path, out: io.StringIO) -> None:
    append(log, "a long line of before\n")
    passing_on = Relay({"worker-gpu0": log}, out)

    log.rename(log.with_suffix(".log.1"))
    append(log, "new\n")
    passing_on.copy()

    assert out.getvalue() == "[worker-gpu0] new\n"


def test_does_not_wait_for_the_end_of_an_endless_line(
    log: Path, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "_AT_MOST", 8)
    passing_on = Relay({"worker-gpu0": log}, out)

    append(log, "x" * 12)
    passing_on.copy()

    assert out.getvalue() == "[worker-gpu0] xxxxxxxx\n"


def test_bytes_that_are_no_text_do_not_stop_it(log: Path, out: io.StringIO) -> None:
    passing_on = Relay({"worker-gpu0": log}, out)

    log.write_bytes(b"\xff\xfe\n")
    passing_on.copy()

    assert out.getvalue() == "[worker-gpu0] \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}\n"


@pytest.mark.anyio
async def test_passes_on_what_is_left_when_it_ends(
    log: Path, out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "EVERY_S", 60)
    running = asyncio.create_task(Relay({"worker-gpu0": log}, out).run())
    await asyncio.wait([running], timeout=0.01)

    append(log, "last words\n")
    await end(running)

    assert out.getvalue() == "[worker-gpu0] last words\n"
