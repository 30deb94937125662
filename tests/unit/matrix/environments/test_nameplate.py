from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.errors import Conflict, InvalidInput, NotFound
from muster.fleet import nameplate
from muster.jobs.connection import connect
from muster.settings import RedisSettings
from support.cli import Muster
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis

    from support.redis import OwnRedis


@pytest.fixture
async def redis(own_redis: Callable[..., OwnRedis], anyio_backend: str) -> AsyncIterator[Redis]:
    """One of the test's own: a Redis has one nameplate."""
    async with connect(RedisSettings.load(redis_url=own_redis(appendonly=False).url)) as client:
        yield client


@pytest.mark.anyio
async def test_says_what_was_written(redis: Redis) -> None:
    with pytest.raises(NotFound, match="has no nameplate"):
        await nameplate.read(redis)

    written = await nameplate.write(redis, "staging")

    assert (await nameplate.read(redis)) == written
    assert written.environment == "staging"


@pytest.mark.anyio
async def test_another_name_is_not_written_over_by_chance(redis: Redis) -> None:
    await nameplate.write(redis, "production")

    with pytest.raises(Conflict, match="belongs to 'production'"):
        await nameplate.write(redis, "staging")
    assert (await nameplate.read(redis)).environment == "production"

    assert (await nameplate.write(redis, "staging", replace=True)).environment == "staging"


@pytest.mark.anyio
async def test_a_permit_ends_by_itself_and_by_writing(redis: Redis) -> None:
    with pytest.raises(NotFound):
        await nameplate.permit(redis, "write", seconds=60)
    await nameplate.write(redis, "staging")

    await nameplate.permit(redis, "write", seconds=1)
    assert (await nameplate.read(redis)).permits == "write"
    await eventually(
        lambda: nameplate.read(redis), "the permit ends", until=lambda plate: plate.permits is None
    )

    await nameplate.permit(redis, "destructive", seconds=60)
    assert (await nameplate.write(redis, "staging")).permits is None


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [0, 24 * 3600 + 1])
async def test_a_permit_is_short(redis: Redis, seconds: int) -> None:
    with pytest.raises(InvalidInput, match="A permit is short"):
        await nameplate.permit(redis, "write", seconds=seconds)


@pytest.mark.anyio
@pytest.mark.parametrize("held", ["staging", '{"environment": "A B"}', "{}"])
async def test_what_is_no_nameplate_is_told(redis: Redis, held: str) -> None:
    await redis.set(nameplate.KEY, held)

    with pytest.raises(InvalidInput, match="is not a nameplate"):
        await nameplate.read(redis)


@pytest.mark.anyio
async def test_a_name_that_cannot_be_is_refused(redis: Redis) -> None:
    with pytest.raises(InvalidInput, match="'Pro duction' cannot name an environment"):
        await nameplate.write(redis, "Pro duction")


def test_commands(own_redis: Callable[..., OwnRedis], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", own_redis(appendonly=False).url)
    muster = Muster()

    assert isinstance(muster("nameplate", "show").error, NotFound)
    assert muster("nameplate", "write", "staging").out.startswith("staging (written 2")
    assert isinstance(muster("nameplate", "write", "other").error, Conflict)
    assert muster("nameplate", "write", "other", "--replace").out.startswith("other (")
    assert "permits write for now" in muster("nameplate", "permit", "write").out
    assert "permits write for now" in muster("nameplate", "show").out
