"""Where there are others, the worker that failed a job is the last to get it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.fleet.model import Worker, WorkerState
from muster.fleet.registry import Registry
from muster.jobs.model import Capabilities
from support.jobs import SERVICE, a_request, a_worker, come_due, failed, hand_in, take, take_one

if TYPE_CHECKING:
    from muster.jobs.leases import Leases
    from muster.jobs.queue import Queue
    from muster.jobs.recovery import Recovery

pytestmark = pytest.mark.anyio


async def in_the_fleet(queue: Queue, name: str) -> Leases:
    record = Worker(
        worker_id=name,
        machine_id="machine",
        incarnation="1",
        gpu=0,
        state=WorkerState.IDLE,
        capabilities=Capabilities(service=SERVICE),
    )
    await Registry(queue.redis, queue.name).register_worker(record)
    return await a_worker(queue, name)


async def fail_and_come_due(queue: Queue, recovery: Recovery, worker: Leases, job_id: str) -> None:
    lease = await take_one(worker)
    assert lease.job_id == job_id
    await hand_in(worker, failed(lease))
    await come_due(queue, job_id)
    await recovery.recover()


@pytest.mark.failure(11)
async def test_another_worker_gets_it(queue: Queue, recovery: Recovery) -> None:
    bad, good = await in_the_fleet(queue, "bad"), await in_the_fleet(queue, "good")
    job = await queue.submit(a_request())
    await fail_and_come_due(queue, recovery, bad, job.id)

    assert await take(bad) == []
    assert (await take_one(good)).job_id == job.id


async def test_a_worker_that_is_alone_gets_it(queue: Queue, recovery: Recovery) -> None:
    alone = await in_the_fleet(queue, "alone")
    job = await queue.submit(a_request())
    await fail_and_come_due(queue, recovery, alone, job.id)

    assert (await take_one(alone)).job_id == job.id


async def test_it_gets_it_when_nobody_else_took_it_in_time(
    queue: Queue, recovery: Recovery
) -> None:
    bad, _ = await in_the_fleet(queue, "bad"), await in_the_fleet(queue, "incapable")
    job = await queue.submit(a_request())
    await fail_and_come_due(queue, recovery, bad, job.id)
    assert await take(bad) == []

    await queue.redis.hset(queue.key(f"job:{job.id}"), "avoid_until", "1")

    assert (await take_one(bad)).job_id == job.id


async def test_it_takes_what_stands_behind(queue: Queue, recovery: Recovery) -> None:
    bad, good = await in_the_fleet(queue, "bad"), await in_the_fleet(queue, "good")
    failing = await queue.submit(a_request(priority=100))
    await fail_and_come_due(queue, recovery, bad, failing.id)
    others = await queue.submit_many([a_request(), a_request(requirements={"vram_mib": 0})])

    assert [lease.job_id for lease in await take(bad, 3)] == [job.id for job in others]
    # And the one that it was not given keeps its place.
    assert (await take_one(good)).job_id == failing.id


async def test_invariant_3_what_is_passed_over_is_still_found_among_other_classes(
    queue: Queue, recovery: Recovery
) -> None:
    bad, good = await in_the_fleet(queue, "bad"), await in_the_fleet(queue, "good")
    failing = await queue.submit(a_request(service=SERVICE, priority=60))
    await fail_and_come_due(queue, recovery, bad, failing.id)
    lower = await queue.submit(a_request(priority=10))
    await take(bad)

    assert lower.id != failing.id
    assert (await take_one(good)).job_id == failing.id


async def test_it_does_not_go_through_all_of_a_long_queue_of_its_failures(
    queue: Queue, recovery: Recovery
) -> None:
    bad, _ = await in_the_fleet(queue, "bad"), await in_the_fleet(queue, "good")
    await queue.submit_many([a_request()] * 30)
    leases = await take(bad, 30)
    await hand_in(bad, *(failed(lease) for lease in leases))
    await come_due(queue, *(lease.job_id for lease in leases))
    await recovery.recover()

    assert len(await take(bad, 30)) == 30 - 16


async def test_a_retry_by_hand_may_go_to_the_same_worker(queue: Queue) -> None:
    bad, _ = await in_the_fleet(queue, "bad"), await in_the_fleet(queue, "good")
    job = await queue.submit(a_request())
    await hand_in(bad, failed(await take_one(bad)))
    await queue.cancel(job.id)

    await queue.retry(job.id)

    assert (await take_one(bad)).job_id == job.id
