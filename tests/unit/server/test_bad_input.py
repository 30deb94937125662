"""Nothing unchecked enters: each bad request is answered with what to do, and leaves no trace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    from redis.asyncio import Redis

pytestmark = pytest.mark.anyio

JOB: dict[str, Any] = {"service": "simulation", "payload": {}}
JSON = {"Content-Type": "application/json"}


async def stored(redis: Redis, queue_name: str) -> dict[bytes, bytes | None]:
    """Return the queue's keys with their content, but for what its upkeep writes."""
    keys = [key async for key in redis.scan_iter(match=f"muster:{{{queue_name}}}:*")]
    return {key: await redis.dump(key) for key in keys if not key.endswith(b":meta")}


BAD_JOBS = {
    "no service": ({"payload": {}}, "service"),
    "no payload": ({"service": "simulation"}, "payload"),
    "payload is a list": (JOB | {"payload": []}, "payload"),
    "unknown service": (JOB | {"service": "nope"}, "service"),
    "service with a space": (JOB | {"service": "a b"}, "service"),
    "service is a number": (JOB | {"service": 4}, "service"),
    "priority below": (JOB | {"priority": -1}, "priority"),
    "priority above": (JOB | {"priority": 101}, "priority"),
    "priority is a word": (JOB | {"priority": "high"}, "priority"),
    "no attempts": (JOB | {"max_failed": 0}, "max_failed"),
    "endless": (JOB | {"timeout_s": 0}, "timeout_s"),
    "not a time": (JOB | {"not_before": "tomorrow"}, "not_before"),
    "a time of nowhere": (JOB | {"not_before": "2030-01-31T18:00:00"}, "not_before"),
    "negative VRAM": (JOB | {"requirements": {"vram_mib": -1}}, "requirements.vram_mib"),
    "misspelt": (JOB | {"priorty": 5}, "priorty"),
    "misspelt requirement": (JOB | {"requirements": {"vram": 1}}, "requirements.vram"),
    "empty key": (JOB | {"idempotency_key": ""}, "idempotency_key"),
    "long key": (JOB | {"idempotency_key": "k" * 129}, "idempotency_key"),
    "large payload": (JOB | {"payload": {"text": "x" * 5000}}, "payload"),
}


@pytest.mark.parametrize(("job", "field"), BAD_JOBS.values(), ids=BAD_JOBS)
@pytest.mark.parametrize("bulk", [False, True], ids=["single", "bulk"])
async def test_a_bad_job_is_refused_by_field_and_nothing_is_stored(
    http: httpx.AsyncClient,
    redis: Redis,
    queue_name: str,
    job: dict[str, Any],
    field: str,
    bulk: bool,
) -> None:
    before = await stored(redis, queue_name)

    if bulk:
        answer = await http.post("/v1/jobs/bulk", json=[JOB, job, JOB])
    else:
        answer = await http.post("/v1/jobs", json=job)

    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:muster:problem:invalid-input"
    [error] = problem["errors"]
    assert error["field"] in {field, f"[1].{field}"}
    assert error["remedy"]
    assert error["field"] in problem["detail"]
    assert len(answer.content) < 1500
    assert await stored(redis, queue_name) == before


BAD_BODIES = {
    "empty": (b"", "body"),
    "not JSON": (b"{service: simulation}", "body"),
    "cut off": (b'{"service": "simulation", "payl', "body"),
    "not UTF-8": (b'{"service": "\xff"}', "body"),
    "NaN": (b'{"service": "simulation", "payload": {"a": NaN}}', "body"),
    "infinite": (b'{"service": "simulation", "payload": {"a": 1e999}}', "body"),
    "half a character": (b'{"service": "simulation", "payload": {"a": "\\ud800"}}', "body"),
    "too deep": (b"[" * 10_000, "body"),
    "huge number": (b'{"service": "simulation", "payload": {"a": ' + b"9" * 9999 + b"}}", "body"),
    "too large": (b'"' + b"x" * 70_000 + b'"', "body"),
    "a number": (b"5", "body"),
    "a list": (b"[]", "body"),
}


@pytest.mark.parametrize(("body", "field"), BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_body_that_is_no_job_is_refused(
    http: httpx.AsyncClient, redis: Redis, queue_name: str, body: bytes, field: str
) -> None:
    before = await stored(redis, queue_name)

    answer = await http.post("/v1/jobs", content=body, headers=JSON)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert await stored(redis, queue_name) == before


async def test_a_body_is_read_no_further_than_the_limit(http: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 8192
            yield b" " * 8192

    answer = await http.post("/v1/jobs", content=endless(), headers=JSON)

    assert answer.status_code == 422
    assert "too large" in answer.json()["detail"]
    assert sent < 200_000


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_only_json_is_read(http: httpx.AsyncClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}

    answer = await http.post("/v1/jobs", content=json.dumps(JOB), headers=headers)

    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"]


async def test_bulk_takes_neither_none_nor_more_than_the_limit(http: httpx.AsyncClient) -> None:
    none = await http.post("/v1/jobs/bulk", json=[])
    many = await http.post("/v1/jobs/bulk", json=[JOB] * 1001)

    assert (none.status_code, many.status_code) == (422, 422)
    assert "1000" in many.json()["detail"]


async def test_every_bad_value_is_named_at_once(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/jobs", json=JOB | {"priority": 200, "max_lost": 0})

    assert {error["field"] for error in answer.json()["errors"]} == {"priority", "max_lost"}
    assert (
        "priority: 200 is refused. It should be less than or equal to 100."
        in answer.json()["detail"]
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=lost", "state"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=two", "limit"),
        ("state=pending&cursor=nonsense", "cursor"),
        ("state=completed&cursor=nonsense", "cursor"),
    ],
)
async def test_a_bad_query_is_refused(http: httpx.AsyncClient, query: str, field: str) -> None:
    answer = await http.get(f"/v1/jobs?{query}")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/jobs/", 404),
        ("DELETE", "/v1/jobs", 405),
        ("GET", "/v1/queue/pause", 405),
    ],
)
async def test_what_there_is_not_is_told_as_a_problem(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await http.request(method, path)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status
