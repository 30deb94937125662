"""From what the streams tell to the state that viewers see."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from muster.fleet.model import Download, MachineState, Program, WorkerState
from muster.server.monitor.fold import TTL_MS, Fleet, fold_event, fold_telemetry
from support.fleets import machine, worker


@pytest.fixture
def fleet() -> Fleet:
    """Machine `a` with worker 0, which runs job `j`."""
    fleet = Fleet()
    fleet.report("machines", "a", machine("a").model_dump_json().encode(), 1000)
    fleet.report("workers", "a-worker-0", worker("a").model_dump_json().encode(), 1000)
    fleet.job_event("j", b"running", "a-worker-0", 1, 1500)
    fleet.urgent.clear()
    return fleet


def progress(attempt: int, fraction: float) -> bytes:
    return json.dumps({"attempt": attempt, "fraction": fraction, "message": "m"}).encode()


def test_a_machine_is_shown_with_its_programs_by_name() -> None:
    fleet = Fleet()
    record = machine(
        "a",
        programs=[Program(name="worker-gpu0", kind="worker", gpu=0, state="RUNNING", pid=7)],
        downloads=[Download(name="sdxl", done=1, size=2)],
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
    )

    fleet.report("machines", "a", record.model_dump_json(exclude={"seen_at"}).encode(), 1000)

    row = fleet.machines.shown["a"]
    assert row["programs"]["worker-gpu0"] == {
        "kind": "worker",
        "gpu": 0,
        "state": "RUNNING",
        "pid": 7,
        "restarts": 0,
    }
    assert row["downloads"] == [{"name": "sdxl", "done": 1, "size": 2}]
    assert row["started_at"] == 1767225600000
    assert None not in row.values()


def test_a_running_job_is_shown_until_it_is_over(fleet: Fleet) -> None:
    assert fleet.jobs["j"] == {
        "state": "running",
        "worker": "a-worker-0",
        "attempt": 1,
        "started_at": 1500,
    }

    fleet.job_event("j", b"completed", "a-worker-0", 1, 1700)

    assert not fleet.jobs
    assert not fleet.jobs_of["a-worker-0"]


def test_a_job_moves_to_the_worker_that_took_it_over(fleet: Fleet) -> None:
    fleet.report("workers", "a-worker-1", worker("a", 1).model_dump_json().encode(), 1000)

    fleet.job_event("j", b"running", "a-worker-1", 2, 1700)

    assert list(fleet.jobs_of["a-worker-1"]) == ["j"]
    assert not fleet.jobs_of["a-worker-0"]


def test_progress_of_another_attempt_is_not_shown(fleet: Fleet) -> None:
    fleet.job_progress("j", progress(1, 0.25))
    assert fleet.jobs["j"]["fraction"] == 0.25

    fleet.job_event("j", b"running", "a-worker-0", 2, 1700)
    fleet.job_progress("j", progress(1, 0.9))

    assert "fraction" not in fleet.jobs["j"]


def test_progress_that_was_told_before_its_attempt_was_known_is_shown_with_it(
    fleet: Fleet,
) -> None:
    fleet.job_progress("j", progress(2, 0.9))

    fleet.job_event("j", b"running", "a-worker-0", 2, 1700)
    fleet.job_progress("j", progress(2, 0.9))

    assert fleet.jobs["j"]["fraction"] == 0.9


def test_progress_of_a_job_that_is_over_is_let_go(fleet: Fleet) -> None:
    fleet.job_event("j", b"completed", "a-worker-0", 1, 1700)

    fleet.job_progress("j", progress(1, 0.9))

    assert not fleet.jobs


def test_silence_makes_offline_and_a_word_brings_back(fleet: Fleet) -> None:
    seen = {"a-worker-0": 1000.0}
    fleet.age({"a": 1000}, seen, 1001 + TTL_MS)

    assert fleet.machines.shown["a"]["state"] == "offline"
    assert fleet.machines.shown["a"]["seen_at"] == 1000
    assert fleet.workers.shown["a-worker-0"]["state"] == "offline"
    assert fleet.totals()["machines"]["offline"] == 1
    assert fleet.totals()["gpus"] == 0
    assert fleet.urgent == {"a"}

    fleet.age({"a": 2000 + TTL_MS}, seen, 2001 + TTL_MS)

    assert fleet.machines.shown["a"]["state"] == "ready"
    assert "seen_at" not in fleet.machines.shown["a"]
    assert fleet.workers.shown["a-worker-0"]["state"] == "offline"


def test_a_record_brings_back_at_once(fleet: Fleet) -> None:
    fleet.age({"a": 1000}, {"a-worker-0": 1000}, 1001 + TTL_MS)

    record = worker("a", state=WorkerState.BUSY).model_dump_json().encode()
    fleet.report("workers", "a-worker-0", record, 2000 + TTL_MS)

    assert fleet.workers.shown["a-worker-0"]["state"] == "busy"


def test_one_that_left_is_offline_since_it_said_so(fleet: Fleet) -> None:
    record = machine("a", state=MachineState.OFFLINE).model_dump_json().encode()

    fleet.report("machines", "a", record, 4000)

    assert fleet.machines.shown["a"]["seen_at"] == 4000


def test_those_that_are_forgotten_go(fleet: Fleet) -> None:
    fleet.age({}, {}, 5000)

    assert not fleet.machines.shown
    assert not fleet.workers.shown


def test_of_those_that_are_forgotten_nothing_stays(fleet: Fleet) -> None:
    fleet.age({}, {}, 5000)
    fleet.job_event("j", b"scheduled", "a-worker-0", 1, 5000)

    assert not fleet.workers_of
    assert not fleet.jobs_of


@pytest.mark.parametrize(
    ("change", "urgent"),
    [({"state": WorkerState.BUSY}, True), ({"pid": 5}, False)],
    ids=["a state", "a detail"],
)
def test_only_changes_of_state_are_urgent(
    fleet: Fleet, change: dict[str, object], urgent: bool
) -> None:
    record = worker("a", **change).model_dump_json().encode()

    fleet.report("workers", "a-worker-0", record, 1000)

    assert bool(fleet.urgent) is urgent


def test_a_download_is_not_urgent_but_trouble_is(fleet: Fleet) -> None:
    downloading = machine("a", downloads=[Download(name="m", done=1, size=9)])
    fleet.report("machines", "a", downloading.model_dump_json().encode(), 1000)
    assert not fleet.urgent

    fleet.report("machines", "a", machine("a", reasons=["hot"]).model_dump_json().encode(), 1000)
    assert fleet.urgent == {"a"}


def test_what_is_not_known_is_counted_and_said_and_harms_nothing(fleet: Fleet) -> None:
    with capture_logs() as logs:
        assert not fold_telemetry(fleet, {b"kind": b"gpus", b"id": b"x"}, 1)
        assert not fold_telemetry(fleet, {b"weather": b"fine"}, 1)
        assert not fold_event(fleet, {b"job": b"j", b"mood": b"good"}, 1)
        assert not fold_telemetry(fleet, {b"kind": b"workers", b"id": b"x", b"record": b"{"}, 1)

    assert fleet.unknown == 4
    assert [entry["event"] for entry in logs] == ["monitor_unknown_entry"]
    assert list(fleet.workers.shown) == ["a-worker-0"]
    assert list(fleet.jobs) == ["j"]
