"""Finding connectors by entry point, and the one that simulates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from muster.errors import InvalidInput
from muster.jobs.model import JobState
from muster.worker.connectors.base import find, installed
from muster.worker.connectors.simulation import Simulation
from support.distribution import install_shouting
from support.waiting import eventually
from support.workers import becomes, submit

if TYPE_CHECKING:
    from pathlib import Path

    from muster.jobs.queue import Queue
    from support.workers import Start


@pytest.fixture
def shouting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_shouting(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_finds_what_comes_with_muster() -> None:
    assert find("simulation") is Simulation
    assert {"comfyui", "simulation"} <= set(installed())


def test_a_connector_that_is_not_installed_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        InvalidInput, match=r"^CONNECTOR: 'nope' is not installed. Use one of"
    ) as no:
        find("nope")

    assert "comfyui, simulation" in str(no.value)


@pytest.mark.usefixtures("shouting")
def test_a_connector_that_does_not_import_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidInput, match=r"^CONNECTOR: 'broken' does not import") as no:
        find("broken")

    assert "muster_shouting_that_is_missing" in str(no.value)


@pytest.mark.anyio
@pytest.mark.usefixtures("shouting")
async def test_a_connector_of_a_users_own_package_is_found_and_runs_jobs(
    queue: Queue, start: Start
) -> None:
    assert "shouting" in installed()
    start(find("shouting")("gpu-host-1"))  # type: ignore[call-arg]

    job_id = await submit(queue, service="shouting", payload={"text": "well done"})

    job = await becomes(queue, job_id, JobState.COMPLETED)
    assert job.result == {"said": "WELL DONE", "on": "gpu-host-1"}


@pytest.mark.anyio
async def test_a_simulated_job_takes_its_time_and_tells_its_progress(
    queue: Queue, start: Start
) -> None:
    start(Simulation())
    payload = {"duration_s": 0.6, "steps": 2, "result": {"a": 1}}
    job_id = await submit(queue, service="simulation", payload=payload)

    job = await eventually(
        lambda: queue.get(job_id), "it is half done", until=lambda job: job.progress
    )
    assert job.progress
    assert (job.progress.fraction, job.progress.message) == (0.5, "step 1 of 2")

    job = await becomes(queue, job_id, JobState.COMPLETED)
    assert job.result == {"a": 1}
    assert job.started_at
    assert job.finished_at
    assert (job.finished_at - job.started_at).total_seconds() >= 0.6


@pytest.mark.anyio
@pytest.mark.usefixtures("recovery")
@pytest.mark.parametrize(
    ("payload", "state", "kinds"),
    [
        ({}, JobState.COMPLETED, []),
        ({"outcome": "failed"}, JobState.FAILED, ["simulated", "simulated"]),
        ({"outcome": "invalid"}, JobState.FAILED, ["invalid"]),
        ({"fail_attempts": 1}, JobState.COMPLETED, ["simulated"]),
        ({"duration": 3}, JobState.FAILED, ["invalid_payload"]),
        ({"steps": 0}, JobState.FAILED, ["invalid_payload"]),
    ],
)
async def test_a_simulated_job_ends_as_stated(
    queue: Queue, start: Start, payload: dict[str, Any], state: JobState, kinds: list[str]
) -> None:
    start(Simulation.from_settings(None))  # type: ignore[arg-type]

    job_id = await submit(queue, service="simulation", payload=payload, max_failed=2)

    job = await becomes(queue, job_id, state)
    assert [attempt.error.kind for attempt in job.attempts] == kinds
    if kinds == ["invalid_payload"]:
        assert next(iter(payload)) in job.attempts[0].error.message
