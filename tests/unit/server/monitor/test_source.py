"""Reading the queue's streams in bites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.jobs.connection import connect
from muster.server.monitor import source
from muster.settings import RedisSettings
from support.jobs import a_request

if TYPE_CHECKING:
    from muster.jobs.queue import Queue

pytestmark = pytest.mark.anyio


async def test_a_bite_that_is_full_says_so(
    redis_url: str, queue_name: str, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a reader that has read something, and more news than fit in a bite
    monkeypatch.setattr(source, "BATCH", 2)
    async with connect(RedisSettings.load(redis_url=redis_url)) as own:
        reader = source.Source(own, queue_name)
        await queue.submit(a_request())
        fleet, _ = await reader.load()
        for _ in range(3):
            await queue.submit(a_request())

        counts = [(await reader.read(fleet))[1] for _ in range(2)]

    # Then the first bite is full, so that the next is taken at once
    assert counts == [2, 1]
