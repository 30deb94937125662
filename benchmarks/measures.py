"""What is measured, and against which goals."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from benchmarks.bare import claim_rate
from benchmarks.costs import Load, bytes_per_job, claims_us
from benchmarks.peers import MUSTER, Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.contest import Arena
    from benchmarks.report import Report

    Step = tuple[str, Callable[[], None]]

BARE = "The limit: a bare claim in Lua (ZPOPMIN, HSET, ZADD, XADD)"
SUBMIT = "Bulk submit"
DRAIN = "No-op jobs drained by one worker process"
START = "From submission to start, idle workers"
CLASSES = "Redis's time to commit and claim, by requirement classes"
BACKLOG = "The same, by pending jobs in front that the worker cannot run"
MEMORY = "Memory"

FLEET = 400
BATCH = 32


@dataclass(frozen=True, slots=True)
class Size:
    """How much each measurement does."""

    jobs: int
    peer_jobs: int
    pings: int
    claims: int
    bare_jobs: int


FULL = Size(jobs=10_000, peer_jobs=5_000, pings=500, claims=3_000, bare_jobs=50_000)
QUICK = Size(jobs=2_000, peer_jobs=500, pings=50, claims=500, bare_jobs=10_000)


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures on one Redis, into one report."""

    arena: Arena
    report: Report
    size: Size

    def steps(self, peers: list[Peer]) -> list[Step]:
        """Return what is to be done, each with its name: the limit goes first."""
        return [
            ("the bare claim", self.bare),
            ("Muster: submit", self.submit),
            ("Muster: drain, 1 at once", partial(self.drain, 1, 4_500)),
            ("Muster: drain, 10 at once", partial(self.drain, 10, 12_000)),
            ("Muster: drain, 100 at once", partial(self.drain, 100, 40_000)),
            ("Muster: drain in batches", self.batches),
            ("Muster: one idle worker", partial(self.start, "worker", 1)),
            (f"Muster: {FLEET} idle workers", partial(self.start, "fleet", FLEET)),
            ("claims among classes", self.classes),
            ("claims behind a backlog", self.backlogs),
            ("memory", self.memory),
            *((f"{peer.name}", partial(self.peer, peer)) for peer in peers),
        ]

    def bare(self) -> None:
        """Find the limit: the median of three runs."""
        jobs = self.size.bare_jobs
        limit = statistics.median(claim_rate(self.arena.url, jobs, 50) for _ in range(3))
        self.report.bare = limit
        self.report.rate(BARE, "50 connections", limit)
        self.report.rate(BARE, "1 connection", claim_rate(self.arena.url, jobs, 1))

    def submit(self) -> None:
        """Submit with bulk calls."""
        self.report.rate(SUBMIT, "Muster", self.arena.submit(MUSTER, self.size.jobs), 50_000)

    def drain(self, at_once: int, goal: float) -> None:
        """Drain with ``muster worker``."""
        self._drain(f"Muster, {at_once} at once", ["worker", str(at_once)], goal)

    def batches(self) -> None:
        """Drain with the calls that a worker makes, but without its loop around them."""
        what = f"Muster's calls alone, {BATCH} jobs a call, two under way"
        self._drain(what, ["batches", str(BATCH)], 40_000)

    def start(self, command: str, idle: int) -> None:
        """Submit to idle workers."""
        workers = [*MUSTER, command, str(idle)]
        # Each waits for a second at most and then again, so hardly ever all at the same time.
        blocked = math.ceil(0.95 * idle)
        seen = self.arena.latency(MUSTER, workers, self.size.pings, blocked=blocked)
        self.report.cost(START, f"Muster, {idle} idle, p50", seen.p50, "ms", 0.8)
        self.report.cost(START, f"Muster, {idle} idle, p99", seen.p99, "ms", 2)

    def classes(self) -> None:
        """Claim jobs of ever more classes."""
        loads = [Load(classes=classes) for classes in (1, 10, 100, 1000)]
        costs = self._claims_us(loads)
        for load, cost in zip(loads, costs, strict=True):
            goal = 2 * costs[0] if load.classes == 1000 else None
            self.report.cost(CLASSES, f"{load.classes:,}", cost, "µs", goal)

    def backlogs(self) -> None:
        """Claim jobs behind ever more that cannot be claimed."""
        loads = [Load(unrunnable=jobs) for jobs in (0, 10_000, 100_000)]
        costs = self._claims_us(loads)
        for load, cost in zip(loads, costs, strict=True):
            goal = 1.2 * costs[0] if load.unrunnable else None
            self.report.cost(BACKLOG, f"{load.unrunnable:,}", cost, "µs", goal)

    def memory(self) -> None:
        """Weigh pending jobs."""
        size = uvloop.run(bytes_per_job(self.arena.url, jobs=self.size.jobs, payload_bytes=1024))
        self.report.cost(MEMORY, "a pending job with a payload of 1 KB", size / 1024, "KB", 1.75)

    def peer(self, peer: Peer) -> None:
        """Measure another queue as Muster is measured."""
        for at_once in (1, 10):
            submitted = self.arena.submit(peer.program, self.size.peer_jobs)
            if at_once == 1:
                self.report.rate(SUBMIT, peer.name, submitted)
            worker = [*peer.program, "worker", str(at_once)]
            drained = self.arena.drain(worker, self.size.peer_jobs)
            self.report.rate(DRAIN, f"{peer.name}, {at_once} at once", drained)
        seen = self.arena.latency(peer.program, [*peer.program, "worker", "1"], self.size.pings)
        self.report.cost(START, f"{peer.name}, 1 idle, p50", seen.p50, "ms")
        self.report.cost(START, f"{peer.name}, 1 idle, p99", seen.p99, "ms")

    def _drain(self, what: str, worker: list[str], goal: float) -> None:
        self.arena.submit(MUSTER, self.size.jobs)
        self.report.rate(DRAIN, what, self.arena.drain([*MUSTER, *worker], self.size.jobs), goal)

    def _claims_us(self, loads: list[Load]) -> list[float]:
        return uvloop.run(claims_us(self.arena.url, loads, self.size.claims))
