"""What became of the jobs, as the queue's own history tells it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from muster.jobs.events import read_events
from muster.jobs.model import JobState
from muster.simulation.fleet.patience import insist

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from muster.jobs.events import Event
    from muster.jobs.queue import Queue

EVERY_S = 0.1
BATCH = 1000


@dataclass(slots=True)
class JobStory:
    """One job's story so far; times are in ms by Redis's clock, 0 for never."""

    submitted_at: int = 0
    started_at: int = 0
    lost_since: int = 0
    state: JobState = JobState.PENDING
    ends: int = 0


class Story:
    """Follows the queue's events from now on, and keeps the stories of the jobs that are ``mine``.

    ``deaths`` tells when each worker died, in ms. A recovery lasts from there until a job that the
    worker held runs again.
    """

    def __init__(self, queue: Queue, deaths: Mapping[str, Sequence[int]]) -> None:
        self.recoveries_ms: list[int] = []
        self.running_at_most = 0
        self.moved_at = 0.0
        self._queue = queue
        self._deaths = deaths
        self._after = "0"
        self._jobs: dict[str, JobStory] = {}
        self._mine: set[str] = set()
        self._running = 0

    async def begin(self) -> None:
        """Leave out what has happened so far."""
        newest = await self._queue.redis.xrevrange(self._queue.key("events"), count=1)
        for entry_id, _ in cast("list[tuple[bytes, dict[bytes, bytes]]]", newest):
            self._after = entry_id.decode()

    async def follow(self) -> None:
        """Follow the events until cancelled."""
        while True:
            if await self.catch_up() < BATCH:
                await asyncio.sleep(EVERY_S)

    async def catch_up(self) -> int:
        """Take in the next events; return how many there were."""
        events = await insist(lambda: read_events(self._queue, after=self._after, limit=BATCH))
        for event in events:
            self._tell(event)
            self._after = event.id
        return len(events)

    def mine(self, job_ids: Iterable[str]) -> None:
        """Tell of these jobs."""
        self._mine.update(job_ids)
        self.moved_at = asyncio.get_running_loop().time()

    @property
    def states(self) -> Counter[JobState]:
        """How many jobs are in each state."""
        return Counter(job.state for job in self._of_mine())

    @property
    def unfinished(self) -> list[str]:
        """The jobs that have not reached an end."""
        jobs = self._jobs
        return [name for name in self._mine if name not in jobs or not jobs[name].state.terminal]

    @property
    def waits_ms(self) -> list[int]:
        """For how long each job that was started had waited for that."""
        return [job.started_at - job.submitted_at for job in self._of_mine() if job.started_at]

    @property
    def committed_twice(self) -> int:
        """How many jobs came to more than one end. It has to be 0."""
        return sum(job.ends > 1 for job in self._of_mine())

    def _of_mine(self) -> Iterable[JobStory]:
        return (self._jobs[name] for name in self._mine if name in self._jobs)

    def _tell(self, event: Event) -> None:
        job = self._jobs.setdefault(event.job, JobStory())
        at = int(event.id.partition("-")[0])
        self.moved_at = asyncio.get_running_loop().time()
        if event.detail == "submitted":
            job.submitted_at = at
        elif event.detail == "lost":
            job.lost_since = self._death(event.worker, before=at)
        if event.state is JobState.RUNNING:
            job.started_at = job.started_at or at
            if job.lost_since:
                self.recoveries_ms.append(at - job.lost_since)
                job.lost_since = 0
        job.ends += event.state.terminal
        self._running += (event.state is JobState.RUNNING) - (job.state is JobState.RUNNING)
        self.running_at_most = max(self.running_at_most, self._running)
        job.state = event.state

    def _death(self, worker: str, *, before: int) -> int:
        return max((at for at in self._deaths.get(worker, ()) if at <= before), default=0)
