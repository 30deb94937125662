from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from muster.errors import Busy, NotFound
from muster.jobs import queue as queue_module
from muster.jobs import recovery as recovery_module
from muster.jobs.connection import connect
from muster.jobs.demand import read_demand
from muster.jobs.events import read_events
from muster.jobs.limits import Limits, Retention
from muster.jobs.model import Capabilities, JobState, Released
from muster.jobs.queue import Queue
from muster.jobs.recovery import Recovery
from muster.settings import RedisSettings
from support.jobs import (
    SERVICE,
    a_request,
    a_worker,
    completed,
    contents,
    failed,
    hand_in,
    take,
    take_one,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from support.redis import OwnRedis

pytestmark = pytest.mark.anyio

DAY_MS = 24 * 3600 * 1000


async def finish(queue: Queue, count: int = 1, **fields: object) -> list[str]:
    """Submit jobs and complete them, in this order."""
    await queue.submit_many([a_request(**fields) for _ in range(count)])
    worker = await a_worker(queue)
    leases = await take(worker, count)
    for lease in leases:
        await hand_in(worker, completed(lease))
    return [lease.job_id for lease in leases]


async def age(queue: Queue, state: JobState, job_id: str, by_ms: int) -> None:
    await queue.redis.zincrby(queue.key(f"finished:{state}"), -by_ms, job_id)


async def test_jobs_that_are_too_old_go_with_all_that_was_kept_of_them(
    queue: Queue, recovery: Recovery
) -> None:
    before = await contents(queue)
    submitted = await queue.submit(a_request(idempotency_key="order-1"))
    worker = await a_worker(queue)
    await hand_in(worker, failed(await take_one(worker), retryable=False))
    await age(queue, JobState.FAILED, submitted.id, 7 * DAY_MS + 1000)

    await recovery.upkeep()

    with pytest.raises(NotFound):
        await queue.get(submitted.id)
    left = await contents(queue, without=["meta", "events"])
    assert submitted.id not in str(left)
    assert set(left) - set(before) <= {"classes", "matches", "signatures", "signatures:seen"} | {
        name for name in left if name.startswith("heads:")
    }


async def test_a_key_whose_job_was_retired_makes_a_new_job(
    queue: Queue, recovery: Recovery
) -> None:
    (job_id,) = await finish(queue, idempotency_key="order-1")
    assert (await queue.submit(a_request(idempotency_key="order-1"))).id == job_id
    await age(queue, JobState.COMPLETED, job_id, DAY_MS + 1000)
    await recovery.upkeep()

    assert not (await queue.submit(a_request(idempotency_key="order-1"))).duplicate


async def look_again(queue: Queue, job_id: str) -> None:
    """Let the time come when a job that is kept for a shorter time is looked at."""
    await queue.redis.zadd(queue.key("brief"), {job_id: 1}, xx=True)


async def test_a_job_that_is_wanted_for_a_shorter_time_goes_sooner(
    queue: Queue, recovery: Recovery
) -> None:
    before = await contents(queue)
    (brief,) = await finish(queue, keep_s=60, idempotency_key="order-1")
    (other,) = await finish(queue)
    await queue.redis.hset(queue.key(f"job:{brief}"), "finished", "1")
    await look_again(queue, brief)

    await recovery.upkeep()

    with pytest.raises(NotFound):
        await queue.get(brief)
    assert (await queue.get(other)).state is JobState.COMPLETED
    left = await contents(queue, without=["meta", "events"])
    assert brief not in str(left)
    assert "brief" not in set(left) - set(before)
    assert not (await queue.submit(a_request(idempotency_key="order-1"))).duplicate


async def test_a_job_that_is_not_over_is_not_forgotten_however_short_it_is_wanted(
    queue: Queue, recovery: Recovery
) -> None:
    waits = await queue.submit(a_request(keep_s=1))
    (done,) = await finish(queue, keep_s=60, priority=100)
    for job_id in (waits.id, done):
        await look_again(queue, job_id)

    await recovery.upkeep()

    assert (await queue.get(waits.id)).state is JobState.PENDING
    assert (await queue.get(done)).state is JobState.COMPLETED
    now_s, _ = await queue.redis.time()
    assert await queue.redis.zscore(queue.key("brief"), waits.id) > now_s * 1000
    assert await queue.redis.zscore(queue.key("brief"), done) > (now_s + 50) * 1000


async def test_jobs_that_are_young_enough_stay(queue: Queue, recovery: Recovery) -> None:
    (job_id,) = await finish(queue)
    await age(queue, JobState.COMPLETED, job_id, DAY_MS - 60_000)

    await recovery.upkeep()

    assert (await queue.get(job_id)).state is JobState.COMPLETED


async def test_each_state_has_its_own_age(queue: Queue, recovery: Recovery) -> None:
    (done,) = await finish(queue)
    broken = (await queue.submit(a_request())).id
    worker = await a_worker(queue)
    await hand_in(worker, failed(await take_one(worker), retryable=False))
    given_up = (await queue.submit(a_request())).id
    await queue.cancel(given_up)
    for state, job_id in [("completed", done), ("failed", broken), ("cancelled", given_up)]:
        await age(queue, JobState(state), job_id, 2 * DAY_MS)

    await recovery.upkeep()

    counts = await queue.counts()
    kept = {state: counts[JobState(state)] for state in ("completed", "failed", "cancelled")}
    assert kept == {"completed": 0, "failed": 1, "cancelled": 0}


@pytest.mark.parametrize("kept", [0, 1, 3])
async def test_of_too_many_jobs_the_oldest_go(redis: Redis, queue_name: str, kept: int) -> None:
    limits = Limits(completed=Retention(age_s=3600, count=kept))
    queue = Queue(redis, queue_name, limits=limits)
    ids = await finish(queue, 8)
    for n, job_id in enumerate(ids):
        await age(queue, JobState.COMPLETED, job_id, 1000 - n)

    await Recovery(queue).upkeep()

    left = (await queue.page(JobState.COMPLETED)).jobs
    assert [job.id for job in left] == ids[::-1][:kept]


async def test_more_jobs_than_one_call_deletes_go_in_one_upkeep(
    redis: Redis, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery_module, "BATCH", 3)
    queue = Queue(redis, queue_name, limits=Limits(completed=Retention(age_s=3600, count=2)))
    await finish(queue, 11)

    await Recovery(queue).upkeep()

    assert (await queue.counts())[JobState.COMPLETED] == 2


async def test_waiting_and_running_jobs_are_never_retired(redis: Redis, queue_name: str) -> None:
    none = Retention(age_s=0.001, count=0)
    queue = Queue(redis, queue_name, limits=Limits(completed=none, failed=none, cancelled=none))
    await queue.submit_many([a_request()] * 2)
    await take_one(await a_worker(queue))

    await Recovery(queue).upkeep()

    counts = await queue.counts()
    assert (counts[JobState.PENDING], counts[JobState.RUNNING]) == (1, 1)


async def test_old_events_go(redis: Redis, queue_name: str) -> None:
    queue = Queue(redis, queue_name, limits=Limits(completed=Retention(age_s=3600, count=0)))
    fields = {"job": "old", "state": "pending", "worker": "", "attempt": 0, "detail": ""}
    async with redis.pipeline() as pipeline:
        for n in range(1000):
            pipeline.xadd(queue.key("events"), fields, id=f"1-{n + 1}")
        await pipeline.execute()
    await finish(queue)

    await Recovery(queue).upkeep()

    # Redis trims whole nodes of its stream, 100 entries each.
    assert sum(event.job == "old" for event in await read_events(queue)) < 100


async def test_at_the_watermark_submissions_are_refused_and_results_are_not(
    redis: Redis, queue_name: str
) -> None:
    queue = Queue(redis, queue_name, limits=Limits(watermark=1e-9))
    await queue.submit(a_request())
    worker = await a_worker(queue)
    lease = await take_one(worker)

    await Recovery(queue).upkeep()

    with pytest.raises(Busy, match="nearly full") as refusal:
        await queue.submit(a_request())
    assert refusal.value.retry_after > 0
    assert await hand_in(worker, completed(lease)) == ["ok"]
    await Recovery(Queue(redis, queue_name)).upkeep()
    await queue.submit(a_request())


@pytest.fixture
async def full(own_redis: Callable[..., OwnRedis]) -> Queue:
    """A queue on a Redis that has not a byte left, with a finished job and one that runs."""
    server = own_redis(appendonly=False)
    limits = Limits(completed=Retention(age_s=3600, count=0))
    redis = connect(RedisSettings.load(redis_url=server.url))
    return Queue(redis, limits=limits)


async def test_a_redis_without_memory_is_told_as_busy_and_stores_nothing(
    full: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "REPLICA_TIMEOUT_MS", 1)
    async with full.redis:
        before = await contents(full)
        await full.redis.config_set("maxmemory", "1kb")

        with pytest.raises(Busy, match="nearly full"):
            await full.submit(a_request())
        with pytest.raises(Busy, match="nearly full"):
            await Queue(full.redis, wait_replicas=1).submit(a_request())

        assert await contents(full) == before


async def test_invariant_1_a_redis_without_memory_still_takes_outcomes(full: Queue) -> None:
    async with full.redis:
        await full.submit_many([a_request()] * 3)
        worker = await a_worker(full)
        first, second, third = await take(worker, 3)
        await full.redis.config_set("maxmemory", "1kb")

        assert await hand_in(worker, completed(first, "x" * 1000), failed(second)) == ["ok", "ok"]
        assert await hand_in(worker, Released(third)) == ["ok"]

        await full.redis.config_set("maxmemory", "0")
        assert (await take_one(worker)).job_id == third.job_id
        assert (await full.get(first.job_id)).result == "x" * 1000
        assert (await full.get(second.job_id)).state is JobState.SCHEDULED


async def test_invariant_1_a_redis_without_memory_still_extends_leases(full: Queue) -> None:
    async with full.redis:
        await full.submit(a_request())
        worker = await a_worker(full)
        lease = await take_one(worker)
        before = await full.redis.zscore(full.key("leases"), lease.member)
        await full.redis.config_set("maxmemory", "1kb")

        assert await worker.extend([lease]) == ["ok"]

        assert await full.redis.zscore(full.key("leases"), lease.member) >= before


async def test_a_redis_without_memory_still_hears_what_workers_offer_and_jobs_wait_for(
    full: Queue,
) -> None:
    async with full.redis:
        await full.submit(a_request(requirements={"models": ["flux"]}))
        worker = await a_worker(full)
        await full.redis.config_set("maxmemory", "1kb")

        worker.offer(Capabilities(service=SERVICE, models=frozenset({"flux"})))
        await worker.register()

        assert [demand.served for demand in await read_demand(full)] == [True]


async def test_a_redis_without_memory_gets_room_from_retention(
    full: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery_module, "INTERVAL_S", 0.01)
    monkeypatch.setattr(recovery_module, "UPKEEP_EVERY_S", 0.01)
    async with full.redis:
        await finish(full, 20, payload={"text": "x" * 10_000})
        await full.redis.config_set("maxmemory", "1kb")
        loop = asyncio.create_task(Recovery(full).run())
        try:
            await eventually(
                lambda: full.redis.zcard(full.key("finished:completed")),
                "retention goes on",
                until=lambda count: count == 0,
            )
        finally:
            loop.cancel()
            await asyncio.wait([loop])
