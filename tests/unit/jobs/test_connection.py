from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from muster.errors import RedisUnavailable
from muster.jobs.connection import check, connect, where
from muster.settings import RedisSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from support.redis import OwnRedis

pytestmark = pytest.mark.anyio


async def test_a_redis_that_never_evicts_is_fit(redis: Redis, redis_url: str) -> None:
    await check(redis, RedisSettings.load(redis_url=redis_url))


async def test_a_redis_that_is_not_there_is_told(redis_url: str) -> None:
    settings = RedisSettings.load(redis_url=f"{redis_url}-nonesuch")
    async with connect(settings) as redis:
        with pytest.raises(RedisUnavailable, match=r"does not answer .* Check REDIS_URL"):
            await check(redis, settings)


@pytest.mark.parametrize("given", ["", ":wrong-word@", "nobody:wrong-word@"])
async def test_a_wrong_password_is_told_and_not_repeated(
    own_redis: Callable[..., OwnRedis], given: str
) -> None:
    server = own_redis(password="right-word", appendonly=False)
    settings = RedisSettings.load(redis_url=f"unix://{given}{server.unix_socket}")
    async with connect(settings) as redis:
        with pytest.raises(RedisUnavailable, match="refuses the user or password") as refusal:
            await check(redis, settings)

    assert "word@" not in str(refusal.value)
    assert "-word" not in str(refusal.value)
    assert refusal.value.__cause__ is None


async def test_a_redis_that_may_evict_jobs_is_refused(own_redis: Callable[..., OwnRedis]) -> None:
    settings = RedisSettings.load(redis_url=own_redis(appendonly=False).url)
    async with connect(settings) as redis:
        await redis.config_set("maxmemory-policy", "allkeys-lru")

        with pytest.raises(RedisUnavailable, match="maxmemory-policy allkeys-lru"):
            await check(redis, settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:6379/2", "redis://host:6379/2"),
        ("rediss://:secret@host", "rediss://host"),
        ("unix://:secret@/run/redis.sock", "unix:///run/redis.sock"),
        ("redis+sentinel://u:secret@a:1,b/muster/3", "redis+sentinel://a:1,b:26379/muster"),
    ],
)
@pytest.mark.failure(26)
def test_an_address_is_shown_without_user_and_password(url: str, shown: str) -> None:
    assert where(RedisSettings.load(redis_url=url)) == shown


def test_tcp_gives_up_connecting_soon() -> None:
    client = connect(RedisSettings.load(redis_url="redis://10.255.255.1"))

    assert client.connection_pool.connection_kwargs["socket_connect_timeout"] == 2


async def test_a_cancellation_is_never_swallowed(redis: Redis) -> None:
    async def talk() -> None:
        while True:
            await redis.ping()

    for steps in range(60):
        talking = asyncio.create_task(talk())
        for _ in range(steps):
            await asyncio.sleep(0)
        talking.cancel()
        await asyncio.wait([talking], timeout=1)
        swallowed = not talking.done()
        while not talking.done():
            talking.cancel()
            await asyncio.wait([talking], timeout=0.001)
        assert not swallowed, f"after {steps} steps"


async def test_a_task_that_was_cancelled_may_still_clean_up(redis: Redis) -> None:
    async def work() -> bool:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return bool(await redis.ping())
        return False

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()

    assert await working
