"""When the server cannot work it says so, without secrets and without internals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from structlog.testing import capture_logs

from muster.errors import Busy
from muster.server.app import create_app
from muster.server.auth import Role
from muster.server.settings import ServerSettings
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from muster.server.auth import TokensFile
    from support.redis import OwnRedis

pytestmark = pytest.mark.anyio

JOB = {"service": "simulation", "payload": {}}


async def test_without_redis_it_answers_503_and_works_again_when_redis_is_back(
    own_redis: Callable[..., OwnRedis], tokens: dict[Role, str], tokens_file: TokensFile
) -> None:
    redis = own_redis(password="s3cret")
    settings = ServerSettings.load(redis_url=redis.url, tokens_file=tokens_file.path)
    app = create_app(settings)
    headers = {"Authorization": f"Bearer {tokens[Role.OPERATE]}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://muster", headers=headers
        ) as http,
    ):
        assert (await http.post("/v1/jobs", json=JOB)).status_code == 201

        redis.kill()
        answers = [
            await http.post("/v1/jobs", json=JOB),
            await http.get("/v1/queue"),
            await http.get("/readyz"),
        ]
        for answer in answers:
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:muster:problem:redis-unavailable"
            assert int(answer.headers["Retry-After"]) >= 1
            assert "s3cret" not in answer.text
        assert (await http.get("/healthz")).status_code == 200

        redis.start()
        await eventually(
            lambda: http.get("/readyz"), "ready again", until=lambda a: a.status_code == 200
        )
        assert (await http.post("/v1/jobs", json=JOB)).status_code == 201


async def test_a_redis_that_may_evict_jobs_is_not_ready(
    own_redis: Callable[..., OwnRedis], tokens_file: TokensFile, tokens: dict[Role, str]
) -> None:
    redis = own_redis()
    settings = ServerSettings.load(redis_url=redis.url, tokens_file=tokens_file.path)
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://muster") as http,
    ):
        await app.state.redis.config_set("maxmemory-policy", "allkeys-lru")

        assert (await http.get("/readyz")).status_code == 503


async def test_a_busy_queue_says_when_to_come_back(
    http: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: object) -> None:
        raise Busy("Redis is nearly full.", retry_after=4.2)

    monkeypatch.setattr(app.state.queue, "submit", full)

    answer = await http.post("/v1/jobs", json=JOB)

    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "5"


async def test_an_unforeseen_error_tells_nothing_of_the_inside(
    app: FastAPI, tokens: dict[Role, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise RuntimeError("the password is s3cret")

    monkeypatch.setattr(app.state.queue, "counts", broken)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://muster") as http:
        answer = await http.get(
            "/v1/queue", headers={"Authorization": f"Bearer {tokens[Role.VIEW]}"}
        )

    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "s3cret" not in answer.text


async def test_the_access_log_names_the_caller_and_holds_no_token(
    http: httpx.AsyncClient, tokens: dict[Role, str]
) -> None:
    with capture_logs() as logs:
        await http.get("/v1/queue", params={"token": "in-the-url"})

    [entry] = [entry for entry in logs if entry["event"] == "request"]
    assert (entry["caller"], entry["path"], entry["status"]) == ("operate-token", "/v1/queue", 200)
    assert tokens[Role.OPERATE] not in str(logs)
    assert "in-the-url" not in str(logs)


async def test_the_documented_errors_are_problems(anonymous: httpx.AsyncClient) -> None:
    schema = (await anonymous.get("/openapi.json")).json()

    assert schema["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert "Problem" in schema["components"]["schemas"]
    assert "HTTPValidationError" not in str(schema)
