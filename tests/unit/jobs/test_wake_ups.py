"""Idle workers block and are woken, one for each job; no wake-up is lost, none is for nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from muster.jobs import leases as leases_module
from muster.jobs.model import JobState, Released
from support.jobs import a_request, a_worker, come_due, hand_in, take, take_one, unregistered_worker
from support.waiting import eventually

if TYPE_CHECKING:
    from muster.jobs.leases import Leases
    from muster.jobs.model import Lease
    from muster.jobs.queue import Queue
    from muster.jobs.recovery import Recovery

pytestmark = pytest.mark.anyio

WITHIN_S = 3


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wait last so long that what was not woken is seen not to be."""
    monkeypatch.setattr(leases_module, "WAKE_TIMEOUT_S", 4.0)


async def idle(queue: Queue, name: str, **capabilities: Any) -> Leases:
    """Return a worker that found nothing to do and says that it will wait."""
    worker = await a_worker(queue, name, **capabilities)
    assert (await worker.exchange(want=1, will_wait=True)).leases == []
    return worker


async def block(worker: Leases) -> asyncio.Task[str]:
    """Let a worker wait, and return when Redis knows that it does."""
    redis = worker.queue.redis
    before = (await redis.info("clients"))["blocked_clients"]
    waiting = asyncio.create_task(worker.wait_for_wake())
    await eventually(
        lambda: redis.info("clients"),
        f"{worker.worker_id} blocks",
        until=lambda clients: clients["blocked_clients"] > before,
    )
    return waiting


async def answer(worker: Leases, waiting: asyncio.Task[str]) -> list[Lease]:
    """Let a worker that was woken take its job."""
    woken = await asyncio.wait_for(waiting, WITHIN_S)
    assert woken
    exchanged = await worker.exchange(want=1, woken=woken, was_idle=True, will_wait=True)
    return exchanged.leases


async def wake_ups(queue: Queue) -> int:
    """Count the wake-ups that nobody took yet."""
    total = 0
    async for key in queue.redis.scan_iter(match=f"{queue.root}:wake:*"):
        total += await queue.redis.llen(key)
    return total


async def test_a_job_wakes_an_idle_worker(queue: Queue) -> None:
    worker = await idle(queue, "worker")
    waiting = await block(worker)

    job = await queue.submit(a_request())

    (lease,) = await answer(worker, waiting)
    assert lease.job_id == job.id


async def test_nobody_is_woken_when_nobody_is_idle(queue: Queue) -> None:
    busy = await a_worker(queue, "busy")
    await take(busy)

    await queue.submit(a_request())

    assert await wake_ups(queue) == 0


async def test_nobody_is_woken_for_what_it_cannot_run(queue: Queue) -> None:
    await idle(queue, "worker")

    await queue.submit(a_request(requirements={"models": ["flux"]}))

    assert await wake_ups(queue) == 0


async def test_one_worker_is_woken_for_one_job(queue: Queue) -> None:
    for n in range(5):
        await idle(queue, f"plain-{n}")
        await idle(queue, f"able-{n}", models=["flux"])

    await queue.submit(a_request())
    assert await wake_ups(queue) == 1
    await queue.submit_many([a_request()] * 3)
    assert await wake_ups(queue) == 4
    await queue.submit_many([a_request()] * 100)
    assert await wake_ups(queue) == 10


async def test_all_who_are_woken_for_a_bulk_make_one_wake_up_each(queue: Queue) -> None:
    workers = [await idle(queue, f"worker-{n}") for n in range(6)]
    waiting = [await block(worker) for worker in workers]

    await queue.submit_many([a_request()] * 3)

    woken = [await answer(workers[n], waiting[n]) for n in range(3)]
    assert [len(leases) for leases in woken] == [1, 1, 1]
    assert await wake_ups(queue) == 0
    assert not any(task.done() for task in waiting[3:])
    for task in waiting[3:]:
        task.cancel()
    await asyncio.wait(waiting[3:])


async def test_who_still_waits_is_woken_by_the_next_job(queue: Queue) -> None:
    # Redis wakes whoever blocks longest, not the one that the submission counted on.
    workers = [await idle(queue, f"worker-{n}") for n in range(4)]
    waiting = [await block(worker) for worker in workers]

    for worker, task in zip(workers, waiting, strict=True):
        job = await queue.submit(a_request())
        (lease,) = await answer(worker, task)
        assert lease.job_id == job.id


async def test_a_worker_that_no_longer_waits_is_not_counted_on(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases_module, "WAKE_TIMEOUT_S", 0.0005)
    gone = await idle(queue, "gone")
    monkeypatch.setattr(leases_module, "WAKE_TIMEOUT_S", 4.0)
    there = await idle(queue, "there", models=["flux"])
    key = queue.key(f"idle:{gone.signature}")
    until = await queue.redis.zscore(key, "gone")

    async def now() -> float:
        seconds, microseconds = await queue.redis.time()
        return seconds * 1000 + microseconds / 1000

    await eventually(now, "the wait is over", until=lambda at: at > until + 1)
    waiting = await block(there)

    await queue.submit(a_request())

    assert len(await answer(there, waiting)) == 1
    assert await wake_ups(queue) == 0


async def test_a_busy_worker_is_not_counted_on(queue: Queue) -> None:
    worker = await idle(queue, "worker")
    await queue.submit(a_request())
    await worker.exchange(want=1, was_idle=True)
    await queue.redis.delete(queue.key(f"wake:{worker.signature}"))

    await queue.submit(a_request())

    assert await wake_ups(queue) == 0


async def test_a_wake_up_is_passed_on_when_something_better_was_taken(queue: Queue) -> None:
    first = await idle(queue, "first", models=["flux"])
    waiting = await block(first)
    await queue.submit(a_request())
    second = await idle_beside_a_wake_up(queue, "second")
    waiting_too = await block(second)
    urgent = await queue.submit(a_request(requirements={"models": ["flux"]}, priority=100))

    (lease,) = await answer(first, waiting)

    assert lease.job_id == urgent.id
    assert len(await answer(second, waiting_too)) == 1
    assert await wake_ups(queue) == 0


async def idle_beside_a_wake_up(queue: Queue, name: str) -> Leases:
    """Return a plain worker that waits since before the job that first is woken for."""
    worker = await a_worker(queue, name)
    await queue.pause()
    await worker.exchange(want=1, will_wait=True)
    await queue.redis.hdel(queue.key("meta"), "paused")
    return worker


async def test_a_wake_up_is_not_passed_on_to_oneself(queue: Queue) -> None:
    worker = await idle(queue, "worker", models=["flux"])
    waiting = await block(worker)
    await queue.submit(a_request())
    await queue.submit(a_request(requirements={"models": ["flux"]}, priority=100))

    await answer(worker, waiting)

    assert await wake_ups(queue) == 0


async def test_a_woken_worker_that_cannot_take_jobs_any_more_passes_the_wake_up_on(
    queue: Queue,
) -> None:
    not_ready, ready = await idle(queue, "not-ready"), await idle(queue, "ready")
    waiting, waiting_too = await block(not_ready), await block(ready)
    job = await queue.submit(a_request())
    woken = await asyncio.wait_for(waiting, WITHIN_S)

    await not_ready.exchange(want=0, woken=woken, was_idle=True)

    (lease,) = await answer(ready, waiting_too)
    assert lease.job_id == job.id


async def test_a_wake_up_for_what_was_taken_meanwhile_ends(queue: Queue) -> None:
    first, second = await idle(queue, "first"), await idle(queue, "second")
    waiting = await block(first)
    await queue.submit(a_request())
    await take_one(second)

    assert await answer(first, waiting) == []

    assert await wake_ups(queue) == 0


async def test_a_released_job_wakes_another_worker(queue: Queue) -> None:
    await queue.submit(a_request())
    draining = await a_worker(queue, "draining")
    lease = await take_one(draining)
    other = await idle(queue, "other")
    waiting = await block(other)

    await hand_in(draining, Released(lease))

    assert len(await answer(other, waiting)) == 1


async def test_a_job_that_is_due_wakes_a_worker(queue: Queue, recovery: Recovery) -> None:
    job = await queue.submit(a_request(not_before=datetime.now(UTC) + timedelta(hours=1)))
    worker = await idle(queue, "worker")
    waiting = await block(worker)
    assert await wake_ups(queue) == 0
    await come_due(queue, job.id)

    await recovery.recover()

    assert len(await answer(worker, waiting)) == 1


async def test_a_retry_by_hand_wakes_a_worker(queue: Queue) -> None:
    job = await queue.submit(a_request())
    await queue.cancel(job.id)
    worker = await idle(queue, "worker")
    waiting = await block(worker)

    await queue.retry(job.id)

    assert len(await answer(worker, waiting)) == 1


async def test_a_new_class_wakes_the_workers_that_can_run_it(queue: Queue) -> None:
    worker = await idle(queue, "worker", labels={"zone": "eu", "tier": "1"})
    waiting = await block(worker)

    await queue.submit(a_request(requirements={"labels": {"zone": "eu"}}))

    assert len(await answer(worker, waiting)) == 1


async def test_capabilities_that_the_queue_does_not_know_are_not_waited_with(
    queue: Queue,
) -> None:
    worker = unregistered_worker(queue)

    exchanged = await worker.exchange(want=1, will_wait=True)

    assert not exchanged.registered
    await queue.submit(a_request())
    await worker.register()
    exchanged = await worker.exchange(want=1, will_wait=True)
    assert exchanged.registered
    assert len(exchanged.leases) == 1


async def test_resuming_wakes_one_worker_for_each_job_that_waits(queue: Queue) -> None:
    await queue.pause()
    await queue.submit_many([a_request(), a_request(requirements={"vram_mib": 8})])
    workers = [await idle(queue, f"worker-{n}", vram_mib=8) for n in range(3)]
    assert await wake_ups(queue) == 0
    waiting = [await block(worker) for worker in workers]

    await queue.resume()

    assert len(await answer(workers[0], waiting[0])) == 1
    assert len(await answer(workers[1], waiting[1])) == 1
    assert not waiting[2].done()
    waiting[2].cancel()
    await asyncio.wait([waiting[2]])
    assert (await queue.counts())[JobState.RUNNING] == 2


async def test_a_wait_ends_by_itself(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "WAKE_TIMEOUT_S", 0.01)

    assert await (await a_worker(queue)).wait_for_wake() == ""
