"""Reads the queue's two streams and what else the fleet's state is made of: once per process."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from muster.errors import MusterError
from muster.jobs import listing
from muster.jobs.queue import root_key
from muster.server.monitor.fold import Fleet, fold_event, fold_telemetry
from muster.server.monitor.rows import running_row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from redis.asyncio import Redis
    from redis.asyncio.client import ResponseCallbackProtocol

    Fields = dict[bytes, bytes]
    Entry = tuple[str, Fields]
    Raw = list[tuple[bytes, list[bytes]]]

STREAMS = ("events", "telemetry")
KINDS = ("machines", "workers")
BATCH = 5000
LOG_KEPT = 5000
START = "0-0"


class Gap(MusterError):
    """Entries of a stream were trimmed before they were read: the state is to be loaded anew."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Who spoke when, and the time now, by Redis's clock (ms)."""

    machines: dict[str, float]
    workers: dict[str, float]
    now: float


class Source:
    """One reader. It keeps a client of its own, whose answers to XRANGE stay as they came."""

    def __init__(self, redis: Redis, queue: str) -> None:
        self._redis = redis
        self._root = root_key(queue)
        self._at = dict.fromkeys(STREAMS, START)
        self.epoch = ""
        as_it_came = cast("ResponseCallbackProtocol", lambda answer, **_: answer)
        for command in ("XRANGE", "XREVRANGE"):
            redis.set_response_callback(command, as_it_came)

    async def load(self) -> tuple[Fleet, list[Entry]]:
        """Return the state as it is now, and the newest of the log. What is read next follows."""
        fresh = secrets.token_hex(4)
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hsetnx(f"{self._root}:meta", "epoch", fresh)
            pipeline.hget(f"{self._root}:meta", "epoch")
            pipeline.xrevrange(f"{self._root}:events", count=LOG_KEPT)
            pipeline.xrevrange(f"{self._root}:telemetry", count=1)
            for kind in KINDS:
                pipeline.hgetall(f"{self._root}:{kind}")
                pipeline.zrange(f"{self._root}:{kind}:seen", 0, -1, withscores=True)
            pipeline.zrange(f"{self._root}:leases", 0, -1)
            pipeline.time()
            answers = await pipeline.execute()
        _, epoch, events, telemetry, machines, seen_machines, workers, seen_workers = answers[:8]
        leases, time = answers[8:]
        self.epoch = epoch.decode()
        log = [_entry(raw) for raw in reversed(events)]
        self._at["events"] = log[-1][0] if log else START
        self._at["telemetry"] = telemetry[0][0].decode() if telemetry else START
        fleet = Fleet()
        seen = Seen(_times(seen_machines), _times(seen_workers), _clock(time))
        for name, record in machines.items():
            fleet.report("machines", name.decode(), record, seen.machines.get(name.decode(), 0))
        for name, record in workers.items():
            fleet.report("workers", name.decode(), record, seen.workers.get(name.decode(), 0))
        fleet.age(seen.machines, seen.workers, seen.now)
        await self._load_jobs(fleet, [lease.partition(b":")[0].decode() for lease in leases])
        await self.recount(fleet)
        return fleet, log

    async def read(self, fleet: Fleet) -> tuple[list[Entry], int]:
        """Fold in what is new; return the new entries of the log, and how many there were in all.

        Raises ``Gap`` when something of the log in between is gone. What is gone of telemetry is
        made up for by the records: a server that is late must not begin anew again and again.
        """
        async with self._redis.pipeline(transaction=False) as pipeline:
            for stream in STREAMS:
                # From the last one on, itself included: that it is there says that nothing is gone.
                after = self._at[stream]
                pipeline.xrange(f"{self._root}:{stream}", after, "+", count=BATCH + 1)
            answers = await pipeline.execute()
        events = self._checked("events", answers[0])
        try:
            telemetry = self._checked("telemetry", answers[1])
        except Gap:
            telemetry = []
            await self._read_records(fleet)
        log = []
        for raw in events:
            entry_id, fields = _entry(raw)
            if fold_event(fleet, fields, _milliseconds(entry_id)):
                log.append((entry_id, fields))
        for raw in telemetry:
            entry_id, fields = _entry(raw)
            fold_telemetry(fleet, fields, _milliseconds(entry_id))
        return log, len(events) + len(telemetry)

    async def seen(self) -> Seen:
        """Return who spoke when."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.zrange(f"{self._root}:machines:seen", 0, -1, withscores=True)
            pipeline.zrange(f"{self._root}:workers:seen", 0, -1, withscores=True)
            pipeline.time()
            machines, workers, time = await pipeline.execute()
        return Seen(_times(machines), _times(workers), _clock(time))

    async def recount(self, fleet: Fleet) -> None:
        """Count the jobs by state. Raises ``Gap`` when these are other data than before."""
        counts = await listing.counts(self._redis, self._root)
        names = ["epoch", "paused"]
        epoch, paused = cast("list[bytes]", await self._redis.hmget(f"{self._root}:meta", names))
        if (epoch or b"").decode() != self.epoch:
            raise Gap
        fleet.counts = {state.value: count for state, count in counts.items()}
        fleet.paused = paused is not None

    async def job(self, job_id: str) -> dict[str, Any] | None:
        """Return the row of one job, whatever its state, or None when there is none."""
        names = ("state", "worker", "attempt", "submitted", "due", "started", "finished")
        key = f"{self._root}:job:{job_id}"
        values = await cast("Awaitable[list[bytes | None]]", self._redis.hmget(key, list(names)))
        fields = {n: v.decode() for n, v in zip(names, values, strict=True) if v is not None}
        if "state" not in fields:
            return None
        row: dict[str, Any] = {"state": fields["state"], "attempt": int(fields.get("attempt", 0))}
        if "worker" in fields:
            row["worker"] = fields["worker"]
        shown = {"submitted", "started", "finished"}
        if fields["state"] == "scheduled":
            shown.add("due")
        row |= {f"{n}_at": int(float(fields[n])) for n in names[3:] if n in shown and n in fields}
        return row

    async def read_progress(self, fleet: Fleet, jobs: Sequence[str]) -> None:
        """Take in how far these jobs are. Nobody is told: the latest is there for who looks."""
        if jobs:
            progress = await cast(
                "Awaitable[list[bytes | None]]",
                self._redis.hmget(f"{self._root}:progress", list(jobs)),
            )
            for job, told in zip(jobs, progress, strict=True):
                if told:
                    fleet.job_progress(job, told)

    async def _read_records(self, fleet: Fleet) -> None:
        """Take in what machines and workers have told last; telemetry goes on from there.

        Raises ``Gap`` when these are other data than before.
        """
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xrevrange(f"{self._root}:telemetry", count=1)
            for kind in KINDS:
                pipeline.hgetall(f"{self._root}:{kind}")
                pipeline.zrange(f"{self._root}:{kind}:seen", 0, -1, withscores=True)
            pipeline.hget(f"{self._root}:meta", "epoch")
            newest, *answers, epoch = await pipeline.execute()
        if (epoch or b"").decode() != self.epoch:
            raise Gap
        self._at["telemetry"] = newest[0][0].decode() if newest else START
        for kind, records, seen in zip(KINDS, answers[::2], answers[1::2], strict=True):
            times = _times(seen)
            for name, record in records.items():
                fleet.report(kind, name.decode(), record, times.get(name.decode(), 0))

    async def _load_jobs(self, fleet: Fleet, jobs: list[str]) -> None:
        if not jobs:
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for job in jobs:
                pipeline.hmget(f"{self._root}:job:{job}", ["state", "worker", "attempt", "started"])
            states = await pipeline.execute()
        for job, (state, worker, attempt, started) in zip(jobs, states, strict=True):
            if state == b"running":
                fleet.job_running(job, running_row(worker.decode(), int(attempt), int(started)))

    def _checked(self, stream: str, raw: Raw) -> Raw:
        """Return what follows the last entry that was read. Raises ``Gap``."""
        last = self._at[stream]
        if raw:
            self._at[stream] = raw[-1][0].decode()
        if last == START:
            return raw
        if not raw or raw[0][0].decode() != last:
            raise Gap
        return raw[1:]


def _entry(raw: tuple[bytes, list[bytes]]) -> Entry:
    entry_id, fields = raw
    return entry_id.decode(), dict(zip(fields[::2], fields[1::2], strict=True))


def _milliseconds(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])


def _times(pairs: list[Any]) -> dict[str, float]:
    return {name.decode(): at for name, at in pairs}


def _clock(time: tuple[int, int]) -> float:
    return time[0] * 1000 + time[1] / 1000
