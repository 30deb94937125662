"""All keys of a queue begin with its root: so they lie in one slot of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import NoPermissionError

from muster.jobs.connection import connect
from muster.jobs.queue import root_key
from muster.settings import RedisSettings
from support.queue_life import live

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from support.redis import OwnRedis

pytestmark = pytest.mark.anyio


async def test_a_user_who_may_touch_nothing_but_the_queue_s_keys_can_do_everything(
    own_redis: Callable[..., OwnRedis],
) -> None:
    server = own_redis(appendonly=False)
    root = root_key("fleet")
    async with connect(RedisSettings.load(redis_url=server.url)) as admin:
        await admin.execute_command(
            "ACL",
            "SETUSER",
            "muster",
            "on",
            ">word",
            "resetkeys",
            f"~{root}",
            f"~{root}:*",
            "+@all",
        )
    url = f"unix://muster:word@{server.unix_socket}"
    async with connect(RedisSettings.load(redis_url=url)) as redis:
        with pytest.raises(NoPermissionError):
            await redis.get("muster:{other}:meta")

        await live(redis, "fleet")


async def test_the_scripts_are_sent_again_to_a_redis_that_forgot_them(
    redis: Redis, queue_name: str
) -> None:
    await redis.script_flush()

    await live(redis, queue_name)
