from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput
from muster.jobs.model import JobState
from support.jobs import a_request, a_worker, completed, failed, hand_in, take

if TYPE_CHECKING:
    from muster.jobs.queue import Queue

pytestmark = pytest.mark.anyio

STATES = list(JobState)
JOBS = 7


async def bring(queue: Queue, state: JobState, count: int = JOBS) -> list[str]:
    """Return jobs in that state, in the order in which they are listed."""
    later = datetime.now(UTC) + timedelta(hours=1)
    requests = [
        a_request(
            payload={"n": n},
            requirements={"vram_mib": n % 3},
            max_failed=1,
            not_before=later + timedelta(seconds=n // 2) if state == "scheduled" else None,
        )
        for n in range(count)
    ]
    ids = [job.id for job in await queue.submit_many(requests)]
    if state is JobState.CANCELLED:
        for job_id in ids:
            await queue.cancel(job_id)
    if state in {JobState.RUNNING, JobState.COMPLETED, JobState.FAILED}:
        worker = await a_worker(queue, vram_mib=2)
        leases = await take(worker, count)
        if state is not JobState.RUNNING:
            end = completed if state is JobState.COMPLETED else failed
            await hand_in(worker, *(end(lease) for lease in leases))
    return ids


async def pages(queue: Queue, state: JobState, limit: int) -> list[list[str]]:
    found, cursor = [], None
    while True:
        page = await queue.page(state, cursor=cursor, limit=limit)
        found.append([job.id for job in page.jobs])
        cursor = page.cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("state", STATES)
async def test_nothing_is_an_empty_page(queue: Queue, state: JobState) -> None:
    page = await queue.page(state)

    assert (page.jobs, page.cursor, page.total) == ([], None, 0)


@pytest.mark.parametrize("limit", [1, 3, JOBS, JOBS + 1])
@pytest.mark.parametrize("state", STATES)
async def test_pages_show_each_job_of_a_state_once(
    queue: Queue, state: JobState, limit: int
) -> None:
    ids = await bring(queue, state)
    await bring(queue, JobState.CANCELLED if state is JobState.PENDING else JobState.PENDING)

    shown = [job_id for page in await pages(queue, state, limit) for job_id in page]

    assert sorted(shown) == sorted(ids)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.failure(22)
async def test_the_total_is_of_all_pages(queue: Queue, state: JobState) -> None:
    await bring(queue, state)

    page = await queue.page(state, limit=3)

    assert (len(page.jobs), page.total) == (3, JOBS)
    assert (await queue.page(state, cursor=page.cursor, limit=3)).total == JOBS


@pytest.mark.parametrize("state", STATES)
async def test_all_states_are_counted(queue: Queue, state: JobState) -> None:
    await bring(queue, state)

    expected = dict.fromkeys(STATES, 0) | {state: JOBS}
    assert await queue.counts() == expected


async def test_lists_leave_payloads_and_results_out(queue: Queue) -> None:
    await bring(queue, JobState.COMPLETED, 1)

    (job,) = (await queue.page(JobState.COMPLETED)).jobs

    assert (job.payload, job.result) == (None, None)
    assert (await queue.get(job.id)).payload == {"n": 0}


@pytest.mark.failure(22)
async def test_pending_jobs_are_listed_in_the_order_in_which_they_run(queue: Queue) -> None:
    requests = [a_request(priority=n * 3 % 5, requirements={"vram_mib": n % 4}) for n in range(12)]
    await queue.submit_many(requests)

    shown = [job_id for page in await pages(queue, JobState.PENDING, 5) for job_id in page]

    leases = await take(await a_worker(queue, vram_mib=4), 12)
    assert shown == [lease.job_id for lease in leases]


async def test_scheduled_jobs_are_listed_soonest_first(queue: Queue) -> None:
    hours = [3, 1, 2]
    due = [datetime.now(UTC) + timedelta(hours=h) for h in hours]
    jobs = await queue.submit_many([a_request(not_before=at) for at in due])

    page = await queue.page(JobState.SCHEDULED)

    assert [job.id for job in page.jobs] == [jobs[n].id for n in (1, 2, 0)]


async def finished_one_by_one(queue: Queue, count: int = JOBS) -> list[str]:
    """Return cancelled jobs, newest first, a second apart."""
    ids = await bring(queue, JobState.CANCELLED, count)
    for n, job_id in enumerate(ids):
        await queue.redis.zincrby(queue.key("finished:cancelled"), 1000 * n, job_id)
    return ids[::-1]


async def test_finished_jobs_are_listed_newest_first(queue: Queue) -> None:
    newest_first = await finished_one_by_one(queue)

    shown = [job_id for page in await pages(queue, JobState.CANCELLED, 2) for job_id in page]

    assert shown == newest_first


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING, JobState.CANCELLED])
async def test_the_next_page_is_the_same_when_jobs_shown_before_have_gone(
    queue: Queue, state: JobState
) -> None:
    if state is JobState.CANCELLED:
        await finished_one_by_one(queue)
    else:
        await bring(queue, state)
    first = await queue.page(state, limit=3)
    second = await queue.page(state, cursor=first.cursor, limit=3)

    for job in first.jobs:
        await (queue.retry if state is JobState.CANCELLED else queue.cancel)(job.id)

    again = await queue.page(state, cursor=first.cursor, limit=3)
    assert [job.id for job in again.jobs] == [job.id for job in second.jobs]


async def test_the_next_page_is_the_same_when_the_last_shown_came_back_elsewhere(
    queue: Queue,
) -> None:
    await finished_one_by_one(queue)
    first = await queue.page(JobState.CANCELLED, limit=3)
    second = await queue.page(JobState.CANCELLED, cursor=first.cursor, limit=3)

    await queue.redis.zincrby(queue.key("finished:cancelled"), 60_000, first.jobs[-1].id)

    again = await queue.page(JobState.CANCELLED, cursor=first.cursor, limit=3)
    assert [job.id for job in again.jobs] == [job.id for job in second.jobs]


async def test_scheduled_jobs_go_on_when_the_last_shown_has_gone(queue: Queue) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    submitted = await queue.submit_many(
        [a_request(not_before=due + timedelta(seconds=n)) for n in range(4)]
    )
    first = await queue.page(JobState.SCHEDULED, limit=2)
    await queue.cancel(submitted[1].id)

    rest = await queue.page(JobState.SCHEDULED, cursor=first.cursor, limit=2)

    assert [job.id for job in rest.jobs] == [submitted[2].id, submitted[3].id]


async def test_new_jobs_do_not_shift_the_pages_of_finished_ones(queue: Queue) -> None:
    await finished_one_by_one(queue)
    first = await queue.page(JobState.CANCELLED, limit=3)
    second = await queue.page(JobState.CANCELLED, cursor=first.cursor, limit=3)

    (newer,) = await bring(queue, JobState.CANCELLED, 1)
    await queue.redis.zincrby(queue.key("finished:cancelled"), 60_000, newer)

    again = await queue.page(JobState.CANCELLED, cursor=first.cursor, limit=3)
    assert [job.id for job in again.jobs] == [job.id for job in second.jobs]


@pytest.mark.parametrize("state", [state for state in STATES if state is not JobState.RUNNING])
@pytest.mark.parametrize("cursor", ["x", "nan", "inf-x", "nan-x", "1.5", "1e3-x", "-", "--1", "\0"])
async def test_a_cursor_that_no_page_gave_is_refused(
    queue: Queue, state: JobState, cursor: str
) -> None:
    await bring(queue, state)

    with pytest.raises(InvalidInput, match=r"^cursor: .* is not from an earlier page"):
        await queue.page(state, cursor=cursor)
