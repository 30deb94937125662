"""The jobs of a simulated fleet, submitted at their rate."""

from __future__ import annotations

import asyncio
import math
import random
import secrets
from typing import TYPE_CHECKING

from muster.jobs.model import JobRequest
from muster.simulation.fleet.patience import insist
from muster.worker.connectors.simulation import Simulation as SimulatedService

if TYPE_CHECKING:
    from muster.jobs.queue import Queue
    from muster.simulation.fleet.options import Options
    from muster.simulation.fleet.story import Story

EVERY_S = 0.05


async def submit_all(queue: Queue, options: Options, story: Story) -> None:
    """Submit all jobs, each once, and let the story tell of them."""
    loop = asyncio.get_running_loop()
    began, run, done = loop.time(), secrets.token_hex(6), 0
    while done < options.jobs:
        due = options.jobs
        if options.rate:
            due = min(due, math.ceil((loop.time() - began) * options.rate))
        numbers = range(done, min(due, done + queue.limits.bulk))
        requests = [_request(options, f"{run}-{number}") for number in numbers]
        submitted = await insist(lambda batch=requests: queue.submit_many(batch))  # type: ignore[misc]
        story.mine(job.id for job in submitted)
        done += len(requests)
        if done >= due:
            await asyncio.sleep(EVERY_S)


def _request(options: Options, key: str) -> JobRequest:
    payload = {
        "duration_s": options.duration_s,
        "steps": max(1, math.ceil(options.duration_s)),
        "fail_attempts": _failures(options.failure_rate),
    }
    return JobRequest(service=SimulatedService.service, payload=payload, idempotency_key=key)


def _failures(rate: float) -> int:
    """Return how many attempts fail before the first that does not, if each may fail."""
    count = 0
    while random.random() < rate:  # noqa: S311
        count += 1
    return count
