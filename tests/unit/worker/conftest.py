"""Workers in this process, on the tier's Redis."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from muster.artifacts import ArtifactStore
from muster.fleet.registry import Registry
from muster.jobs.connection import connect
from muster.jobs.queue import Queue
from muster.jobs.recovery import Recovery
from muster.settings import RedisSettings
from muster.worker import heart
from muster.worker.loop import Worker
from muster.worker.settings import WorkerSettings
from support.workers import Running, Scripted, WatchedLeases

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from redis.asyncio import Redis

    from support.redis import OwnRedis
    from support.workers import Start


@pytest.fixture
def load(
    monkeypatch: pytest.MonkeyPatch, queue_name: str, redis_url: str
) -> Callable[..., WorkerSettings]:
    """Load settings from exactly these environment variables, and what every worker needs."""
    for field in WorkerSettings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)

    def load(env_file: Path | None = None, **environment: str | None) -> WorkerSettings:
        given = {
            "MACHINE_ID": "gpu-host-1",
            "WORKER_INDEX": "0",
            "MACHINE_INCARNATION": "first",
            "ARTIFACTS_URL": "memory://",
            "MUSTER_QUEUE": queue_name,
            "REDIS_URL": redis_url,
        } | environment
        for name, value in given.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)
        return WorkerSettings.load(env_file=env_file)

    return load


@pytest.fixture
def queue(redis: Redis, queue_name: str) -> Queue:
    return Queue(redis, queue_name)


@pytest.fixture
def registry(redis: Redis, queue_name: str) -> Registry:
    return Registry(redis, queue_name)


@pytest.fixture
def prepare(
    load: Callable[..., WorkerSettings], queue: Queue, registry: Registry
) -> Callable[..., Running]:
    """Return what makes a worker and sets it to work; the test ends it."""

    def prepare(
        connector: Any = None,
        *,
        queue: Queue = queue,
        registry: Registry = registry,
        **environment: str,
    ) -> Running:
        settings = load(**environment)
        connector = connector or Scripted()
        offer = settings.capabilities(connector.service)
        leases = WatchedLeases(queue, settings.worker_id, offer)
        artifacts = ArtifactStore(settings.artifacts_url)
        return Running(Worker(settings, connector, leases, registry, artifacts), connector, leases)

    return prepare


@pytest.fixture
async def start(prepare: Callable[..., Running]) -> AsyncIterator[Start]:
    """Start workers; at the end they are drained, and must not have died before."""
    started: list[Running] = []

    def start(connector: Any = None, **options: Any) -> Running:
        started.append(prepare(connector, **options))
        return started[-1]

    yield start
    for running in started:
        await running.drained()


@pytest.fixture
async def prepare_on(prepare: Start) -> AsyncIterator[Callable[..., tuple[Queue, Running]]]:
    """Make workers as ``prepare`` does, on a Redis of the test's own; return its queue too."""
    async with AsyncExitStack() as clients:

        def prepare_on(
            server: OwnRedis, connector: Any = None, **environment: str
        ) -> tuple[Queue, Running]:
            client = connect(RedisSettings.load(redis_url=server.url))
            clients.push_async_callback(client.aclose)
            queue = Queue(client, "own")
            return queue, prepare(
                connector, queue=queue, registry=Registry(client, "own"), **environment
            )

        yield prepare_on


@pytest.fixture
async def recovery(queue: Queue) -> AsyncIterator[None]:
    """What every server runs: it brings failed attempts back, and ends expired leases."""
    task = asyncio.create_task(Recovery(queue).run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def quick_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat every 0.3 s, so that a test need not wait for two."""
    monkeypatch.setattr(heart, "HEARTBEAT_S", 0.3)
