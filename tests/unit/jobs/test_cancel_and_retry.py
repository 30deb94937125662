from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from muster.errors import Conflict, NotFound
from muster.jobs.model import JobState, LeaseState
from support.jobs import (
    a_request,
    a_worker,
    come_due,
    completed,
    contents,
    failed,
    hand_in,
    take,
    take_one,
)

if TYPE_CHECKING:
    from muster.jobs.queue import Queue
    from muster.jobs.recovery import Recovery

pytestmark = pytest.mark.anyio


async def test_a_cancelled_pending_job_is_never_run(queue: Queue) -> None:
    first, second = await queue.submit_many([a_request()] * 2)

    job = await queue.cancel(first.id)

    assert job.state is JobState.CANCELLED
    assert job.finished_at is not None
    assert [lease.job_id for lease in await take(await a_worker(queue), 2)] == [second.id]


async def test_a_cancelled_scheduled_job_is_never_run(queue: Queue, recovery: Recovery) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    submitted = await queue.submit(a_request(not_before=later))

    job = await queue.cancel(submitted.id)

    await come_due(queue, job.id)
    assert job.state is JobState.CANCELLED
    assert await recovery.recover() == (0, 0)
    assert (await queue.counts())[JobState.SCHEDULED] == 0


@pytest.mark.failure(8)
async def test_the_worker_of_a_cancelled_job_is_told_when_it_speaks(queue: Queue) -> None:
    submitted = await queue.submit(a_request())
    worker = await a_worker(queue)
    lease = await take_one(worker)

    job = await queue.cancel(submitted.id)

    assert job.state is JobState.CANCELLED
    assert await worker.extend([lease]) == [LeaseState.LOST]
    assert await hand_in(worker, completed(lease)) == [LeaseState.LOST]
    assert (await queue.get(submitted.id)).state is JobState.CANCELLED


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
async def test_what_is_over_is_not_cancelled(queue: Queue, state: str) -> None:
    submitted = await queue.submit(a_request())
    worker = await a_worker(queue)
    if state == "cancelled":
        await queue.cancel(submitted.id)
    else:
        lease = await take_one(worker)
        end = completed(lease) if state == "completed" else failed(lease, retryable=False)
        await hand_in(worker, end)
    before = await contents(queue)

    with pytest.raises(Conflict, match=f"{submitted.id} is {state} already"):
        await queue.cancel(submitted.id)

    assert await contents(queue) == before


async def test_a_job_that_is_not_there_is_neither_got_nor_cancelled_nor_retried(
    queue: Queue,
) -> None:
    for act in (queue.get, queue.cancel, queue.retry):
        with pytest.raises(NotFound, match="'nonesuch'"):
            await act("nonesuch")


async def test_a_retried_job_has_all_its_attempts_anew_and_keeps_its_story(
    queue: Queue, recovery: Recovery
) -> None:
    submitted = await queue.submit(a_request(max_failed=1))
    worker = await a_worker(queue)
    await hand_in(worker, failed(await take_one(worker), "first"))

    job = await queue.retry(submitted.id)

    assert (job.state, job.failed_attempts, job.finished_at) == (JobState.PENDING, 0, None)
    assert [attempt.error.message for attempt in job.attempts] == ["first"]
    lease = await take_one(worker)
    assert lease.attempt == 2
    await hand_in(worker, failed(lease, "second"))
    job = await queue.get(submitted.id)
    assert (job.state, job.failed_attempts) == (JobState.FAILED, 1)
    assert [attempt.number for attempt in job.attempts] == [1, 2]


async def test_a_cancelled_job_is_retried(queue: Queue) -> None:
    submitted = await queue.submit(a_request())
    await queue.cancel(submitted.id)

    await queue.retry(submitted.id)

    assert (await queue.counts())[JobState.CANCELLED] == 0
    assert (await take_one(await a_worker(queue))).job_id == submitted.id


@pytest.mark.failure(10)
async def test_invariant_3_a_retried_job_stands_where_it_was_submitted(queue: Queue) -> None:
    jobs = await queue.submit_many([a_request(priority=p) for p in (50, 90, 50, 10, 50)])
    await queue.cancel(jobs[2].id)
    await queue.cancel(jobs[1].id)
    await queue.submit(a_request(priority=90))
    await queue.retry(jobs[2].id)
    await queue.retry(jobs[1].id)

    order = [lease.job_id for lease in await take(await a_worker(queue), 6)]

    assert order[0] == jobs[1].id
    assert order[2:] == [jobs[n].id for n in (0, 2, 4, 3)]


@pytest.mark.parametrize("state", ["pending", "scheduled", "running", "completed"])
async def test_only_failed_and_cancelled_jobs_are_retried(queue: Queue, state: str) -> None:
    later = datetime.now(UTC) + timedelta(hours=1) if state == "scheduled" else None
    submitted = await queue.submit(a_request(not_before=later))
    worker = await a_worker(queue)
    if state in {"running", "completed"}:
        lease = await take_one(worker)
        if state == "completed":
            await hand_in(worker, completed(lease))
    before = await contents(queue)

    with pytest.raises(Conflict, match=f"{submitted.id} is {state}; only failed and cancelled"):
        await queue.retry(submitted.id)

    assert await contents(queue) == before
