"""The tests' own Redis: reached over TCP with a password, as in production."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from redis.asyncio import Redis


@pytest.mark.anyio
async def test_redis_is_reached_over_tcp_with_a_password(redis: Redis, redis_url: str) -> None:
    assert redis_url.startswith("redis://:")
    assert await redis.ping()


def test_a_test_is_marked_with_its_tier(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("integration")
