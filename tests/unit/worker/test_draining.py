"""A worker that is told to stop gives its jobs back, at once and uncounted."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from muster.fleet.model import WorkerState
from muster.jobs.model import JobState
from muster.worker import loop
from muster.worker.connectors.base import ServiceNotReady
from support.waiting import eventually
from support.workers import Scripted, submit

if TYPE_CHECKING:
    from collections.abc import Callable

    from muster.fleet.registry import Registry
    from muster.jobs.queue import Queue
    from muster.worker.connectors.base import Context
    from support.redis import OwnRedis
    from support.workers import Running, Start

pytestmark = pytest.mark.anyio


@pytest.mark.failure(6)
async def test_a_drained_worker_gives_its_jobs_back_uncounted_and_leaves(
    queue: Queue, registry: Registry, prepare: Start
) -> None:
    connector = Scripted()
    running = prepare(connector, WORKER_CONCURRENCY="2")
    jobs = [await submit(queue, max_failed=1, max_lost=1) for _ in range(2)]
    await eventually(lambda: len(connector.started) == 2, "both jobs run")

    await running.drained()

    assert sorted(connector.cancelled) == sorted(jobs)
    for job_id in jobs:
        job = await queue.get(job_id)
        assert (job.state, job.failed_attempts, job.lost_attempts) == (JobState.PENDING, 0, 0)
        assert job.attempts == []
    assert await registry.live_workers() == []
    (worker,) = (await registry.workers()).workers
    assert (worker.state, worker.jobs) == (WorkerState.OFFLINE, [])


async def test_what_is_done_when_the_drain_begins_is_handed_in(
    queue: Queue, prepare: Start
) -> None:
    connector = Scripted()
    running = prepare(connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")

    connector.go.set()
    await eventually(lambda: not connector.at_once, "the connector has ended")
    await running.drained()

    assert (await queue.get(job_id)).state is JobState.COMPLETED


async def test_a_job_that_was_claimed_while_the_drain_began_is_given_back(
    queue: Queue, prepare: Start
) -> None:
    """Its task was never begun, or its lease arrived when nothing was to begin any more."""
    connector = Scripted()
    running = prepare(connector, WORKER_CONCURRENCY="2")
    await eventually(lambda: running.leases.calls["wait_for_wake"], "the worker waits")
    exchange = running.leases.exchange

    async def drain_meanwhile(*args: object, **options: object) -> object:
        answer = await exchange(*args, **options)
        if answer.leases:
            running.worker.drain()
        return answer

    running.leases.exchange = drain_meanwhile  # type: ignore[method-assign, assignment]
    job_id = await submit(queue)
    await running.ended()

    job = await queue.get(job_id)
    assert (job.state, job.lost_attempts, job.failed_attempts) == (JobState.PENDING, 0, 0)
    assert connector.started == []


async def test_a_job_whose_task_never_began_is_given_back(queue: Queue, prepare: Start) -> None:
    connector = Scripted()
    running = prepare(connector)
    await eventually(lambda: running.leases.calls["wait_for_wake"], "the worker waits")
    start = running.worker._start

    def start_and_drain(lease: object) -> None:
        start(lease)  # type: ignore[arg-type]
        running.worker.drain()

    running.worker._start = start_and_drain  # type: ignore[method-assign]
    job_id = await submit(queue)
    await running.ended()

    job = await queue.get(job_id)
    assert (job.state, job.lost_attempts, job.failed_attempts) == (JobState.PENDING, 0, 0)
    assert connector.started == []


async def test_an_error_while_a_connector_stops_does_not_count_against_the_job(
    queue: Queue, prepare: Start
) -> None:
    """The whole machine is stopped: the service may be gone when it is asked to interrupt."""

    async def fail_to_interrupt(_context: Context) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise OSError("the service is gone") from None

    connector = Scripted(fail_to_interrupt)
    running = prepare(connector)
    job_id = await submit(queue, max_failed=1)
    await eventually(lambda: connector.started, "the job runs")

    await running.drained()

    job = await queue.get(job_id)
    assert (job.state, job.failed_attempts) == (JobState.PENDING, 0)


async def test_being_told_again_does_not_cut_short_how_a_connector_stops(
    queue: Queue, prepare: Start
) -> None:
    cleaned = []
    connector = Scripted()

    async def stop_slowly(context: Context) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await connector.go.wait()
            cleaned.append(context.job_id)
            raise

    connector.do = stop_slowly
    running = prepare(connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")

    running.worker.drain()
    await asyncio.sleep(0)
    running.worker.drain()
    connector.go.set()
    await running.ended()

    assert cleaned == [job_id]


async def test_a_worker_drained_before_it_began_ends(prepare: Start, registry: Registry) -> None:
    running = prepare()

    await running.drained()

    assert await registry.live_workers() == []


async def test_a_worker_that_waits_for_its_service_drains(prepare: Start) -> None:
    connector = Scripted()
    connector.not_ready = "it never comes up"
    running = prepare(connector)
    await eventually(lambda: connector.probes, "the service is asked")

    await running.drained()


async def test_a_drain_ends_though_a_connector_does_not_let_go(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, prepare: Start
) -> None:
    monkeypatch.setattr(loop, "DRAIN_AT_MOST_S", 0.3)
    connector = Scripted()

    async def hold_on(_context: Context) -> None:
        while not connector.go.is_set():
            try:
                await connector.go.wait()
            except asyncio.CancelledError:
                continue

    connector.do = hold_on
    running = prepare(connector)
    await submit(queue)
    await eventually(lambda: connector.started, "the job runs")

    try:
        await running.drained()
    finally:
        connector.go.set()


async def test_a_drain_ends_though_redis_is_away(
    monkeypatch: pytest.MonkeyPatch,
    own_redis: Callable[..., OwnRedis],
    prepare_on: Callable[..., tuple[Queue, Running]],
) -> None:
    monkeypatch.setattr(loop, "DRAIN_AT_MOST_S", 0.5)
    server = own_redis()
    connector = Scripted()
    queue, running = prepare_on(server, connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")

    server.kill()
    begun = time.monotonic()
    await running.drained()
    assert time.monotonic() - begun < 4

    server.start()
    _, again = prepare_on(server)
    await eventually(
        lambda: queue.get(job_id), "it counts as lost", until=lambda job: job.lost_attempts == 1
    )
    await again.drained()


async def test_a_drain_that_meets_a_heartbeat_ends(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, prepare: Start
) -> None:
    reporting = asyncio.Event()

    async def hang(_record: object) -> None:
        reporting.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr(registry, "report_worker", hang)
    running = prepare(registry=registry)
    await eventually(reporting.is_set, "the heart beats")

    await running.drained()


async def test_a_worker_that_was_drained_asks_its_service_nothing(
    queue: Queue, prepare: Start
) -> None:
    connector = Scripted()

    async def refuse_when_stopped(_context: Context) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ServiceNotReady from None

    connector.do = refuse_when_stopped
    running = prepare(connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")
    probes = connector.probes

    await running.drained()

    assert connector.probes == probes
    assert (await queue.get(job_id)).state is JobState.PENDING
