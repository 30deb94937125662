"""Looks at what connections really lead to. What variables say is believed of nobody."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError

from muster.client import Client
from muster.errors import InvalidInput, MusterError, NotFound
from muster.fleet import nameplate
from muster.jobs.connection import check, connect, where
from muster.matrix.environments.model import Act, Environment, Source
from muster.matrix.environments.rails import Refused, check_plate
from muster.settings import RedisSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.asyncio import Redis

    from muster.fleet.nameplate import Nameplate

REDIS, SERVER, TOKEN = "REDIS_URL", "MUSTER_URL", "MUSTER_TOKEN"
PATIENCE_S = 5
_NO_SUCH_KEY = "muster:nameplate:nothing"


@dataclass(frozen=True, slots=True)
class Target:
    """A system that a variable points to."""

    variable: str
    where: str
    look: Callable[[], Nameplate | None]


def targets(environment: Environment, variables: Mapping[str, str]) -> list[Target]:
    """Return all systems that tests might reach through a variable.

    Raises ``InvalidInput`` if an external environment's address or token is missing.
    """
    if environment.source is Source.EXTERNAL:
        for name in (SERVER, TOKEN):
            if not variables.get(name):
                raise InvalidInput(
                    name,
                    f"is not set, and {environment.name} is an external environment",
                    "Set MUSTER_URL and MUSTER_TOKEN to its address and to a token for tests.",
                )
    found = []
    if url := variables.get(SERVER):
        token = variables.get(TOKEN) or None
        found.append(Target(SERVER, url, lambda: _of_server(url, token)))
    if redis_url := variables.get(REDIS):
        settings = RedisSettings.load(redis_url=redis_url)
        found.append(Target(REDIS, where(settings), lambda: _of_redis(settings, environment)))
    return found


def check_target(environment: Environment, target: Target) -> Nameplate:
    """Return the target's nameplate. Raises ``Refused`` unless it is of the environment."""
    try:
        plate = target.look()
    except Refused:
        raise
    except MusterError as error:
        raise Refused(
            f"{target.variable} is set, and what it leads to cannot be looked at: {error} Unset "
            "it, or correct it."
        ) from None
    check_plate(environment, plate, f"{target.where} ({target.variable})")
    assert plate is not None  # noqa: S101  (narrows for the type checker)
    return plate


def _of_server(url: str, token: str | None) -> Nameplate | None:
    with Client(url, token, patience_s=PATIENCE_S) as client:
        try:
            return client.nameplate()
        except NotFound:
            return None


def _of_redis(settings: RedisSettings, environment: Environment) -> Nameplate | None:
    async def look() -> Nameplate | None:
        redis = connect(settings)
        try:
            await check(redis, settings)
            if not environment.allows(Act.WRITE):
                await _refuse_a_writer(redis, environment)
            return await nameplate.read(redis)
        except NotFound:
            return None
        finally:
            await redis.aclose()

    return asyncio.run(look())


async def _refuse_a_writer(redis: Redis, environment: Environment) -> None:
    """Raise ``Refused`` if this user of Redis may write; finding out changes nothing."""
    try:
        await redis.unlink(_NO_SUCH_KEY)
    except NoPermissionError:
        return
    raise Refused(
        f"The user in REDIS_URL may write, and in {environment.name} tests may only read. Use the "
        "user `reader` (envs/redis/users), so that Redis itself refuses whatever is no reading."
    )
