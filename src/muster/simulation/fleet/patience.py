"""Going on when Redis is away for a while, as workers do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog
from redis.exceptions import RedisError

from muster.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
PAUSE_S = 0.5

log = structlog.get_logger()


async def insist(act: Callable[[], Awaitable[T]]) -> T:
    """Do it until Redis answers and takes it, however long that takes."""
    while True:
        try:
            return await act()
        except (RedisError, OSError, Busy) as error:
            log.warning("simulation_waits_for_redis", error=str(error))
            await asyncio.sleep(PAUSE_S)
