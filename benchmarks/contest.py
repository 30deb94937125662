"""Runs one contestant's programs against the run's Redis, and reads what they saw."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from redis import Redis

from benchmarks.tally import Tallied, begun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TIME_LIMIT_S = 120
ROOT = Path(__file__).parent.parent


class ContestantFailed(Exception):
    """A contestant's program ended badly, or took too long."""


@dataclass(frozen=True, slots=True)
class Latency:
    """From submission to start, in milliseconds."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Arena:
    """The Redis of the run: the benchmark's own, so that each contest may start from empty."""

    url: str

    def clear(self) -> None:
        """Start from empty."""
        with Redis.from_url(self.url) as redis:
            redis.flushall()

    def submit(self, submitter: Sequence[str], jobs: int) -> float:
        """Submit so many jobs and return how many a second."""
        self.clear()
        done = subprocess.run(
            [*submitter, "submit", str(jobs)],
            env=self._environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
        if done.returncode:
            raise ContestantFailed(done.stderr[-2000:])
        return jobs / float(done.stdout.split()[-1])

    def drain(self, worker: Sequence[str], jobs: int) -> float:
        """Let a worker run the jobs that were submitted and return how many a second."""
        with self._working(worker, jobs) as (process, file):
            return self._tallied(process, file).per_s

    def latency(
        self, submitter: Sequence[str], worker: Sequence[str], pings: int, blocked: int = 0
    ) -> Latency:
        """Submit jobs to idle workers, one after the other; return how long until they started.

        ``blocked`` is how many connections wait in Redis once all workers are idle.
        """
        self.clear()
        with (
            self._working(worker, pings + 1) as (process, file),
            tempfile.TemporaryDirectory() as folder,
        ):
            ready = Path(folder) / "ready"
            pinger = subprocess.Popen(
                [*submitter, "ping", str(pings), str(ready)], env=self._environment(), cwd=ROOT
            )
            try:
                self._wait(process, begun(file).exists, "the first job starts")
                self._wait(process, lambda: self._blocked() >= blocked, "all workers are idle")
                ready.touch()
                delays = sorted(self._tallied(process, file).delays_ms[1:])
            finally:
                pinger.kill()
                pinger.wait()
        return Latency(statistics.median(delays), delays[int(len(delays) * 0.99)])

    @contextmanager
    def _working(
        self, worker: Sequence[str], jobs: int
    ) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
        with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
            file = Path(folder) / "tally.json"
            log = Path(folder) / "log"
            environment = self._environment() | {"BENCH_TALLY": str(file), "BENCH_JOBS": str(jobs)}
            with log.open("wb") as output:
                process = subprocess.Popen(
                    worker,
                    env=environment,
                    cwd=ROOT,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            try:
                yield process, file
            except ContestantFailed as failure:
                raise ContestantFailed(f"{failure}\n{log.read_text()[-2000:]}") from None
            finally:
                # Its whole group: some of the workers have children, and not all heed SIGTERM.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _tallied(self, process: subprocess.Popen[bytes], file: Path) -> Tallied:
        self._wait(process, file.exists, "all jobs are done")
        return Tallied.read(file)

    def _wait(
        self, process: subprocess.Popen[bytes], condition: Callable[[], bool], awaited: str
    ) -> None:
        deadline = time.monotonic() + TIME_LIMIT_S
        while not condition():
            if process.poll() is not None:
                raise ContestantFailed(f"the worker ended ({process.returncode}): {awaited}?")
            if time.monotonic() > deadline:
                raise ContestantFailed(f"waited {TIME_LIMIT_S} s in vain until {awaited}")
            time.sleep(0.02)

    def _blocked(self) -> int:
        with Redis.from_url(self.url) as redis:
            return int(redis.info("clients")["blocked_clients"])

    def _environment(self) -> dict[str, str]:
        return dict(os.environ) | {"BENCH_REDIS_URL": self.url}
