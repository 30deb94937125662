"""Wake-ups against a model of who blocks: no idle worker is left beside a job that it could run.

The machine plays Redis's part in BLPOP: a wake-up goes to the worker that has blocked longest.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from muster.jobs import leases as leases_module
from muster.jobs.connection import connect
from muster.jobs.leases import Leases
from muster.jobs.model import Capabilities, Released, Requirements
from muster.jobs.queue import Queue
from muster.jobs.requirements import unmet
from muster.settings import RedisSettings
from support.jobs import SERVICE, a_request, completed

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import pytest

    from muster.jobs.model import Lease

T = TypeVar("T")

OFFERS = [
    Capabilities(service=SERVICE),
    Capabilities(service=SERVICE, models=frozenset({"flux"})),
]
WORKERS = {f"worker-{n}": OFFERS[n % 2] for n in range(6)}
NEEDS = [Requirements(), Requirements(models=frozenset({"flux"}))]
PICK = st.integers(0, 10**6)


class WakeUpMachine(RuleBasedStateMachine):
    """Workers that each do one job at a time; they are busy, away, blocked or just woken."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = connect(RedisSettings.load(redis_url=url))
        self.queue = Queue(self.redis, f"wake-{secrets.token_hex(6)}")
        self.workers = {name: Leases(self.queue, name, offer) for name, offer in WORKERS.items()}
        self.busy: dict[str, Lease] = {}
        self.blocked: list[str] = []
        self.woken: dict[str, str] = {}
        self.pending: dict[str, Requirements] = {}
        self.paused = False
        for worker in self.workers.values():
            self.run(worker.register())

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def away(self) -> list[str]:
        taken = {*self.busy, *self.blocked, *self.woken}
        return [name for name in WORKERS if name not in taken]

    def exchange(self, name: str, *outcomes: Any, want: int = 1, **more: Any) -> None:
        """Let a worker exchange, and block when it got nothing."""
        answer = self.run(
            self.workers[name].exchange(outcomes, want=want, will_wait=want > 0, **more)
        )
        assert answer.registered
        for lease in answer.leases:
            self.busy[name] = lease
            del self.pending[lease.job_id]
        if want and not answer.leases:
            self.blocked.append(name)

    def deliver(self) -> None:
        """Hand wake-ups to those that have blocked longest, as Redis does."""
        for name in list(self.blocked):
            key = self.queue.key(f"wake:{self.workers[name].signature}")
            if wake_up := self.run(self.redis.lpop(key)):
                self.blocked.remove(name)
                self.woken[name] = wake_up.decode()

    @rule(needs=st.sampled_from(NEEDS), count=st.integers(1, 3), priority=st.sampled_from([0, 100]))
    def submit(self, needs: Requirements, count: int, priority: int) -> None:
        requests = [a_request(requirements=needs, priority=priority)] * count
        for job in self.run(self.queue.submit_many(requests)):
            self.pending[job.id] = needs
        self.deliver()

    @precondition(lambda self: self.away())
    @rule(pick=PICK)
    def come(self, pick: int) -> None:
        away = self.away()
        self.exchange(away[pick % len(away)])
        self.deliver()

    @precondition(lambda self: self.woken)
    @rule(pick=PICK)
    def answer(self, pick: int) -> None:
        name = list(self.woken)[pick % len(self.woken)]
        self.exchange(name, woken=self.woken.pop(name), was_idle=True)
        self.deliver()

    @precondition(lambda self: self.woken)
    @rule(pick=PICK)
    def answer_that_it_takes_no_more(self, pick: int) -> None:
        name = list(self.woken)[pick % len(self.woken)]
        self.exchange(name, want=0, woken=self.woken.pop(name), was_idle=True)
        self.deliver()

    @precondition(lambda self: self.busy)
    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        name = list(self.busy)[pick % len(self.busy)]
        self.exchange(name, completed(self.busy.pop(name)))
        self.deliver()

    @precondition(lambda self: self.busy)
    @rule(pick=PICK)
    def drain(self, pick: int) -> None:
        name = list(self.busy)[pick % len(self.busy)]
        lease = self.busy.pop(name)
        self.pending[lease.job_id] = lease.request().requirements
        self.exchange(name, Released(lease), want=0)
        self.deliver()

    @precondition(lambda self: self.blocked)
    @rule(pick=PICK)
    def wait_in_vain(self, pick: int) -> None:
        name = self.blocked.pop(pick % len(self.blocked))
        self.exchange(name, was_idle=True)
        self.deliver()

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.paused = paused
        self.run(self.queue.pause() if paused else self.queue.resume())
        self.deliver()

    @invariant()
    def nobody_is_left_beside_a_job(self) -> None:
        if self.woken or self.paused:
            return  # Whoever was woken will take the job, or wake the next.
        for name in self.blocked:
            left = [
                job
                for job, needs in self.pending.items()
                if not unmet(SERVICE, needs, WORKERS[name])
            ]
            assert not left, f"{name} was not woken"

    def teardown(self) -> None:
        try:
            while self.woken:
                self.answer(0)
            self.nobody_is_left_beside_a_job()
        finally:
            self.run(self.cleanup())
            self.runner.close()

    async def cleanup(self) -> None:
        keys = [key async for key in self.redis.scan_iter(f"{self.queue.root}:*", count=1000)]
        await self.redis.unlink(*keys)
        await self.redis.aclose()


def test_no_wake_up_is_lost(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Time does not pass here: nobody finds by polling what it was not woken for.
    monkeypatch.setattr(leases_module, "WAKE_TIMEOUT_S", 1000)
    run_state_machine_as_test(
        lambda: WakeUpMachine(redis_url),
        settings=settings(
            max_examples=max(50, settings.default.max_examples // 4),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
