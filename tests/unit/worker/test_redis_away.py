"""A worker through times without Redis, and through answers that are lost on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.jobs import connection
from muster.jobs.events import read_events
from muster.jobs.model import Capabilities, JobState
from muster.worker import loop
from support.waiting import eventually
from support.workers import SERVICE, Scripted, WatchedLeases, becomes, submit

if TYPE_CHECKING:
    from collections.abc import Callable

    from muster.jobs.queue import Queue
    from muster.worker.connectors.base import Context
    from support.redis import OwnRedis
    from support.workers import Running, Start

    PrepareOn = Callable[..., tuple[Queue, Running]]

pytestmark = pytest.mark.anyio


async def story(queue: Queue, job_id: str) -> list[str]:
    """What happened to a job, state by state."""
    return [event.state for event in await read_events(queue) if event.job == job_id]


async def test_keeps_a_result_while_redis_is_down_and_commits_it_afterwards(
    own_redis: Callable[..., OwnRedis], prepare_on: PrepareOn
) -> None:
    server = own_redis()
    connector = Scripted()
    queue, running = prepare_on(server, connector)
    job_id = await submit(queue, max_failed=1, max_lost=1)
    await eventually(lambda: connector.started, "the job runs")

    server.kill()
    connector.go.set()
    await eventually(lambda: running.leases.failed["reclaim"] > 1, "the result is not taken")
    server.start()

    job = await becomes(queue, job_id, JobState.COMPLETED)
    assert (job.attempt, job.result, job.attempts) == (1, "done", [])
    assert connector.started == [(job_id, 1)]
    await becomes(queue, await submit(queue), JobState.COMPLETED)
    await running.drained()


async def test_commits_once_though_redis_froze_with_the_commit_on_its_way(
    monkeypatch: pytest.MonkeyPatch, own_redis: Callable[..., OwnRedis], prepare_on: PrepareOn
) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 1.2)
    server = own_redis()
    connector = Scripted()
    queue, running = prepare_on(server, connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")

    with server.frozen():
        connector.go.set()
        await eventually(lambda: running.leases.failed["exchange"], "no answer comes")

    await becomes(queue, job_id, JobState.COMPLETED)
    await becomes(queue, await submit(queue), JobState.COMPLETED)
    assert await story(queue, job_id) == ["pending", "running", "completed"]
    await running.drained()


async def test_starts_to_work_when_redis_comes_back(
    own_redis: Callable[..., OwnRedis], prepare_on: PrepareOn
) -> None:
    server = own_redis()
    server.kill()
    connector = Scripted()
    connector.go.set()
    queue, running = prepare_on(server, connector)
    await eventually(lambda: running.leases.failed["reclaim"] > 1, "Redis is not there")

    server.start()

    await becomes(queue, await submit(queue), JobState.COMPLETED)
    await running.drained()


async def test_a_lost_answer_to_a_claim_gives_its_jobs_back_at_once(
    queue: Queue, start: Start
) -> None:
    connector = Scripted()
    connector.go.set()
    running = start(connector, WORKER_CONCURRENCY="4")
    await eventually(lambda: running.leases.calls["wait_for_wake"], "the worker waits")

    running.leases.lose["exchange"] = 1
    jobs = [await submit(queue, max_failed=1, max_lost=1) for _ in range(3)]

    for job_id in jobs:
        job = await becomes(queue, job_id, JobState.COMPLETED, timeout_s=3)
        assert job.attempts == []
        assert (await story(queue, job_id)).count("completed") == 1
    assert sorted({job_id for job_id, _ in connector.started}) == sorted(jobs)
    assert len(connector.started) == 3


async def test_a_lost_answer_does_not_give_back_what_runs_or_is_done(
    queue: Queue, start: Start
) -> None:
    connector = Scripted()
    first_goes = connector.go

    async def quick_or_slow(context: Context) -> str:
        if context.request.payload.get("slow"):
            await first_goes.wait()
        return "done"

    connector.do = quick_or_slow
    running = start(connector, WORKER_CONCURRENCY="2")
    slow = await submit(queue, payload={"slow": True})
    await eventually(lambda: connector.started, "the slow job runs")

    running.leases.lose["exchange"] = 2
    quick = await submit(queue)
    await becomes(queue, quick, JobState.COMPLETED)
    running.leases.lose["exchange"] = 1
    await becomes(queue, await submit(queue), JobState.COMPLETED)
    first_goes.set()

    job = await becomes(queue, slow, JobState.COMPLETED)
    assert job.attempt == 1
    assert await story(queue, slow) == ["pending", "running", "completed"]
    assert [job_id for job_id, _ in connector.started].count(slow) == 1


async def test_a_lost_answer_to_a_commit_does_not_run_the_job_again(
    queue: Queue, start: Start
) -> None:
    connector = Scripted()
    running = start(connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")

    running.leases.lose["exchange"] = 1
    connector.go.set()

    await becomes(queue, job_id, JobState.COMPLETED)
    await becomes(queue, await submit(queue), JobState.COMPLETED)
    assert running.leases.failed["exchange"] == 1
    assert await story(queue, job_id) == ["pending", "running", "completed"]
    assert [job_id for job_id, _ in connector.started].count(job_id) == 1


@pytest.mark.failure(7)
async def test_a_result_that_comes_too_late_is_dropped(queue: Queue, start: Start) -> None:
    connector = Scripted()
    running = start(connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")
    running.leases.refuse["exchange"] = 2
    connector.go.set()
    await eventually(lambda: running.leases.failed["exchange"], "the result is not taken")

    await queue.cancel(job_id)

    await becomes(queue, await submit(queue), JobState.COMPLETED)
    assert (await queue.get(job_id)).state is JobState.CANCELLED


async def test_what_a_killed_worker_held_is_lost_though_redis_stumbles_at_the_start(
    queue: Queue, start: Start
) -> None:
    """Given back uncounted, a job that kills its worker would do so for ever."""
    offer = Capabilities(service=SERVICE)
    killed = WatchedLeases(queue, "gpu-host-1-worker-0", offer)
    await killed.register()
    job_id = await submit(queue, max_lost=1)
    assert len((await killed.exchange(want=1)).leases) == 1

    running = start()
    running.leases.refuse["reclaim"] = 1

    job = await becomes(queue, job_id, JobState.FAILED)
    assert running.leases.failed["reclaim"] == 1
    assert (job.lost_attempts, job.attempts[0].outcome) == (1, "lost")


async def test_waits_for_redis_however_long_that_takes(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, start: Start
) -> None:
    monkeypatch.setattr(loop, "RECONNECT_AT_MOST_S", 0)
    connector = Scripted()
    connector.go.set()
    running = start(connector)
    running.leases.refuse["reclaim"] = 1100

    await becomes(queue, await submit(queue), JobState.COMPLETED)

    assert running.leases.failed["reclaim"] == 1100
