"""Hosts that asked for quiet, as all processes of a machine remember them."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import pytest

from muster.downloads.pauses import Pauses
from muster.downloads.places import Host

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Clock

HOST = Host.parse("github.com")


@pytest.fixture
def pauses(tmp_path: Path, clock: Clock) -> Pauses:
    return Pauses(tmp_path)


def test_a_host_that_asked_for_nothing_is_not_left_alone(pauses: Pauses) -> None:
    assert pauses.left(HOST) == 0


def test_a_pause_runs_out(pauses: Pauses, clock: Clock) -> None:
    pauses.note(HOST, 30)
    assert pauses.left(HOST) == 30

    clock.now += 29
    assert pauses.left(HOST) == 1

    clock.now += 2
    assert pauses.left(HOST) == 0


def test_another_process_sees_it(pauses: Pauses, tmp_path: Path) -> None:
    pauses.note(HOST, 30)

    assert Pauses(tmp_path).left(HOST) == 30


@pytest.mark.parametrize(("first", "second"), [(60, 5), (5, 60)])
def test_the_longer_of_two_pauses_stays(pauses: Pauses, first: float, second: float) -> None:
    pauses.note(HOST, first)
    pauses.note(HOST, second)

    assert pauses.left(HOST) == 60


@pytest.mark.parametrize(
    "other", ["objects.example", "http://github.com", "github.com:8443", "http://github.com:443"]
)
def test_other_hosts_are_not_left_alone(pauses: Pauses, other: str) -> None:
    pauses.note(HOST, 30)

    assert pauses.left(Host.parse(other)) == 0


def test_an_ipv6_host_has_a_pause_of_its_own(pauses: Pauses) -> None:
    pauses.note(Host.parse("[::1]:8443"), 30)

    assert pauses.left(Host.parse("[::1]:8443")) == 30
    assert pauses.left(Host.parse("[::1]")) == 0


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe",
        b"{}",
        b'{"until": null}',
        b'{"until": "soon"}',
        b'{"until": NaN}',
    ],
)
def test_a_broken_file_counts_as_none_and_is_mended(
    broken: bytes, pauses: Pauses, tmp_path: Path
) -> None:
    pauses.note(HOST, 30)
    (file,) = tmp_path.iterdir()
    file.write_bytes(broken)

    assert pauses.left(HOST) == 0

    pauses.note(HOST, 10)
    assert pauses.left(HOST) == 10


def test_who_reads_while_others_write_never_sees_half_a_file(
    pauses: Pauses, tmp_path: Path
) -> None:
    pauses.note(HOST, 1000)
    end = threading.Event()

    def write() -> None:
        while not end.is_set():
            pauses.note(HOST, 1000)

    writer = threading.Thread(target=write)
    writer.start()
    seen = {math.ceil(Pauses(tmp_path).left(HOST)) for _ in range(500)}
    end.set()
    writer.join()

    assert seen == {1000}
    assert len(list(tmp_path.iterdir())) == 1


def test_no_pause_is_longer_than_a_day_whatever_the_host_said(tmp_path: Path) -> None:
    Pauses(tmp_path).note(HOST, 1e9)

    assert Pauses(tmp_path).left(HOST) <= 86_400
