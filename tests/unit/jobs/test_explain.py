from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from muster.errors import NotFound
from muster.jobs.explain import explain
from muster.jobs.model import Capabilities, JobState, Progress
from support.jobs import SERVICE, a_request, a_worker, completed, failed, hand_in, take_one

if TYPE_CHECKING:
    from muster.jobs.queue import Queue

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Seen:
    """A live worker, as the fleet's registry would show it."""

    capabilities: Capabilities


def seen(**capabilities: Any) -> Seen:
    return Seen(Capabilities.model_validate({"service": SERVICE} | capabilities))


async def test_a_job_that_is_not_there(queue: Queue) -> None:
    with pytest.raises(NotFound):
        await explain(queue, "nonesuch", [])


async def test_a_paused_queue(queue: Queue) -> None:
    job = await queue.submit(a_request())
    await queue.pause()

    told = await explain(queue, job.id, [seen()])

    assert (told.job_id, told.state) == (job.id, JobState.PENDING)
    assert told.summary == "The queue is paused."
    assert "muster resume" in told.reasons[0]


async def test_no_worker_at_all(queue: Queue) -> None:
    job = await queue.submit(a_request())

    assert (await explain(queue, job.id, [])).summary == "No worker is alive."


async def test_which_requirements_no_worker_meets(queue: Queue) -> None:
    needs = {"models": ["flux"], "vram_mib": 24_000, "labels": {"zone": "eu", "tier": "1"}}
    job = await queue.submit(a_request(requirements=needs))
    workers = [
        seen(vram_mib=8_000, models=["sdxl"], labels={"zone": "us"}),
        seen(vram_mib=8_000, models=["flux"], labels={"tier": "1"}),
        seen(service="upscale", vram_mib=48_000, models=["flux"], labels=needs["labels"]),
    ]

    told = await explain(queue, job.id, workers)

    assert told.summary == "None of the 3 live workers can run it."
    assert told.reasons[0] == "2 of 3 lack 24000 MiB of VRAM (it has 8000)"
    assert set(told.reasons[1:]) == {
        "1 of 3 lack model flux",
        "1 of 3 lack label zone=eu (it has us)",
        "1 of 3 lack label zone=eu (it has none)",
        "1 of 3 lack label tier=1 (it has none)",
        f"1 of 3 lack service {SERVICE} (it has upscale)",
    }


async def test_a_job_whose_model_is_on_its_way(queue: Queue) -> None:
    job = await queue.submit(a_request(requirements={"models": ["flux"]}))
    coming = {"flux": "box-1 is fetching model flux: 43%", "other": "box-2 is fetching another"}

    told = await explain(queue, job.id, [seen()], coming)

    assert told.reasons == ["1 of 1 lack model flux", "box-1 is fetching model flux: 43%"]


async def test_how_many_jobs_stand_before_it(queue: Queue) -> None:
    await a_worker(queue, models=["flux"])
    await queue.submit_many([a_request(priority=60)] * 2)
    await queue.submit(a_request(requirements={"models": ["flux"]}))
    await queue.submit(a_request(requirements={"models": ["other"]}, priority=100))
    job = await queue.submit(a_request())
    await queue.submit(a_request())

    told = await explain(queue, job.id, [seen(models=["flux"]), seen(service="upscale")])

    assert told.summary == "1 of 2 live workers can run it; 3 pending jobs go first."
    assert "priority 50" in told.reasons[0]


async def test_a_job_at_the_front(queue: Queue) -> None:
    await a_worker(queue)
    job = await queue.submit(a_request(priority=0))

    told = await explain(queue, job.id, [seen()])

    assert told.summary == "1 of 1 live workers can run it; 0 pending jobs go first."


async def test_a_scheduled_job(queue: Queue) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    job = await queue.submit(a_request(not_before=due))

    told = await explain(queue, job.id, [])

    assert told.summary == f"It runs not before {due:%Y-%m-%d %H:%M:%S} UTC."
    assert told.reasons == []


async def test_a_job_that_waits_after_a_failure(queue: Queue) -> None:
    job = await queue.submit(a_request())
    worker = await a_worker(queue, "worker-7")
    await hand_in(worker, failed(await take_one(worker), "out of memory"))

    told = await explain(queue, job.id, [])

    assert told.state is JobState.SCHEDULED
    assert told.reasons == ["attempt 1 on worker-7 failed: out of memory"]


async def test_a_running_job(queue: Queue) -> None:
    job = await queue.submit(a_request())
    worker = await a_worker(queue, "worker-7")
    lease = await take_one(worker)

    told = await explain(queue, job.id, [])
    assert (told.summary, told.reasons) == ("It runs on worker-7, attempt 1.", [])

    await worker.progress(lease, Progress(fraction=0.42, message="step 21"))
    assert (await explain(queue, job.id, [])).reasons == ["42% step 21"]


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
async def test_a_job_that_is_over(queue: Queue, state: str) -> None:
    job = await queue.submit(a_request())
    worker = await a_worker(queue, "worker-7")
    if state == "cancelled":
        await queue.cancel(job.id)
    else:
        lease = await take_one(worker)
        end = completed(lease) if state == "completed" else failed(lease, "bad", retryable=False)
        await hand_in(worker, end)

    told = await explain(queue, job.id, [])

    assert told.summary == f"It is over: {state}."
    expected = ["attempt 1 on worker-7 failed: bad"] if state == "failed" else []
    assert told.reasons == expected
