"""The log that resumed viewers read on in, and who is told what of it."""

from __future__ import annotations

import pytest

from muster.server.monitor.audience import Resume
from muster.server.monitor.fold import Fleet
from muster.server.monitor.log import AT_ONCE, KEPT, Log, events_for, events_message
from muster.server.monitor.views import View
from support.fleets import worker


def entry(number: int, state: str = "failed", **fields: str) -> tuple[str, dict[bytes, bytes]]:
    known = {"job": f"j{number}", "state": state, "worker": "a-worker-0", "attempt": "1"}
    known |= {"detail": ""} | fields
    return f"{number}-0", {name.encode(): value.encode() for name, value in known.items()}


def ids(entries: list[tuple[str, dict[bytes, bytes]]] | None) -> list[str] | None:
    return None if entries is None else [entry_id for entry_id, _ in entries]


def test_returns_what_came_since() -> None:
    log = Log([entry(5), entry(6)])
    log.add([entry(7), entry(8)])
    log.tell()

    assert ids(log.since("6-0", 10)) == ["7-0", "8-0"]
    assert ids(log.since("8-0", 10)) == []


def test_what_all_are_about_to_be_told_is_not_told_twice() -> None:
    log = Log([entry(5)])
    log.add([entry(7)])

    assert ids(log.since("5-0", 10)) == []


def test_knows_that_what_came_before_is_no_longer_at_hand() -> None:
    assert Log([entry(5)]).since("4-0", 10) is None


def test_an_empty_log_is_whole() -> None:
    log = Log()
    log.add([entry(3)])
    log.tell()

    assert ids(log.since("0-0", 10)) == ["3-0"]


def test_a_full_log_forgets_its_beginning() -> None:
    log = Log()
    log.add(entry(number) for number in range(1, KEPT + 10))

    assert log.since("1-0", 10) is None


def test_an_entry_that_redis_no_longer_knows_was_lost() -> None:
    log = Log([entry(5)])

    assert log.since("9-0", now_ms=5000) is None
    assert ids(log.since("9-0", now_ms=10)) == []  # another server was quicker


def test_the_fleet_is_told_of_trouble_only() -> None:
    entries = [
        entry(1, "completed"),
        entry(2, "failed"),
        entry(3, "scheduled", detail="lost"),
        entry(4, "scheduled", detail="submitted"),
        entry(5, "running"),
    ]

    assert ids(events_for(View(), entries, Fleet())) == ["2-0", "3-0"]


def test_a_machine_and_a_job_are_told_all_of_their_own() -> None:
    fleet = Fleet()
    fleet.report("workers", "a-worker-0", worker("a").model_dump_json().encode(), 1)
    entries = [entry(1, "running"), entry(2, "running", worker="b-worker-0")]

    assert ids(events_for(View(machine="a"), entries, fleet)) == ["1-0"]
    assert ids(events_for(View(job="j2"), entries, fleet)) == ["2-0"]


def test_a_message_is_bounded_and_says_what_it_leaves_out() -> None:
    message = events_message([entry(number) for number in range(1, AT_ONCE + 31)])

    assert len(message["events"]) == AT_ONCE
    assert message["skipped"] == 30
    assert message["events"][-1] == {
        "id": f"{AT_ONCE + 30}-0",
        "at": AT_ONCE + 30,
        "job": f"j{AT_ONCE + 30}",
        "state": "failed",
        "worker": "a-worker-0",
        "attempt": 1,
        "detail": "",
    }


@pytest.mark.parametrize(
    "text",
    ["", "x", "a:b", "e:1-x:k", "e:-1:k", "e:1:k", "e:²-0:k", "a:b:c:d", f"e:{'9' * 5000}-0:k"],
)
def test_an_id_that_is_none_of_ours_is_no_resume(text: str) -> None:
    assert Resume.parse(text) is None


def test_an_id_of_ours_is_taken_apart() -> None:
    assert Resume.parse("e1:15-3:k9") == Resume("e1", "15-3", "k9")
