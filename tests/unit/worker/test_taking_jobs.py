"""When a worker takes jobs, and how many."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from muster.fleet.model import WorkerState
from muster.jobs.model import JobError, JobState
from muster.worker.connectors.base import JobFailed, ServiceNotReady
from support.waiting import eventually
from support.workers import Scripted, becomes, submit

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from muster.fleet.model import Worker
    from muster.fleet.registry import Registry
    from muster.jobs.queue import Queue
    from muster.worker.connectors.base import Context
    from support.workers import Start

pytestmark = pytest.mark.anyio


async def at_once(_context: Context) -> str:
    return "done"


async def fail(_context: Context) -> None:
    raise JobFailed(JobError(kind="broken", message="it broke"))


async def the_worker(registry: Registry) -> Worker | None:
    return next(iter((await registry.workers()).workers), None)


@pytest.mark.failure(16)
async def test_waits_for_its_service_and_takes_nothing_before(
    queue: Queue, registry: Registry, start: Start
) -> None:
    job_id = await submit(queue)
    connector = Scripted(at_once)
    connector.not_ready = "the model loads"

    start(connector)

    await eventually(lambda: connector.probes > 2, "the service is asked again and again")
    worker = await eventually(
        lambda: the_worker(registry),
        "the fleet is told why",
        until=lambda worker: worker and worker.reason == "the model loads",
    )
    assert worker
    assert worker.state is WorkerState.STARTING
    assert (await queue.get(job_id)).state is JobState.PENDING

    connector.not_ready = ""

    await becomes(queue, job_id, JobState.COMPLETED)
    await eventually(
        lambda: the_worker(registry),
        "the worker becomes idle",
        until=lambda worker: worker and worker.state is WorkerState.IDLE and not worker.reason,
    )


async def test_a_probe_that_crashes_is_told_and_asked_again(
    queue: Queue, registry: Registry, start: Start
) -> None:
    connector = Scripted(at_once)
    sound = connector.ready

    async def crash() -> None:
        raise ZeroDivisionError("half a character: \udcff")

    connector.ready = crash  # type: ignore[method-assign]
    start(connector)
    await eventually(
        lambda: the_worker(registry),
        "the fleet is told of the crash",
        until=lambda worker: worker and "ZeroDivisionError: half a" in worker.reason,
    )

    connector.ready = sound  # type: ignore[method-assign]

    await becomes(queue, await submit(queue), JobState.COMPLETED)


@pytest.mark.failure(16)
async def test_service_not_ready_hands_the_job_back_uncounted_and_stops_taking(
    queue: Queue, start: Start
) -> None:
    connector = Scripted()

    async def refuse(_context: Context) -> None:
        connector.not_ready = "out of memory"
        raise ServiceNotReady(connector.not_ready)

    connector.do = refuse
    job_id = await submit(queue, max_failed=1, max_lost=1)
    start(connector)

    await eventually(lambda: connector.probes > 3, "the service is asked again")
    job = await queue.get(job_id)
    assert (job.state, job.failed_attempts, job.lost_attempts) == (JobState.PENDING, 0, 0)
    assert len(connector.started) == 1

    connector.do, connector.not_ready = at_once, ""

    job = await becomes(queue, job_id, JobState.COMPLETED)
    assert (job.attempt, job.attempts) == (2, [])


async def test_a_service_that_says_ready_and_refuses_is_not_asked_in_a_frenzy(
    queue: Queue, start: Start
) -> None:
    async def refuse(_context: Context) -> None:
        raise ServiceNotReady("busy with something else")

    connector = Scripted(refuse)
    await submit(queue)
    begun = time.monotonic()
    start(connector)

    await eventually(lambda: len(connector.started) >= 4, "the job is tried again")

    assert time.monotonic() - begun > 0.6


async def test_asks_the_service_after_a_retryable_failure_before_it_takes_more(
    queue: Queue, start: Start
) -> None:
    connector = Scripted()

    async def fail_and_fall(_context: Context) -> None:
        connector.not_ready = "it crashed"
        raise JobFailed(JobError(kind="broken", message="it broke"))

    connector.do = fail_and_fall
    failing = await submit(queue, max_failed=1, priority=90)
    following = await submit(queue)
    start(connector)

    await becomes(queue, failing, JobState.FAILED)
    probes = connector.probes
    await eventually(lambda: connector.probes > probes + 1, "the service is asked again")
    assert (await queue.get(following)).state is JobState.PENDING

    connector.do, connector.not_ready = at_once, ""

    await becomes(queue, following, JobState.COMPLETED)


async def test_goes_on_at_once_after_a_failure_that_says_nothing_of_the_service(
    queue: Queue, start: Start
) -> None:
    async def refuse(_context: Context) -> None:
        raise JobFailed(JobError(kind="bad", message="no such node"), retryable=False)

    connector = Scripted(refuse)
    running = start(connector)
    jobs = [await submit(queue) for _ in range(3)]

    for job_id in jobs:
        job = await becomes(queue, job_id, JobState.FAILED)
        assert job.failed_attempts == 1
    assert connector.probes == 1
    assert not running.worker.not_ready


async def test_runs_as_many_at_once_as_it_may_and_no_more(queue: Queue, start: Start) -> None:
    connector = Scripted()
    jobs = [await submit(queue) for _ in range(5)]
    start(connector, WORKER_CONCURRENCY="3")

    await eventually(lambda: connector.at_once == 3, "three jobs run")
    assert (await queue.counts())[JobState.PENDING] == 2

    connector.go.set()

    for job_id in jobs:
        await becomes(queue, job_id, JobState.COMPLETED)
    assert connector.most_at_once == 3


async def test_one_exchange_hands_in_all_that_is_finished_and_takes_as_many(
    queue: Queue, start: Start
) -> None:
    connector = Scripted()
    jobs = [await submit(queue) for _ in range(20)]
    running = start(connector, WORKER_CONCURRENCY="10")
    await eventually(lambda: connector.at_once == 10, "ten jobs run")
    running.leases.handed_in.clear()

    connector.go.set()

    for job_id in jobs:
        await becomes(queue, job_id, JobState.COMPLETED)
    assert [count for count in running.leases.handed_in if count] == [10, 10]


async def test_an_idle_worker_blocks_and_does_not_poll(redis: Redis, start: Start) -> None:
    running = start(Scripted())
    await eventually(lambda: running.leases.calls["wait_for_wake"], "the worker waits")
    running.leases.calls.clear()
    await redis.config_resetstat()
    begun = time.monotonic()

    await eventually(lambda: running.leases.calls["wait_for_wake"] >= 3, "it has waited thrice")

    stats: dict[str, Any] = await redis.info("commandstats")
    assert time.monotonic() - begun > 2
    assert running.leases.calls["exchange"] <= 4
    assert stats["cmdstat_evalsha"]["calls"] <= 7, (
        "its exchanges, and a heartbeat every two seconds"
    )


async def test_an_idle_worker_starts_a_submitted_job_at_once(
    redis: Redis, queue: Queue, start: Start
) -> None:
    connector = Scripted(at_once)
    start(connector)

    async def blocked() -> bool:
        return (await redis.info("clients"))["blocked_clients"] > 0

    waited = 0.0
    for _ in range(5):
        await eventually(blocked, "the worker waits to be woken")
        begun = time.monotonic()
        await becomes(queue, await submit(queue), JobState.COMPLETED)
        waited += time.monotonic() - begun

    assert waited < 2.5, "a worker that sleeps out its wait needs a second for each"


async def test_starts_a_job_at_once_after_it_doubted_its_service(
    queue: Queue, start: Start
) -> None:
    """It waits for a wake-up, but while it doubted its service the queue did not count on it."""
    connector = Scripted(fail)
    answer = connector.ready

    async def answer_after_a_while() -> None:
        await asyncio.sleep(0.02)
        await answer()

    connector.ready = answer_after_a_while  # type: ignore[method-assign]
    running = start(connector, WORKER_CONCURRENCY="2")
    await eventually(lambda: not running.worker.not_ready, "the worker is ready")

    waited = 0.0
    for _ in range(4):
        probes = connector.probes
        await becomes(queue, await submit(queue, max_failed=1), JobState.FAILED)
        await eventually(
            lambda seen=probes: connector.probes > seen and not running.worker.not_ready,  # type: ignore[misc]
            "the service was asked, and is ready",
        )
        begun = time.monotonic()
        await becomes(queue, await submit(queue, max_failed=1), JobState.FAILED)
        waited += time.monotonic() - begun

    assert waited < 1.5


async def test_passes_a_wake_up_on_that_it_cannot_use(queue: Queue, start: Start) -> None:
    """The first worker is woken while its service is away: the second gets the job at once."""
    doubting, other = Scripted(at_once), Scripted(at_once)
    first = start(doubting)
    await eventually(lambda: first.leases.calls["wait_for_wake"], "the first waits")
    first.worker.not_ready = "for the sake of the test"
    second = start(other, WORKER_INDEX="1")
    await eventually(lambda: second.leases.calls["wait_for_wake"], "the second waits")

    for _ in range(4):
        await becomes(queue, await submit(queue), JobState.COMPLETED, timeout_s=0.8)

    assert not doubting.started
    assert len(other.started) == 4


async def test_takes_nothing_while_the_queue_is_paused(queue: Queue, start: Start) -> None:
    connector = Scripted(at_once)
    running = start(connector)
    await queue.pause()
    job_id = await submit(queue)

    exchanges = running.leases.calls["exchange"]
    await eventually(lambda: running.leases.calls["exchange"] > exchanges + 1, "it asks again")
    assert not connector.started

    await queue.resume()

    await becomes(queue, job_id, JobState.COMPLETED, timeout_s=0.8)


async def test_a_wake_up_that_cannot_be_waited_for_is_not_waited_for_in_a_frenzy(
    queue: Queue, start: Start
) -> None:
    connector = Scripted(at_once)
    running = start(connector)
    running.leases.refuse["wait_for_wake"] = 1000
    begun = time.monotonic()

    await eventually(lambda: running.leases.failed["wait_for_wake"] >= 4, "it tries to wait")

    assert time.monotonic() - begun > 0.5
    await becomes(queue, await submit(queue), JobState.COMPLETED)
