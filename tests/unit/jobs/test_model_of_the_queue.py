"""The queue on a real Redis against a simple model of it: invariants 1, 2 and 3.

Time does not pass by itself here: deadlines are set in Redis. Wake-ups have a model of their own.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from muster.errors import Conflict
from muster.jobs.connection import connect
from muster.jobs.events import read_events
from muster.jobs.leases import Leases
from muster.jobs.limits import Limits
from muster.jobs.model import (
    Capabilities,
    Completed,
    Failed,
    JobError,
    JobRequest,
    JobState,
    Lease,
    LeaseState,
    Progress,
    Released,
    Requirements,
)
from muster.jobs.queue import Queue
from muster.jobs.records import read_jobs
from muster.jobs.recovery import FORGET, Recovery
from muster.jobs.requirements import canonical, unmet
from muster.settings import RedisSettings
from support.jobs import come_due, contents, expire, leave_unattended, use_up_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from support.redis import OwnRedis

T = TypeVar("T")

WORKERS = {
    "plain-1": Capabilities(service="render"),
    "plain-2": Capabilities(service="render"),
    "able": Capabilities(service="render", models=frozenset({"flux"}), vram_mib=24),
    "other": Capabilities(service="upscale", vram_mib=8),
}
NEEDS = [
    ("render", Requirements()),
    ("render", Requirements(models=frozenset({"flux"}))),
    ("render", Requirements(vram_mib=16)),
    ("upscale", Requirements(vram_mib=8)),
    ("unserved", Requirements()),
]
CLASSES = 4
LATER = datetime(2100, 1, 1, tzinfo=UTC)

WORKER = st.sampled_from(sorted(WORKERS))
REQUEST = st.builds(
    lambda needs, **fields: JobRequest(
        service=needs[0], requirements=needs[1], payload={}, backoff_s=60, **fields
    ),
    st.sampled_from(NEEDS),
    priority=st.sampled_from([0, 50, 51, 100]),
    max_failed=st.integers(1, 2),
    max_lost=st.integers(1, 2),
    idempotency_key=st.sampled_from([None, None, None, "a", "b"]),
    not_before=st.sampled_from([None, None, None, LATER]),
)
KIND = st.sampled_from(["completed", "failed", "fatal", "lost", "released"])
PICK = st.integers(0, 10**6)


@dataclass
class Expected:
    """What the model holds of a job."""

    id: str
    place: int
    request: JobRequest
    state: JobState
    attempt: int = 0
    failed: int = 0
    lost: int = 0
    worker: str = ""
    lease: Lease | None = None
    result: Any = None
    settled: str = ""
    due: bool = False
    events: list[str] = field(default_factory=list)

    @property
    def order(self) -> tuple[int, int]:
        return -self.request.priority, self.place

    @property
    def needs(self) -> str:
        return canonical(self.request.service, self.request.requirements)

    def enter(self, state: JobState) -> None:
        self.state = state
        self.events.append(state)

    def end_attempt(self, outcome: str, *, retryable: bool = True) -> None:
        self.lease = None
        if outcome == "failed":
            self.failed += 1
            over = self.failed >= self.request.max_failed
        else:
            self.lost += 1
            over = self.lost >= self.request.max_lost
        # The first attempt that is lost with its worker is tried again at once.
        self.due = outcome == "lost" and self.lost == 1
        self.enter(JobState.FAILED if over or not retryable else JobState.SCHEDULED)


class QueueMachine(RuleBasedStateMachine):
    """Does what submitters, workers, operators and accidents do."""

    def __init__(self, server: OwnRedis) -> None:
        super().__init__()
        self.server = server
        self.runner = asyncio.Runner()
        self.jobs: dict[str, Expected] = {}
        self.keys: dict[str, str] = {}
        self.classes: set[str] = set()
        self.registered: set[str] = set()
        self.old: list[Lease] = []
        self.places = 0
        self.paused = False
        self.redis = connect(RedisSettings.load(redis_url=self.server.url))
        name = f"model-{secrets.token_hex(6)}"
        self.queue = Queue(self.redis, name, limits=Limits(classes=CLASSES))
        self.recovery = Recovery(self.queue)
        self.workers = {name: Leases(self.queue, name, offer) for name, offer in WORKERS.items()}
        self.recover()
        for worker in WORKERS:
            self.register(worker)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    # What the model knows.

    def inside(self, *states: str) -> list[Expected]:
        return [job for job in self.jobs.values() if job.state in states]

    def leases(self, worker: str | None = None) -> list[Lease]:
        return [
            job.lease for job in self.jobs.values() if job.lease and worker in {None, job.worker}
        ]

    def best(self, worker: str, want: int) -> list[Expected]:
        offer = WORKERS[worker]
        if self.paused or not self.knows(worker):
            return []
        able = [
            job
            for job in self.inside("pending")
            if not unmet(job.request.service, job.request.requirements, offer)
        ]
        return sorted(able, key=lambda job: job.order)[:want]

    def knows(self, worker: str) -> bool:
        return self.workers[worker].signature in self.registered

    def revoke(self, job: Expected) -> None:
        if job.lease:
            self.old.append(job.lease)
        job.lease, job.settled = None, ""

    def ready(self, job: Expected) -> None:
        self.classes.add(job.needs)
        job.enter(JobState.PENDING)

    def room_for(self, requests: Sequence[JobRequest]) -> bool:
        """Tell whether the classes fit; collect those without waiting jobs if they must."""
        asked = set(classes_of(requests))
        if asked - self.classes and len(self.classes | asked) > CLASSES:
            self.classes = {job.needs for job in self.inside("pending")}
            return len(self.classes | asked) <= CLASSES
        return True

    def settle(self, job: Expected, kind: str, result: int) -> None:
        assert job.lease is not None
        job.settled = job.lease.token
        self.old.append(job.lease)
        if kind == "completed":
            job.lease, job.result = None, result
            job.enter(JobState.COMPLETED)
        elif kind == "released":
            job.lease = None
            self.ready(job)
        else:
            job.end_attempt("lost" if kind == "lost" else "failed", retryable=kind != "fatal")

    def recover(self, lost: int = 0) -> None:
        due = [job for job in self.inside("scheduled") if job.due]
        assert self.run(self.recovery.recover()) == (len(due), lost)
        for job in due:
            self.ready(job)

    # Submitters and operators.

    @rule(requests=st.lists(REQUEST, min_size=1, max_size=4))
    def submit(self, requests: list[JobRequest]) -> None:
        if not self.room_for(requests):
            with pytest.raises(Conflict):
                self.run(self.queue.submit_many(requests))
            return
        answers = self.run(self.queue.submit_many(requests))
        self.classes |= set(classes_of(requests))
        for request, answer in zip(requests, answers, strict=True):
            self.places += 1
            key = request.idempotency_key
            if key in self.keys:
                assert (answer.id, answer.duplicate) == (self.keys[key], True)
                continue
            assert not answer.duplicate
            if key:
                self.keys[key] = answer.id
            state = JobState.SCHEDULED if request.not_before else JobState.PENDING
            self.jobs[answer.id] = Expected(answer.id, self.places, request, state, events=[state])

    @precondition(lambda self: self.jobs)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        job = list(self.jobs.values())[pick % len(self.jobs)]
        if job.state.terminal:
            with pytest.raises(Conflict):
                self.run(self.queue.cancel(job.id))
        else:
            self.run(self.queue.cancel(job.id))
            self.revoke(job)
            job.enter(JobState.CANCELLED)

    @precondition(lambda self: self.jobs)
    @rule(pick=PICK)
    def retry(self, pick: int) -> None:
        job = list(self.jobs.values())[pick % len(self.jobs)]
        if job.state in {"failed", "cancelled"}:
            self.run(self.queue.retry(job.id))
            job.failed = job.lost = 0
            job.settled = ""
            self.ready(job)
        else:
            with pytest.raises(Conflict):
                self.run(self.queue.retry(job.id))

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.paused = paused
        self.run(self.queue.pause() if paused else self.queue.resume())

    # Workers.

    @rule(worker=WORKER)
    def register(self, worker: str) -> None:
        self.run(self.workers[worker].register())
        self.registered.add(self.workers[worker].signature)

    @rule(
        worker=WORKER,
        want=st.integers(0, 4),
        outcomes=st.lists(st.tuples(PICK, KIND), max_size=3, unique_by=lambda o: o[0] % 100),
        wait=st.booleans(),
    )
    def exchange(self, worker: str, want: int, outcomes: list[tuple[int, str]], wait: bool) -> None:
        held = self.leases(worker)
        ended = {
            pick % len(held): (held[pick % len(held)], kind) for pick, kind in outcomes if held
        }
        sent = [outcome(lease, kind, self.places) for lease, kind in ended.values()]

        exchanged = self.run(self.workers[worker].exchange(sent, want=want, will_wait=wait))

        assert exchanged.settled == [LeaseState.OK] * len(sent)
        for lease, kind in ended.values():
            self.settle(self.jobs[lease.job_id], kind, self.places)
        best = self.best(worker, want)
        assert [lease.job_id for lease in exchanged.leases] == [job.id for job in best], (
            "Invariant 3: best job first"
        )
        for job, lease in zip(best, exchanged.leases, strict=True):
            job.attempt += 1
            job.worker, job.lease, job.settled = worker, lease, ""
            job.enter(JobState.RUNNING)
            assert lease.attempt == job.attempt
            assert lease.request() == job.request
        waits = wait and len(best) < want
        assert exchanged.registered == (self.knows(worker) or not waits)

    @precondition(lambda self: self.leases())
    @rule(pick=PICK, fraction=st.floats(0, 1))
    def progress(self, pick: int, fraction: float) -> None:
        held = self.leases()
        lease = held[pick % len(held)]
        job = self.jobs[lease.job_id]
        worker = self.workers[job.worker]
        assert self.run(worker.progress(lease, Progress(fraction=fraction))) == "ok"
        told = self.run(self.queue.get(job.id)).progress
        assert told == Progress(fraction=fraction)

    @precondition(lambda self: self.old)
    @rule(pick=PICK, kind=KIND, worker=WORKER)
    def speak_with_an_old_token(self, pick: int, kind: str, worker: str) -> None:
        replaced = [lease for lease in self.old if self.jobs[lease.job_id].state == "running"]
        lease = (replaced or self.old)[pick % len(replaced or self.old)]
        job = self.jobs[lease.job_id]
        before = self.run(contents(self.queue))
        speaker = self.workers[worker]

        answer = self.run(speaker.exchange([outcome(lease, kind, -1)])).settled
        told = self.run(speaker.progress(lease, Progress(fraction=0.1)))
        kept = self.run(speaker.extend([lease]))

        repeated = job.settled == lease.token and job.state != "running"
        assert answer == [LeaseState.OK if repeated else LeaseState.LOST]
        assert (told, kept) == (LeaseState.LOST, [LeaseState.LOST])
        assert self.run(contents(self.queue)) == before, "Invariant 2: old tokens change nothing"

    # Accidents, and what mends them.

    @rule(worker=WORKER, timed_out=st.booleans())
    def worker_dies(self, worker: str, timed_out: bool) -> None:
        held = self.leases(worker)
        for lease in held if timed_out else ():
            self.run(use_up_time(self.queue, lease))
        self.lapse(held)
        self.recover(lost=len(held))
        for lease in held:
            job = self.jobs[lease.job_id]
            self.revoke(job)
            job.end_attempt("failed" if timed_out else "lost")

    @rule(worker=WORKER)
    def worker_restarts(self, worker: str) -> None:
        held = self.leases(worker)
        assert self.run(self.workers[worker].reclaim(lost=True)) == len(held)
        for lease in held:
            job = self.jobs[lease.job_id]
            self.revoke(job)
            job.end_attempt("lost")

    @rule(worker=WORKER, kept=st.integers(0, 2))
    def answer_is_lost(self, worker: str, kept: int) -> None:
        held = self.leases(worker)
        self.run(self.workers[worker].reclaim(held[:kept], lost=False))
        for lease in held[kept:]:
            job = self.jobs[lease.job_id]
            self.revoke(job)
            self.ready(job)

    @rule()
    def outage(self) -> None:
        held = self.leases()
        self.lapse(held)
        self.run(leave_unattended(self.queue))
        self.recover()
        self.recover()  # Nothing is lost: a worker that was not replaced still commits.

    @precondition(lambda self: self.inside("scheduled"))
    @rule(pick=PICK)
    def time_comes(self, pick: int) -> None:
        waiting = self.inside("scheduled")
        for job in waiting[: 1 + pick % len(waiting)]:
            self.run(come_due(self.queue, job.id))
            job.due = True
        self.recover()

    @rule()
    def capabilities_are_forgotten(self) -> None:
        self.run(FORGET(self.redis, self.queue.root, -1))
        self.registered.clear()

    @rule(chance=st.integers(0, 9))
    def redis_is_killed(self, chance: int) -> None:
        if chance:
            return
        self.run(self.redis.connection_pool.disconnect())
        self.server.kill()
        self.server.start()
        self.recover()

    def lapse(self, leases: list[Lease]) -> None:
        if leases:
            self.run(expire(self.queue, *leases))

    # What always holds.

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        jobs = self.run(read_jobs(self.redis, self.queue.root, list(self.jobs), whole=True))
        assert len(jobs) == len(self.jobs), "Invariant 1: nothing acknowledged is lost"
        for job, expected in zip(jobs, self.jobs.values(), strict=True):
            seen = (job.state, job.attempt, job.failed_attempts, job.lost_attempts, job.result)
            assert seen == (
                expected.state,
                expected.attempt,
                expected.failed,
                expected.lost,
                expected.result,
            )

    @invariant()
    def invariant_1_every_job_is_in_exactly_one_place(self) -> None:
        held = self.run(contents(self.queue))
        places: list[tuple[str, str]] = []
        for name, members in held.items():
            kind, _, of = name.partition(":")
            if kind in {"ready", "scheduled", "finished", "leases"}:
                state = {"ready": "pending", "leases": "running"}.get(kind, of or kind)
                places += [(member.decode().partition(":")[0], state) for member, _ in members]
        assert sorted(places) == sorted((job.id, str(job.state)) for job in self.jobs.values())

    @invariant()
    def all_are_counted(self) -> None:
        counts = self.run(self.queue.counts())
        assert counts == {state: len(self.inside(state)) for state in JobState}

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self.run(self.cleanup())
            self.runner.close()

    def drain(self) -> None:
        """Let all jobs end, and look back at what became of each."""
        self.pause(paused=False)
        for name in WORKERS:
            self.register(name)
        for worker in WORKERS:
            self.worker_restarts(worker)
        if waiting := len(self.inside("scheduled")):
            self.time_comes(waiting - 1)
        for worker in WORKERS:
            self.exchange(worker, len(self.jobs), [], wait=False)
            for lease in self.leases(worker):
                self.run(self.workers[worker].exchange([outcome(lease, "completed", 7)]))
                self.settle(self.jobs[lease.job_id], "completed", 7)
        self.every_job_is_as_the_model_says()
        left = {job.request.service for job in self.jobs.values() if not job.state.terminal}
        assert left <= {"unserved"}, "Invariant 1: each job reaches one terminal state"
        told: dict[str, list[str]] = {job_id: [] for job_id in self.jobs}
        for event in self.run(read_events(self.queue, limit=10_000)):
            told[event.job].append(event.state)
        assert told == {job.id: job.events for job in self.jobs.values()}, "one event per change"

    async def cleanup(self) -> None:
        keys = [key async for key in self.redis.scan_iter(f"{self.queue.root}:*", count=1000)]
        await self.redis.unlink(*keys)
        await self.redis.aclose()


def classes_of(requests: Sequence[JobRequest]) -> list[str]:
    """Return the classes of requests, but for those that repeat the key of another."""
    first = {request.idempotency_key or id(request): request for request in reversed(requests)}
    return [canonical(request.service, request.requirements) for request in first.values()]


def outcome(lease: Lease, kind: str, result: int) -> Completed | Failed | Released:
    if kind == "completed":
        return Completed(lease, json.dumps(result).encode())
    if kind == "released":
        return Released(lease)
    error = JobError(kind="crash", message="boom")
    return Failed(lease, error, retryable=kind != "fatal", lost=kind == "lost")


def test_invariants_1_2_3_the_queue_does_as_its_model(own_redis: Callable[..., OwnRedis]) -> None:
    # With "always" a kill loses nothing that was acknowledged: the model needs no maybe.
    server = own_redis(appendfsync="always")
    run_state_machine_as_test(
        lambda: QueueMachine(server),
        settings=settings(
            max_examples=max(25, settings.default.max_examples // 4),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
