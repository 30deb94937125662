"""dramatiq: its Redis broker, one worker process with threads."""

from __future__ import annotations

import os
import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers.submitter import REDIS_URL, main
from benchmarks.tally import tally

broker = RedisBroker(url=REDIS_URL)  # type: ignore[no-untyped-call]
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(sent_ns: int) -> None:
    """Do nothing."""
    tally().start(sent_ns)


class Dramatiq:
    """It has no bulk call and no async client: one enqueue a job."""

    async def open(self) -> None:
        broker.client.ping()

    async def submit_many(self, count: int) -> None:
        for _ in range(count):
            noop.send(0)

    async def submit(self) -> None:
        noop.send(time.monotonic_ns())

    async def close(self) -> None:
        broker.close()


def run_worker(concurrency: int) -> None:
    """Become dramatiq's own worker."""
    arguments = ["--processes=1", f"--threads={concurrency}", "benchmarks.peers.dramatiq"]
    os.execv(sys.executable, [sys.executable, "-m", "dramatiq", *arguments])


if __name__ == "__main__":
    main(Dramatiq(), {"worker": run_worker})
