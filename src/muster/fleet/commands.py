"""What operators have a machine do: a server leaves commands, the machine fetches them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from muster.errors import Conflict
from muster.jobs.model import new_id

if TYPE_CHECKING:
    from muster.fleet.registry import Registry

KEPT_S = 60
WAITING_AT_MOST = 16

_log = structlog.get_logger()


class Action(StrEnum):
    """What a machine can be told to do."""

    DRAIN = "drain"
    UNDRAIN = "undrain"
    RESTART = "restart"


class Command(BaseModel):
    """One command. ``incarnation`` is the machine that it was meant for: no later one obeys it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = Field(default_factory=new_id)
    machine_id: str
    incarnation: str
    action: Action
    program: str = ""
    by: str = ""


class Commands:
    """The commands of a queue's machines, a short list each. Nobody fetched it: it is gone soon."""

    def __init__(self, registry: Registry) -> None:
        self._redis = registry.redis
        self._root = registry.root

    async def send(self, command: Command) -> None:
        """Leave a command for its machine. Raises ``Conflict`` when too many wait there."""
        key = self._key(command.machine_id)
        if await self._redis.llen(key) >= WAITING_AT_MOST:
            raise Conflict(
                f"{WAITING_AT_MOST} commands wait for machine {command.machine_id!r} already. "
                "It fetches them every 2 s: try again."
            )
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.rpush(key, command.model_dump_json())
            pipeline.expire(key, KEPT_S)
            await pipeline.execute()

    async def take(self, machine_id: str, incarnation: str) -> list[Command]:
        """Fetch the commands that are for this incarnation of a machine, oldest first.

        Those that a newer server has left, and that are not known here, are passed over.
        """
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.lrange(self._key(machine_id), 0, -1)
            pipeline.delete(self._key(machine_id))
            records, _ = await pipeline.execute()
        commands = [command for record in records if (command := _parsed(record))]
        return [command for command in commands if command.incarnation == incarnation]

    def _key(self, machine_id: str) -> str:
        return f"{self._root}:commands:{machine_id}"


def _parsed(record: bytes) -> Command | None:
    try:
        return Command.model_validate_json(record)
    except ValidationError as error:
        _log.warning("command_not_understood", error=str(error))
        return None
