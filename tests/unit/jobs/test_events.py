"""One event for every change of a job's state, in the order in which they happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from muster.jobs.events import read_events
from muster.jobs.model import Progress, Released
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
    from muster.jobs.queue import Queue
    from muster.jobs.recovery import Recovery

pytestmark = pytest.mark.anyio


@pytest.mark.failure(25)
async def test_the_life_of_a_job(queue: Queue, recovery: Recovery) -> None:
    submitted = await queue.submit(a_request(max_failed=2, max_lost=2))
    worker = await a_worker(queue, "w")
    await hand_in(worker, Released(await take_one(worker)))
    await hand_in(worker, failed(await take_one(worker)))
    await come_due(queue, submitted.id)
    await recovery.recover()
    await expire(queue, await take_one(worker))
    await recovery.recover()
    await come_due(queue, submitted.id)
    await recovery.recover()
    await hand_in(worker, failed(await take_one(worker)))
    await queue.retry(submitted.id)
    lease = await take_one(worker)
    await worker.progress(lease, Progress(fraction=0.5))
    await hand_in(worker, completed(lease))

    events = await read_events(queue)

    assert {event.job for event in events} == {submitted.id}
    assert [(str(event.state), event.worker, event.attempt, event.detail) for event in events] == [
        ("pending", "", 0, "submitted"),
        ("running", "w", 1, ""),
        ("pending", "", 1, "released"),
        ("running", "w", 2, ""),
        ("scheduled", "w", 2, "failed"),
        ("pending", "", 2, "due"),
        ("running", "w", 3, ""),
        ("scheduled", "w", 3, "lost"),
        ("pending", "", 3, "due"),
        ("running", "w", 4, ""),
        ("failed", "w", 4, "failed"),
        ("pending", "", 4, "retried"),
        ("running", "w", 5, ""),
        ("completed", "w", 5, ""),
    ]
    assert abs(datetime.now(UTC) - events[-1].at) < timedelta(seconds=10)


@pytest.mark.parametrize("state", ["pending", "scheduled", "running"])
async def test_a_cancelled_job(queue: Queue, state: str) -> None:
    later = datetime.now(UTC) + timedelta(hours=1) if state == "scheduled" else None
    submitted = await queue.submit(a_request(not_before=later))
    if state == "running":
        await take_one(await a_worker(queue, "w"))

    await queue.cancel(submitted.id)

    *earlier, last = await read_events(queue)
    assert earlier[-1].state == state
    assert (last.state, last.detail) == ("cancelled", f"was {state}")
    assert (last.worker, last.attempt) == (("w", 1) if state == "running" else ("", 0))


async def test_what_changes_nothing_makes_no_event(queue: Queue, recovery: Recovery) -> None:
    await queue.submit(a_request(idempotency_key="a"))
    worker = await a_worker(queue)
    lease = await take_one(worker)
    await hand_in(worker, completed(lease))
    before = await read_events(queue)

    await queue.submit(a_request(idempotency_key="a"))
    await hand_in(worker, completed(lease))
    await worker.extend([lease])
    await take(worker)
    await recovery.recover()
    await recovery.upkeep()

    assert await read_events(queue) == before


@pytest.mark.failure(25)
async def test_reading_resumes_after_an_event(queue: Queue) -> None:
    jobs = await queue.submit_many([a_request()] * 5)
    first = await read_events(queue, limit=2)

    rest = await read_events(queue, after=first[-1].id)

    assert [event.job for event in [*first, *rest]] == [job.id for job in jobs]
    assert await read_events(queue, after=rest[-1].id) == []


async def test_progress_is_no_event_and_fills_no_stream(queue: Queue) -> None:
    await queue.submit(a_request())
    worker = await a_worker(queue)
    lease = await take_one(worker)
    before = await read_events(queue)

    await worker.progress(lease, Progress(fraction=0.5))

    assert await read_events(queue) == before
    assert await queue.redis.xlen(queue.key("telemetry")) == 0
