"""A worker's heartbeat: it keeps leases, reports to the fleet, and hears of revocations."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from muster.errors import Conflict
from muster.fleet import model
from muster.fleet.model import WorkerState
from muster.fleet.registry import HEARTBEAT_S
from muster.fleet.running import running_release
from muster.jobs.model import LeaseState

if TYPE_CHECKING:
    from muster.fleet.registry import Registry
    from muster.worker.loop import Worker
    from muster.worker.settings import WorkerSettings

HURRY_S = 0.2
_AT_WORK = frozenset({WorkerState.IDLE, WorkerState.BUSY})
SIGNATURE_EVERY = 10

log = structlog.get_logger()


class Heart:
    """Beats every two seconds, and sooner (not more than five times a second) when news calls."""

    def __init__(self, worker: Worker, settings: WorkerSettings, registry: Registry) -> None:
        self.worker = worker
        self.registry = registry
        self._hurry = asyncio.Event()
        self._parent = os.getppid()
        self._settings = settings
        self._started_at = datetime.now(UTC)
        self._version = version("muster-fleet")
        self._release = running_release()

    def hurry(self) -> None:
        """Tell the fleet soon."""
        self._hurry.set()

    async def run(self) -> None:
        """Beat until cancelled, through times without Redis."""
        registered = False
        beats = 0
        while True:
            try:
                self.worker.look_at_models()
                await self._extend()
                if registered:
                    await self.registry.report_worker(self.record())
                else:
                    await self.registry.register_worker(self.record())
                    registered = True
                # One that cannot take jobs is not to be counted on for what it offers.
                if beats % SIGNATURE_EVERY == 0 and self._state() in _AT_WORK:
                    await self.worker.leases.register()
                beats += 1
            except (RedisError, OSError) as error:
                log.warning("heartbeat_missed", error=str(error))
            except Conflict as error:
                log.error("worker_replaced", reason=str(error))  # noqa: TRY400  (expected, no trace)
                self.worker.drain()
            if os.getppid() != self._parent:
                log.warning("supervisor_gone")
                self.worker.drain()
            await self._rest()

    async def leave(self) -> None:
        """Say good-bye; when Redis is away, silence says it."""
        try:
            await self.registry.leave_worker(self.record())
        except (RedisError, OSError, Conflict) as error:
            log.warning("left_without_notice", error=str(error))

    def record(self) -> model.Worker:
        """Return what there is to tell of the worker now."""
        settings = self._settings
        return model.Worker(
            worker_id=settings.worker_id,
            machine_id=settings.machine_id,
            incarnation=settings.incarnation,
            gpu=settings.worker_index,
            state=self._state(),
            capabilities=self.worker.capabilities,
            jobs=sorted(attempt.job_id for attempt in self.worker.running),
            reason=self.worker.not_ready,
            version=self._version,
            release=self._release,
            pid=os.getpid(),
            started_at=self._started_at,
        )

    def _state(self) -> WorkerState:
        if self.worker.draining:
            return WorkerState.DRAINING
        if self.worker.running:
            return WorkerState.BUSY
        return WorkerState.STARTING if self.worker.not_ready else WorkerState.IDLE

    async def _extend(self) -> None:
        attempts = list(self.worker.running)
        if not attempts:
            return
        states = await self.worker.leases.extend([attempt.lease for attempt in attempts])
        for attempt, state in zip(attempts, states, strict=True):
            # One that ended while the question was under way is settled elsewhere.
            if state is LeaseState.LOST and attempt in self.worker.running:
                attempt.revoke()

    async def _rest(self) -> None:
        await asyncio.sleep(HURRY_S)
        try:
            async with asyncio.timeout(HEARTBEAT_S - HURRY_S):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()
