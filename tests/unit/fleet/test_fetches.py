"""Places among the machines that fetch a model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from muster.fleet.fetches import Fetches
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    At = Callable[[str], Fetches]

pytestmark = pytest.mark.anyio


@pytest.fixture
def at(redis: Redis, queue_name: str) -> At:
    """The places of a machine."""
    return lambda machine: Fetches(redis, queue_name, machine)


async def test_no_more_machines_than_allowed_fetch_one_model(at: At) -> None:
    taken = await asyncio.gather(*(at(f"m{n}").take(["base"], at_most=3) for n in range(10)))

    assert sum(taken) == 3
    assert await at("other").take(["lora"], at_most=3)


async def test_a_place_that_is_left_is_free(at: At) -> None:
    assert await at("a").take(["base"], at_most=1)
    assert not await at("b").take(["base"], at_most=1)

    await at("a").leave(["base"])

    assert await at("b").take(["base"], at_most=1)


async def test_who_has_a_place_may_take_it_again(at: At) -> None:
    assert await at("a").take(["base"], at_most=1)
    assert await at("a").take(["base"], at_most=1)


async def test_several_models_are_taken_all_or_none(at: At) -> None:
    assert await at("a").take(["lora"], at_most=1)

    assert not await at("b").take(["base", "lora"], at_most=1)

    assert await at("c").take(["base"], at_most=1)


async def test_a_machine_that_falls_silent_loses_its_place(at: At) -> None:
    assert await at("a").take(["base"], at_most=1)
    assert await at("a").keep(["base"], for_s=0.05)

    await eventually(lambda: at("b").take(["base"], at_most=1), "its place is free")

    assert not await at("a").keep(["base"])
    assert not await at("c").take(["base"], at_most=1)
