"""Running the server as a process."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

from muster.errors import InvalidInput
from muster.jobs.connection import check, connect
from muster.server.app import create_app
from muster.server.auth import TokensFile

if TYPE_CHECKING:
    from muster.server.settings import ServerSettings

DRAIN_S = 10


def serve(settings: ServerSettings) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are finished first.

    Before it listens it makes sure that it can work: raises ``InvalidInput`` for an unusable
    tokens file or an address that cannot be listened on, ``RedisUnavailable`` for a Redis that is
    unreachable, refuses us or may evict keys.
    """
    TokensFile(settings.tokens_file).entries()
    asyncio.run(_check_redis(settings))
    _end_well_on_signals()
    with _listen(settings) as listening:
        config = uvicorn.Config(
            create_app(settings),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _end_well_on_signals() -> None:
    """Make SIGINT and SIGTERM end the process with 0.

    While uvicorn serves it takes them itself; when it has finished it sends them once more, to
    whom they would have gone without it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))


async def _check_redis(settings: ServerSettings) -> None:
    redis = connect(settings)
    try:
        await check(redis, settings)
    finally:
        await redis.aclose()


def _listen(settings: ServerSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise InvalidInput(
            "MUSTER_HOST and MUSTER_PORT",
            f"cannot be listened on ({error.strerror})",
            "Use an address of this machine and a free port.",
            value=f"{settings.host}:{settings.port}",
        ) from None
