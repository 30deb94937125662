"""Locks between threads, processes, and containers on one volume.

They are ``flock(2)`` locks: held by an open file, so the kernel drops them with whoever held them,
even by ``kill -9``. Many may share one, or one has it alone.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

_EVERY_S = 0.05


@contextmanager
def shared(file: Path) -> Iterator[None]:
    """Hold a lock together with others, and mark its file as used now."""
    with _opened(file) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(descriptor)
        yield


@contextmanager
def alone(file: Path) -> Iterator[bool]:
    """Try to hold a lock alone; gives whether it is held. It does not wait."""
    with _opened(file) as descriptor:
        yield _try(descriptor)


@asynccontextmanager
async def waited_for(file: Path) -> AsyncIterator[None]:
    """Hold a lock alone, after whoever has it."""
    with _opened(file) as descriptor:
        while not _try(descriptor):  # noqa: ASYNC110  (others are in other processes)
            await asyncio.sleep(_EVERY_S)
        yield


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
