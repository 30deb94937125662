"""Whatever dies while 200 jobs run: all of them complete, and none is committed twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import anyio
import pytest

from muster.errors import MusterError
from muster.jobs.connection import connect
from muster.jobs.events import read_events
from muster.jobs.model import JobRequest, JobState
from muster.jobs.queue import Queue
from muster.settings import RedisSettings
from muster.simulation.comfyui.workflow import text_to_image
from support.up import REDIS, Up, running_up
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.client.model import QueueStatus

pytestmark = pytest.mark.anyio

JOBS = 200
OUTAGE_S = 20
"""Longer than a lease: when Redis is back, every lease has expired."""


@pytest.fixture
def up() -> Iterator[Up]:
    with running_up(gpus=4) as running:
        yield running


def _jobs() -> list[JobRequest]:
    # Steps that take long enough for every victim to die in the middle of the batch.
    graphs = [text_to_image(seed=seed, steps=60) for seed in range(JOBS)]
    return [JobRequest(service="comfyui", payload={"prompt": graph}) for graph in graphs]


async def _counts(up: Up) -> QueueStatus:
    async with up.client() as client:
        return await client.queue()


async def _progress(up: Up) -> None:
    """Wait until more jobs are completed than now: whatever died, it is overcome."""
    ignoring = (MusterError,)
    before = await eventually(lambda: _counts(up), "the server answers", ignoring=ignoring)
    completed = before.counts[JobState.COMPLETED]
    await eventually(
        lambda: _counts(up),
        "more jobs complete",
        until=lambda now: now.counts[JobState.COMPLETED] > completed,
        timeout_s=60,
        ignoring=ignoring,
    )


async def test_no_job_is_lost_and_none_is_committed_twice_whatever_dies(up: Up) -> None:
    async with up.client() as client:
        ids = {job.id for job in await client.submit_many(_jobs())}
    await _progress(up)

    for part in (
        "muster.cli worker",
        "muster.simulation.comfyui",
        "muster.cli server",
        REDIS,
        "muster.cli machine",
    ):
        up.processes(part)[0].kill()
        await _progress(up)
    (redis_server,) = up.processes(REDIS)
    redis_server.suspend()
    await anyio.sleep(OUTAGE_S)
    redis_server.resume()

    await eventually(
        lambda: _counts(up),
        f"all {JOBS} jobs complete",
        until=lambda now: now.counts[JobState.COMPLETED] == JOBS,
        timeout_s=120,
        ignoring=(MusterError,),
    )
    settings = RedisSettings.load(env_file=up.data_dir / "machine.env")
    async with connect(settings) as redis:
        events = await read_events(Queue(redis), limit=100_000)
    commits = Counter(event.job for event in events if event.state is JobState.COMPLETED)
    assert commits == dict.fromkeys(ids, 1)
