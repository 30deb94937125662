"""Which models jobs wait for, as machines are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.jobs import demand as reading
from muster.jobs.demand import read_demand
from muster.jobs.leases import Leases
from muster.jobs.model import Capabilities, JobRequest
from muster.jobs.queue import Queue
from support.waiting import eventually

if TYPE_CHECKING:
    from typing import Any

    from redis.asyncio import Redis

pytestmark = pytest.mark.anyio


@pytest.fixture
def queue(redis: Redis, queue_name: str, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setattr(reading, "GOOD_FOR_S", 0.001)
    return Queue(redis, queue_name)


async def submit(queue: Queue, *models: str, **fields: Any) -> str:
    needs = {"models": models, **fields}
    request = JobRequest(service="render", payload={}, requirements=needs)
    return (await queue.submit(request)).id


async def offer(queue: Queue, *models: str) -> Leases:
    """Let a worker with these models speak for what it offers."""
    leases = Leases(queue, "w", Capabilities(service="render", models=frozenset(models)))
    await leases.register()
    return leases


async def test_nobody_waits_in_an_empty_queue_or_for_jobs_without_models(queue: Queue) -> None:
    assert await read_demand(queue) == []
    await submit(queue)
    await submit(queue, labels={"region": "eu"})
    assert await read_demand(queue) == []


async def test_jobs_wait_for_models_that_no_worker_has(queue: Queue) -> None:
    await offer(queue, "base")
    await submit(queue, "base", "lora", vram_mib=8000)
    await submit(queue, "base", "lora", vram_mib=8000)

    [demand] = await read_demand(queue)

    assert (demand.need.models, demand.need.vram_mib) == ({"base", "lora"}, 8000)
    assert (demand.need.service, demand.waiting, demand.served) == ("render", 2, False)


async def test_jobs_that_a_live_worker_can_run_are_served(queue: Queue) -> None:
    await submit(queue, "base")
    await offer(queue, "base", "lora")

    assert [demand.served for demand in await read_demand(queue)] == [True]


async def test_a_worker_that_fell_silent_serves_nobody(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LIVE_S", 0.05)
    await submit(queue, "base")
    await offer(queue, "base")

    demands = await eventually(
        lambda: read_demand(queue),
        "the worker counts no more",
        until=lambda demands: demands and not demands[0].served,
    )

    assert [demand.need.models for demand in demands] == [{"base"}]


async def test_the_age_is_that_of_the_job_that_is_next(queue: Queue) -> None:
    await submit(queue, "base")

    aged = await eventually(
        lambda: read_demand(queue), "time goes by", until=lambda demands: demands[0].age_ms >= 50
    )

    assert aged[0].age_ms < 10_000


async def test_jobs_that_run_or_are_paused_wait_for_no_model(queue: Queue) -> None:
    leases = await offer(queue, "base")
    await submit(queue, "base")
    await leases.exchange(want=1)
    assert await read_demand(queue) == []

    await submit(queue, "lora")
    await queue.pause()
    assert await read_demand(queue) == []


async def test_however_many_ask_it_is_worked_out_once(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "GOOD_FOR_S", 60)
    await submit(queue, "base")
    first = await read_demand(queue)
    await submit(queue, "base")

    assert await read_demand(queue) == first
    assert 0 < await queue.redis.pttl(queue.key("demand")) <= 60_000


async def test_a_class_that_was_collected_and_came_back_is_read_too(queue: Queue) -> None:
    # Given a job whose class is made anew from its spec, in Lua's JSON
    leases = await offer(queue, "base")
    await submit(queue, "base")
    [lease] = (await leases.exchange(want=1)).leases
    for name in ("classes", "matches"):
        await queue.redis.delete(queue.key(name))
    await leases.reclaim(lost=False)

    [demand] = await read_demand(queue)

    assert lease.attempt == 1
    assert (demand.need.models, demand.need.labels) == ({"base"}, {})
