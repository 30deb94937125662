"""The whole of a worker, from its settings to its end."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput, ProtocolMismatch, RedisUnavailable
from muster.jobs.model import JobState
from muster.worker.loop import run
from support.waiting import eventually
from support.workers import becomes, submit

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from muster.fleet.registry import Registry
    from muster.jobs.queue import Queue
    from muster.worker.settings import WorkerSettings

    Load = Callable[..., WorkerSettings]

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
async def test_works_until_a_signal_drains_it_and_leaves_no_connection(
    load: Load, queue: Queue, redis: Redis, registry: Registry, name: signal.Signals
) -> None:
    connections = len(await redis.client_list())
    task = asyncio.create_task(run(load(CONNECTOR="simulation")))
    done = await submit(queue, service="simulation")
    await becomes(queue, done, JobState.COMPLETED)
    long = await submit(queue, service="simulation", payload={"duration_s": 600}, max_lost=1)
    await becomes(queue, long, JobState.RUNNING)

    os.kill(os.getpid(), name)
    async with asyncio.timeout(5):
        await task

    assert (await becomes(queue, long, JobState.PENDING)).attempts == []
    assert await registry.live_workers() == []
    await eventually(
        redis.client_list, "its connections are closed", until=lambda now: len(now) == connections
    )
    assert signal.getsignal(name) in {signal.default_int_handler, signal.SIG_DFL}


async def test_refuses_a_connector_that_is_not_there(load: Load) -> None:
    with pytest.raises(InvalidInput, match=r"^CONNECTOR: 'nope' is not installed"):
        await run(load(CONNECTOR="nope"))


async def test_refuses_an_artifact_store_that_it_cannot_use(load: Load) -> None:
    with pytest.raises(InvalidInput, match=r"^ARTIFACTS_URL: "):
        await run(load(CONNECTOR="simulation", ARTIFACTS_URL="ftp://host"))


async def test_says_so_when_redis_is_not_there_at_the_start(load: Load) -> None:
    settings = load(CONNECTOR="simulation", REDIS_URL="unix://:hush@/nowhere/redis.sock")

    with pytest.raises(RedisUnavailable, match="does not answer") as away:
        await run(settings)

    assert "hush" not in str(away.value)


async def test_refuses_a_queue_of_another_age(load: Load, redis: Redis, queue: Queue) -> None:
    await redis.hset(queue.key("meta"), "protocol", "9")

    with pytest.raises(ProtocolMismatch, match="speaks protocol 9, this Muster 1"):
        await run(load(CONNECTOR="simulation"))
