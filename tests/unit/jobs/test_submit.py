from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from muster.errors import Conflict, InvalidInput
from muster.jobs.limits import Limits
from muster.jobs.model import JobState, Requirements
from muster.jobs.queue import Queue
from support.jobs import a_request, a_worker, contents, take, take_one

if TYPE_CHECKING:
    from redis.asyncio import Redis

pytestmark = pytest.mark.anyio


async def test_a_submitted_job_is_kept_as_it_was_asked_for(queue: Queue) -> None:
    request = a_request(
        payload={"text": "größe \x00", "numbers": [1, 2.5, 10**30], "nothing": None},
        requirements={"models": ["sdxl", "flux"], "vram_mib": 24_000, "labels": {"zone": "eu"}},
        priority=0,
        timeout_s=7.5,
        max_failed=1,
        max_lost=2,
    )

    submitted = await queue.submit(request)
    job = await queue.get(submitted.id)

    assert not submitted.duplicate
    assert job.state is JobState.PENDING
    assert (job.service, job.payload) == (request.service, request.payload)
    assert (job.requirements, job.priority) == (request.requirements, 0)
    assert (job.timeout_s, job.max_failed, job.max_lost) == (7.5, 1, 2)
    assert (job.attempt, job.failed_attempts, job.lost_attempts) == (0, 0, 0)
    assert abs(datetime.now(UTC) - job.submitted_at) < timedelta(seconds=10)
    assert (job.worker, job.started_at, job.finished_at, job.result) == (None, None, None, None)


async def test_a_worker_gets_the_request_whole(queue: Queue) -> None:
    request = a_request(payload={"steps": 20}, priority=0, backoff_s=0)
    await queue.submit(request)

    lease = await take_one(await a_worker(queue))

    assert lease.request() == request


async def test_jobs_of_a_bulk_keep_their_order(queue: Queue) -> None:
    needs = [Requirements(), Requirements(vram_mib=8), Requirements(models=frozenset({"flux"}))]
    requests = [a_request(requirements=needs[n % 3]) for n in range(30)]

    submitted = await queue.submit_many(requests)

    worker = await a_worker(queue, models=["flux"], vram_mib=8)
    assert [lease.job_id for lease in await take(worker, 30)] == [job.id for job in submitted]


async def test_an_empty_bulk_is_nothing(queue: Queue) -> None:
    assert await queue.submit_many([]) == []


async def test_ids_that_the_bulk_answers_are_those_of_its_requests(queue: Queue) -> None:
    requests = [a_request(payload={"n": n}, service=f"service-{n % 4}") for n in range(12)]

    submitted = await queue.submit_many(requests)

    payloads = [(await queue.get(job.id)).payload for job in submitted]
    assert payloads == [request.payload for request in requests]


@pytest.mark.failure(21)
async def test_a_key_that_was_seen_is_answered_with_the_job_that_it_made(queue: Queue) -> None:
    first = await queue.submit(a_request(idempotency_key="order-1", payload={"n": 1}))
    await take_one(await a_worker(queue))
    before = await contents(queue, without=["meta"])

    again = await queue.submit(a_request(idempotency_key="order-1", payload={"n": 2}))

    assert (again.id, again.duplicate) == (first.id, True)
    assert await contents(queue, without=["meta"]) == before


@pytest.mark.failure(21)
async def test_a_key_counts_within_a_bulk_too(queue: Queue) -> None:
    keys = ["a", "b", "a", None, None]
    submitted = await queue.submit_many([a_request(idempotency_key=key) for key in keys])

    assert [job.duplicate for job in submitted] == [False, False, True, False, False]
    assert submitted[2].id == submitted[0].id
    assert (await queue.counts())[JobState.PENDING] == 4


async def test_of_equal_keys_in_a_bulk_the_first_makes_the_job(queue: Queue) -> None:
    requests = [
        a_request(service="a"),
        a_request(service="b", idempotency_key="order-1"),
        a_request(service="a", idempotency_key="order-1"),
    ]

    _, first, second = await queue.submit_many(requests)

    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.id == second.id
    assert (await queue.get(first.id)).service == "b"


async def test_a_payload_over_the_limit_is_refused(redis: Redis, queue_name: str) -> None:
    queue = Queue(redis, queue_name, limits=Limits(payload_bytes=1000))

    with pytest.raises(InvalidInput) as refusal:
        await queue.submit(a_request(payload={"text": "x" * 1000}))

    assert refusal.value.field == "payload"
    assert "1000 are allowed" in refusal.value.problem
    assert await contents(queue) == {}


async def test_size_is_counted_in_bytes(redis: Redis, queue_name: str) -> None:
    queue = Queue(redis, queue_name, limits=Limits(payload_bytes=1000))

    with pytest.raises(InvalidInput):
        await queue.submit(a_request(payload={"text": "ü" * 600}))


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), "\ud800", b"\xff", object()],
    ids=["nan", "infinity", "minus infinity", "half a character", "bytes", "object"],
)
async def test_a_payload_that_is_not_json_is_refused(queue: Queue, value: Any) -> None:
    with pytest.raises(InvalidInput) as refusal:
        await queue.submit(a_request(payload={"value": value}))

    assert refusal.value.field == "payload"
    assert (await queue.counts())[JobState.PENDING] == 0


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[[[[" * 100])
async def test_text_that_looks_like_a_bad_number_or_deep_nesting_is_taken(
    queue: Queue, text: str
) -> None:
    submitted = await queue.submit(a_request(payload={"text": text}))

    assert (await queue.get(submitted.id)).payload == {"text": text}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [1, 100, 198])
async def test_what_is_nested_is_read_again(queue: Queue, depth: int) -> None:
    submitted = await queue.submit(a_request(payload={"value": nested(depth)}))

    assert (await queue.get(submitted.id)).payload == {"value": nested(depth)}


@pytest.mark.parametrize("depth", [200, 201, 254, 300, 5000])
async def test_what_is_nested_too_deep_to_be_read_again_is_refused(
    queue: Queue, depth: int
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        await queue.submit(a_request(payload={"value": nested(depth)}))

    assert refusal.value.field == "payload"


async def test_too_many_jobs_for_one_call_are_refused(redis: Redis, queue_name: str) -> None:
    queue = Queue(redis, queue_name, limits=Limits(bulk=3))

    with pytest.raises(InvalidInput, match=r"^jobs: 4 are too many .* at most 3"):
        await queue.submit_many([a_request()] * 4)

    assert await contents(queue) == {}


async def test_one_bad_request_refuses_the_whole_bulk(redis: Redis, queue_name: str) -> None:
    queue = Queue(redis, queue_name, limits=Limits(payload_bytes=1000))

    with pytest.raises(InvalidInput):
        await queue.submit_many([a_request(), a_request(payload={"text": "x" * 1000})])

    assert await contents(queue) == {}


async def test_a_bulk_with_one_class_too_many_stores_nothing(redis: Redis, queue_name: str) -> None:
    queue = Queue(redis, queue_name, limits=Limits(classes=2))
    await queue.submit(a_request(service="a"))
    before = await contents(queue)

    with pytest.raises(Conflict, match="Too many different requirements"):
        await queue.submit_many([a_request(service=name) for name in "abc"])

    assert await contents(queue) == before
