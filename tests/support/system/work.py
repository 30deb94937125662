"""Jobs for machines in containers, and what must come of them."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from muster.errors import MusterError
from muster.jobs.model import JobRequest, JobState, Requirements
from muster.simulation.comfyui.workflow import text_to_image
from support.system.containers import awaited

if TYPE_CHECKING:
    from muster.client import Client
    from muster.jobs.model import Job
    from support.system.machines import MachineContainer
    from support.system.stack import Stack

STEP_S = 0.01
"""What a step of a simulated job takes."""

_seeds = count()


def submit(
    client: Client, machine: MachineContainer, *, jobs: int = 1, steps: int = 4
) -> list[str]:
    """Submit jobs that only that machine can run, each different; return their ids."""
    wanted = Requirements(labels={"machine": machine.label})
    requests = [
        JobRequest(
            service="comfyui",
            payload={"prompt": text_to_image(seed=next(_seeds), steps=steps)},
            requirements=wanted,
        )
        for _ in range(jobs)
    ]
    return [submitted.id for submitted in client.submit_many(requests)]


def until_state(
    client: Client, machine: MachineContainer, job: str, state: JobState, *, timeout_s: float = 60
) -> Job:
    """Wait until a job is in a state."""
    return awaited(
        partial(client.get, job),
        f"job {job} is {state}",
        of=machine.container,
        until=lambda now: now.state is state,
        timeout_s=timeout_s,
        hint=f"`muster explain {job}` says why a job is pending; its attempts say what failed.",
    )


def gpu_of(machine: MachineContainer, job: Job) -> int:
    """Return which of the machine's GPUs runs the job."""
    (gpu,) = [worker.gpu for worker in machine.workers() if worker.worker_id == job.worker]
    return gpu


def all_complete(
    stack: Stack,
    client: Client,
    machine: MachineContainer,
    jobs: list[str],
    *,
    timeout_s: float = 90,
) -> list[Job]:
    """Wait until all jobs are over; each must be completed, and was committed once."""

    def left() -> list[str]:
        return [job for job in jobs if not client.get(job).state.terminal]

    awaited(
        left,
        f"{len(jobs)} jobs are over",
        of=machine.container,
        until=lambda waiting: not waiting,
        timeout_s=timeout_s,
        ignoring=(MusterError,),
        hint="`muster explain JOB` says why one is pending; `muster workers` who runs what.",
    )
    over = [client.get(job) for job in jobs]
    assert [job.state for job in over] == [JobState.COMPLETED] * len(jobs), over
    assert stack.completions(jobs) == dict.fromkeys(jobs, 1)
    return over
