"""How many machines fetch one model at the same time: places that are taken, kept and left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.jobs.queue import root_key
from muster.jobs.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Collection

    from redis.asyncio import Redis

FETCH = Script("muster.fleet", "fetch")

PLACE_S = 15.0
"""For so long a place is kept without a word: a machine that died blocks nobody for longer."""


class Fetches:
    """One machine's places among those that fetch models."""

    def __init__(self, redis: Redis, queue: str, machine_id: str) -> None:
        self._redis = redis
        self._root = root_key(queue)
        self._machine_id = machine_id

    async def take(self, models: Collection[str], *, at_most: int) -> bool:
        """Take a place for each of the models, or none; tell whether there was room.

        At most so many machines of the fleet then fetch any of them.
        """
        return await self._call("take", models, PLACE_S, at_most)

    async def keep(self, models: Collection[str], *, for_s: float = PLACE_S) -> bool:
        """Keep the places for another term; false when they were lost meanwhile."""
        return await self._call("keep", models, for_s)

    async def leave(self, models: Collection[str]) -> None:
        """Leave the places to others."""
        await self._call("leave", models, 0)

    async def _call(
        self, how: str, models: Collection[str], for_s: float, at_most: int = 0
    ) -> bool:
        term = round(for_s * 1000)
        names = sorted(models)
        return bool(
            await FETCH(self._redis, self._root, how, self._machine_id, term, at_most, *names)
        )
