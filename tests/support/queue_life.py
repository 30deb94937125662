"""The main life of jobs, through every script that there is: for Redis servers of all kinds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from muster.fleet.model import Machine, MachineState, Worker, WorkerState
from muster.fleet.registry import Registry
from muster.jobs.events import read_events
from muster.jobs.explain import explain
from muster.jobs.limits import Limits, Retention
from muster.jobs.model import Capabilities, JobState, Progress, Released
from muster.jobs.queue import Queue
from muster.jobs.recovery import FORGET, Recovery
from support.jobs import (
    SERVICE,
    a_request,
    a_worker,
    come_due,
    completed,
    expire,
    failed,
    hand_in,
    take,
    take_one,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis


async def live(redis: Redis, name: str) -> None:
    """Let jobs take every way that there is through a queue, and check where they end."""
    limits = Limits(classes=3, failed=Retention(age_s=3600, count=0))
    queue = Queue(redis, name, limits=limits)
    await queue.open()
    await _fleet(redis, name)
    recovery = Recovery(queue)
    worker = await a_worker(queue, "machine-worker-0", models=["flux"])
    assert (await worker.exchange(want=1, will_wait=True)).leases == []

    later = datetime.now(UTC) + timedelta(hours=1)
    jobs = await queue.submit_many(
        [
            a_request(priority=10),
            a_request(priority=90, requirements={"models": ["flux"]}, idempotency_key="order-1"),
            a_request(not_before=later),
            a_request(max_failed=1),
        ]
    )
    assert (await queue.submit(a_request(idempotency_key="order-1"))).duplicate
    low, urgent, scheduled, broken = (job.id for job in jobs)
    woken = await worker.wait_for_wake()
    first = (await worker.exchange(want=1, woken=woken, was_idle=True)).leases
    assert [lease.job_id for lease in first] == [urgent]
    await worker.progress(first[0], Progress(fraction=0.5))
    assert await worker.extend(first) == ["ok"]
    (second,) = (await worker.exchange([completed(first[0], [1])], want=1)).leases
    assert second.job_id == broken
    assert await hand_in(worker, failed(second)) == ["ok"]

    await come_due(queue, scheduled)
    assert await recovery.recover() == (1, 0)
    lost = await take_one(worker)
    await expire(queue, lost)
    assert await recovery.recover() == (0, 1)
    assert await hand_in(worker, completed(lost)) == ["lost"]
    await queue.cancel(scheduled)
    await queue.retry(scheduled)
    released, unheld = await take(worker, 2)
    assert await hand_in(worker, Released(released)) == ["ok"]
    assert await worker.reclaim(lost=False) == 1
    assert unheld.job_id == low

    await queue.pause()
    assert await take(worker, 2) == []
    await queue.resume()
    assert "can run it" in (await explain(queue, low, [_worker("machine-worker-0")])).summary
    await FORGET(redis, queue.root, -1)
    await worker.register()
    rest = await take(worker, 3)
    assert [lease.job_id for lease in rest] == [scheduled, low]
    await hand_in(worker, *(completed(lease) for lease in rest))
    await queue.submit_many([a_request(service=service) for service in ("a", "b", "c")])
    await recovery.upkeep()

    counts = await queue.counts()
    assert (counts[JobState.COMPLETED], counts[JobState.FAILED]) == (3, 0)
    assert (await queue.page(JobState.PENDING, limit=2)).total == 3
    assert len(await read_events(queue)) > 20


def _worker(worker_id: str) -> Worker:
    return Worker(
        worker_id=worker_id,
        machine_id="machine",
        incarnation="1",
        gpu=0,
        state=WorkerState.IDLE,
        capabilities=Capabilities(service=SERVICE, models=frozenset({"flux"})),
    )


async def _fleet(redis: Redis, name: str) -> None:
    registry = Registry(redis, name)
    machine = Machine(machine_id="machine", incarnation="1", state=MachineState.READY, gpus=2)
    await registry.register_machine(machine)
    for index in range(2):
        await registry.register_worker(_worker(f"machine-worker-{index}"))
        await registry.report_worker(_worker(f"machine-worker-{index}"))
    await registry.leave_worker(_worker("machine-worker-1"))
    await registry.report_machine(machine)
    await registry.register_machine(machine.model_copy(update={"incarnation": "2"}), takeover=True)
    await registry.expire()
    assert (await registry.machines()).total == 1
    assert (await registry.workers()).total == 0
