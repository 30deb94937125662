"""A hub on the tier's Redis, and viewers of it without HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from muster.fleet.registry import Registry
from muster.jobs.connection import connect
from muster.jobs.queue import Queue
from muster.server.monitor.frames import Plain
from muster.server.monitor.hub import Hub
from muster.server.monitor.metrics import Metrics
from muster.server.monitor.source import Source
from muster.settings import RedisSettings
from muster.tasks import end
from support.screen import Screen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis

    from muster.server.monitor.audience import Resume
    from muster.server.monitor.viewer import Viewer
    from muster.server.monitor.views import View


@pytest.fixture
def registry(redis: Redis, queue_name: str) -> Registry:
    return Registry(redis, queue_name)


@pytest.fixture
def queue(redis: Redis, queue_name: str) -> Queue:
    return Queue(redis, queue_name)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def hub(redis_url: str, queue_name: str, metrics: Metrics) -> AsyncIterator[Hub]:
    """A hub that runs, and has read the fleet as it is when the test first waits."""
    async with connect(RedisSettings.load(redis_url=redis_url)) as own:
        hub = Hub(Source(own, queue_name), metrics)
        running = asyncio.create_task(hub.run())
        await hub.state.ready.wait()
        try:
            yield hub
        finally:
            await end(running)


@pytest.fixture
async def showing() -> AsyncIterator[Callable[[Viewer], Screen]]:
    """Show on a screen what a viewer is sent."""
    pumps: list[asyncio.Task[None]] = []

    def start(viewer: Viewer) -> Screen:
        screen = Screen()

        async def send(content: bytes, more: bool) -> None:
            screen.feed(content)
            screen.ended = not more

        pumps.append(asyncio.create_task(viewer.pump(send)))
        return screen

    yield start
    await end(*pumps)


@pytest.fixture
def watch(hub: Hub, showing: Callable[[Viewer], Screen]) -> Callable[..., Screen]:
    """Look at a view; what the viewer is sent is shown on the screen."""

    def start(view: View, resume: Resume | None = None) -> Screen:
        return showing(hub.audience.join(view, Plain(), resume))

    return start
