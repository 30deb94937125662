from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from muster.jobs.model import JobState
from support.jobs import a_request, a_worker, completed, take, take_one

if TYPE_CHECKING:
    from muster.jobs.queue import Queue

pytestmark = pytest.mark.anyio


async def submit(queue: Queue, **fields: Any) -> str:
    return (await queue.submit(a_request(**fields))).id


async def test_a_claimed_job_runs_on_its_worker(queue: Queue) -> None:
    job_id = await submit(queue)

    lease = await take_one(await a_worker(queue, "worker-7"))

    job = await queue.get(job_id)
    assert (lease.job_id, lease.attempt) == (job_id, 1)
    assert (job.state, job.worker, job.attempt) == (JobState.RUNNING, "worker-7", 1)
    assert job.started_at is not None
    assert job.started_at >= job.submitted_at


@pytest.mark.failure(10)
async def test_invariant_3_higher_priority_first_then_age(queue: Queue) -> None:
    priorities = [50, 0, 100, 50, 1, 100, 0, 99] * 4  # so many that no chance orders them
    jobs = [(await submit(queue, priority=p), p) for p in priorities]
    worker = await a_worker(queue)

    order = [(await take_one(worker)).job_id for _ in jobs]

    assert order == [job_id for job_id, _ in sorted(jobs, key=lambda job: -job[1])]


async def test_invariant_3_across_requirement_classes(queue: Queue) -> None:
    first = await submit(queue, requirements={"models": ["flux"]})
    second = await submit(queue)
    urgent = await submit(queue, requirements={"vram_mib": 8}, priority=51)
    third = await submit(queue, requirements={"models": ["flux"]})
    worker = await a_worker(queue, models=["flux"], vram_mib=8)

    order = [(await take_one(worker)).job_id for _ in range(4)]

    assert order == [urgent, first, second, third]


async def test_invariant_3_when_a_better_job_comes_to_a_class_that_waits(queue: Queue) -> None:
    await submit(queue, requirements={"models": ["flux"]}, priority=10)
    middle = await submit(queue, priority=50)
    urgent = await submit(queue, requirements={"models": ["flux"]}, priority=90)
    worker = await a_worker(queue, models=["flux"])
    again = await submit(queue, requirements={"models": ["flux"]}, priority=91)

    assert [lease.job_id for lease in await take(worker, 3)] == [again, urgent, middle]


async def test_invariant_3_when_a_better_job_comes_after_the_worker(queue: Queue) -> None:
    worker = await a_worker(queue, models=["flux"])
    last = await submit(queue, requirements={"models": ["flux"]}, priority=10)
    middle = await submit(queue, priority=50)
    urgent = await submit(queue, requirements={"models": ["flux"]}, priority=90)

    order = [(await take_one(worker)).job_id for _ in range(3)]

    assert order == [urgent, middle, last]


@pytest.mark.failure(12)
async def test_invariant_3_in_one_batch(queue: Queue) -> None:
    jobs = [
        (await submit(queue, priority=n * 37 % 5, requirements={"vram_mib": n % 3}), n * 37 % 5)
        for n in range(20)
    ]
    best = [job_id for job_id, _ in sorted(jobs, key=lambda job: -job[1])]
    worker = await a_worker(queue, vram_mib=2)

    batches = [[lease.job_id for lease in await take(worker, want)] for want in (7, 1, 12, 5)]

    assert batches == [best[:7], best[7:8], best[8:], []]


async def test_invariant_3_after_another_worker_took_from_the_same_class(queue: Queue) -> None:
    shared = [await submit(queue, priority=60) for _ in range(3)]
    own = await submit(queue, requirements={"models": ["flux"]}, priority=55)
    last = await submit(queue, priority=10)
    plain, able = await a_worker(queue, "plain"), await a_worker(queue, "able", models=["flux"])

    await take(plain, 3)

    assert [lease.job_id for lease in await take(able, 5)] == [own, last]
    assert shared


@pytest.mark.failure(9)
async def test_jobs_that_it_cannot_run_do_not_delay_those_that_it_can(queue: Queue) -> None:
    await queue.submit_many([a_request(requirements={"models": ["huge"]}, priority=100)] * 500)
    job_id = await submit(queue, priority=0)

    assert (await take_one(await a_worker(queue))).job_id == job_id


async def test_orders_stay_exact_beyond_14_digits(queue: Queue) -> None:
    # Lua's tostring keeps 14 digits; at priority 0 an order has 15.
    await queue.redis.hset(queue.key("meta"), "seq", str(2**39))
    jobs = [job.id for job in await queue.submit_many([a_request(priority=0)] * 20)]
    more = await submit(queue, priority=0)
    worker = await a_worker(queue)

    order = [(await take_one(worker)).job_id for _ in range(21)]

    assert order == [*jobs, more]


@pytest.mark.parametrize(
    ("needs", "offer"),
    [
        ({"vram_mib": 8}, {"vram_mib": 8}),
        ({"models": ["a"]}, {"models": ["a", "b"]}),
        ({"labels": {"zone": "eu"}}, {"labels": {"zone": "eu", "tier": "1"}}),
        ({}, {"models": ["a"], "vram_mib": 1, "labels": {"zone": "eu"}}),
    ],
)
async def test_a_worker_takes_what_it_can_run(
    queue: Queue, needs: dict[str, Any], offer: dict[str, Any]
) -> None:
    job_id = await submit(queue, requirements=needs)

    assert (await take_one(await a_worker(queue, **offer))).job_id == job_id


@pytest.mark.parametrize(
    ("needs", "offer"),
    [
        ({"vram_mib": 9}, {"vram_mib": 8}),
        ({"models": ["a", "b"]}, {"models": ["a"]}),
        ({"labels": {"zone": "eu"}}, {"labels": {"zone": "us"}}),
        ({"labels": {"zone": "eu"}}, {}),
        ({}, {"service": "upscale"}),
    ],
)
async def test_a_worker_does_not_take_what_it_cannot_run(
    queue: Queue, needs: dict[str, Any], offer: dict[str, Any]
) -> None:
    await submit(queue, requirements=needs)

    assert await take(await a_worker(queue, **offer)) == []


async def test_capabilities_that_come_later_take_what_waits(queue: Queue) -> None:
    await take(await a_worker(queue))
    job_id = await submit(queue, requirements={"models": ["new"]})

    assert (await take_one(await a_worker(queue, "later", models=["new"]))).job_id == job_id


async def test_no_two_workers_get_the_same_job(queue: Queue) -> None:
    jobs = {job.id for job in await queue.submit_many([a_request()] * 40)}
    workers = [await a_worker(queue, f"worker-{n}") for n in range(10)]

    batches = await asyncio.gather(*(take(worker, 5) for worker in workers))

    taken = [lease.job_id for leases in batches for lease in leases]
    assert len(taken) == 40
    assert set(taken) == jobs


async def test_one_call_hands_in_and_takes(queue: Queue) -> None:
    jobs = await queue.submit_many([a_request()] * 5)
    worker = await a_worker(queue)
    first = await take(worker, 3)

    exchanged = await worker.exchange([completed(lease) for lease in first], want=3)

    assert exchanged.settled == ["ok"] * 3
    assert [lease.job_id for lease in exchanged.leases] == [job.id for job in jobs[3:]]
    assert (await queue.counts())[JobState.COMPLETED] == 3


async def test_a_service_is_part_of_the_requirements(queue: Queue) -> None:
    await submit(queue, service="upscale")
    job_id = await submit(queue)

    assert (await take_one(await a_worker(queue))).job_id == job_id


async def test_who_wants_nothing_gets_nothing(queue: Queue) -> None:
    await submit(queue)

    assert await take(await a_worker(queue), 0) == []
