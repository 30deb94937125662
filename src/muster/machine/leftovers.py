"""Ends what an earlier run left behind, and keeps a second run out while one lasts."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import structlog
from filelock import FileLock, Timeout

from muster.errors import Conflict, MusterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TERM_WAIT_S = 15.0
KILL_WAIT_S = 10.0

_log = structlog.get_logger()


class LeftoversRemain(MusterError):
    """Processes of an earlier run cannot be ended. End them by hand."""


@contextmanager
def sole_run(lock_file: Path, what: str) -> Iterator[None]:
    """Hold a lock that ends with this process, however that ends.

    Raises ``Conflict`` if another process holds it; ``what`` is what it says runs already.
    """
    lock_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Conflict(
            f"{what} runs already: it holds {lock_file}. Stop it first, or use another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


def find(marker: Mapping[str, str]) -> list[psutil.Process]:
    """Return the processes that have ``marker`` in their environment, without us and our parents.

    A process that nobody but root may look into is not ours, and not found.
    """
    me = psutil.Process()
    spared = {me.pid, *(parent.pid for parent in me.parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in spared and _is_marked(process, marker)
    ]


def end(
    marker: Mapping[str, str],
    *,
    term_wait_s: float = TERM_WAIT_S,
    kill_wait_s: float = KILL_WAIT_S,
) -> None:
    """End the processes that have ``marker`` in their environment: SIGTERM, in time SIGKILL.

    Raises ``LeftoversRemain`` if some outlive even that.
    """
    term_deadline = time.monotonic() + term_wait_s
    kill_deadline = term_deadline + kill_wait_s
    asked: set[psutil.Process] = set()
    while left := find(marker):
        now = time.monotonic()
        if now > kill_deadline:
            raise LeftoversRemain(
                f"Processes of an earlier run cannot be ended: {[p.pid for p in left]}. "
                "End them by hand."
            )
        for process in left:
            if now > term_deadline:
                _kill(process)
            elif process not in asked:
                _terminate(process)
                asked.add(process)
        psutil.wait_procs(left, timeout=0.2)


def _is_marked(process: psutil.Process, marker: Mapping[str, str]) -> bool:
    try:
        if process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        environment = process.environ()
    except (psutil.Error, OSError):
        return False
    return all(environment.get(name) == value for name, value in marker.items())


def _terminate(process: psutil.Process) -> None:
    _log.info("leftover_terminated", pid=process.pid)
    try:
        process.terminate()
    except psutil.NoSuchProcess:
        return


def _kill(process: psutil.Process) -> None:
    _log.warning("leftover_killed", pid=process.pid)
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
