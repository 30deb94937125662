"""Suites of tests that run under the plugin, and a Redis that may be whatever it says it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from muster.fleet import nameplate
from muster.jobs.connection import connect
from muster.settings import RedisSettings
from support.suite import ENVS, Suite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.redis import OwnRedis

    Provision = Callable[..., str]

TEST = """
name = "{name}"
about = "A test environment."
acts = ["read", "write", "destructive"]
redis = {{ from = "embedded" }}
server = {{ from = "processes" }}
machines = {{ from = "processes", count = 1, gpus = 2 }}
[canary]
service = "comfyui"
payload = "canary.json"
every_s = 60
completes_s = 30
keep_s = 60
"""


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """A suite that knows the environments `local` and `staging` (ours), and production as it is."""
    made = Suite(tmp_path)
    for name in ("local", "staging"):
        made.environment(name, TEST.format(name=name))
    made.environment("production", (ENVS / "production.toml").read_text())
    return made


@pytest.fixture
def provision(own_redis: Callable[..., OwnRedis]) -> Provision:
    """Start a Redis with that nameplate, or none, and return its address."""

    def start(environment: str | None = None, permits: str | None = None) -> str:
        url = own_redis(appendonly=False).url
        if environment is not None:
            on_redis(url, lambda redis: nameplate.write(redis, environment))
        if permits is not None:
            on_redis(url, lambda redis: nameplate.permit(redis, permits, seconds=60))
        return url

    return start


def on_redis(url: str, work: Callable[[Any], Any]) -> Any:
    """Do something with a Redis."""

    async def run() -> Any:
        async with connect(RedisSettings.load(redis_url=url)) as redis:
            return await work(redis)

    return asyncio.run(run())
