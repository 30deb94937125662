"""What the contestants' programs share: the command line, the stopwatch, the pauses."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import uvloop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")
PAUSES_S = (0.005, 0.015)


class Submitter(Protocol):
    """A contestant's way to submit."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def submit_many(self, count: int) -> None:
        """Submit so many no-op jobs as fast as the library can."""
        ...

    async def submit(self) -> None:
        """Submit one no-op job that carries the time."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


def main(submitter: Submitter, workers: Mapping[str, Callable[[int], None]]) -> None:
    """Run the program that the command line names."""
    command, number, *rest = sys.argv[1:]
    if command == "submit":
        uvloop.run(_within(submitter, lambda: _submit(submitter, int(number))))
    elif command == "ping":
        uvloop.run(_within(submitter, lambda: _ping(submitter, int(number), Path(rest[0]))))
    else:
        workers[command](int(number))


async def _within(submitter: Submitter, act: Callable[[], Awaitable[None]]) -> None:
    await submitter.open()
    try:
        await act()
    finally:
        await submitter.close()


async def _submit(submitter: Submitter, count: int) -> None:
    begin = time.perf_counter()
    await submitter.submit_many(count)
    print(time.perf_counter() - begin)


async def _ping(submitter: Submitter, count: int, ready: Path) -> None:
    await submitter.submit()
    await asyncio.to_thread(_wait_for, ready)
    for _ in range(count):
        await asyncio.sleep(random.uniform(*PAUSES_S))
        await submitter.submit()


def _wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)
