"""The hub: reads once for everybody, folds, and has the audience told what changed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog
from redis.exceptions import RedisError

from muster.server.monitor.audience import SELECTION_AGE_S, Audience
from muster.server.monitor.history import EVERY_S as HISTORY_EVERY_S
from muster.server.monitor.levels import LEVELS, LIVE, TOTALS, Levels
from muster.server.monitor.log import Log
from muster.server.monitor.source import BATCH, Gap
from muster.server.monitor.state import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muster.server.monitor.log import Entry
    from muster.server.monitor.metrics import Metrics
    from muster.server.monitor.source import Source
    from muster.server.monitor.views import View

STEP_S = 0.11
"""Changes of state are told at every step, all else at every tick of the level."""

RECOUNT_S = 0.5
SEEN_S = 1.0
ANSWER_S = 2.0
LOAD_S = 5.0
AGAIN_S = 0.25
AWAY_EVERY_S = 5.0
"""So often viewers are told that Redis is away: a stream that is silent for 15 s counts as dead."""

READS_AT_MOST = 4

log = structlog.get_logger()


class Hub:
    """One for each process. ``run`` keeps it going, through times without Redis."""

    def __init__(self, source: Source, metrics: Metrics) -> None:
        self.state = State()
        self.levels = Levels()
        self.audience = Audience(self.state, self.levels, metrics)
        self._source = source
        self._metrics = metrics
        self._pending: list[Entry] = []
        self._away: dict[str, Any] | None = None
        self._due: dict[str, float] = {}
        self._arriving: Counter[str] = Counter()
        self._job_lock = asyncio.Lock()

    async def run(self) -> None:
        """Read and tell until cancelled."""
        while True:
            try:
                await self._load()
                await self._follow()
            except Gap:
                log.warning("monitor_gap")
            except (RedisError, OSError, TimeoutError) as error:
                self._lose_redis(error)
                self._sweep()
                await asyncio.sleep(AGAIN_S * random.uniform(0.5, 1.5))  # noqa: S311

    async def look(self, view: View) -> None:
        """Read what is read only while somebody looks: one who joins right after, or just once."""
        if not view.job:
            shown = self.state.order(view, max_age_s=SELECTION_AGE_S)
            await self._read_progress(self.state.fleet.jobs_on(shown))
            return
        self._arriving[view.job] += 1
        try:
            await self._refresh_job(view.job)
        finally:
            self._arriving -= Counter([view.job])  # nothing stays of one that is at 0

    async def _load(self) -> None:
        async with asyncio.timeout(LOAD_S):
            fleet, entries = await self._source.load()
            seen = await self._source.seen()
        self.state.set_clock(seen.now)
        self.state.start(self._source.epoch, fleet, Log(entries))
        self._pending.clear()
        self._metrics.loads.inc()
        for job_id in list(self.state.watched):
            await self._refresh_job(job_id)
        await self._read_progress(self._jobs_shown())
        if self._away:
            self._away = None
            self._metrics.away.set(0)
            self.audience.set_away(None)
        self.audience.start_anew()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + STEP_S, loop.time() - STEP_S)
            await asyncio.sleep(due - loop.time())
            await self._step()
            lag = loop.time() - due
            self._metrics.lag.observe(lag)
            self._judge(lag, loop.time())

    async def _step(self) -> None:
        async with asyncio.timeout(ANSWER_S):
            await self._read()
            if self._is_due("recount", RECOUNT_S):
                await self._source.recount(self.state.fleet)
            if self._is_due("seen", SEEN_S):
                seen = await self._source.seen()
                self.state.set_clock(seen.now)
                self.state.fleet.age(seen.machines, seen.workers, seen.now)
            tick = self._is_due("tick", self.levels.level.interval_s)
            if tick and self.levels.level is not TOTALS:
                await self._read_progress(self._jobs_shown())
        self._tell(tick=tick)

    async def _read(self) -> None:
        """Read what is new, in bounded bites; fold it in."""
        state = self.state
        for _ in range(READS_AT_MOST):
            entries, count = await self._source.read(state.fleet)
            self._metrics.entries.inc(count)
            self._pending += entries
            state.log.add(entries)
            for _, fields in entries:
                state.history.entered(fields[b"state"].decode())
            if self.state.watched:
                for job_id in {fields[b"job"].decode() for _, fields in entries}:
                    if job_id in self.state.watched:
                        await self._refresh_job(job_id)
            if count < BATCH:
                return

    def _tell(self, *, tick: bool) -> None:
        if tick:
            self.state.recount()
            self.audience.flush(self._pending)
            self._pending.clear()
        elif self.levels.level is LIVE and self.state.fleet.urgent:
            self.audience.flush_urgent(self.state.fleet.urgent)
        self.state.fleet.urgent.clear()
        if self._is_due("history", HISTORY_EVERY_S):
            self.state.history.add_point(self.state.fleet.counts, self.state.now_ms())
            self.audience.broadcast(self.state.history.message(points=1))
        self._sweep()

    def _sweep(self) -> None:
        """Once a second: see to viewers, whether Redis is there or not."""
        if self._is_due("sweep", 1.0):
            self.audience.sweep(monotonic())
            self._forget_jobs()
            self._measure()

    async def _read_progress(self, jobs: Iterable[str]) -> None:
        await self._source.read_progress(self.state.fleet, list(jobs))

    def _jobs_shown(self) -> set[str]:
        audience = self.audience
        return {*audience.jobs_watched(), *self.state.fleet.jobs_on(audience.machines_watched())}

    async def _refresh_job(self, job_id: str) -> None:
        """Read one job; events of it that come meanwhile lead here again, one after the other."""
        self.state.watched.setdefault(job_id, None)
        async with self._job_lock:
            row = await self._source.job(job_id)
            if row is not None:
                row["changes"] = self.state.now_ms()
            self.state.watched[job_id] = row

    def _forget_jobs(self) -> None:
        kept = self.audience.jobs_watched() | set(self._arriving)
        for job_id in set(self.state.watched) - kept:
            del self.state.watched[job_id]

    def _judge(self, lag: float, now: float) -> None:
        before = self.levels.level
        if self.levels.observe(lag, now):
            came_up = LEVELS.index(self.levels.level) < LEVELS.index(before)
            self._metrics.level.set(LEVELS.index(self.levels.level))
            self.audience.change_level(rows_missed=came_up and before is TOTALS)

    def _lose_redis(self, error: Exception) -> None:
        if self._away is None:
            self._metrics.away.set(1)
            log.warning("monitor_waits_for_redis", error=type(error).__name__)
            since = self.state.now_ms()
            time = datetime.fromtimestamp(since / 1000, UTC).strftime("%H:%M:%S")
            words = f"Redis does not answer; what is shown is from {time} UTC."
            self._away = {"type": "away", "since_at": since, "words": words}
            self._due.pop("away", None)
        if self._is_due("away", AWAY_EVERY_S):
            self.audience.set_away(self._away)

    def _measure(self) -> None:
        totals, metrics = self.state.totals, self._metrics
        for gauge, counts in (
            (metrics.jobs, totals["jobs"]),
            (metrics.machines, totals["machines"]),
            (metrics.workers, totals["workers"]),
        ):
            for state, count in counts.items():
                if state != "total":
                    gauge.labels(state).set(count)
        metrics.paused.set(totals["paused"])
        metrics.unknown.set(self.state.fleet.unknown)
        self.audience.measure()

    def _is_due(self, what: str, every_s: float) -> bool:
        """Tell whether it is time for something again, and if so, note that it is done."""
        now = monotonic()
        if now < self._due.get(what, 0):
            return False
        self._due[what] = now + every_s - STEP_S / 4
        return True
