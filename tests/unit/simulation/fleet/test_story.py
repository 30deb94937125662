from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.jobs.model import Completed, Failed, JobError, JobState, Released
from muster.simulation.fleet.report import percentile, spread
from muster.simulation.fleet.story import Story
from support.jobs import a_request, a_worker, take

if TYPE_CHECKING:
    from muster.jobs.queue import Queue

pytestmark = pytest.mark.anyio


async def test_it_tells_how_jobs_ended_and_what_is_left(queue: Queue) -> None:
    # Given a story, and three jobs of which one completes and one fails
    story = Story(queue, {})
    jobs = await queue.submit_many([a_request() for _ in range(3)])
    story.mine(job.id for job in jobs)
    worker = await a_worker(queue)
    first, second = await take(worker, 2)
    failure = Failed(second, JobError(kind="x", message="x"), retryable=False)
    await worker.exchange([Completed(first, b"1"), failure])

    # When it catches up
    await story.catch_up()

    # Then it knows
    assert story.states == {JobState.COMPLETED: 1, JobState.FAILED: 1, JobState.PENDING: 1}
    assert story.unfinished == [jobs[2].id]
    assert story.running_at_most == 2
    assert len(story.waits_ms) == 2
    assert story.committed_twice == 0


async def test_jobs_of_others_and_of_earlier_are_not_told_of(queue: Queue) -> None:
    before = await queue.submit(a_request())
    story = Story(queue, {})
    await story.begin()
    mine, _others = await queue.submit_many([a_request(), a_request()])
    story.mine([mine.id])

    await story.catch_up()

    assert story.states == {JobState.PENDING: 1}
    assert before.id not in story.unfinished


async def test_a_job_that_was_handed_back_has_not_run_twice_at_once(queue: Queue) -> None:
    story = Story(queue, {})
    job = await queue.submit(a_request())
    story.mine([job.id])
    worker = await a_worker(queue)
    for _ in range(2):
        (lease,) = await take(worker)
        await worker.exchange([Released(lease)])

    await story.catch_up()

    assert story.running_at_most == 1
    assert story.states == {JobState.PENDING: 1}


async def test_a_recovery_lasts_from_the_death_until_the_job_runs_again(queue: Queue) -> None:
    # Given a job whose worker died a second ago, by Redis's clock
    job = await queue.submit(a_request(backoff_s=0))
    worker = await a_worker(queue, "dead")
    await take(worker)
    seconds, microseconds = await queue.redis.time()
    died_at = seconds * 1000 + microseconds // 1000 - 1000
    story = Story(queue, {"dead": [died_at - 60_000, died_at]})
    story.mine([job.id])

    # When its machine comes back, and gives it back
    await worker.reclaim(lost=True)
    await queue.redis.zadd(queue.key("scheduled"), {job.id: 0})
    from muster.jobs.recovery import Recovery

    await Recovery(queue).recover()
    await take(await a_worker(queue, "other"))
    await story.catch_up()

    # Then it took that second, and a little
    (recovery,) = story.recoveries_ms
    assert 1000 <= recovery < 10_000


async def test_a_job_that_ends_twice_is_noticed(queue: Queue) -> None:
    """The queue does not do so: here its history is written by hand."""
    story = Story(queue, {})
    job = await queue.submit(a_request())
    story.mine([job.id])
    entry = {"job": job.id, "state": "completed", "worker": "w", "attempt": "1", "detail": ""}
    for _ in range(2):
        await queue.redis.xadd(queue.key("events"), entry)

    await story.catch_up()

    assert story.committed_twice == 1


def test_spreads_are_in_seconds() -> None:
    assert spread([]).model_dump() == {"count": 0, "p50_s": 0, "p95_s": 0, "max_s": 0}
    told = spread([*range(1000, 101_000, 1000)])
    assert (told.count, told.p50_s, told.p95_s, told.max_s) == (100, 50, 95, 100)


@pytest.mark.parametrize(
    ("share", "value"), [(0, 1), (0.25, 1), (0.26, 2), (0.5, 2), (0.99, 4), (1, 4)]
)
def test_a_percentile_is_one_of_the_values(share: float, value: int) -> None:
    assert percentile([1, 2, 3, 4], share) == value
