"""Following jobs to their end: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from muster.client import JobState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from muster.client import Client, Job

EVERY_S = 0.3
LOOKS = 50


def watch(client: Client, job_ids: Sequence[str], out: Console) -> list[Job]:
    """Return the jobs when all are over, in the order given."""
    seen: dict[str, Job] = {}
    open_ids = deque(dict.fromkeys(job_ids))
    with _Display(out, len(open_ids)) as display:
        while open_ids:
            _look(client, open_ids, seen, display)
            display.show(seen)
            if open_ids:
                time.sleep(EVERY_S)
    return [seen[job_id] for job_id in job_ids]


def _look(client: Client, open_ids: deque[str], seen: dict[str, Job], display: _Display) -> None:
    """Look at some of the open jobs, those next time that have waited longest."""
    for _ in range(min(LOOKS, len(open_ids))):
        job = client.get(open_ids.popleft())
        before = seen.get(job.id)
        seen[job.id] = job
        if before is None or before.state is not job.state:
            display.changed(job)
        if not job.state.terminal:
            open_ids.append(job.id)


class _Display:
    """One bar for all jobs, on a terminal; elsewhere a line per change, or a summary at the end."""

    def __init__(self, out: Console, count: int) -> None:
        self._out = out
        self._count = count
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=out,
            disable=not out.is_terminal,
        )
        self._task = self._bar.add_task("submitted", total=count)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def changed(self, job: Job) -> None:
        """Tell of a job's new state: each one of few or on plain output, failures always."""
        plain = not self._out.is_terminal
        if job.state is JobState.FAILED:
            why = f": {job.attempts[-1].error.message}" if job.attempts else ""
            self._out.print(f"{job.id} failed{why}", markup=False)
        elif plain and (self._count == 1 or job.state.terminal):
            self._out.print(f"{job.id} {job.state}", markup=False)

    def show(self, seen: dict[str, Job]) -> None:
        """Move the bar: a running job counts for as much as it has done."""
        states = Counter(job.state for job in seen.values())
        done = sum(_share(job) for job in seen.values())
        words = ", ".join(f"{states[state]} {state}" for state in JobState if states[state])
        self._bar.update(self._task, completed=done, description=words)
        if states.total() == self._count and all(state.terminal for state in states):
            self._out.print(words)


def _share(job: Job) -> float:
    if job.state.terminal:
        return 1
    return job.progress.fraction if job.progress and job.state is JobState.RUNNING else 0
