from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.errors import Busy, ProtocolMismatch
from muster.jobs import queue as queue_module
from muster.jobs.model import JobState
from muster.jobs.queue import PROTOCOL, Queue
from support.jobs import a_request

if TYPE_CHECKING:
    from redis.asyncio import Redis

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("apart", [-1, 0, 1])
async def test_versions_that_are_one_apart_work_together(
    redis: Redis, queue_name: str, apart: int
) -> None:
    queue = Queue(redis, queue_name)
    await redis.hset(queue.key("meta"), "protocol", str(PROTOCOL + apart))

    await queue.open()

    assert int(await redis.hget(queue.key("meta"), "protocol")) == PROTOCOL + apart


async def test_versions_that_are_further_apart_are_refused_with_both_named(
    redis: Redis, queue_name: str
) -> None:
    queue = Queue(redis, queue_name)
    await redis.hset(queue.key("meta"), "protocol", str(PROTOCOL + 2))

    with pytest.raises(ProtocolMismatch, match=rf"protocol {PROTOCOL + 2}, .* {PROTOCOL};"):
        await queue.open()


async def test_a_new_queue_speaks_our_version(queue: Queue) -> None:
    assert int(await queue.redis.hget(queue.key("meta"), "protocol")) == PROTOCOL


async def test_a_submission_that_replicas_do_not_hold_is_busy_and_may_be_sent_again(
    redis: Redis, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "REPLICA_TIMEOUT_MS", 1)
    queue = Queue(redis, queue_name, wait_replicas=1)

    for _ in range(2):
        with pytest.raises(Busy, match="0 of 1 replicas") as refusal:
            await queue.submit(a_request(idempotency_key="order-1"))
        assert refusal.value.retry_after > 0

    assert (await queue.counts())[JobState.PENDING] == 1


async def test_queues_of_other_names_are_apart(queue: Queue, redis: Redis) -> None:
    other = Queue(redis, f"{queue.name}-2")
    await queue.submit(a_request())

    assert (await other.counts())[JobState.PENDING] == 0
