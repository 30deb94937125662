from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from muster.errors import InvalidInput
from muster.jobs.limits import Limits
from muster.jobs.model import Completed, Failed, JobError, JobState, LeaseState, Progress, Released
from muster.jobs.queue import Queue
from support.jobs import (
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

    from muster.jobs.leases import Leases
    from muster.jobs.model import Job, Lease
    from muster.jobs.recovery import Recovery

pytestmark = pytest.mark.anyio


async def started(queue: Queue, **fields: Any) -> tuple[Leases, Lease]:
    await queue.submit(a_request(**fields))
    worker = await a_worker(queue)
    return worker, await take_one(worker)


async def fail_once(queue: Queue, worker: Leases, lease: Lease) -> Job:
    assert await hand_in(worker, failed(lease)) == [LeaseState.OK]
    return await queue.get(lease.job_id)


@pytest.mark.parametrize("result", [None, 0, "", {"images": ["file:///a.png"]}, [1.5, "ü\n"]])
async def test_a_completed_job_holds_its_result(queue: Queue, result: Any) -> None:
    worker, lease = await started(queue)

    assert await hand_in(worker, completed(lease, result)) == [LeaseState.OK]

    job = await queue.get(lease.job_id)
    assert (job.state, job.result, job.failed_attempts) == (JobState.COMPLETED, result, 0)
    assert job.finished_at is not None
    assert job.started_at is not None
    assert job.finished_at >= job.started_at


@pytest.mark.failure(20)
async def test_a_result_over_the_limit_is_refused_and_nothing_is_settled(
    redis: Redis, queue_name: str
) -> None:
    queue = Queue(redis, queue_name, limits=Limits(result_bytes=100))
    await queue.submit_many([a_request()] * 2)
    worker = await a_worker(queue)
    small, large = await take(worker, 2)

    with pytest.raises(InvalidInput, match="100 are allowed") as refusal:
        await hand_in(worker, completed(small), completed(large, "x" * 100))

    assert refusal.value.field == "result"
    assert (await queue.counts())[JobState.RUNNING] == 2


@pytest.mark.parametrize("result", [b"", b"{", b"NaN", b'"\xff"', b'"\\ud800"', b"[" * 300])
async def test_a_result_that_is_not_json_is_refused(queue: Queue, result: bytes) -> None:
    worker, lease = await started(queue)

    with pytest.raises(InvalidInput) as refusal:
        await hand_in(worker, Completed(lease, result))

    assert refusal.value.field == "result"


async def test_progress_is_shown_while_the_attempt_runs(queue: Queue) -> None:
    worker, lease = await started(queue)

    assert await worker.progress(lease, Progress(fraction=0.25, message="step 5")) == LeaseState.OK
    assert await worker.progress(lease, Progress(fraction=0.5)) == LeaseState.OK

    assert (await queue.get(lease.job_id)).progress == Progress(fraction=0.5)


@pytest.mark.parametrize("end", [completed, failed, Released])
@pytest.mark.failure(13)
async def test_progress_goes_with_its_attempt(queue: Queue, end: Any) -> None:
    worker, lease = await started(queue, backoff_s=0)
    await worker.progress(lease, Progress(fraction=0.9))

    await hand_in(worker, end(lease))

    assert (await queue.get(lease.job_id)).progress is None


async def test_a_new_attempt_starts_without_the_progress_of_the_last(queue: Queue) -> None:
    worker, lease = await started(queue)
    await worker.progress(lease, Progress(fraction=0.9))
    await hand_in(worker, Released(lease))

    await take_one(worker)

    assert (await queue.get(lease.job_id)).progress is None


@pytest.mark.failure(11)
async def test_a_failed_attempt_is_tried_again_after_a_while(
    queue: Queue, recovery: Recovery
) -> None:
    worker, lease = await started(queue)

    job = await fail_once(queue, worker, lease)

    assert (job.state, job.failed_attempts, job.lost_attempts) == (JobState.SCHEDULED, 1, 0)
    assert await recovery.recover() == (0, 0)
    await come_due(queue, job.id)
    assert await recovery.recover() == (1, 0)
    assert (await take_one(worker)).attempt == 2


@pytest.mark.failure(11)
async def test_the_wait_doubles_with_each_failed_attempt_up_to_five_minutes(
    queue: Queue, recovery: Recovery
) -> None:
    worker, lease = await started(queue, max_failed=100, backoff_s=2)
    waits = []
    for _ in range(12):
        job = await fail_once(queue, worker, lease)
        assert job.due_at is not None
        waits.append((job.due_at - job.attempts[-1].ended_at).total_seconds())
        await come_due(queue, job.id)
        await recovery.recover()
        lease = await take_one(worker)

    # Each is spread over the upper half, so that retries do not come all at once.
    for wait, longest in zip(waits, [2, 4, 8, 16, 32, 64, 128, 256, *[300] * 4], strict=True):
        assert longest / 2 <= wait <= longest


@pytest.mark.failure(12)
async def test_a_wait_of_zero_and_of_an_hour_are_kept(queue: Queue) -> None:
    await queue.submit_many([a_request(backoff_s=0), a_request(backoff_s=3600)])
    worker = await a_worker(queue)
    waits = []
    for lease in await take(worker, 2):
        job = await fail_once(queue, worker, lease)
        assert job.due_at is not None
        waits.append(job.due_at - job.attempts[-1].ended_at)

    assert waits[0] == timedelta(0)
    assert timedelta(minutes=30) <= waits[1] <= timedelta(hours=1)


async def test_the_last_attempt_that_may_fail_fails_the_job(
    queue: Queue, recovery: Recovery
) -> None:
    worker, lease = await started(queue, max_failed=2)
    await fail_once(queue, worker, lease)
    await come_due(queue, lease.job_id)
    await recovery.recover()

    job = await fail_once(queue, worker, await take_one(worker))

    assert (job.state, job.failed_attempts) == (JobState.FAILED, 2)
    assert job.finished_at is not None
    assert [attempt.error.message for attempt in job.attempts] == ["out of memory"] * 2


@pytest.mark.failure(19)
async def test_a_failure_that_no_retry_mends_fails_the_job_at_once(queue: Queue) -> None:
    worker, lease = await started(queue, max_failed=100)

    await hand_in(worker, failed(lease, "no such node", retryable=False))

    job = await queue.get(lease.job_id)
    assert (job.state, job.failed_attempts) == (JobState.FAILED, 1)


async def test_failed_and_lost_attempts_are_counted_apart(queue: Queue, recovery: Recovery) -> None:
    worker, lease = await started(queue, max_failed=2, max_lost=3)
    for end in ["lost", "failed", "lost"]:
        if end == "lost":
            await expire(queue, lease)
            assert await recovery.recover() == (0, 1)
        else:
            await fail_once(queue, worker, lease)
        await come_due(queue, lease.job_id)
        await recovery.recover()
        lease = await take_one(worker)

    job = await queue.get(lease.job_id)
    assert (job.state, job.failed_attempts, job.lost_attempts) == (JobState.RUNNING, 1, 2)
    await expire(queue, lease)
    await recovery.recover()

    job = await queue.get(lease.job_id)
    assert (job.state, job.failed_attempts, job.lost_attempts) == (JobState.FAILED, 1, 3)
    assert [attempt.outcome for attempt in job.attempts] == ["lost", "failed", "lost", "lost"]


async def test_an_attempt_that_died_with_its_service_is_a_lost_one(queue: Queue) -> None:
    worker, lease = await started(queue, max_failed=1)
    error = JobError(kind="service_gone", message="the service was killed")

    await hand_in(worker, Failed(lease, error, lost=True))

    job = await queue.get(lease.job_id)
    assert (job.state, job.failed_attempts, job.lost_attempts) == (JobState.SCHEDULED, 0, 1)
    assert (job.attempts[0].outcome, job.attempts[0].error) == ("lost", error)


async def test_the_first_lost_attempt_is_made_good_at_once_the_next_after_a_wait(
    queue: Queue, recovery: Recovery
) -> None:
    worker, lease = await started(queue, backoff_s=60)
    waits = []
    for _ in range(3):
        await expire(queue, lease)
        await recovery.recover()
        job = await queue.get(lease.job_id)
        assert job.due_at is not None
        waits.append((job.due_at - job.attempts[-1].ended_at).total_seconds())
        await come_due(queue, job.id)
        await recovery.recover()
        lease = await take_one(worker)

    assert waits[0] == 0
    assert 30 <= waits[1] <= 60
    assert 90 <= waits[2] <= 180


async def test_the_story_of_an_attempt_is_kept_whole(queue: Queue) -> None:
    worker, lease = await started(queue)
    error = JobError(
        kind="execution", message='a "quoted"\nline\r\n\x00\u2028ü', details={"node": [1, None]}
    )

    await hand_in(worker, Failed(lease, error))

    (attempt,) = (await queue.get(lease.job_id)).attempts
    assert (attempt.number, attempt.worker, attempt.outcome) == (1, "worker-1", "failed")
    assert attempt.error == error
    assert attempt.ended_at >= attempt.started_at


@pytest.mark.parametrize("letter", ["x", "ü", "\x00", "𝄞"])
async def test_an_error_is_shortened_to_the_limit(
    redis: Redis, queue_name: str, letter: str
) -> None:
    queue = Queue(redis, queue_name, limits=Limits(error_bytes=1000))
    worker, lease = await started(queue)
    error = JobError(kind=letter * 900, message=letter * 900, details={"trace": letter * 900})

    await hand_in(worker, Failed(lease, error))

    (attempt,) = (await queue.get(lease.job_id)).attempts
    assert attempt.error.message.startswith(letter * 50)
    assert attempt.error.message.endswith("(shortened)")
    assert len(attempt.error.message) < 200
    assert len(attempt.error.kind) <= 64
    assert attempt.error.details == {}


async def test_an_error_s_size_is_counted_in_bytes(redis: Redis, queue_name: str) -> None:
    queue = Queue(redis, queue_name, limits=Limits(error_bytes=1000))
    worker, lease = await started(queue)

    await hand_in(worker, failed(lease, "ü" * 900))

    stored = await redis.hget(queue.key("attempts"), lease.job_id)
    assert len(stored) < 1200


async def test_details_that_are_not_json_are_left_out(queue: Queue) -> None:
    worker, lease = await started(queue)
    error = JobError(kind="crash", message="a bug", details={"half a character": "\ud800"})

    await hand_in(worker, Failed(lease, error))

    (attempt,) = (await queue.get(lease.job_id)).attempts
    assert attempt.error == JobError(kind="crash", message="a bug")


async def test_a_released_job_loses_no_attempt_and_keeps_its_place(queue: Queue) -> None:
    first, second = await queue.submit_many([a_request(max_failed=1, max_lost=1)] * 2)
    worker = await a_worker(queue)
    lease = await take_one(worker)

    assert await hand_in(worker, Released(lease)) == [LeaseState.OK]

    job = await queue.get(first.id)
    assert (job.state, job.failed_attempts, job.lost_attempts) == (JobState.PENDING, 0, 0)
    assert job.attempts == []
    assert [lease.job_id for lease in await take(worker, 2)] == [first.id, second.id]
