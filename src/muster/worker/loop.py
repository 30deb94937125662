"""The loop of one worker: take jobs, run them, hand in what came of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

import structlog
from redis.exceptions import RedisError

from muster.artifacts import ArtifactStore
from muster.fleet.registry import Registry
from muster.jobs.connection import check, connect
from muster.jobs.leases import Leases
from muster.jobs.model import Failed, LeaseState, Released
from muster.jobs.queue import Queue
from muster.worker.attempt import Attempt
from muster.worker.connectors.base import ServiceNotReady, find
from muster.worker.heart import Heart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from muster.jobs.model import Lease, Outcome
    from muster.worker.connectors.base import Connector
    from muster.worker.settings import WorkerSettings

    T = TypeVar("T")

PROBE_EVERY_S = 0.25
RECONNECT_AT_MOST_S = 2.0

log = structlog.get_logger()


class Worker:
    """Runs up to ``concurrency`` jobs at once on one service.

    All that is new (an attempt ended, a wake-up came, the service answers, the worker is to drain)
    sets one event; the loop then hands in every outcome there is and asks for as many jobs as there
    is room, in one call. So calls carry more the busier the worker is, and an idle worker waits
    without polling.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        connector: Connector,
        leases: Leases,
        registry: Registry,
        artifacts: ArtifactStore,
    ) -> None:
        self.connector = connector
        self.leases = leases
        self.artifacts = artifacts
        self.concurrency = settings.concurrency
        self.running: dict[Attempt, asyncio.Task[Outcome | None]] = {}
        self.draining = False
        self.not_ready = "starting"
        self.heart = Heart(self, settings, registry)
        self._outcomes: list[Outcome] = []
        self._news = asyncio.Event()
        self._idle = False
        self._woken = ""
        self._waiter: asyncio.Task[None] | None = None
        self._prober: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Work until drained."""
        beating = asyncio.create_task(self.heart.run())
        try:
            # Whatever this worker's id still holds died with its last incarnation.
            await self._insist(lambda: self.leases.reclaim(lost=True))
            await self._insist(self.leases.register)
            self._probe_service("its service was not asked yet")
            while not (self.draining and not self.running and not self._outcomes):
                self._news.clear()
                if not await self._turn():
                    await self._news.wait()
        finally:
            for task in (beating, self._waiter, self._prober):
                if task:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
        await self.heart.leave()

    def drain(self) -> None:
        """Take no more jobs, and give back those that run: their attempts are not counted."""
        if not self.draining:
            log.info("draining", running=len(self.running))
        self.draining = True
        for task in self.running.values():
            task.cancel()
        self._something_new()

    def revoke(self, attempt: Attempt) -> None:
        """Stop an attempt whose lease is gone."""
        log.warning("lease_revoked", job=attempt.job_id, attempt=attempt.attempt)
        attempt.revoked = True
        self.running[attempt].cancel()

    async def _turn(self) -> bool:
        """Exchange outcomes for jobs, once; return whether there was anything to exchange."""
        room = self.concurrency - len(self.running)
        want = 0 if self.draining or self.not_ready else room
        outcomes, self._outcomes = self._outcomes, []
        woken, self._woken = self._woken, ""
        waiting = self._waiter is not None and not woken
        if not outcomes and not woken and (not want or waiting):
            return False
        held = [*(attempt.lease for attempt in self.running), *(o.lease for o in outcomes)]
        exchanged = await self._insist(
            lambda: self.leases.exchange(
                outcomes, want=want, woken=woken, was_idle=self._idle, will_wait=want > 0
            ),
            held,
        )
        for outcome, state in zip(outcomes, exchanged.settled, strict=True):
            if state is not LeaseState.OK:
                log.warning("outcome_refused", job=outcome.lease.job_id, why=state)
        for lease in exchanged.leases:
            self._start(lease)
        if not exchanged.registered:
            await self._insist(self.leases.register, held)
            return True
        self._idle = want > len(exchanged.leases)
        if self._idle and not self._waiter:
            self._waiter = asyncio.create_task(self._wait_for_wake())
        return True

    def _start(self, lease: Lease) -> None:
        if self.draining:
            self._outcomes.append(Released(lease))
            return
        attempt = Attempt(lease, self.leases, self.artifacts)
        task = asyncio.create_task(attempt.run(self.connector))
        self.running[attempt] = task
        task.add_done_callback(lambda done: self._ended(attempt, done))

    def _ended(self, attempt: Attempt, task: asyncio.Task[Outcome | None]) -> None:
        del self.running[attempt]
        # A task that is cancelled before its first step never runs, and has no outcome to give.
        outcome = Released(attempt.lease) if task.cancelled() else task.result()
        if outcome and not attempt.revoked:
            self._outcomes.append(outcome)
        if isinstance(outcome, Failed) and outcome.retryable:
            self._probe_service("its last job failed")
        elif isinstance(outcome, Released):
            self._probe_service("its service did not take a job")
        self._something_new()

    def _something_new(self) -> None:
        self._news.set()
        self.heart.hurry()

    def _probe_service(self, why: str) -> None:
        """Take no jobs until the service says that it is ready."""
        if not self.draining and not self._prober:
            self.not_ready = why
            self._prober = asyncio.create_task(self._await_service())

    async def _await_service(self) -> None:
        while True:
            try:
                await self.connector.ready()
                break
            except ServiceNotReady as error:
                self.not_ready = str(error)
            await asyncio.sleep(PROBE_EVERY_S)
        self.not_ready = ""
        self._prober = None
        self._something_new()

    async def _wait_for_wake(self) -> None:
        try:
            self._woken = await self.leases.wait_for_wake()
        except (RedisError, OSError) as error:
            log.warning("wake_up_lost", error=str(error))
        self._waiter = None
        self._something_new()

    async def _insist(self, act: Callable[[], Awaitable[T]], held: Sequence[Lease] = ()) -> T:
        """Do it until Redis answers, however long that takes.

        ``held`` are the leases that this worker has: after a lost answer the queue is told, so that
        jobs which that answer gave are given to somebody at once.
        """
        failures = 0
        while True:
            try:
                if failures:
                    await self.leases.reclaim(held, lost=False)
                return await act()
            except (RedisError, OSError) as error:
                failures += 1
                log.warning("redis_does_not_answer", error=str(error), failures=failures)
                pause = min(0.1 * 2**failures, RECONNECT_AT_MOST_S)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311


async def run(settings: WorkerSettings) -> None:
    """Run one worker until SIGTERM or SIGINT drains it.

    Raises ``InvalidInput``, ``RedisUnavailable`` when Redis cannot be used at the start (later on
    it is waited for), and ``ProtocolMismatch``.
    """
    structlog.contextvars.bind_contextvars(worker=settings.worker_id)
    async with AsyncExitStack() as closing:
        connector = find(settings.connector).from_settings(settings)
        closing.push_async_callback(connector.close)
        redis = await closing.enter_async_context(connect(settings))
        await check(redis, settings)
        queue = Queue(redis, settings.queue)
        await queue.open()
        leases = Leases(queue, settings.worker_id, settings.capabilities(connector.service))
        registry = Registry(redis, settings.queue)
        artifacts = ArtifactStore(settings.artifacts_url)
        worker = Worker(settings, connector, leases, registry, artifacts)
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, worker.drain)
        await worker.run()
