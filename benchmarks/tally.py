"""A stopwatch inside a worker process: every contestant's no-op job calls it, and nothing else.

It counts in memory, so that it costs the contestants nothing that differs between them, and writes
one file at the end.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tallied:
    """What a worker process saw: its rate, and each job's way from submission to start."""

    per_s: float
    delays_ms: list[float]

    @classmethod
    def read(cls, file: Path) -> Tallied:
        """Read what ``Tally`` wrote."""
        seen = json.loads(file.read_text())
        starts, sent = seen["started_ns"], seen["sent_ns"]
        return cls(
            per_s=(len(starts) - 1) / (starts[-1] - starts[0]) * 1e9,
            delays_ms=[(start - send) / 1e6 for start, send in zip(starts, sent, strict=True)],
        )


@dataclass(slots=True)
class Tally:
    """Notes ``expected`` starts, then writes ``file``. Times are of CLOCK_MONOTONIC, in ns."""

    file: Path
    expected: int
    started_ns: list[int] = field(default_factory=list)
    sent_ns: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, sent_ns: int) -> None:
        """Note that a job sent at ``sent_ns`` starts now."""
        now = time.monotonic_ns()
        with self.lock:
            self.started_ns.append(now)
            self.sent_ns.append(sent_ns)
            count = len(self.started_ns)
        if count == 1:
            begun(self.file).touch()
        if count == self.expected:
            whole = self.file.with_suffix(".part")
            whole.write_text(json.dumps({"started_ns": self.started_ns, "sent_ns": self.sent_ns}))
            whole.rename(self.file)


def begun(file: Path) -> Path:
    """Return the file that shows that the first job has started."""
    return file.with_suffix(".begun")


@cache
def tally() -> Tally:
    """Return this process's stopwatch, as its parent has set it up."""
    return Tally(Path(os.environ["BENCH_TALLY"]), int(os.environ["BENCH_JOBS"]))
