"""Muster: the queue as its server and its worker use it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import uvloop

from benchmarks.peers.submitter import REDIS_URL, main
from benchmarks.tally import tally
from muster.jobs.connection import connect
from muster.jobs.leases import Leases
from muster.jobs.model import Capabilities, Completed, JobRequest
from muster.jobs.queue import Queue
from muster.settings import RedisSettings

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from muster.worker.connectors.base import Context
    from muster.worker.settings import WorkerSettings

BULK = 500
JOIN_EVERY_S = 0.0025
SERVICE = "stopwatch"
BENCHMARKS = Path(__file__).parents[1]
CONNECTOR = BENCHMARKS / "connector"


class Stopwatch:
    """A connector to nothing; the entry point in ``benchmarks/connector`` names it."""

    service = SERVICE

    @classmethod
    def from_settings(cls, _settings: WorkerSettings) -> Self:
        return cls()

    async def ready(self) -> None:
        pass

    async def run(self, context: Context) -> Any:
        tally().start(context.request.payload["sent_ns"])

    async def close(self) -> None:
        pass


class Muster:
    """Bulk calls, two under way at a time; single ones for latency."""

    async def open(self) -> None:
        self.redis = connect(RedisSettings.load(redis_url=REDIS_URL))
        self.queue = Queue(self.redis)
        await self.queue.open()

    async def submit_many(self, count: int) -> None:
        firsts = iter(range(0, count, BULK))

        async def submit_bulks() -> None:
            for first in firsts:
                bulk = range(first, min(first + BULK, count))
                await self.queue.submit_many(
                    [JobRequest(service=SERVICE, payload={"sent_ns": 0}) for _ in bulk]
                )

        await asyncio.gather(submit_bulks(), submit_bulks())

    async def submit(self) -> None:
        await self.queue.submit(
            JobRequest(service=SERVICE, payload={"sent_ns": time.monotonic_ns()})
        )

    async def close(self) -> None:
        await self.redis.aclose()


def run_worker(concurrency: int) -> None:
    """Become ``muster worker``, with the connector above found as a user's own is."""
    environment = os.environ | {
        "PYTHONPATH": f"{CONNECTOR}:{BENCHMARKS.parent}",
        "REDIS_URL": REDIS_URL,
        "MACHINE_ID": "bench",
        "WORKER_INDEX": "0",
        "MACHINE_INCARNATION": "bench",
        "CONNECTOR": SERVICE,
        "WORKER_CONCURRENCY": str(concurrency),
        "ARTIFACTS_URL": "memory:///",
    }
    os.execve(sys.executable, [sys.executable, "-m", "muster.cli", "worker"], environment)


def run_fleet(workers: int) -> None:
    """Let many workers wait in one process, with the calls that real ones make.

    Their hearts are left out: four hundred of them would share one core here, and nowhere else.
    """
    uvloop.run(_wait_side_by_side(workers))


async def _wait_side_by_side(workers: int) -> None:
    redis = connect(RedisSettings.load(redis_url=REDIS_URL))
    await asyncio.gather(*(_work_when_woken(redis, number) for number in range(workers)))


async def _work_when_woken(redis: Redis, number: int) -> None:
    # Out of step, as real workers are.
    await asyncio.sleep(number * JOIN_EVERY_S)
    leases = Leases(Queue(redis), f"bench-{number}", Capabilities(service=SERVICE))
    await leases.register()
    done: list[Completed] = []
    woken, was_idle = "", False
    while True:
        exchanged = await leases.exchange(
            done, want=1, woken=woken, was_idle=was_idle, will_wait=True
        )
        for lease in exchanged.leases:
            tally().start(lease.request().payload["sent_ns"])
        done = [Completed(lease, b"null") for lease in exchanged.leases]
        was_idle = not done
        woken = await leases.wait_for_wake() if was_idle else ""


def run_batches(size: int) -> None:
    """Exchange batches of outcomes for batches of jobs, two under way, without a worker's loop."""
    uvloop.run(_exchange_batches(size))


async def _exchange_batches(size: int) -> None:
    redis = connect(RedisSettings.load(redis_url=REDIS_URL))
    leases = Leases(Queue(redis), "bench-worker-0", Capabilities(service=SERVICE))
    await leases.register()

    async def work() -> None:
        outcomes: list[Completed] = []
        while True:
            exchanged = await leases.exchange(outcomes, want=size)
            for _ in exchanged.leases:
                tally().start(0)
            outcomes = [Completed(lease, b"null") for lease in exchanged.leases]

    await asyncio.gather(work(), work())


if __name__ == "__main__":
    main(Muster(), {"worker": run_worker, "fleet": run_fleet, "batches": run_batches})
