"""Operators steer a real machine: drain, undrain, restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.fleet.commands import Action, Command, Commands
from muster.fleet.model import Machine, MachineState
from muster.jobs.model import JobRequest, JobState
from muster.jobs.queue import Queue
from support.waiting import eventually

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from conftest import StartMachine
    from muster.fleet.registry import Registry

pytestmark = pytest.mark.anyio


async def tell(registry: Registry, machine: Machine, action: Action, program: str = "") -> None:
    await Commands(registry).send(
        Command(
            machine_id=machine.machine_id,
            incarnation=machine.incarnation,
            action=action,
            program=program,
            by="anna",
        )
    )


def states(machine: Machine, kind: str) -> set[str]:
    return {program.state for program in machine.programs if program.kind == kind}


async def test_a_drained_machine_hands_its_jobs_back_and_works_again_when_undrained(
    start_machine: StartMachine, registry: Registry, redis: Redis, queue_name: str
) -> None:
    machine = start_machine(NUM_GPUS="1")
    before = await machine.until(MachineState.READY)
    queue = Queue(redis, queue_name)
    job = (await queue.submit(JobRequest(service="simulation", payload={"duration_s": 600}))).id

    async def state_of_job() -> JobState:
        return (await queue.get(job)).state

    await eventually(state_of_job, "the job runs", until=lambda s: s is JobState.RUNNING)
    await tell(registry, before, Action.DRAIN)

    drained = await machine.until(MachineState.DRAINING)
    await eventually(state_of_job, "the job is back", until=lambda s: s is JobState.PENDING)
    assert "anna" in drained.reasons[0]

    async def look() -> Machine:
        return await registry.machine("box")

    await eventually(
        look, "the worker has stopped", until=lambda now: states(now, "worker") == {"STOPPED"}
    )
    job_now = await queue.get(job)
    assert (job_now.failed_attempts, job_now.lost_attempts) == (0, 0)

    await tell(registry, before, Action.UNDRAIN)

    await machine.until(MachineState.READY)
    await eventually(
        state_of_job, "the job runs again", until=lambda s: s is JobState.RUNNING, timeout_s=30
    )
    await queue.cancel(job)


async def test_one_program_is_restarted_and_the_others_are_left_alone(
    start_machine: StartMachine, registry: Registry
) -> None:
    machine = start_machine(NUM_GPUS="2")
    before = await machine.until(MachineState.READY)

    await tell(registry, before, Action.RESTART, "worker-gpu1")

    def pids(of: Machine) -> dict[str, int | None]:
        return {program.name: program.pid for program in of.programs}

    async def look() -> Machine:
        return await registry.machine("box")

    after = await eventually(
        look,
        "it has a new process and all is well",
        until=lambda now: (
            now.state is MachineState.READY
            and pids(now)["worker-gpu1"] not in {None, pids(before)["worker-gpu1"]}
        ),
        timeout_s=60,
    )
    assert pids(after)["worker-gpu0"] == pids(before)["worker-gpu0"]
    assert not any(program.restarts for program in after.programs)  # nobody has to worry
