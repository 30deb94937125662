"""The fleet's present state, folded from what its streams tell."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import structlog
from pydantic_core import from_json

from muster.fleet.registry import TTL_S
from muster.server.monitor.rows import Row, machine_row, running_row, worker_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

TTL_MS = TTL_S * 1000
OFFLINE = "offline"
RUNNING = b"running"

log = structlog.get_logger()


class Rows:
    """The rows of machines, or of workers: as they were reported, and as they are to be shown.

    Nobody writes "offline" for one that fell silent: ``age`` compares its last word with the clock.
    """

    def __init__(self, make: Callable[[Row], Row]) -> None:
        self.shown: dict[str, Row] = {}
        self.seen: dict[str, float] = {}
        self._make = make
        self._reported: dict[str, Row] = {}
        self._silent: set[str] = set()

    def put(self, name: str, record: bytes, at: float) -> tuple[Row | None, Row]:
        """Take a record that was told at that time; return the row before, and the row now."""
        before = self.shown.get(name)
        self._reported[name] = self._make(from_json(record))
        self.seen[name] = max(at, self.seen.get(name, 0))
        self._silent.discard(name)
        return before, self._show(name)

    def age(self, seen: Mapping[str, float], now: float) -> tuple[list[str], list[str]]:
        """Take who spoke when (ms); return those whose state changed, and those that are forgotten.

        Both still have their old row in ``shown``: ``settle`` or ``drop`` comes next.
        """
        gone = [name for name in self._reported if name not in seen]
        self.seen.update((name, at) for name, at in seen.items() if name in self._reported)
        silent = {name for name, at in self.seen.items() if now - at > TTL_MS}
        changed = [name for name in silent ^ self._silent if name in seen]
        self._silent = silent
        return changed, gone

    def settle(self, name: str) -> Row:
        """Show one whose silence began or ended."""
        return self._show(name)

    def drop(self, name: str) -> Row:
        """Forget one, and return the row that it had."""
        del self._reported[name]
        self.seen.pop(name, None)
        self._silent.discard(name)
        return self.shown.pop(name)

    def _show(self, name: str) -> Row:
        row = self._reported[name]
        if name in self._silent or row["state"] == OFFLINE:
            row = row | {"state": OFFLINE, "seen_at": round(self.seen[name])}
        self.shown[name] = row
        return row


class Fleet:
    """Machines, workers and running jobs.

    ``urgent`` collects the machines on which a state changed, until whoever tells viewers of it
    clears it. ``version`` grows with every change but progress.
    """

    def __init__(self) -> None:
        self.machines = Rows(machine_row)
        self.workers = Rows(worker_row)
        self.jobs: dict[str, Row] = {}
        self.workers_of: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self.jobs_of: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self.urgent: set[str] = set()
        self.version = 0
        self.unknown = 0
        self.counts: dict[str, int] = {}
        self.paused = False
        self._told: dict[str, bytes] = {}

    def report(self, kind: str, name: str, record: bytes, at: float) -> None:
        """Take what a machine or a worker says of itself."""
        if kind == "machines":
            before, row = self.machines.put(name, record, at)
            self._changed(name, urgent=before is None or _differs(before, row, "state", "reasons"))
            return
        before, row = self.workers.put(name, record, at)
        if before and before["machine"] != row["machine"]:
            self.workers_of[before["machine"]].pop(name, None)
            _pop_empty(self.workers_of, before["machine"])
            self._changed(before["machine"], urgent=True)
        self.workers_of[row["machine"]][name] = None
        self._changed(row["machine"], urgent=before is None or _differs(before, row, "state"))

    def job_event(self, job: str, state: bytes, worker: str, attempt: int, at: int) -> None:
        """Take a change of a job's state: only running ones have a row."""
        self._end(job)
        if state == RUNNING:
            self.job_running(job, running_row(worker, attempt, at))

    def job_running(self, job: str, row: Row) -> None:
        """Take a job that is known to run."""
        self.jobs[job] = row
        self.jobs_of[row["worker"]][job] = None
        self._job_changed(row["worker"])

    def job_progress(self, job: str, told: bytes) -> None:
        """Take how far a job is, as it was told last: perhaps known, perhaps no longer true."""
        row = self.jobs.get(job)
        if row is None or self._told.get(job) == told:
            return
        self._told[job] = told
        progress = from_json(told)
        if progress.get("attempt") == row["attempt"]:
            news = {"fraction": round(progress["fraction"], 3), "message": progress["message"]}
            self.jobs[job] = row | news

    def jobs_on(self, machines: Iterable[str]) -> Iterator[str]:
        """Return the jobs that run on those machines."""
        for machine in machines:
            for worker in self.workers_of.get(machine, ()):
                yield from self.jobs_of.get(worker, ())

    def age(self, machines: Mapping[str, float], workers: Mapping[str, float], now: float) -> None:
        """Take who spoke when, and find out who fell silent, came back, or is forgotten."""
        changed, gone = self.machines.age(machines, now)
        for name in changed:
            self.machines.settle(name)
        for name in gone:
            self.machines.drop(name)
        for name in (*changed, *gone):
            self._changed(name, urgent=True)
        changed, gone = self.workers.age(workers, now)
        for name in changed:
            self._changed(self.workers.settle(name)["machine"], urgent=True)
        for name in gone:
            machine = self.workers.drop(name)["machine"]
            self.workers_of[machine].pop(name, None)
            _pop_empty(self.workers_of, machine)
            _pop_empty(self.jobs_of, name)
            self._changed(machine, urgent=True)

    def machine_of(self, worker: str) -> str | None:
        """Return whose the worker is, if it is known."""
        row = self.workers.shown.get(worker)
        return row["machine"] if row else None

    def totals(self) -> Row:
        """Count everything."""
        machines, workers = self.machines.shown.values(), self.workers.shown.values()
        live = [row for row in workers if row["state"] != OFFLINE]
        return {
            "machines": _states(machines, "starting ready degraded draining offline"),
            "workers": _states(workers, "starting idle busy draining offline"),
            "jobs": dict(self.counts),
            "gpus": sum(row["gpus"] for row in machines if row["state"] != OFFLINE),
            "services": dict(Counter(row["service"] for row in live)),
            "paused": self.paused,
        }

    def _end(self, job: str) -> None:
        self._told.pop(job, None)
        row = self.jobs.pop(job, None)
        if row:
            self.jobs_of[row["worker"]].pop(job, None)
            _pop_empty(self.jobs_of, row["worker"])
            self._job_changed(row["worker"])

    def _job_changed(self, worker: str) -> None:
        machine = self.machine_of(worker)
        if machine:
            self._changed(machine, urgent=True)

    def _changed(self, machine: str, *, urgent: bool) -> None:
        self.version += 1
        if urgent:
            self.urgent.add(machine)


def fold_event(fleet: Fleet, fields: dict[bytes, bytes], at: int) -> bool:
    """Fold an entry of the stream of events; tell whether it was one that is known."""
    try:
        fleet.job_event(
            fields[b"job"].decode(),
            fields[b"state"],
            fields[b"worker"].decode(),
            int(fields[b"attempt"]),
            at,
        )
    except (KeyError, ValueError):
        return _unknown(fleet, "events", fields)
    return True


def fold_telemetry(fleet: Fleet, fields: dict[bytes, bytes], at: int) -> bool:
    """Fold an entry of the stream of telemetry; tell whether it was one that is known."""
    try:
        if fields[b"kind"] in {b"machines", b"workers"}:
            kind, name = fields[b"kind"].decode(), fields[b"id"].decode()
            fleet.report(kind, name, fields[b"record"], at)
        else:
            return _unknown(fleet, "telemetry", fields)
    except (KeyError, ValueError):
        return _unknown(fleet, "telemetry", fields)
    return True


def _unknown(fleet: Fleet, stream: str, fields: dict[bytes, bytes]) -> bool:
    """Nothing is dropped in silence: the first is logged, all are counted."""
    if fleet.unknown == 0:
        names = [name.decode(errors="replace") for name in fields]
        log.warning("monitor_unknown_entry", stream=stream, fields=names)
    fleet.unknown += 1
    return False


def _pop_empty(index: dict[str, dict[str, None]], name: str) -> None:
    if not index.get(name, True):
        del index[name]


def _differs(before: Row, now: Row, *names: str) -> bool:
    return any(before[name] != now[name] for name in names)


def _states(rows: Any, states: str) -> dict[str, int]:
    counted = Counter(row["state"] for row in rows)
    return {"total": counted.total()} | {state: counted[state] for state in states.split()}
