"""What brings the queue forward when nobody speaks: due jobs, lost leases, retention, memory."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from muster.jobs.leases import LEASE_S
from muster.jobs.model import JobState
from muster.jobs.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from muster.jobs.queue import Queue

FORGET = Script("muster.jobs", "forget")
RECOVER = Script("muster.jobs", "recover")
BRIEF = Script("muster.jobs", "brief")
RETIRE = Script("muster.jobs", "retire")

INTERVAL_S = 0.25
GAP_S = 5.0
UPKEEP_EVERY_S = 5.0
BATCH = 500
SIGNATURE_KEPT_S = 120.0

log = structlog.get_logger()


class Recovery:
    """The loop that every server runs. Several side by side do no harm: each call is atomic."""

    def __init__(self, queue: Queue, *, lease_s: float = LEASE_S) -> None:
        self.queue = queue
        self.lease_ms = round(lease_s * 1000)

    async def run(self) -> None:
        """Run until cancelled, through times without Redis."""
        loop = asyncio.get_running_loop()
        upkeep_at = loop.time()
        while True:
            await self._attempt(self.recover)
            if loop.time() >= upkeep_at:
                await self._attempt(self.upkeep)
                upkeep_at = loop.time() + UPKEEP_EVERY_S
            await asyncio.sleep(INTERVAL_S)

    async def _attempt(self, act: Callable[[], Awaitable[object]]) -> None:
        """Do it, or tell that Redis refuses it: a full one refuses all but the upkeep."""
        try:
            await act()
        except (RedisError, OSError) as error:
            log.warning("recovery_waits_for_redis", error=str(error))

    async def recover(self) -> tuple[int, int]:
        """Return how many jobs became ready and how many attempts were found lost, this time."""
        ready, lost = await RECOVER(
            self.queue.redis,
            self.queue.root,
            BATCH,
            self.lease_ms,
            round(GAP_S * 1000),
            random.random(),  # noqa: S311  (spreads retries, guards nothing)
        )
        if lost:
            log.warning("attempts_lost", count=lost)
        return ready, lost

    async def upkeep(self) -> None:
        """Retire finished jobs, forget silent signatures, guard the memory."""
        await FORGET(self.queue.redis, self.queue.root, round(SIGNATURE_KEPT_S * 1000))
        limits = self.queue.limits
        for state, kept in (
            (JobState.COMPLETED, limits.completed),
            (JobState.FAILED, limits.failed),
            (JobState.CANCELLED, limits.cancelled),
        ):
            args = (state, round(kept.age_s * 1000), kept.count, BATCH)
            while await RETIRE(self.queue.redis, self.queue.root, *args) == BATCH:
                pass
        while await BRIEF(self.queue.redis, self.queue.root, BATCH) == BATCH:
            pass
        await self._guard_memory()

    async def _guard_memory(self) -> None:
        """Refuse submissions while Redis is over the watermark; results keep the rest."""
        memory = await self.queue.redis.info("memory")
        most = memory.get("maxmemory") or memory.get("total_system_memory") or 0
        full = most and memory["used_memory"] > most * self.queue.limits.watermark
        meta = self.queue.key("meta")
        if full:
            await self.queue.redis.hset(meta, "full", "1")
            log.warning("memory_watermark_reached", used=memory["used_memory"], of=most)
        else:
            await self.queue.redis.hdel(meta, "full")
