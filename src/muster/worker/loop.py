"""The loop of one worker: take jobs, run them, hand in what came of them."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self, TypeVar

import structlog
from redis.exceptions import RedisError

from muster.artifacts import ArtifactStore
from muster.fleet.registry import Registry
from muster.jobs.connection import check, connect
from muster.jobs.leases import Leases
from muster.jobs.model import Failed, LeaseState, Released
from muster.jobs.queue import Queue
from muster.tasks import end
from muster.worker.attempt import Attempt, storable
from muster.worker.connectors.base import ServiceNotReady, find
from muster.worker.heart import Heart
from muster.worker.models import WorkerModels

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from muster.jobs.model import Capabilities, Lease, Outcome
    from muster.worker.connectors.base import Connector
    from muster.worker.settings import WorkerSettings

    T = TypeVar("T")

PROBE_EVERY_S = 0.25
RECONNECT_AT_LEAST_S = 0.2
RECONNECT_AT_MOST_S = 2.0
DRAIN_AT_MOST_S = 10.0
"""The bound of a drain, for a Redis that is away or a connector that does not let go: what is not
handed in by then counts as lost once its lease is over."""

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
        self._settings = settings
        self._models = WorkerModels(settings.store_dir, settings.models)
        self._fetched: frozenset[str] = frozenset()
        self._offer_changed = False
        self.running: set[Attempt] = set()
        self.draining = False
        self.not_ready = "starting"
        self.heart = Heart(self, settings, registry)
        self._outcomes: list[Outcome] = []
        self._news = asyncio.Event()
        self._idle = False
        self._woken = ""
        self._helpers = asyncio.TaskGroup()
        self._waiter: asyncio.Task[None] | None = None
        self._prober: asyncio.Task[None] | None = None
        self._bound: asyncio.Timeout | None = None

    @classmethod
    def on(cls, queue: Queue, settings: WorkerSettings, connector: Connector) -> Self:
        """Make one that works for a queue; workers in one process may share the queue's client."""
        offer = settings.capabilities(connector.service)
        return cls(
            settings,
            connector,
            Leases(queue, settings.worker_id, offer),
            Registry(queue.redis, settings.queue),
            ArtifactStore(settings.artifacts_url),
        )

    async def run(self) -> None:
        """Work until drained, which takes ``DRAIN_AT_MOST_S`` at most.

        Raises an exception group if a part of the worker dies: without its heart, for one, it
        would run jobs that others were given too.
        """
        try:
            async with asyncio.timeout(DRAIN_AT_MOST_S if self.draining else None) as self._bound:
                async with self._helpers:
                    beating = self._helpers.create_task(self.heart.run())
                    try:
                        await self._work()
                    finally:
                        await end(*filter(None, (beating, self._waiter, self._prober)))
        except TimeoutError:
            left = [attempt.job_id for attempt in self.running]
            left += [outcome.lease.job_id for outcome in self._outcomes]
            log.error("drain_not_finished", left=left)  # noqa: TRY400  (expected, no trace)
        finally:
            self.draining = True
            for attempt in self.running:
                attempt.stop()
        await self.heart.leave()

    def drain(self) -> None:
        """Take no more jobs, and give back those that run: their attempts are not counted."""
        if self.draining:
            return
        log.info("draining", running=len(self.running))
        self.draining = True
        if self._bound:
            self._bound.reschedule(asyncio.get_running_loop().time() + DRAIN_AT_MOST_S)
        for attempt in self.running:
            attempt.stop()
        self._something_new()

    @property
    def capabilities(self) -> Capabilities:
        """What it offers to jobs now."""
        return self._settings.capabilities(self.connector.service, self._fetched)

    def look_at_models(self) -> None:
        """See whether models came or went; if so, what is offered changes before the next turn."""
        if self._models.fetched() != self._fetched:
            self._offer_changed = True
            self._something_new()

    async def _work(self) -> None:
        # Whatever this worker's id still holds died with its last incarnation.
        await self._insist(lambda: self.leases.reclaim(lost=True))
        await self._insist(self.leases.register)
        self._probe_service("its service was not asked yet")
        while not (self.draining and not self.running and not self._outcomes):
            self._news.clear()
            if not await self._turn():
                await self._news.wait()

    async def _turn(self) -> bool:
        """Exchange outcomes for jobs, once; return whether there was anything to exchange."""
        if self._offer_changed and not self._waiter:
            await self._change_offer()
        room = self.concurrency - len(self.running)
        want = 0 if self.draining or self.not_ready else room
        waiting = self._idle and self._waiter is not None and not self._woken
        if not self._outcomes and not self._woken and (not want or waiting):
            return False
        registered = await self._exchange(want)
        if not registered:
            await self._insist(self.leases.register)
        elif self._idle and not self._waiter:
            self._waiter = self._helpers.create_task(self._wait_for_wake())
        return True

    async def _exchange(self, want: int) -> bool:
        """Hand in outcomes, take so many jobs at most; return whether the offer is known."""
        outcomes = list(self._outcomes)
        woken, self._woken = self._woken, ""
        held = [*(attempt.lease for attempt in self.running), *(o.lease for o in outcomes)]
        exchanged = await self._insist(
            lambda: self.leases.exchange(
                outcomes, want=want, woken=woken, was_idle=self._idle, will_wait=want > 0
            ),
            held,
        )
        del self._outcomes[: len(outcomes)]
        for outcome, state in zip(outcomes, exchanged.settled, strict=True):
            if state is not LeaseState.OK:
                log.warning("outcome_refused", job=outcome.lease.job_id, why=state)
        for lease in exchanged.leases:
            self._start(lease)
        self._idle = exchanged.registered and want > len(exchanged.leases)
        return exchanged.registered

    async def _change_offer(self) -> None:
        """Hand in what there is, wait no more with what was offered, and offer what is now."""
        if self._outcomes or self._woken or self._idle:
            await self._exchange(want=0)
        self._offer_changed = False
        self._fetched = self._models.fetched()
        self.leases.offer(self.capabilities)
        await self._insist(self.leases.register)

    def _start(self, lease: Lease) -> None:
        if self.draining:
            self._outcomes.append(Released(lease))
            return
        attempt = Attempt(lease, self.leases, self.artifacts, self._models)
        self.running.add(attempt)
        task = attempt.start(self.connector)
        task.add_done_callback(lambda done: self._ended(attempt, done))

    def _ended(self, attempt: Attempt, task: asyncio.Task[Outcome | None]) -> None:
        self.running.remove(attempt)
        # A task that is cancelled before its first step never runs, and has no outcome to give.
        outcome = Released(attempt.lease) if task.cancelled() else task.result()
        if outcome and not attempt.revoked:
            self._outcomes.append(outcome)
            self._doubt_service(outcome)
        self._something_new()

    def _doubt_service(self, outcome: Outcome) -> None:
        self.look_at_models()
        if isinstance(outcome, Failed) and outcome.retryable:
            self._probe_service("its last job failed")
        elif isinstance(outcome, Released):
            # Not at once: a service that says it is ready, and refuses, would be asked in a frenzy.
            self._probe_service("its service did not take a job", after_s=PROBE_EVERY_S)

    def _something_new(self) -> None:
        self._news.set()
        self.heart.hurry()

    def _probe_service(self, why: str, after_s: float = 0) -> None:
        """Take no jobs until the service says that it is ready."""
        if not self.draining and not self._prober:
            self.not_ready = why
            self._prober = self._helpers.create_task(self._await_service(after_s))

    async def _await_service(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        while reason := await self._why_not_ready():
            if reason != self.not_ready:
                log.warning("service_not_ready", reason=reason)
                self.not_ready = reason
                self.heart.hurry()
            await asyncio.sleep(PROBE_EVERY_S)
        self.not_ready = ""
        self._prober = None
        self._something_new()

    async def _why_not_ready(self) -> str:
        try:
            await self.connector.ready()
        except ServiceNotReady as error:
            return storable(str(error))
        except Exception as error:  # noqa: BLE001  (a connector's bug: told, and asked again)
            return storable(f"the connector's probe crashed: {type(error).__name__}: {error}")
        return ""

    async def _wait_for_wake(self) -> None:
        try:
            self._woken = await self.leases.wait_for_wake()
        except (RedisError, OSError) as error:
            log.warning("wake_up_lost", error=str(error))
            await asyncio.sleep(RECONNECT_AT_LEAST_S)
        self._waiter = None
        self._news.set()

    async def _insist(
        self, act: Callable[[], Awaitable[T]], held: Sequence[Lease] | None = None
    ) -> T:
        """Do it until Redis answers, however long that takes.

        ``held`` are the leases that this worker has when it asks for more: after a lost answer the
        queue is told, so that jobs which that answer gave are given to somebody at once.
        """
        failures = 0
        while True:
            try:
                if failures and held is not None:
                    await self.leases.reclaim(held, lost=False)
                return await act()
            except (RedisError, OSError) as error:
                log.warning("redis_does_not_answer", error=str(error), failures=failures + 1)
                pause = min(RECONNECT_AT_LEAST_S * 2 ** min(failures, 10), RECONNECT_AT_MOST_S)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                failures += 1


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
        worker = Worker.on(queue, settings, connector)
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, worker.drain)
            closing.callback(loop.remove_signal_handler, name)
        await worker.run()
