"""Workers in the test's own process, and a connector that does what the test says."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Self, TypeVar

from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

from muster.jobs.leases import Leases
from muster.jobs.model import JobRequest
from muster.worker.connectors.base import ServiceNotReady
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muster.jobs.leases import Exchanged
    from muster.jobs.model import Job, JobState
    from muster.jobs.queue import Queue
    from muster.worker.connectors.base import Context
    from muster.worker.loop import Worker
    from muster.worker.settings import WorkerSettings

    Do = Callable[[Context], Awaitable[Any]]
    Start = Callable[..., "Running"]

SERVICE = "scripted"
T = TypeVar("T")


class Scripted:
    """Does for each attempt what ``do`` says; by default it ends when ``go`` is set."""

    service = SERVICE

    def __init__(self, do: Do | None = None) -> None:
        self.do = do or self._until_told
        self.go = asyncio.Event()
        self.not_ready = ""
        self.probes = 0
        self.started: list[tuple[str, int]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.cancelled: list[str] = []
        self.closed = False

    @classmethod
    def from_settings(cls, _settings: WorkerSettings) -> Self:
        return cls()

    async def ready(self) -> None:
        self.probes += 1
        if self.not_ready:
            raise ServiceNotReady(self.not_ready)

    async def run(self, context: Context) -> Any:
        self.started.append((context.job_id, context.attempt))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self.do(context)
        except asyncio.CancelledError:
            self.cancelled.append(context.job_id)
            raise
        finally:
            self.at_once -= 1

    async def close(self) -> None:
        self.closed = True

    async def _until_told(self, _context: Context) -> str:
        await self.go.wait()
        return "done"


class WatchedLeases(Leases):
    """Counts calls, and breaks the connection before or after a call when told to.

    ``refuse["exchange"] = 2`` breaks two calls before they reach Redis, ``lose["exchange"] = 2``
    two after Redis ran them.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.calls: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.refuse: Counter[str] = Counter()
        self.lose: Counter[str] = Counter()
        self.handed_in: list[int] = []

    async def exchange(self, outcomes: Any = (), **options: Any) -> Exchanged:
        self.handed_in.append(len(outcomes))
        return await self._watched(
            "exchange", lambda: super(WatchedLeases, self).exchange(outcomes, **options)
        )

    async def reclaim(self, held: Any = (), *, lost: bool) -> int:
        return await self._watched(
            "reclaim", lambda: super(WatchedLeases, self).reclaim(held, lost=lost)
        )

    async def progress(self, *args: Any) -> Any:
        return await self._watched("progress", lambda: super(WatchedLeases, self).progress(*args))

    async def wait_for_wake(self) -> str:
        return await self._watched("wait_for_wake", super().wait_for_wake)

    async def _watched(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        self.calls[name] += 1
        try:
            if self.refuse[name]:
                self.refuse[name] -= 1
                raise ConnectionLost("broken on the way there")
            answer = await call()
            if self.lose[name]:
                self.lose[name] -= 1
                raise ConnectionLost("broken on the way back")
        except RedisError:
            self.failed[name] += 1
            raise
        return answer


class Running:
    """A worker that works in a task of its own."""

    def __init__(self, worker: Worker, connector: Any, leases: WatchedLeases) -> None:
        self.worker = worker
        self.connector = connector
        self.leases = leases
        self.task = asyncio.create_task(worker.run())

    async def ended(self, within_s: float = 5) -> None:
        """Wait until the worker has ended; raises what it raised."""
        async with asyncio.timeout(within_s):
            await self.task

    async def drained(self) -> None:
        self.worker.drain()
        await self.ended()


async def submit(queue: Queue, **fields: Any) -> str:
    """Submit a job for the scripted service and return its id."""
    request = JobRequest.model_validate(
        {"service": SERVICE, "payload": {}, "backoff_s": 0} | fields
    )
    return (await queue.submit(request)).id


async def becomes(queue: Queue, job_id: str, state: JobState, *, timeout_s: float = 10) -> Job:
    """Wait until a job is in a state."""
    return await eventually(
        lambda: queue.get(job_id),
        f"job {job_id} becomes {state}",
        until=lambda job: job.state is state,
        timeout_s=timeout_s,
    )
