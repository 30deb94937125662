from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.jobs.queue import Queue
from muster.jobs.recovery import Recovery

if TYPE_CHECKING:
    from redis.asyncio import Redis


@pytest.fixture
async def queue(redis: Redis, queue_name: str) -> Queue:
    queue = Queue(redis, queue_name)
    await queue.open()
    return queue


@pytest.fixture
def recovery(queue: Queue) -> Recovery:
    return Recovery(queue)
