"""Connections to Redis, and the check that it is fit to hold jobs."""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from muster.errors import RedisUnavailable
from muster.settings import Sentinels

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool
    from redis.asyncio.connection import RedisSSLContext

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


class _Trusting(SSLConnection):
    """Has its TLS context in common with all connections of its pool.

    redis-py makes one for each, which reads the system's authorities every time: some 30 ms in
    which the event loop stands still, a minute for the connections of 400 workers.
    """

    common: ClassVar[RedisSSLContext | None] = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        kind = type(self)
        kind.common = self.ssl_context = kind.common or self.ssl_context


def connect(settings: RedisSettings) -> Redis:
    """Return a client; it connects when it is first used.

    It never repeats a command by itself: a blocking pop that is sent again may swallow a wake-up,
    and who calls knows better what may be repeated. Its time-out lets a half-open connection be
    noticed, and is longer than any wait that Muster asks for. Through sentinels each new connection
    goes to the server that is the primary then.
    """
    url = settings.redis_url.get_secret_value()
    options: dict[str, Any] = {
        "socket_timeout": ANSWER_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": CONNECTIONS_AT_MOST,
    }
    if not url.startswith("unix:"):
        options["socket_connect_timeout"] = CONNECT_TIMEOUT_S
    if settings.ca_file and url.startswith("rediss"):
        options["ssl_ca_certs"] = str(settings.ca_file)
    sentinels = Sentinels.of(url)
    client = _through(sentinels, options) if sentinels else Redis.from_url(url, **options)
    if sys.version_info < (3, 12):
        _extend(client.connection_pool, _Cancellable)
    if url.startswith("rediss"):
        _extend(client.connection_pool, _Trusting)
    return client


def _extend(pool: ConnectionPool, kind: type[Any]) -> None:
    """Let a pool's connections be of that kind too; the class is the pool's own."""
    pool.connection_class = type(kind.__name__, (kind, pool.connection_class), {})


class _SentinelPool(SentinelConnectionPool):
    """Connections to the primary, which also closes those to the sentinels."""

    async def aclose(self) -> None:
        """Close them all."""
        await super().aclose()
        await self.sentinel_manager.aclose()


def _through(sentinels: Sentinels, options: dict[str, Any]) -> Redis:
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if sentinels.tls:
        tls["ssl"] = True
    asked = {
        "socket_timeout": CONNECT_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
    manager = Sentinel(  # type: ignore[no-untyped-call]
        sentinels.addresses, sentinel_kwargs={**asked, **tls}
    )
    if sentinels.tls:
        for sentinel in manager.sentinels:
            _extend(sentinel.connection_pool, _Trusting)
    entering = {
        "username": sentinels.username,
        "password": sentinels.password,
        "db": sentinels.db,
    }
    pool = _SentinelPool(  # type: ignore[no-untyped-call]
        sentinels.service, manager, **entering, **{**options, **tls}
    )
    return Redis.from_pool(pool)


def where(settings: RedisSettings) -> str:
    """Return the address without user and password, for messages."""
    url = settings.redis_url.get_secret_value()
    if sentinels := Sentinels.of(url):
        hosts = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
        return f"{url.partition(':')[0]}://{hosts}/{sentinels.service}"
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _distrust(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Return what is wrong with a certificate, if that is behind the error."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


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
        if distrust := _distrust(error):
            raise RedisUnavailable(
                f"Redis at {address} is not trusted ({distrust}). Check its certificate, "
                "the name of its host in REDIS_URL, and MUSTER_CA_FILE."
            ) from None
        if isinstance(error, MasterNotFoundError):
            raise RedisUnavailable(
                f"Redis at {address}: no sentinel that answers knows a primary. Check that they "
                "run, their certificates, and the service's name in REDIS_URL."
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
