"""Fleets from 4 to 1,000 workers, and up to 1,000 jobs at once: every job reaches one end, soon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from muster.jobs.model import JobState
from muster.settings import RedisSettings
from muster.simulation.fleet import Options
from muster.simulation.fleet.simulation import prepared

if TYPE_CHECKING:
    from muster.simulation.fleet import Report, Simulation
    from support.measuring import Measure

pytestmark = pytest.mark.anyio

WORKERS = 4
LONG_S = 5.0


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that `muster simulate` runs on."""
    return "asyncio", {"use_uvloop": True}


class Killer:
    """Lets one machine die when the fleet is at work, and keeps the simulation's state."""

    def __init__(self, jobs: int) -> None:
        self._enough = jobs
        self._killing: asyncio.Task[None] | None = None

    def look(self, simulation: Simulation) -> None:
        """Called several times a second."""
        running = simulation.story.states[JobState.RUNNING]
        if running >= self._enough and not self._killing:
            victim = simulation.options.machine_ids[0]
            self._killing = asyncio.create_task(simulation.machines.kill(victim))


async def simulated(redis_url: str, queue: str, options: Options, killer: Killer) -> Report:
    settings = RedisSettings.load(redis_url=redis_url, queue=queue)
    async with prepared(options, settings) as simulation:
        return await simulation.run(asyncio.Event(), killer.look)


@pytest.mark.parametrize("jobs", [1, 100, 1000])
@pytest.mark.parametrize("machines", [1, 10, 100, 250])
async def test_every_job_reaches_one_end_also_when_a_machine_dies(
    redis_url: str, queue_name: str, measure: Measure, machines: int, jobs: int
) -> None:
    """The first machine dies when as many jobs run as there is room for; it comes back."""
    workers = machines * WORKERS
    room = jobs <= workers
    options = Options(
        machines=machines,
        workers=WORKERS,
        jobs=jobs,
        duration_s=LONG_S if room else 2 * LONG_S * workers / jobs,
    )

    report = await simulated(redis_url, queue_name, options, Killer(min(jobs, workers)))

    where = f"{machines} x {WORKERS} workers, {jobs} jobs"
    ended = sum(report.jobs.values()) - report.jobs["unfinished"]
    measure(f"{where}: at an end", ended / jobs * 100, 100, "%", at_least=True)
    measure(f"{where}: completed", report.jobs["completed"] / jobs * 100, 99.9, "%", at_least=True)
    measure(f"{where}: committed twice", report.committed_twice, 0)
    measure(f"{where}: at once", report.running_at_most, min(jobs, workers), at_least=True)
    if room:
        measure(f"{where}: wait p95", report.wait.p95_s, 10, "s")
    assert report.machines_died == 1
    if report.recovery.count:  # with little to do, the machine that died had no job
        measure(f"{where}: longest recovery", report.recovery.max_s, 30, "s")
    if jobs >= workers:
        assert report.recovery.count > 0
