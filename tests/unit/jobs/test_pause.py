from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.jobs.model import JobState
from support.jobs import a_request, a_worker, completed, hand_in, take, take_one

if TYPE_CHECKING:
    from muster.jobs.queue import Queue

pytestmark = pytest.mark.anyio


async def test_a_paused_queue_hands_nothing_out(queue: Queue) -> None:
    worker = await a_worker(queue)
    await queue.pause()
    await queue.submit(a_request())

    assert await queue.paused()
    assert await take(worker) == []
    assert (await queue.counts())[JobState.PENDING] == 1


async def test_running_jobs_go_on_while_the_queue_is_paused(queue: Queue) -> None:
    await queue.submit(a_request())
    worker = await a_worker(queue)
    lease = await take_one(worker)

    await queue.pause()

    assert await worker.extend([lease]) == ["ok"]
    assert await hand_in(worker, completed(lease)) == ["ok"]


async def test_a_resumed_queue_hands_out_what_waited(queue: Queue) -> None:
    await queue.pause()
    job = await queue.submit(a_request())
    worker = await a_worker(queue)

    await queue.resume()

    assert not await queue.paused()
    assert (await take_one(worker)).job_id == job.id


async def test_pausing_and_resuming_twice_is_as_once(queue: Queue) -> None:
    await queue.resume()
    await queue.pause()
    await queue.pause()
    await queue.resume()

    assert not await queue.paused()
