"""A fleet that is only records, and the traffic of its changes at any rate.

What is written has the form that the real calls write (``fleet/lua/report.lua``,
``jobs/lua/progress.lua``, ``jobs/lua/exchange.lua``), many changes in one call. Each change carries
the time at which it was written, so that a viewer can tell how old it is.

``python -m support.traffic`` is the process that writes; its plan comes as the first line on stdin.
"""

from __future__ import annotations

import json
import random
import secrets
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis

from muster.fleet.identity import worker_id
from muster.fleet.model import Machine, MachineState, Program, Worker, WorkerState
from muster.jobs.model import Capabilities
from muster.jobs.queue import root_key
from support.viewers import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

TICK_S = 0.02
SEEN_EVERY_S = 2.0
_TESTS = Path(__file__).parents[1]

PROGRESS = """
local root, now = KEYS[1], ARGV[1]
for i = 2, #ARGV do
  local told = '{"attempt":1,"fraction":0.' .. string.sub(now, -3) .. ',"message":"t' .. now .. '"}'
  redis.call('HSET', root .. ':progress', ARGV[i], told)
end
"""

REPORT = """
local root, now, kind = KEYS[1], ARGV[1], ARGV[2]
for i = 3, #ARGV, 2 do
  redis.call('ZADD', root .. ':' .. kind .. ':seen', now, ARGV[i])
  redis.call('HSET', root .. ':' .. kind, ARGV[i], ARGV[i + 1])
  redis.call('XADD', root .. ':telemetry', 'MAXLEN', '~', 50000, '*', 'kind', kind, 'id', ARGV[i],
    'record', ARGV[i + 1])
end
"""

MOVE = """
local root, now = KEYS[1], ARGV[1]
for i = 2, #ARGV, 3 do
  local job, state, worker = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local name = root .. ':job:' .. job
  if state == 'running' then
    redis.call('HSET', name, 'state', state, 'worker', worker, 'attempt', 1, 'started', now,
      'submitted', now)
    redis.call('ZADD', root .. ':leases', now + 600000, job .. ':x')
  else
    redis.call('ZREM', root .. ':leases', job .. ':x')
    redis.call('HDEL', root .. ':progress', job)
    redis.call('UNLINK', name)
  end
  redis.call('XADD', root .. ':events', 'MAXLEN', '~', 100000, '*', 'job', job, 'state', state,
    'worker', worker, 'attempt', 1, 'detail', '')
end
"""


@dataclass(frozen=True)
class Rates:
    """Changes a second: of a worker's status (with its job's), and of progress."""

    status: float = 0
    telemetry: float = 0


class PaperFleet:
    """Machines and workers that are records in Redis; each busy worker has a job."""

    def __init__(self, redis: Redis, queue: str, machines: int, workers: int = 4) -> None:
        self.redis = redis
        self.queue = queue
        self.root = root_key(queue)
        self.machines = [f"gpu-{number:04}" for number in range(1, machines + 1)]
        self.workers = [worker_id(name, gpu) for name in self.machines for gpu in range(workers)]
        self.jobs: dict[str, str] = {}
        self.records: dict[str, tuple[str, str]] = {}
        self._each = workers
        self._report = redis.register_script(REPORT)
        self._move = redis.register_script(MOVE)
        self._progress = redis.register_script(PROGRESS)

    def plant(self) -> None:
        """Write all machines, and all workers busy."""
        now = _now()
        pairs = [part for name in self.machines for part in (name, self._machine(name))]
        self._report(keys=[self.root], args=[now, "machines", *pairs])
        for first in range(0, len(self.workers), 500):
            self.change(self.workers[first : first + 500], busy=True)

    def change(self, workers: list[str], *, busy: bool | None = None, text: str = "") -> None:
        """Let workers become busy or idle (None: the other); ``text`` is told as the reason."""
        now = _now()
        reports, moves = [], []
        for name in workers:
            state = busy if busy is not None else name not in self.jobs
            if name in self.jobs:
                moves += [self.jobs.pop(name), "completed", name]
            if state:
                self.jobs[name] = secrets.token_hex(8)
                moves += [self.jobs[name], "running", name]
            reason = text or f"{MARK}{now}"
            self.records[name] = ("busy" if state else "idle", reason)
            reports += [name, self._worker(name, reason)]
        if moves:
            self._move(keys=[self.root], args=[now, *moves])
        self._report(keys=[self.root], args=[now, "workers", *reports])

    def shown_by(self, document: dict[str, Any]) -> bool:
        """Tell whether a screen's document shows its workers and their jobs as they are now."""
        shown = document["workers"]
        states = {name: (row["state"], row["reason"]) for name, row in shown.items()}
        jobs = {self.jobs[name] for name in shown if name in self.jobs}
        right = {name: self.records.get(name) for name in shown}
        return bool(shown) and states == right and document["jobs"].keys() == jobs

    def progress(self, count: int) -> None:
        """Let so many jobs tell their progress."""
        jobs = list(self.jobs.values())
        now = _now()
        self._progress(keys=[self.root], args=[now, *random.choices(jobs, k=count)])

    def live(self) -> None:
        """Say that all are alive."""
        now = _now()
        for kind, names in (("machines", self.machines), ("workers", self.workers)):
            self.redis.zadd(f"{self.root}:{kind}:seen", dict.fromkeys(names, now))

    def _machine(self, name: str) -> str:
        programs = [
            Program(name=f"{kind}-gpu{gpu}", kind=kind, gpu=gpu, state="RUNNING", pid=4711)
            for gpu in range(self._each)
            for kind in ("service", "worker")
        ]
        return Machine(
            machine_id=name,
            incarnation="1",
            state=MachineState.READY,
            gpus=self._each,
            programs=programs,
            host=f"host-{name}",
            version="0.1.0",
        ).model_dump_json(exclude={"seen_at"})

    def _worker(self, name: str, reason: str) -> str:
        machine, _, gpu = name.rpartition("-worker-")
        job = self.jobs.get(name)
        return Worker(
            worker_id=name,
            machine_id=machine,
            incarnation="1",
            gpu=int(gpu),
            state=WorkerState.BUSY if job else WorkerState.IDLE,
            capabilities=Capabilities(service="simulation"),
            jobs=[job] if job else [],
            reason=reason,
            version="0.1.0",
            pid=4711,
        ).model_dump_json(exclude={"seen_at"})


@contextmanager
def living(fleet: PaperFleet) -> Iterator[None]:
    """Keep a paper fleet alive, without changes, from a thread."""
    over = threading.Event()

    def live() -> None:
        while not over.is_set():
            fleet.live()
            over.wait(SEEN_EVERY_S)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Traffic:
    """The process that writes changes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def written(self) -> dict[str, float]:
        """Stop, and return how many changes were written, and in how many seconds."""
        out, _ = self._process.communicate(timeout=30)
        answer: dict[str, float] = json.loads(out.splitlines()[-1])
        return answer


@contextmanager
def traffic(
    redis_url: str, queue: str, rates: Rates, *, machines: int, workers: int = 4
) -> Iterator[Traffic]:
    """Plant a paper fleet and write its changes until the block ends; it begins when all stand."""
    plan = {"redis_url": redis_url, "queue": queue, "machines": machines, "workers": workers}
    with subprocess.Popen(
        [sys.executable, "-m", "support.traffic"],
        cwd=_TESTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(plan | asdict(rates)) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "planted\n"
            yield Traffic(process)
        finally:
            process.kill()


def _now() -> int:
    return int(time.time() * 1000)


def _main() -> None:
    plan: dict[str, Any] = json.loads(sys.stdin.readline())
    with Redis.from_url(plan["redis_url"]) as redis:
        fleet = PaperFleet(redis, plan["queue"], plan["machines"], plan["workers"])
        fleet.plant()
        print("planted", flush=True)
        over = threading.Event()
        threading.Thread(target=_wait_for_end, args=[over], daemon=True).start()
        began, seen_at = time.monotonic(), time.monotonic()
        done = {"status": 0, "telemetry": 0}
        while not over.wait(TICK_S):
            elapsed = time.monotonic() - began
            status = int(elapsed * plan["status"]) - done["status"]
            progress = int(elapsed * plan["telemetry"]) - done["telemetry"]
            if status:
                fleet.change(random.sample(fleet.workers, min(status, len(fleet.workers))))
            for first in range(0, progress, 500):
                fleet.progress(min(500, progress - first))
            done["status"] += status
            done["telemetry"] += progress
            if time.monotonic() - seen_at > SEEN_EVERY_S:
                fleet.live()
                seen_at = time.monotonic()
        print(json.dumps(done | {"seconds": time.monotonic() - began}), flush=True)


def _wait_for_end(over: threading.Event) -> None:
    sys.stdin.readline()
    over.set()


if __name__ == "__main__":
    _main()
