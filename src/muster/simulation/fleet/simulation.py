"""One simulation from its start to its report."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from muster.errors import Conflict, NotFound
from muster.jobs.connection import check, connect
from muster.jobs.model import JobState
from muster.jobs.queue import Queue
from muster.jobs.recovery import Recovery
from muster.simulation.fleet.machines import Machines
from muster.simulation.fleet.options import check_room, make_room
from muster.simulation.fleet.report import Report, spread
from muster.simulation.fleet.story import Story
from muster.simulation.fleet.submission import submit_all
from muster.tasks import end, stop_signals
from muster.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from muster.settings import RedisSettings
    from muster.simulation.fleet.options import Options

    Show = Callable[["Simulation"], None]

STUCK_S = 90.0
"""When no job has moved for so long, besides the time that jobs take, the rest is given up."""

LOOK_EVERY_S = 0.1
CANCELLED_AT_ONCE = 50

log = structlog.get_logger()


class Simulation:
    """A fleet and its jobs on one queue. Runs once."""

    def __init__(self, options: Options, queue: Queue, settings: WorkerSettings) -> None:
        self.options = options
        self.queue = queue
        self.machines = Machines(options, queue, settings)
        self.story = Story(queue, self.machines.deaths)
        self.began = asyncio.get_running_loop().time()

    async def run(self, stopped: asyncio.Event, show: Show) -> Report:
        """Run until all is done, or until it is stopped; nothing of it stays on the queue.

        ``show`` is called several times a second. Raises ``Conflict`` when a machine of one of its
        ids is alive already.
        """
        await self.story.begin()
        self.machines.start()
        beside: list[Coroutine[Any, Any, None]] = [
            self.machines.watch(),
            self.story.follow(),
            Recovery(self.queue).run(),
            self._show_forever(show),
        ]
        tasks = [asyncio.create_task(each) for each in beside]
        work, stop = asyncio.create_task(self._work()), asyncio.create_task(stopped.wait())
        ending: set[asyncio.Task[Any]] = {work, stop, *tasks}
        try:
            done, _ = await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            report = self._report(stopped=stop in done)
        finally:
            await end(*ending)
            await self._clear()
        show(self)
        return report

    async def _work(self) -> None:
        """Wait for the fleet, submit the jobs, see them to their end."""
        await _until(lambda: self.machines.ready == self.options.machines)
        churn = asyncio.create_task(self.machines.churn()) if self.options.churn else None
        try:
            async with asyncio.timeout(self.options.seconds):
                await submit_all(self.queue, self.options, self.story)
                await _until(self._is_over)
                if self.options.seconds:
                    await asyncio.Event().wait()
        except TimeoutError:
            await self.story.catch_up()
        finally:
            if churn:
                await end(churn)

    def _is_over(self) -> bool:
        """Whether all jobs are over, or nothing moves any more."""
        patience_s = STUCK_S + self.options.duration_s
        still_s = asyncio.get_running_loop().time() - self.story.moved_at
        return not self.story.unfinished or still_s > patience_s

    async def _show_forever(self, show: Show) -> None:
        while True:
            show(self)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _clear(self) -> None:
        """Let all machines leave, and cancel the jobs that nobody will run now."""
        try:
            await self.machines.stop()
            left = self.story.unfinished
            for first in range(0, len(left), CANCELLED_AT_ONCE):
                some = left[first : first + CANCELLED_AT_ONCE]
                await asyncio.gather(*map(self._cancel, some))
        except (RedisError, OSError) as error:
            log.error("simulation_not_cleared", error=str(error))  # noqa: TRY400  (expected)

    async def _cancel(self, job_id: str) -> None:
        try:
            await self.queue.cancel(job_id)
        except (Conflict, NotFound):
            log.debug("over_already", job=job_id)

    def _report(self, *, stopped: bool) -> Report:
        states = self.story.states
        jobs = {state.value: states[state] for state in JobState if state.terminal}
        return Report(
            machines=self.options.machines,
            workers=self.options.machines * self.options.workers,
            seconds=round(asyncio.get_running_loop().time() - self.began, 1),
            jobs=jobs | {"unfinished": len(self.story.unfinished)},
            running_at_most=self.story.running_at_most,
            wait=spread(self.story.waits_ms),
            recovery=spread(self.story.recoveries_ms),
            machines_left=self.machines.left,
            machines_died=self.machines.died,
            committed_twice=self.story.committed_twice,
            stopped=stopped,
        )


@asynccontextmanager
async def prepared(options: Options, settings: RedisSettings) -> AsyncIterator[Simulation]:
    """Give a simulation on this Redis.

    Raises ``InvalidInput`` when it is too large for this process or for Redis,
    ``RedisUnavailable`` and ``ProtocolMismatch``.
    """
    make_room(options)
    async with connect(settings) as redis:
        await check(redis, settings)
        await check_room(redis, options)
        queue = Queue(redis, settings.queue)
        await queue.open()
        yield Simulation(options, queue, _worker_settings(options, settings))


async def run(options: Options, settings: RedisSettings, show: Show) -> Report:
    """Run a simulation until it is done, or until SIGTERM or Ctrl-C stops it."""
    with stop_signals() as stopped:
        async with prepared(options, settings) as simulation:
            return await simulation.run(stopped, show)


async def _until(condition: Callable[[], bool]) -> None:
    while True:
        if condition():
            return
        await asyncio.sleep(LOOK_EVERY_S)


def _worker_settings(options: Options, settings: RedisSettings) -> WorkerSettings:
    """Return what all workers share; each machine fills in what is its own."""
    return WorkerSettings.load(
        redis_url=settings.redis_url.get_secret_value(),
        queue=settings.queue,
        machine_id=options.machine_ids[0],
        worker_index=0,
        incarnation="simulated",
        connector="simulation",
        artifacts_url="memory://",
    )
