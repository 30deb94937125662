"""Both clients against a real server in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from muster.client import (
    AsyncClient,
    Client,
    JobRequest,
    JobState,
    Refused,
    Rejected,
    WaitTimeout,
)
from muster.errors import Conflict, InvalidInput, NotFound
from muster.server.auth import Role
from support.server import URL, RunningServer, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from muster.jobs.model import Job

REQUEST = JobRequest(service="simulation", payload={"n": 1})


@pytest.fixture
def server(tmp_path: Path, redis_url: str, queue_name: str) -> Iterator[RunningServer]:
    with running_server(tmp_path, redis_url, queue_name) as server:
        yield server


@pytest.fixture
def muster(server: RunningServer) -> Iterator[Client]:
    with Client(URL, server.tokens[Role.OPERATE], transport=server) as client:
        yield client


def test_a_job_goes_its_way(muster: Client) -> None:
    made = muster.submit(REQUEST)

    assert muster.get(made.id).payload == {"n": 1}
    assert muster.explain(made.id).summary == "No worker is alive."
    assert muster.cancel(made.id).state is JobState.CANCELLED
    assert muster.retry(made.id).state is JobState.PENDING
    assert muster.queue().counts[JobState.PENDING] == 1


def test_pages_are_walked_to_the_end(muster: Client) -> None:
    made = muster.submit_many([REQUEST] * 7)

    listed = muster.every_job(JobState.PENDING, page=3)

    assert [job.id for job in listed] == [job.id for job in made]
    assert muster.jobs(JobState.PENDING, limit=2).total == 7


def test_the_fleet_and_the_queue_answer(muster: Client) -> None:
    assert muster.machines().machines == []
    assert muster.workers(machine_id="m1").total == 0
    assert muster.pause().paused is True
    assert muster.resume().paused is False
    with pytest.raises(NotFound, match="'m1'"):
        muster.machine("m1")


def test_errors_come_in_the_servers_words(muster: Client, server: RunningServer) -> None:
    made = muster.submit(REQUEST)

    with pytest.raises(NotFound, match="no job 'nope'"):
        muster.get("nope")
    with pytest.raises(NotFound, match=r"'a\?b #c'"):
        muster.get("a?b #c")
    with pytest.raises(Conflict, match="only failed and cancelled"):
        muster.retry(made.id)
    with pytest.raises(Rejected, match="unknown") as rejected:
        muster.submit(JobRequest(service="nope", payload={}))
    assert isinstance(rejected.value, InvalidInput)
    assert rejected.value.field == "service"
    with (
        Client(URL, server.tokens[Role.VIEW], transport=server) as viewer,
        pytest.raises(Refused, match="needs submit"),
    ):
        viewer.submit(REQUEST)
    with (
        Client(URL, "wrong", transport=server) as stranger,
        pytest.raises(Refused, match="not known"),
    ):
        stranger.queue()


def test_waiting_ends_with_the_job_and_tells_of_changes(muster: Client) -> None:
    made = muster.submit(REQUEST)
    seen: list[JobState] = []

    def cancel_at_first_sight(job: Job) -> None:
        seen.append(job.state)
        if not job.state.terminal:
            muster.cancel(job.id)

    assert muster.wait(made.id, on_progress=cancel_at_first_sight).state is JobState.CANCELLED
    assert seen == [JobState.PENDING, JobState.CANCELLED]


def test_waiting_has_an_end(muster: Client) -> None:
    made = muster.submit(REQUEST)

    with pytest.raises(WaitTimeout, match="still pending"):
        muster.wait(made.id, timeout=0.05)


@pytest.mark.anyio
async def test_the_async_client_does_the_same(server: RunningServer) -> None:
    class Bridge(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await request.aread()
            return server.handle_request(request)

    async with AsyncClient(URL, server.tokens[Role.OPERATE], transport=Bridge()) as muster:
        made = await muster.submit_many([REQUEST, REQUEST, REQUEST])
        listed = [job.id async for job in muster.every_job(JobState.PENDING, page=2)]
        with pytest.raises(WaitTimeout):
            await muster.wait(made[0].id, timeout=0.05)
        await muster.cancel(made[0].id)
        waited = await muster.wait(made[0].id)

    assert listed == [job.id for job in made]
    assert waited.state is JobState.CANCELLED
