"""The server as a process: over TCP, through an outage of Redis, and refusing to start badly."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from muster.server.auth import Role, TokensFile, new_token
from support.redis import free_port
from support.server_process import command, serving
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from support.redis import OwnRedis
    from support.server_process import Server

JOB = {"service": "simulation", "payload": {}}


def test_a_job_is_submitted_by_plain_curl(server: Server) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is not installed"
    config = f'header = "Authorization: Bearer {server.token}"\n'

    answer = subprocess.run(
        [
            *(
                curl,
                "--silent",
                "--noproxy",
                "*",
                "--config",
                "-",
                "--write-out",
                "\\n%{http_code}",
            ),
            *("--header", "Content-Type: application/json"),
            *("--data", '{"service": "simulation", "payload": {}}', f"{server.url}/v1/jobs"),
        ],
        input=config,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert answer.stdout.endswith("\n201")


def test_redis_may_die_and_come_back_under_a_running_server(
    own_redis: Callable[..., OwnRedis], tmp_path: Path
) -> None:
    redis = own_redis(appendfsync="always")
    password = urlsplit(redis.url).password
    assert password
    with serving(tmp_path, redis.url) as server, server.client() as http:
        made = http.post("/v1/jobs", json=JOB).json()

        redis.kill()
        away = http.post("/v1/jobs", json=JOB)
        assert away.status_code == 503
        assert away.json()["type"] == "urn:muster:problem:redis-unavailable"
        assert http.get("/healthz").status_code == 200
        assert http.get("/readyz").status_code == 503

        redis.start()
        eventually_blocking(
            lambda: http.get(f"/v1/jobs/{made['id']}"),
            "the job is there again",
            until=lambda answer: answer.status_code == 200,
        )
        assert http.post("/v1/jobs", json=JOB).status_code == 201
        log = server.log.read_text()
    assert password not in log
    assert server.token not in log


def test_a_redis_that_answers_nothing_is_a_503_as_well(
    own_redis: Callable[..., OwnRedis], tmp_path: Path
) -> None:
    redis = own_redis()
    with serving(tmp_path, redis.url) as server, server.client() as http:
        with redis.frozen():
            assert http.get("/v1/queue").status_code == 503
        eventually_blocking(
            lambda: http.get("/v1/queue").status_code, "it answers", until=lambda s: s == 200
        )


def test_no_header_of_the_server_tells_what_it_runs_on(http: httpx.Client) -> None:
    assert "server" not in http.get("/healthz").headers


def wrong_password(url: str) -> str:
    return url.replace(f":{urlsplit(url).password}@", ":wr0ng-s3cret@")


def unreachable(_: str) -> str:
    return f"redis://:wr0ng-s3cret@127.0.0.1:{free_port()}/0"


@pytest.mark.parametrize("bad", [wrong_password, unreachable])
@pytest.mark.failure(26)
def test_an_unusable_redis_ends_the_start_with_2_and_no_password(
    bad: Callable[[str], str], redis_url: str, tmp_path: Path
) -> None:
    tokens = TokensFile(tmp_path / "tokens.toml")
    tokens.add(new_token("tests", Role.VIEW)[1])

    ended = start(REDIS_URL=bad(redis_url), MUSTER_TOKENS_FILE=str(tokens.path))

    assert ended.returncode == 2
    assert "REDIS_URL" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "s3cret" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MUSTER_TOKENS_FILE", "/nowhere/tokens.toml"),
        ("MUSTER_PORT", "0"),
        ("MUSTER_PORT", "many"),
        ("MUSTER_HOST", "192.0.2.1"),
        ("MUSTER_BODY_BYTES", "-1"),
        ("MUSTER_WAIT_REPLICAS", "x"),
        ("REDIS_URL", "http://127.0.0.1"),
    ],
)
def test_bad_settings_are_named_and_end_with_2(
    name: str, value: str, redis_url: str, tmp_path: Path
) -> None:
    tokens = TokensFile(tmp_path / "tokens.toml")
    tokens.add(new_token("tests", Role.VIEW)[1])
    good = {
        "REDIS_URL": redis_url,
        "MUSTER_TOKENS_FILE": str(tokens.path),
        "MUSTER_PORT": str(free_port()),
    }

    ended = start(**good | {name: value})

    assert ended.returncode == 2
    assert name in ended.stderr
    assert "Traceback" not in ended.stderr


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    argv, variables = command(**environment)
    return subprocess.run(
        argv, env=variables, capture_output=True, text=True, check=False, timeout=60
    )
