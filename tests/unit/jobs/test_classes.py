"""Requirement classes are capped and collected; forgotten capabilities are registered again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from muster.errors import Conflict
from muster.jobs.limits import Limits
from muster.jobs.model import JobState, Released
from muster.jobs.queue import Queue
from muster.jobs.recovery import FORGET, Recovery
from support.jobs import (
    a_request,
    a_worker,
    come_due,
    completed,
    failed,
    hand_in,
    take,
    take_one,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

pytestmark = pytest.mark.anyio


@pytest.fixture
async def narrow(redis: Redis, queue_name: str) -> Queue:
    """A queue that takes two different requirements at a time."""
    return Queue(redis, queue_name, limits=Limits(classes=2))


async def collect_all_but(queue: Queue, *services: str) -> None:
    """Submit until other classes had to go."""
    await queue.submit_many([a_request(service=name) for name in services])


async def test_more_classes_than_the_cap_are_refused(narrow: Queue) -> None:
    await narrow.submit_many([a_request(service="a"), a_request(service="b")])

    with pytest.raises(Conflict, match="Too many different requirements"):
        await narrow.submit(a_request(service="c"))

    await narrow.submit_many([a_request(service="a"), a_request(service="b")])
    assert (await narrow.counts())[JobState.PENDING] == 4


async def test_a_class_without_waiting_jobs_makes_room(narrow: Queue) -> None:
    await narrow.submit_many([a_request(service="a"), a_request(service="b")])
    worker = await a_worker(narrow, service="a")
    lease = await take_one(worker)

    job = await narrow.submit(a_request(service="c"))

    assert (await take_one(await a_worker(narrow, "other", service="c"))).job_id == job.id
    assert await hand_in(worker, completed(lease)) == ["ok"]
    assert await take(worker) == []


async def test_a_class_that_came_back_after_it_was_collected_is_found(narrow: Queue) -> None:
    await narrow.submit_many([a_request(service="a"), a_request(service="b")])
    worker = await a_worker(narrow, service="a")
    await hand_in(worker, completed(await take_one(worker)))
    await narrow.submit(a_request(service="c"))
    await take_one(await a_worker(narrow, "other", service="c"))

    job = await narrow.submit(a_request(service="a"))

    assert (await take_one(worker)).job_id == job.id


@pytest.mark.parametrize("way", ["released", "failed", "lost answer", "scheduled", "retried"])
async def test_invariant_1_a_job_of_a_collected_class_comes_back(narrow: Queue, way: str) -> None:
    needs = {"models": ["flux", "sdxl"], "vram_mib": 8, "labels": {"zone": "eu"}}
    later = datetime.now(UTC) + timedelta(hours=1) if way == "scheduled" else None
    job = await narrow.submit(
        a_request(requirements=needs, not_before=later, payload={"deep": [[{"x": {}}]]})
    )
    able = await a_worker(narrow, "able", **(needs | {"vram_mib": 24}))
    unable = [
        await a_worker(narrow, f"unable-{name}", **(needs | {name: less}))
        for name, less in {"models": ["flux"], "vram_mib": 7, "labels": {"zone": "us"}}.items()
    ]
    lease = None if later else await take_one(able)
    if way == "retried":
        await narrow.cancel(job.id)
    await narrow.submit_many([a_request(service="b"), a_request(service="c")])

    if lease and way == "released":
        await hand_in(able, Released(lease))
    elif lease and way == "failed":
        await hand_in(able, failed(lease))
    elif way == "lost answer":
        await able.reclaim(lost=False)
    elif way == "retried":
        await narrow.retry(job.id)
    await come_due(narrow, job.id)
    await Recovery(narrow).recover()

    assert (await narrow.get(job.id)).state is JobState.PENDING
    assert (await narrow.counts())[JobState.PENDING] == 3
    assert [await take(worker) for worker in unable] == [[], [], []]
    assert (await take_one(able)).job_id == job.id


async def test_a_class_of_nothing_but_a_service_comes_back(narrow: Queue) -> None:
    job = await narrow.submit(a_request())
    worker = await a_worker(narrow)
    lease = await take_one(worker)
    await narrow.submit_many([a_request(service="b"), a_request(service="c")])

    await hand_in(worker, Released(lease))

    assert (await take_one(worker)).job_id == job.id


async def test_capabilities_that_nobody_spoke_for_are_forgotten(queue: Queue) -> None:
    worker = await a_worker(queue)
    await a_worker(queue, "other", models=["flux"])
    await queue.submit(a_request())

    assert await FORGET(queue.redis, queue.root, -1) == 2

    assert await FORGET(queue.redis, queue.root, -1) == 0
    exchanged = await worker.exchange(want=1, will_wait=True)
    assert (exchanged.leases, exchanged.registered) == ([], False)


async def test_capabilities_that_register_again_find_what_waits(queue: Queue) -> None:
    worker = await a_worker(queue)
    before = await queue.submit(a_request())
    await FORGET(queue.redis, queue.root, -1)
    after = await queue.submit(a_request(requirements={"vram_mib": 0}))

    await worker.register()

    assert [lease.job_id for lease in await take(worker, 2)] == [before.id, after.id]


async def test_capabilities_that_are_kept_known_stay(queue: Queue) -> None:
    kept, silent = await a_worker(queue, "kept"), await a_worker(queue, "silent", vram_mib=1)
    silent_until = await queue.redis.zscore(queue.key("signatures:seen"), silent.signature)
    await queue.redis.zadd(queue.key("signatures:seen"), {silent.signature: silent_until - 130_000})
    await kept.register()
    await queue.submit(a_request())

    await Recovery(queue).upkeep()

    assert not (await silent.exchange(want=1, will_wait=True)).registered
    assert len(await take(kept)) == 1
