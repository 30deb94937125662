"""What the fleet hears of a worker, and what the worker hears from its heart."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ConnectionError as ConnectionLost

from muster.fleet.model import WorkerState
from muster.jobs.model import JobState
from muster.jobs.recovery import FORGET
from support.waiting import eventually
from support.workers import Scripted, becomes, submit

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from muster.fleet.model import Worker
    from muster.fleet.registry import Registry
    from muster.jobs.queue import Queue
    from support.workers import Start

pytestmark = pytest.mark.anyio


@pytest.fixture
def reported(registry: Registry) -> Callable[..., Any]:
    """Wait until the fleet knows a worker that is as wanted."""

    async def reported(until: Callable[[Worker], object] = lambda _worker: True) -> Worker:
        async def worker() -> Worker | None:
            return next(iter((await registry.workers()).workers), None)

        found = await eventually(
            worker, "the fleet knows", until=lambda worker: worker and until(worker)
        )
        assert found
        return found

    return reported


@pytest.mark.failure(1)
async def test_reports_machine_id_in_worker_capabilities(
    reported: Callable[..., Any], start: Start
) -> None:
    start(
        MACHINE_ID="basic-machine-prod-test",
        WORKER_INDEX="3",
        MACHINE_INCARNATION="7f",
        WORKER_MODELS="sdxl, flux",
        WORKER_LABELS="region=eu",
        WORKER_VRAM_MIB="24000",
    )

    worker = await reported()

    assert worker.machine_id == "basic-machine-prod-test"
    assert worker.worker_id == "basic-machine-prod-test-worker-3"
    assert (worker.gpu, worker.incarnation, worker.pid) == (3, "7f", os.getpid())
    assert worker.capabilities.models == {"sdxl", "flux"}
    assert worker.capabilities.labels == {"region": "eu"}
    assert (worker.capabilities.service, worker.capabilities.vram_mib) == ("scripted", 24000)
    assert worker.version
    assert worker.started_at


@pytest.mark.failure(1)
async def test_machine_id_stays_with_every_report(
    queue: Queue, reported: Callable[..., Any], start: Start
) -> None:
    """In the ancestor, a registration that came again had lost it."""
    connector = Scripted()
    start(connector)
    job_id = await submit(queue)

    busy = await reported(lambda worker: worker.state is WorkerState.BUSY)
    connector.go.set()
    idle = await reported(lambda worker: worker.state is WorkerState.IDLE)

    assert busy.jobs == [job_id]
    assert idle.jobs == []
    assert busy.machine_id == idle.machine_id == "gpu-host-1"


@pytest.mark.usefixtures("quick_heart")
@pytest.mark.failure(1)
async def test_machine_id_and_offer_stay_when_a_lease_was_lost(
    queue: Queue, reported: Callable[..., Any], start: Start
) -> None:
    """In the ancestor, a time-out that raced a completion registered the worker anew, as nobody."""
    connector = Scripted()
    start(connector, WORKER_MODELS="sdxl")
    job_id = await submit(queue)
    busy = await reported(lambda worker: worker.state is WorkerState.BUSY)

    await queue.cancel(job_id)
    idle = await reported(lambda worker: worker.state is WorkerState.IDLE)

    assert (idle.machine_id, idle.capabilities) == (busy.machine_id, busy.capabilities)
    assert idle.capabilities.models == {"sdxl"}


async def test_says_that_it_drains(
    queue: Queue, reported: Callable[..., Any], prepare: Start
) -> None:
    connector = Scripted()

    async def stop_slowly(_context: object) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await connector.go.wait()

    connector.do = stop_slowly
    running = prepare(connector)
    await submit(queue)
    await reported(lambda worker: worker.state is WorkerState.BUSY)

    running.worker.drain()

    await reported(lambda worker: worker.state is WorkerState.DRAINING)
    connector.go.set()
    await running.ended()
    await reported(lambda worker: worker.state is WorkerState.OFFLINE)


@pytest.mark.usefixtures("quick_heart")
async def test_keeps_its_leases(queue: Queue, redis: Redis, start: Start) -> None:
    connector = Scripted()
    start(connector)
    await submit(queue)
    await eventually(lambda: connector.started, "the job runs")

    async def ends() -> float:
        ((_, expires),) = await redis.zrange(queue.key("leases"), 0, -1, withscores=True)
        return float(expires)

    first = await ends()
    await eventually(ends, "the lease is extended again", until=lambda at: at > first + 500)


@pytest.mark.usefixtures("quick_heart")
async def test_drains_when_its_supervisor_is_gone(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, prepare: Start
) -> None:
    connector = Scripted()
    running = prepare(connector)
    job_id = await submit(queue, max_lost=1)
    await eventually(lambda: connector.started, "the job runs")

    monkeypatch.setattr(os, "getppid", lambda: 1)

    await running.ended()
    job = await queue.get(job_id)
    assert (job.state, job.attempts) == (JobState.PENDING, [])


@pytest.mark.usefixtures("quick_heart")
async def test_drains_when_another_incarnation_takes_its_place(
    registry: Registry, reported: Callable[..., Any], prepare: Start
) -> None:
    running = prepare()
    worker = await reported(lambda worker: worker.state is WorkerState.IDLE)

    await registry.register_worker(worker.model_copy(update={"incarnation": "second"}))

    await running.ended()
    left = await reported()
    assert (left.incarnation, left.state) == ("second", WorkerState.IDLE)


async def test_a_queue_that_forgot_the_workers_capabilities_is_told_them_again(
    queue: Queue, start: Start
) -> None:
    connector = Scripted()
    connector.go.set()
    running = start(connector)
    await eventually(lambda: running.leases.calls["wait_for_wake"], "the worker waits")

    assert await FORGET(queue.redis, queue.root, -1) == 1

    await becomes(queue, await submit(queue), JobState.COMPLETED, timeout_s=5)
    await becomes(queue, await submit(queue), JobState.COMPLETED, timeout_s=0.8)


@pytest.mark.usefixtures("quick_heart")
async def test_keeps_its_capabilities_known(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, redis: Redis, start: Start
) -> None:
    """Busy for long, it makes no exchange in which the queue could say that it forgot them."""
    monkeypatch.setattr("muster.worker.heart.SIGNATURE_EVERY", 1)
    connector = Scripted()
    running = start(connector)
    await submit(queue)
    await eventually(lambda: connector.started, "the job runs")
    seen_key, signature = queue.key("signatures:seen"), running.leases.signature
    seen = await redis.zscore(seen_key, signature)

    await eventually(
        lambda: redis.zscore(seen_key, signature),
        "its capabilities are spoken for again",
        until=lambda at: at > seen,
    )


@pytest.mark.usefixtures("quick_heart")
async def test_beats_on_after_a_missed_beat(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, start: Start
) -> None:
    report, told = registry.report_worker, []

    async def break_at_first(record: Worker) -> None:
        told.append(record)
        if len(told) == 1:
            raise ConnectionLost("broken")
        await report(record)

    monkeypatch.setattr(registry, "report_worker", break_at_first)
    running = start(registry=registry)

    await eventually(lambda: len(told) > 2, "it beats on")
    assert not running.task.done()


@pytest.mark.usefixtures("quick_heart")
async def test_a_worker_does_not_outlive_its_heart(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, registry: Registry, prepare: Start
) -> None:
    """It would run jobs whose leases nobody extends."""

    async def crash(_record: object) -> None:
        raise ZeroDivisionError("a bug")

    connector = Scripted()
    running = prepare(connector, registry=registry)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")

    monkeypatch.setattr(registry, "report_worker", crash)

    with pytest.raises(ExceptionGroup, match="TaskGroup") as raised:
        await running.ended()
    assert raised.group_contains(ZeroDivisionError, match="a bug")
    await eventually(lambda: connector.cancelled == [job_id], "its job is stopped")


async def test_a_worker_that_cannot_say_good_bye_ends(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, prepare: Start
) -> None:
    async def fail(_record: object) -> None:
        raise ConnectionLost("broken")

    monkeypatch.setattr(registry, "leave_worker", fail)
    running = prepare(registry=registry)

    await running.drained()
