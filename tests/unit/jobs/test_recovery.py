from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from muster.jobs import recovery as recovery_module
from muster.jobs.model import JobState, LeaseState, Progress
from support.jobs import (
    a_request,
    a_worker,
    come_due,
    completed,
    contents,
    expire,
    hand_in,
    leave_unattended,
    take,
    take_one,
    use_up_time,
)
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from muster.jobs.queue import Queue
    from muster.jobs.recovery import Recovery
    from support.redis import OwnRedis

pytestmark = pytest.mark.anyio


async def test_a_job_is_not_run_before_its_time(queue: Queue, recovery: Recovery) -> None:
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    submitted = await queue.submit(a_request(not_before=due))
    worker = await a_worker(queue)

    assert await recovery.recover() == (0, 0)
    assert await take(worker) == []
    job = await queue.get(submitted.id)
    assert (job.state, job.due_at) == (JobState.SCHEDULED, due)


@pytest.mark.failure(10)
async def test_a_job_whose_time_has_come_is_run_at_its_place(
    queue: Queue, recovery: Recovery
) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    scheduled = await queue.submit(a_request(not_before=due))
    later = await queue.submit(a_request())
    await come_due(queue, scheduled.id)

    assert await recovery.recover() == (1, 0)

    job = await queue.get(scheduled.id)
    assert (job.state, job.due_at) == (JobState.PENDING, None)
    order = [lease.job_id for lease in await take(await a_worker(queue), 2)]
    assert order == [scheduled.id, later.id]


async def test_a_time_that_is_past_means_at_once(queue: Queue) -> None:
    submitted = await queue.submit(a_request(not_before=datetime(1969, 1, 1, tzinfo=UTC)))

    assert (await queue.get(submitted.id)).state is JobState.PENDING


@pytest.mark.failure(5)
async def test_invariant_1_a_job_whose_worker_fell_silent_is_put_back(
    queue: Queue, recovery: Recovery
) -> None:
    submitted = await queue.submit(a_request())
    lease = await take_one(await a_worker(queue, "worker-9"))
    await expire(queue, lease)

    assert await recovery.recover() == (0, 1)

    job = await queue.get(submitted.id)
    assert (job.state, job.lost_attempts, job.failed_attempts) == (JobState.SCHEDULED, 1, 0)
    (attempt,) = job.attempts
    assert (attempt.worker, attempt.outcome, attempt.error.kind) == ("worker-9", "lost", "lost")


@pytest.mark.failure(5)
async def test_a_lease_that_is_extended_is_left_alone(queue: Queue, recovery: Recovery) -> None:
    await queue.submit_many([a_request()] * 2)
    worker = await a_worker(queue)
    kept, silent = await take(worker, 2)
    await expire(queue, kept, silent)

    await worker.extend([kept])

    assert await recovery.recover() == (0, 1)
    assert (await queue.get(kept.job_id)).state is JobState.RUNNING


async def test_recovery_may_run_side_by_side(queue: Queue, recovery: Recovery) -> None:
    await queue.submit_many([a_request()] * 20)
    leases = await take(await a_worker(queue), 20)
    await expire(queue, *leases)

    answers = await asyncio.gather(*(recovery.recover() for _ in range(5)))

    assert sum(lost for _, lost in answers) == 20
    jobs = [await queue.get(lease.job_id) for lease in leases]
    assert {job.lost_attempts for job in jobs} == {1}


async def test_a_job_that_kills_its_workers_is_set_aside_with_its_story(
    queue: Queue, recovery: Recovery
) -> None:
    submitted = await queue.submit(a_request(max_lost=2, backoff_s=0))
    for n in range(2):
        lease = await take_one(await a_worker(queue, f"worker-{n}"))
        await expire(queue, lease)
        await recovery.recover()
        await recovery.recover()

    job = await queue.get(submitted.id)
    assert (job.state, job.lost_attempts) == (JobState.FAILED, 2)
    assert [attempt.worker for attempt in job.attempts] == ["worker-0", "worker-1"]


async def test_a_job_over_its_time_is_a_failed_attempt(queue: Queue, recovery: Recovery) -> None:
    submitted = await queue.submit(a_request(timeout_s=60))
    worker = await a_worker(queue)
    lease = await take_one(worker)
    await use_up_time(queue, lease)

    assert await worker.extend([lease]) == [LeaseState.TIMEOUT]
    assert await recovery.recover() == (0, 1)

    job = await queue.get(submitted.id)
    assert (job.failed_attempts, job.lost_attempts) == (1, 0)
    assert job.attempts[0].error.kind == "timeout"
    assert await worker.extend([lease]) == [LeaseState.LOST]
    assert await hand_in(worker, completed(lease)) == [LeaseState.LOST]


async def test_a_lease_never_lasts_beyond_the_job_s_time(queue: Queue) -> None:
    await queue.submit(a_request(timeout_s=10))
    worker = await a_worker(queue)
    lease = await take_one(worker)
    started = int(await queue.redis.hget(queue.key(f"job:{lease.job_id}"), "started"))

    assert await worker.extend([lease]) == [LeaseState.OK]

    until = await queue.redis.zscore(queue.key("leases"), lease.member)
    assert until == started + 10_000


async def test_invariant_2_after_an_outage_a_worker_that_was_not_replaced_commits(
    queue: Queue, recovery: Recovery
) -> None:
    await queue.submit(a_request())
    worker = await a_worker(queue)
    lease = await take_one(worker)
    await recovery.recover()
    await expire(queue, lease)
    await leave_unattended(queue)

    assert await recovery.recover() == (0, 0)
    assert await recovery.recover() == (0, 0)

    assert await worker.progress(lease, Progress(fraction=1)) == LeaseState.OK
    assert await hand_in(worker, completed(lease)) == [LeaseState.OK]


async def test_after_an_outage_a_worker_that_does_not_come_back_is_given_up_after_one_lease(
    queue: Queue, recovery: Recovery
) -> None:
    await queue.submit(a_request())
    lease = await take_one(await a_worker(queue))
    await expire(queue, lease)
    await leave_unattended(queue)
    await recovery.recover()

    until = await queue.redis.zscore(queue.key("leases"), lease.member)
    seconds, _ = await queue.redis.time()
    assert 10 < until / 1000 - seconds <= 16
    await expire(queue, lease)
    assert await recovery.recover() == (0, 1)


async def test_after_an_outage_what_is_due_becomes_ready_at_once(
    queue: Queue, recovery: Recovery
) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    submitted = await queue.submit(a_request(not_before=due))
    await come_due(queue, submitted.id)
    await leave_unattended(queue)

    assert await recovery.recover() == (1, 0)


async def test_a_restarted_worker_gives_up_what_its_id_held(queue: Queue) -> None:
    await queue.submit_many([a_request()] * 3)
    worker, other = await a_worker(queue, "worker-1"), await a_worker(queue, "worker-10")
    held = await take(worker, 2)
    lease = await take_one(other)

    assert await worker.reclaim(lost=True) == 2

    jobs = [await queue.get(one.job_id) for one in held]
    assert [(job.state, job.lost_attempts) for job in jobs] == [(JobState.SCHEDULED, 1)] * 2
    assert await other.extend([lease]) == [LeaseState.OK]


async def test_jobs_of_a_lost_answer_go_back_uncounted(queue: Queue) -> None:
    first, second = await queue.submit_many([a_request(max_lost=1)] * 2)
    worker = await a_worker(queue)
    kept = await take_one(worker)
    await take_one(worker)

    assert await worker.reclaim([kept], lost=False) == 1

    job = await queue.get(second.id)
    assert (job.state, job.lost_attempts, job.attempts) == (JobState.PENDING, 0, [])
    assert (await queue.get(first.id)).state is JobState.RUNNING
    assert (await take_one(worker)).job_id == second.id


async def test_reclaiming_nothing_changes_nothing(queue: Queue) -> None:
    await queue.submit(a_request())
    worker = await a_worker(queue)
    lease = await take_one(worker)
    before = await contents(queue)

    assert await worker.reclaim([lease], lost=True) == 0

    assert await contents(queue) == before


@pytest.mark.failure(5)
async def test_the_loop_brings_jobs_forward(
    queue: Queue, recovery: Recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery_module, "INTERVAL_S", 0.01)
    submitted = await queue.submit(a_request())
    await expire(queue, await take_one(await a_worker(queue)))
    loop = asyncio.create_task(recovery.run())
    try:
        job = await eventually(
            lambda: queue.get(submitted.id), "the job is lost", until=lambda j: j.lost_attempts
        )
    finally:
        loop.cancel()
        await asyncio.wait([loop])
    assert job.lost_attempts == 1


async def test_the_loop_outlives_a_redis_that_goes_and_comes_back(
    own_redis: Callable[..., OwnRedis], monkeypatch: pytest.MonkeyPatch
) -> None:
    from muster.jobs.connection import connect
    from muster.jobs.queue import Queue
    from muster.jobs.recovery import Recovery
    from muster.settings import RedisSettings

    monkeypatch.setattr(recovery_module, "INTERVAL_S", 0.01)
    monkeypatch.setattr(recovery_module, "UPKEEP_EVERY_S", 0.02)
    server = own_redis()
    async with connect(RedisSettings.load(redis_url=server.url)) as redis:
        queue = Queue(redis)
        loop = asyncio.create_task(Recovery(queue).run())
        try:
            server.stop()
            await asyncio.wait([loop], timeout=0.05)
            assert not loop.done()
            server.start()
            before = await redis.time()

            async def recovered() -> bool:
                at = await redis.hget(queue.key("meta"), "recovered_at")
                return int(at or 0) > before[0] * 1000

            await eventually(recovered, "recovery goes on")
        finally:
            loop.cancel()
            await asyncio.wait([loop])
