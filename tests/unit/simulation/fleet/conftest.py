"""Simulated fleets on the tier's Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from muster.fleet.registry import Registry
from muster.jobs.queue import Queue
from muster.settings import RedisSettings
from muster.simulation.fleet import Options
from muster.simulation.fleet.simulation import prepared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from muster.simulation.fleet import Report, Simulation

    Simulate = Callable[..., Awaitable[Report]]


@pytest.fixture
def settings(redis_url: str, queue_name: str) -> RedisSettings:
    return RedisSettings.load(redis_url=redis_url, queue=queue_name)


@pytest.fixture
def queue(redis: Redis, queue_name: str) -> Queue:
    return Queue(redis, queue_name)


@pytest.fixture
def registry(redis: Redis, queue_name: str) -> Registry:
    return Registry(redis, queue_name)


@pytest.fixture
def simulate(settings: RedisSettings) -> Simulate:
    """Run a small simulation; ``during`` is called again and again, and may set ``stopped``."""

    async def simulate(
        during: Callable[[Simulation, asyncio.Event], None] = lambda *_: None, **options: Any
    ) -> Report:
        small = {"machines": 2, "workers": 2, "jobs": 6, "duration_s": 0.05} | options
        stopped = asyncio.Event()
        async with prepared(Options(**small), settings) as simulation:
            return await simulation.run(stopped, lambda running: during(running, stopped))

    return simulate
