"""What becomes of one attempt: results, failures, progress, revocation."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from muster.errors import InvalidInput
from muster.jobs.limits import Limits
from muster.jobs.model import JobError, JobState, LeaseState
from muster.jobs.queue import Queue
from muster.worker.connectors.base import JobFailed
from support.waiting import eventually
from support.workers import Scripted, becomes, submit

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from muster.worker.connectors.base import Context
    from support.workers import Start

pytestmark = pytest.mark.anyio

HALF_A_CHARACTER = "\udcff"


@pytest.mark.parametrize("result", [None, 0, "ä", {"urls": ["a", 1.5, True]}, []])
async def test_a_result_is_kept(queue: Queue, start: Start, result: Any) -> None:
    async def give(_context: Context) -> Any:
        return result

    start(Scripted(give))

    job = await becomes(queue, await submit(queue), JobState.COMPLETED)

    assert job.result == result
    assert (job.worker, job.attempt, job.attempts) == ("gpu-host-1-worker-0", 1, [])


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (object(), "not JSON serializable"),
        (float("nan"), "not JSON compliant"),
        ({(1, 2): 3}, "keys must be"),
    ],
    ids=["object", "nan", "key"],
)
async def test_a_result_that_is_not_json_fails_the_job(
    queue: Queue, start: Start, result: Any, said: str
) -> None:
    async def give(_context: Context) -> Any:
        return result

    start(Scripted(give))

    job = await becomes(queue, await submit(queue, max_failed=1), JobState.FAILED)

    assert job.result is None
    assert job.attempts[0].error.kind == "crash"
    assert said in job.attempts[0].error.message


@pytest.mark.failure(20)
async def test_a_result_that_is_too_large_fails_the_job_for_good(
    redis: Redis, queue_name: str, start: Start
) -> None:
    async def give(_context: Context) -> str:
        return "x" * 1000

    queue = Queue(redis, queue_name, limits=Limits(result_bytes=1000))
    connector = Scripted(give)
    start(connector, queue=queue)

    job = await becomes(queue, await submit(queue, max_failed=3), JobState.FAILED)

    assert len(connector.started) == 1
    assert job.attempts[0].error.kind == "result_refused"
    assert "1002 bytes" in job.attempts[0].error.message


@pytest.mark.usefixtures("recovery")
async def test_a_job_that_takes_too_long_fails_and_is_tried_again(
    queue: Queue, start: Start
) -> None:
    connector = Scripted()

    async def hang_at_first(context: Context) -> str:
        if context.attempt == 1:
            await connector.go.wait()
        return "the second time"

    connector.do = hang_at_first
    start(connector)

    job_id = await submit(queue, timeout_s=0.4)
    job = await becomes(queue, job_id, JobState.COMPLETED)

    assert job.result == "the second time"
    assert [attempt.error.kind for attempt in job.attempts] == ["timeout"]
    assert (job.failed_attempts, job.lost_attempts) == (1, 0)
    assert connector.cancelled == [job_id]


async def test_the_worker_itself_ends_a_job_that_takes_too_long(queue: Queue, start: Start) -> None:
    """Without any server, whose recovery would end it too."""
    start()

    job = await becomes(queue, await submit(queue, timeout_s=0.1, max_failed=1), JobState.FAILED)

    assert job.attempts[0].error == JobError(kind="timeout", message="not done within 0.1 s")


async def test_a_time_out_of_the_connectors_own_is_a_crash(queue: Queue, start: Start) -> None:
    async def give_up(_context: Context) -> None:
        raise TimeoutError("the service did not answer")

    start(Scripted(give_up))

    job = await becomes(queue, await submit(queue, max_failed=1), JobState.FAILED)

    assert job.attempts[0].error.kind == "crash"
    assert job.attempts[0].error.message == "TimeoutError: the service did not answer"


@pytest.mark.usefixtures("recovery")
async def test_a_crash_of_the_connector_is_told_and_tried_again(queue: Queue, start: Start) -> None:
    async def crash(_context: Context) -> None:
        raise ZeroDivisionError("seven by nothing")

    connector = Scripted(crash)
    start(connector)

    job = await becomes(queue, await submit(queue, max_failed=2), JobState.FAILED)

    assert len(connector.started) == 2
    for attempt in job.attempts:
        assert attempt.error.kind == "crash"
        assert attempt.error.message == "ZeroDivisionError: seven by nothing"
        assert "in crash" in attempt.error.details["traceback"]


async def test_a_failure_keeps_its_kind_text_and_details(queue: Queue, start: Start) -> None:
    error = JobError(kind="node_error", message="bad seed", details={"node": "7"})

    async def fail(_context: Context) -> None:
        raise JobFailed(error, retryable=False)

    connector = Scripted(fail)
    start(connector)

    job = await becomes(queue, await submit(queue, max_failed=3), JobState.FAILED)

    assert [attempt.error for attempt in job.attempts] == [error]
    assert len(connector.started) == 1


async def test_invalid_input_that_a_connector_met_is_not_called_a_large_result(
    queue: Queue, start: Start
) -> None:
    async def refuse(_context: Context) -> None:
        raise InvalidInput("artifact path", "is empty", "Use plain names.")

    start(Scripted(refuse))

    job = await becomes(queue, await submit(queue, max_failed=1), JobState.FAILED)

    assert job.attempts[0].error.kind == "crash"
    assert "artifact path is empty" in job.attempts[0].error.message.replace(": ", " ")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (JobFailed(JobError(kind="bad", message=f"file {HALF_A_CHARACTER}")), "bad"),
        (JobFailed(JobError(kind="bad", message="", details={"at": object()})), "bad"),
        (OSError(f"no file {HALF_A_CHARACTER}"), "crash"),
    ],
    ids=["text", "details", "crash"],
)
async def test_an_error_that_cannot_be_stored_as_it_is_does_not_kill_the_worker(
    queue: Queue, start: Start, error: Exception, kind: str
) -> None:
    async def fail(_context: Context) -> None:
        raise error

    connector = Scripted(fail)
    start(connector)

    job = await becomes(queue, await submit(queue, max_failed=1), JobState.FAILED)

    assert job.attempts[0].error.kind == kind
    connector.do = connector._until_told
    connector.go.set()
    await becomes(queue, await submit(queue), JobState.COMPLETED)


async def test_a_connector_that_cancels_itself_has_crashed(queue: Queue, start: Start) -> None:
    """Handed back uncounted, the job would run for ever."""

    async def cancel(_context: Context) -> None:
        inner = asyncio.ensure_future(asyncio.sleep(3600))
        inner.cancel()
        await inner

    start(Scripted(cancel))

    job = await becomes(queue, await submit(queue, max_failed=1), JobState.FAILED)

    assert job.attempts[0].error.kind == "crash"
    assert "CancelledError" in job.attempts[0].error.message


async def test_a_job_that_the_worker_cannot_read_fails_and_the_worker_lives(
    redis: Redis, queue: Queue, start: Start
) -> None:
    job_id = await submit(queue, max_failed=1)
    spec = await redis.hget(queue.key("specs"), job_id)
    await redis.hset(queue.key("specs"), job_id, b'{"service": "scripted", "payload": 7}')
    connector = Scripted()
    connector.go.set()
    running = start(connector)

    async def state() -> bytes | None:
        return await redis.hget(queue.key(f"job:{job_id}"), "state")

    await eventually(state, "the job fails", until=lambda found: found == b"failed")
    await redis.hset(queue.key("specs"), job_id, spec)
    assert "payload" in (await queue.get(job_id)).attempts[0].error.message
    assert not running.task.done()


async def test_progress_is_kept_and_told_at_most_five_times_a_second(
    queue: Queue, start: Start
) -> None:
    connector = Scripted()

    async def report(context: Context) -> None:
        for step in range(1000):
            await context.progress(step / 1000, f"step {step}")
        await connector.go.wait()
        await context.progress(7, f"{'long ' * 100}{HALF_A_CHARACTER}")
        connector.go.clear()
        await connector.go.wait()

    connector.do = report
    running = start(connector)
    job_id = await submit(queue)

    job = await eventually(
        lambda: queue.get(job_id), "progress is told", until=lambda job: job.progress
    )
    assert job.progress
    assert job.progress.message.startswith("step ")
    begun = asyncio.get_running_loop().time()
    assert running.leases.calls["progress"] <= 3, "a thousand reports, within some milliseconds"

    await eventually(
        lambda: asyncio.get_running_loop().time() > begun + 0.2, "it may be told again"
    )
    connector.go.set()
    job = await eventually(
        lambda: queue.get(job_id),
        "later progress is told, within its bounds",
        until=lambda job: job.progress and job.progress.fraction == 1,
    )
    assert job.progress
    assert len(job.progress.message) == 200


async def test_progress_that_cannot_be_told_does_not_stop_the_job(
    queue: Queue, start: Start
) -> None:
    async def report(context: Context) -> str:
        await context.progress(0.5, HALF_A_CHARACTER)
        return "done all the same"

    running = start(Scripted(report))
    running.leases.refuse["progress"] = 1

    job = await becomes(queue, await submit(queue), JobState.COMPLETED)

    assert running.leases.failed["progress"] == 1
    assert job.result == "done all the same"


async def test_progress_waits_for_a_silent_redis_a_moment_only(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, start: Start
) -> None:
    monkeypatch.setattr("muster.worker.attempt.PROGRESS_PATIENCE_S", 0.05)

    async def report(context: Context) -> str:
        await context.progress(0.5)
        return "done all the same"

    async def silence(*_args: object) -> LeaseState:
        await asyncio.sleep(3600)
        return LeaseState.OK

    running = start(Scripted(report))
    running.leases.progress = silence  # type: ignore[method-assign]

    await becomes(queue, await submit(queue), JobState.COMPLETED, timeout_s=3)


@pytest.mark.usefixtures("quick_heart")
@pytest.mark.failure(7)
async def test_cancelling_a_running_job_stops_it_and_nothing_is_handed_in(
    queue: Queue, start: Start
) -> None:
    connector = Scripted()
    running = start(connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")
    running.leases.handed_in.clear()

    await queue.cancel(job_id)

    await eventually(lambda: connector.cancelled == [job_id], "the connector is told to stop")
    connector.go.set()
    await becomes(queue, await submit(queue), JobState.COMPLETED)
    assert (await queue.get(job_id)).state is JobState.CANCELLED
    assert sum(running.leases.handed_in) == 1, "only the other job's outcome"
    assert connector.probes == 1, "the service is not to blame"


async def test_progress_without_a_lease_stops_the_job_at_once(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, start: Start
) -> None:
    """The heart would need until its next beat; and cleaning up is not cut short by it."""
    cleaned: list[str] = []
    connector = Scripted()

    async def report_when_told(context: Context) -> None:
        await connector.go.wait()
        try:
            await context.progress(0.5)
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.8)  # two beats of the quick heart
            cleaned.append(context.job_id)
            raise

    monkeypatch.setattr("muster.worker.heart.HEARTBEAT_S", 0.3)
    connector.do = report_when_told
    running = start(connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")
    await queue.cancel(job_id)

    connector.go.set()

    await eventually(lambda: cleaned == [job_id], "the connector cleans up, to the end")
    await eventually(lambda: not running.worker.running, "the attempt is over")
    assert (await queue.get(job_id)).progress is None
    assert (await queue.get(job_id)).state is JobState.CANCELLED


@pytest.mark.usefixtures("quick_heart")
async def test_a_cancelled_jobs_connector_is_told_once(queue: Queue, start: Start) -> None:
    """Each beat finds the lease gone again, for as long as the connector cleans up."""
    cleaned: list[str] = []

    async def clean_up(context: Context) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.8)
            cleaned.append(context.job_id)
            raise

    connector = Scripted(clean_up)
    running = start(connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")

    await queue.cancel(job_id)

    await eventually(lambda: cleaned == [job_id], "the connector cleans up, to the end")
    await eventually(lambda: not running.worker.running, "the attempt is over")


@pytest.mark.failure(8)
async def test_an_outcome_without_a_lease_changes_nothing(queue: Queue, start: Start) -> None:
    connector = Scripted()
    start(connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")

    await queue.cancel(job_id)
    connector.go.set()
    await becomes(queue, await submit(queue), JobState.COMPLETED)

    job = await queue.get(job_id)
    assert (job.state, job.result) == (JobState.CANCELLED, None)


@pytest.mark.usefixtures("quick_heart")
async def test_what_a_connector_returns_after_its_job_was_cancelled_is_not_handed_in(
    queue: Queue, start: Start
) -> None:
    async def end_all_the_same(_context: Context) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return "done"

    connector = Scripted(end_all_the_same)
    running = start(connector)
    job_id = await submit(queue)
    await eventually(lambda: connector.started, "the job runs")
    exchanges = running.leases.calls["exchange"]

    await queue.cancel(job_id)

    await eventually(lambda: running.leases.calls["exchange"] > exchanges, "it asks for more")
    assert sum(running.leases.handed_in) == 0
