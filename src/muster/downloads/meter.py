"""How far a download is: a bar on a terminal, a line in the log now and then elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from rich import progress
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.downloads.fetching import OnProgress

LOG_EVERY_S = 10.0

_log = structlog.get_logger()


@contextmanager
def meter(what: str) -> Iterator[OnProgress]:
    """Give the function to tell how many bytes are there, and of how many."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(what, console) as tell:
            yield tell
    else:
        yield _logging(what)


@contextmanager
def _bar(what: str, console: Console) -> Iterator[OnProgress]:
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _logging(what: str) -> OnProgress:
    last = time.monotonic()

    def tell(done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last > LOG_EVERY_S:
            last = time.monotonic()
            _log.info("downloading", what=what, bytes=done, of=total)

    return tell
