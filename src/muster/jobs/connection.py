"""Connections to Redis, and the check that it is fit to hold jobs."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from muster.errors import RedisUnavailable

if TYPE_CHECKING:
    from muster.settings import RedisSettings

CONNECT_TIMEOUT_S = 2
ANSWER_TIMEOUT_S = 5
CONNECTIONS_AT_MOST = 4096


class _Cancellable(AbstractConnection):
    """Sends with a time-out that lets every cancellation through.

    redis-py sends within ``asyncio.wait_for``, which before Python 3.12 swallows a cancellation
    that comes as it ends (https://github.com/python/cpython/issues/81839), and makes a task for
    every command: a third of what a small command costs.
    """

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        """Send, within the time that an answer may take."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        limit, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit):
                await super().send_packed_command(*args, **options)
        except TimeoutError:
            raise RedisTimeoutError("Timeout writing to socket") from None
        finally:
            self.socket_timeout = limit


def connect(settings: RedisSettings) -> Redis:
    """Return a client; it connects when it is first used.

    It never repeats a command by itself: a blocking pop that is sent again may swallow a wake-up,
    and who calls knows better what may be repeated. Its time-out lets a half-open connection be
    noticed, and is longer than any wait that Muster asks for.
    """
    url = settings.redis_url.get_secret_value()
    client = Redis.from_url(
        url,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        max_connections=CONNECTIONS_AT_MOST,
    )
    pool = client.connection_pool
    if not url.startswith("unix:"):
        pool.connection_kwargs["socket_connect_timeout"] = CONNECT_TIMEOUT_S
    if sys.version_info < (3, 12):
        bases = (_Cancellable, pool.connection_class)
        pool.connection_class = type("CancellableConnection", bases, {})
    return client


def where(settings: RedisSettings) -> str:
    """Return the address without user and password, for messages."""
    parts = urlsplit(settings.redis_url.get_secret_value())
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


async def check(redis: Redis, settings: RedisSettings) -> None:
    """Raise ``RedisUnavailable`` unless Redis answers, lets us in and never evicts keys."""
    address = where(settings)
    try:
        memory = await redis.info("memory")
    except (RedisError, OSError) as error:
        # A refusal comes as the cause of a failed connection.
        if AuthenticationError in {type(error), type(error.__cause__)}:
            raise RedisUnavailable(
                f"Redis at {address} refuses the user or password. Check those in REDIS_URL."
            ) from None
        raise RedisUnavailable(
            f"Redis at {address} does not answer ({error}). Check REDIS_URL and that it runs."
        ) from None
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise RedisUnavailable(
            f"Redis at {address} may evict keys (maxmemory-policy {policy}), and with them jobs. "
            "Set maxmemory-policy to noeviction."
        )
