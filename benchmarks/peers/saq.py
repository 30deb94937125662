"""SAQ: one worker process."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import uvloop
from saq import Queue, Worker

from benchmarks.peers.submitter import REDIS_URL, main
from benchmarks.tally import tally

if TYPE_CHECKING:
    from saq.types import Context

AT_ONCE = 50


async def noop(_context: Context, *, sent_ns: int) -> None:
    """Do nothing."""
    tally().start(sent_ns)


class Saq:
    """It has no bulk call: many enqueues at once."""

    async def open(self) -> None:
        self.queue = Queue.from_url(REDIS_URL, max_concurrent_ops=AT_ONCE)
        await self.queue.connect()

    async def submit_many(self, count: int) -> None:
        for first in range(0, count, AT_ONCE):
            batch = range(first, min(first + AT_ONCE, count))
            await asyncio.gather(*(self.queue.enqueue("noop", sent_ns=0) for _ in batch))

    async def submit(self) -> None:
        await self.queue.enqueue("noop", sent_ns=time.monotonic_ns())

    async def close(self) -> None:
        await self.queue.disconnect()


def run_worker(concurrency: int) -> None:
    """Run SAQ's worker."""
    uvloop.run(_work(concurrency))


async def _work(concurrency: int) -> None:
    queue = Queue.from_url(REDIS_URL)
    await Worker(queue, functions=[noop], concurrency=concurrency).start()


if __name__ == "__main__":
    main(Saq(), {"worker": run_worker})
