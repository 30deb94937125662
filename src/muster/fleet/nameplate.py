"""The nameplate: what a Redis says of itself, so that nobody takes one environment for another.

It is written once, when the environment is provisioned, by its operator. The users of Redis that
servers and machines have may read it and not write it (``envs/redis/users``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from muster.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from redis.asyncio import Redis

KEY = "muster:nameplate"
PERMIT_KEY = "muster:nameplate:permit"
LONGEST_PERMIT_S = 24 * 3600

EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class Nameplate(BaseModel):
    """The environment that a Redis belongs to, and since when it says so.

    ``permits`` is an act that its operator allows for a while, beyond what tests may do in an
    environment of that name.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    environment: EnvironmentName
    written_at: datetime
    permits: str | None = None


async def read(redis: Redis) -> Nameplate:
    """Return the nameplate. Raises ``NotFound`` if there is none."""
    held, permit = await redis.get(KEY), await redis.get(PERMIT_KEY)
    if held is None:
        raise NotFound(
            "This Redis has no nameplate: it does not say which environment it belongs to. Its "
            "operator writes one with `muster nameplate write NAME`."
        )
    try:
        plate = Nameplate.model_validate_json(held)
    except ValidationError:
        raise InvalidInput(
            KEY,
            "is not a nameplate",
            "Write it anew with `muster nameplate write NAME --replace`.",
        ) from None
    return plate.model_copy(
        update={"permits": (permit.decode() if isinstance(permit, bytes) else permit)}
    )


async def write(redis: Redis, environment: str, *, replace: bool = False) -> Nameplate:
    """Write the nameplate, which takes back any permit.

    Raises ``Conflict`` if there is another one, unless it may be replaced.
    """
    try:
        plate = Nameplate(environment=environment, written_at=datetime.now(UTC))
    except ValidationError:
        raise InvalidInput(
            "environment",
            "cannot name an environment",
            "Use 1 to 32 lower-case letters, digits and dashes, a letter first.",
            value=environment,
        ) from None
    text = plate.model_dump_json(exclude={"permits"})
    if not await redis.set(KEY, text, nx=not replace):
        held = await read(redis)
        if held.environment != environment:
            raise Conflict(
                f"This Redis says that it belongs to {held.environment!r}. If it is to belong to "
                f"{environment!r} from now on, replace its nameplate (--replace)."
            )
    await redis.delete(PERMIT_KEY)
    return await read(redis)


async def permit(redis: Redis, act: str, *, seconds: int) -> Nameplate:
    """Allow an act for some seconds, after which Redis itself takes the permit back."""
    if not 1 <= seconds <= LONGEST_PERMIT_S:
        raise InvalidInput(
            "seconds", f"is not from 1 to {LONGEST_PERMIT_S}", "A permit is short.", value=seconds
        )
    await read(redis)
    await redis.set(PERMIT_KEY, act, ex=seconds)
    return await read(redis)
