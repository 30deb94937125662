"""Whatever dies or is cut off, the fleet heals: no job is lost, and none is committed twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.fleet.model import MachineState, WorkerState
from muster.jobs.model import JobState
from support.system.containers import awaited
from support.system.work import all_complete, gpu_of, submit, until_state

if TYPE_CHECKING:
    from conftest import StartMachine
    from muster.client import Client
    from support.system.machines import MachineContainer
    from support.system.stack import Stack

LONG = 200
"""Steps of ten milliseconds: long enough for a job to be caught at work."""


@pytest.mark.parametrize("program", ["worker", "comfyui"])
def test_a_killed_program_is_restarted_and_its_job_completes(
    machine: MachineContainer, stack: Stack, client: Client, program: str
) -> None:
    # Given a job that runs
    (job,) = submit(client, machine, steps=LONG)
    victim = f"{program}-gpu{gpu_of(machine, until_state(client, machine, job, JobState.RUNNING))}"
    before = machine.pids()

    # When the worker or the service that runs it is killed
    machine.kill_process(victim)

    # Then it comes back, no other does, and the job completes
    (done,) = all_complete(stack, client, machine, [job])
    machine.until_idle()
    after = machine.pids()
    assert {name for name in after if after[name] != before[name]} == {victim}
    assert done.failed_attempts == 0


def test_a_restart_keeps_the_machine_and_its_jobs(
    machine: MachineContainer, stack: Stack, client: Client, gpus: int
) -> None:
    # Given a job on each GPU
    before = machine.look()
    jobs = submit(client, machine, jobs=gpus, steps=LONG)
    for job in jobs:
        until_state(client, machine, job, JobState.RUNNING)

    # When the container is stopped
    code = machine.stop()

    # Then it ends well, and the jobs wait for another as if they had never begun
    assert code == 0, machine.story()
    assert machine.look().state is MachineState.OFFLINE
    for job in (client.get(each) for each in jobs):
        assert (job.state, job.failed_attempts, job.lost_attempts) == (JobState.PENDING, 0, 0)

    # When it is started again, then it is the same machine, and the jobs complete
    machine.container.start()
    all_complete(stack, client, machine, jobs)
    after = machine.until_idle(after=before.incarnation)
    assert after.machine_id == before.machine_id
    assert {w.incarnation for w in machine.workers()} == {after.incarnation}
    assert len(machine.workers()) == gpus


def test_heals_from_a_pause_and_a_cut_network_longer_than_leases(
    machine: MachineContainer,
    start_machine: StartMachine,
    stack: Stack,
    client: Client,
) -> None:
    # Given two machines at work, so that the test waits for leases to end only once
    cut = start_machine("cut", gpus=1)
    cut.until_workers_idle()
    steps = 2 * LONG
    jobs = {each: submit(client, each, jobs=each.gpus, steps=steps) for each in (machine, cut)}
    running = [*jobs[cut], *jobs[machine]]
    for job in running:
        until_state(client, cut, job, JobState.RUNNING)

    # When one is paused and the other cut off until their jobs are nobody's any more
    machine.container.pause()
    cut.disconnect()
    for job in running:
        awaited(
            lambda job=job: client.get(job).state,
            f"job {job} is taken from its machine",
            of=cut.container,
            until=lambda state: state is not JobState.RUNNING,
            hint="the server's recovery ends leases that were not extended for 15 s.",
        )
    assert {each.look().state for each in jobs} == {MachineState.OFFLINE}

    # Then both come back, and each job is committed once
    machine.container.unpause()
    cut.reconnect()
    for each, its_jobs in jobs.items():
        all_complete(stack, client, each, its_jobs)


def test_heals_from_a_killed_container(
    machine: MachineContainer, stack: Stack, client: Client, gpus: int
) -> None:
    before = machine.look()
    jobs = submit(client, machine, jobs=2 * gpus, steps=LONG)
    until_state(client, machine, jobs[0], JobState.RUNNING)

    machine.container.kill()
    machine.container.start()

    all_complete(stack, client, machine, jobs)
    machine.until_idle(after=before.incarnation)


def test_a_worker_waits_for_its_service(
    start_machine: StartMachine, stack: Stack, client: Client
) -> None:
    # Given a machine whose service takes its time to answer, and a job for it
    slow = start_machine(gpus=1, service_options="--start-delay 8")
    (job,) = submit(client, slow)

    # When the worker is there before its service
    (worker,) = awaited(
        slow.workers,
        "its worker has registered",
        of=slow.container,
        hint="a worker registers before its service answers.",
    )
    assert (worker.state, client.get(job).state) == (WorkerState.STARTING, JobState.PENDING)

    # Then it takes the job only when the service answers, and fails none
    (done,) = all_complete(stack, client, slow, [job])
    assert (done.attempt, done.failed_attempts, done.lost_attempts) == (1, 0, 0)
