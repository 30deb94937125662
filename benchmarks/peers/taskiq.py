"""taskiq: its Redis stream broker, which acknowledges; one worker process."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from taskiq_redis import RedisStreamBroker

from benchmarks.peers.submitter import REDIS_URL, main
from benchmarks.tally import tally

# From the stream's beginning ("0"), because the drain's jobs are there before the worker is.
broker = RedisStreamBroker(REDIS_URL, consumer_id="0")

AT_ONCE = 50


@broker.task(task_name="noop")
async def noop(sent_ns: int) -> None:
    """Do nothing."""
    tally().start(sent_ns)


class Taskiq:
    """It has no bulk call: many enqueues at once."""

    async def open(self) -> None:
        await broker.startup()

    async def submit_many(self, count: int) -> None:
        for first in range(0, count, AT_ONCE):
            await asyncio.gather(*(noop.kiq(0) for _ in range(first, min(first + AT_ONCE, count))))

    async def submit(self) -> None:
        await noop.kiq(time.monotonic_ns())

    async def close(self) -> None:
        await broker.shutdown()


def run_worker(concurrency: int) -> None:
    """Become taskiq's own worker."""
    arguments = ["--workers=1", f"--max-async-tasks={concurrency}", "--log-level=WARNING"]
    os.execv(
        sys.executable,
        [sys.executable, "-m", "taskiq", "worker", *arguments, "benchmarks.peers.taskiq:broker"],
    )


if __name__ == "__main__":
    main(Taskiq(), {"worker": run_worker})
