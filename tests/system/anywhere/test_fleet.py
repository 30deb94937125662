"""What every fleet does, wherever it runs. Each test says what it does to the fleet."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from muster.client import Rejected
from muster.fleet.model import WorkerState
from muster.jobs.model import JobRequest, JobState, Requirements
from muster.simulation.comfyui.workflow import text_to_image
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from support.anywhere.fleet import Fleet

FOREVER = 10_000
"""Steps of a job that is not meant to end by itself."""


def a_job(steps: int = 4, **fields: object) -> JobRequest:
    prompt = text_to_image(seed=random.getrandbits(48), steps=steps)
    return JobRequest.model_validate(
        {"service": "comfyui", "payload": {"prompt": prompt}, **fields}
    )


@pytest.mark.acts("read")
def test_it_says_what_it_is(fleet: Fleet) -> None:
    plate = fleet.nameplate()

    assert plate is not None
    assert plate.environment == fleet.environment.name


@pytest.mark.acts("read")
def test_every_gpu_has_its_worker_under_its_machine(fleet: Fleet) -> None:
    machines = fleet.machines()

    assert machines
    with fleet.client() as client:
        for machine in machines:
            workers = client.workers(machine_id=machine.machine_id, limit=100).workers
            live = [worker for worker in workers if worker.state is not WorkerState.OFFLINE]
            expected = {f"{machine.machine_id}-worker-{gpu}" for gpu in range(machine.gpus)}
            assert {worker.worker_id for worker in live} == expected
            assert {worker.machine_id for worker in live} == {machine.machine_id}


@pytest.mark.acts("read")
@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer muster_of-nobody"}])
@pytest.mark.parametrize("path", ["/v1/queue", "/v1/jobs", "/v1/machines", "/v1/nameplate"])
def test_nobody_enters_without_a_token(fleet: Fleet, path: str, header: dict[str, str]) -> None:
    with fleet.anonymous() as http:
        answer = http.get(path, headers=header)

    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:muster:problem:not-authenticated"


@pytest.mark.acts("write", canary=True)
def test_a_canary_completes(fleet: Fleet) -> None:
    assert fleet.canary().state is JobState.COMPLETED


@pytest.mark.acts("write")
def test_a_job_completes(fleet: Fleet) -> None:
    with fleet.client() as client:
        submitted = client.submit(a_job())
        job = client.wait(submitted.id, timeout=fleet.environment.target("job_completes_s"))

    assert job.state is JobState.COMPLETED
    assert job.result


@pytest.mark.acts("write")
def test_bad_input_is_refused_and_not_kept(fleet: Fleet) -> None:
    with fleet.client() as client:
        with pytest.raises(Rejected, match=r"service.*no-such-service.*is unknown"):
            client.submit(a_job(service="no-such-service", idempotency_key="bad-input"))

        kept = client.submit(a_job(requirements={"labels": {"nobody": "has-this"}}))
        client.cancel(kept.id)
    assert not kept.duplicate


@pytest.mark.acts("write")
@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING])
def test_a_job_is_cancelled(fleet: Fleet, state: JobState) -> None:
    waits = Requirements(labels={"nobody": "has-this"})
    request = a_job(FOREVER) if state is JobState.RUNNING else a_job(requirements=waits)
    with fleet.client() as client:
        job = client.submit(request)
        eventually_blocking(
            lambda: client.get(job.id).state,
            f"the job is {state}",
            until=state.__eq__,
            timeout_s=fleet.environment.target("job_completes_s"),
        )

        client.cancel(job.id)

        assert client.get(job.id).state is JobState.CANCELLED
        done = client.submit(a_job())
        assert client.wait(done.id, timeout=60).state is JobState.COMPLETED


@pytest.mark.acts("destructive")
def test_a_killed_worker_comes_back(fleet: Fleet) -> None:
    machines = fleet.machines()
    machine = machines[0]
    before = fleet.kill_worker(machine.machine_id, gpu=0)

    eventually_blocking(
        lambda: fleet.worker(machine.machine_id, gpu=0),
        "another process is that worker",
        until=lambda now: now.pid not in {None, before.pid},
        timeout_s=fleet.environment.target("worker_returns_s"),
        every_s=0.1,
    )
    fleet.until_ready(len(machines), fleet.environment.target("machine_ready_s"))
    with fleet.client() as client:
        jobs = client.submit_many([a_job() for _ in range(2 * machine.gpus)])
        states = {client.wait(job.id, timeout=60).state for job in jobs}
    assert states == {JobState.COMPLETED}
