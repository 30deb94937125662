"""Finds what a test leaves behind in this process, and in the Redis that its tests share."""

from __future__ import annotations

import gc
import os
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
from redis import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 5.0
LOOK_EVERY_S = 0.02
# Pools that live as long as an event loop, or the process; they hold no work.
_POOLS = ("asyncio_", "AnyIO worker thread", "ThreadPoolExecutor-")


@dataclass(frozen=True)
class Held:
    """What the process has: children, threads, sockets by inode."""

    children: frozenset[int]
    threads: frozenset[threading.Thread]
    sockets: frozenset[str]


def held(*, sockets: bool = True) -> Held:
    """Return what this process has now; sockets only if they are asked for."""
    return Held(
        children=frozenset(_children()),
        threads=frozenset(t for t in threading.enumerate() if not t.name.startswith(_POOLS)),
        sockets=frozenset(_sockets() if sockets else ()),
    )


def left_since(before: Held, *, sockets: bool = True) -> list[str]:
    """Say what came since and does not go; what is about to go gets a moment. Kills children."""
    deadline = time.monotonic() + PATIENCE_S
    while (left := _new(before, held(sockets=sockets))) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(LOOK_EVERY_S)  # threads and sockets tell nobody when they end
    for pid in set(_children()) - before.children:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()
    return left


class Keys:
    """Looks for keys that nobody removed. An empty URL stands for no shared Redis."""

    def __init__(self, url: str) -> None:
        self._open = ExitStack()
        self._redis = self._open.enter_context(Redis.from_url(url)) if url else None
        if self._redis:
            self._redis.ping()  # so that its socket is there before any test's

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def left(self) -> list[str]:
        """Say which keys there are, and remove them, so that no other test is blamed."""
        if self._redis is None or not self._redis.dbsize():
            return []
        keys = sorted(self._redis.scan_iter(count=1000))
        self._redis.unlink(*keys)
        return [f"key {key.decode(errors='replace')}" for key in keys]


def _new(before: Held, now: Held) -> list[str]:
    left = [f"thread {thread.name}" for thread in now.threads - before.threads]
    for pid in now.children - before.children:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            left.append(f"process {pid} {' '.join(process.cmdline())[:100]}")
    return left + [_told(inode) for inode in now.sockets - before.sockets]


def _children() -> Iterator[int]:
    """Ask the kernel, not psutil, which reads all processes of the computer to find ours."""
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            yield from map(int, children.read_text().split())


def _sockets() -> Iterator[str]:
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208  (a Path would stat each)
        with suppress(OSError):  # the one by which we look
            target = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
            if target.startswith("socket:"):
                yield target


def _told(socket: str) -> str:
    inode = socket.removeprefix("socket:[").removesuffix("]")
    for table in ("tcp", "tcp6", "unix", "udp"):
        for row in Path("/proc/self/net", table).read_text().splitlines():
            if inode in row.split():
                return f"{table} socket: {row.strip()}"
    return f"socket {inode}"
