"""What the user `server` of envs/redis/users may do is enough for the server, monitor included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from redis.asyncio import Redis

from muster.fleet.registry import Registry
from muster.jobs.queue import Queue
from support.fleets import register
from support.jobs import a_request
from support.roles import roles_redis
from support.screen import watching
from support.server_process import serving

if TYPE_CHECKING:
    from pathlib import Path

    from support.roles import RolesRedis

pytestmark = pytest.mark.anyio


async def test_the_server_needs_no_more_than_it_is_given(tmp_path: Path) -> None:
    with roles_redis() as redis:
        await _the_monitor_works(redis, tmp_path)


async def _the_monitor_works(redis: RolesRedis, tmp_path: Path) -> None:
    async with Redis.from_url(redis.url("operator")) as operator:
        registry, queue = Registry(operator, "default"), Queue(operator, "default")
        await register(registry, "gpu-1")

        with serving(tmp_path, redis.url("server")) as server:
            headers = {"Authorization": f"Bearer {server.token}"}
            async with httpx.AsyncClient(
                base_url=server.url, headers=headers, trust_env=False, timeout=30
            ) as viewer:
                job = (await queue.submit(a_request())).id
                async with watching(viewer, job=job) as screen:
                    await screen.until(lambda document: document["jobs"][job], "it is shown")
                async with watching(viewer) as screen:
                    await screen.until(lambda document: document["order"] == ["gpu-1"], "too")
                assert (await viewer.post("/v1/machines/gpu-1/drain")).status_code == 202
                story = await viewer.get(f"/v1/jobs/{job}/events")
                assert story.json()["complete"]
