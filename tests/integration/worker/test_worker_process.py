"""Real worker processes on a real Redis, and what happens when either is killed."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from muster.fleet.model import WorkerState
from muster.fleet.registry import Registry
from muster.jobs.connection import connect
from muster.jobs.events import read_events
from muster.jobs.model import JobState
from muster.jobs.queue import Queue
from muster.jobs.recovery import Recovery
from muster.machine.envfile import render
from muster.settings import RedisSettings
from support.distribution import install_shouting
from support.waiting import eventually
from support.workers import becomes, submit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from redis.asyncio import Redis

    from support.redis import OwnRedis

    Spawn = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.anyio

WORKER = ("-m", "muster.cli", "worker", "--env-file")
PARENT = f"""\
import subprocess, sys
subprocess.run([sys.executable, *{WORKER!r}, sys.argv[1]])
"""


@pytest.fixture
def env_file(tmp_path: Path, redis_url: str, queue_name: str) -> Callable[..., Path]:
    """Write what a worker reads; options are variables."""

    def env_file(**variables: str) -> Path:
        given = {
            "MACHINE_ID": "gpu-host-1",
            "WORKER_INDEX": "0",
            "MACHINE_INCARNATION": "first",
            "CONNECTOR": "simulation",
            "ARTIFACTS_URL": (tmp_path / "artifacts").as_uri(),
            "REDIS_URL": redis_url,
            "MUSTER_QUEUE": queue_name,
        }
        file = tmp_path / f"{secrets.token_hex(4)}.env"
        file.write_text(render(given | variables))
        return file

    return env_file


@pytest.fixture
def spawn(env_file: Callable[..., Path]) -> Iterator[Spawn]:
    """Start worker processes; options are variables of their ``.env`` files."""
    with ExitStack() as processes:

        def spawn(
            *, program: tuple[str, ...] = WORKER, path: Path | None = None, **variables: str
        ) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, *program, str(env_file(**variables))],
                env=_environment() | ({"PYTHONPATH": str(path)} if path else {}),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            processes.callback(_end, process)
            return process

        yield spawn


def _environment() -> dict[str, str]:
    """Nothing of what a worker reads: that is in its file."""
    kept = {"PATH", "HOME", "LANG", "PYTHONPATH"}
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or name.startswith("COVERAGE")
    }


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


async def ended(process: subprocess.Popen[str]) -> str:
    """Wait until a process has ended well; return what it printed."""
    printed, _ = await asyncio.to_thread(process.communicate, timeout=15)
    assert process.returncode == 0, printed
    return printed


async def says(process: subprocess.Popen[str], word: str) -> None:
    """Wait until a process prints a word."""
    assert process.stdout
    async with asyncio.timeout(15):
        while word not in await asyncio.to_thread(process.stdout.readline):
            assert process.poll() is None, f"it ended and did not say {word}"


@pytest.fixture
def queue(redis: Redis, queue_name: str) -> Queue:
    return Queue(redis, queue_name)


@pytest.fixture
def registry(redis: Redis, queue_name: str) -> Registry:
    return Registry(redis, queue_name)


@pytest.fixture
async def recovery(queue: Queue) -> AsyncIterator[None]:
    task = asyncio.create_task(Recovery(queue).run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def simulate(queue: Queue, **payload: Any) -> str:
    return await submit(queue, service="simulation", payload=payload)


@pytest.mark.failure(1)
async def test_reports_machine_id_in_worker_capabilities(registry: Registry, spawn: Spawn) -> None:
    process = spawn(MACHINE_ID="basic-machine-prod-test", WORKER_INDEX="2")

    async def workers() -> Any:
        return (await registry.workers()).workers

    (worker,) = await eventually(
        workers,
        "the worker is idle",
        until=lambda found: found and found[0].state is WorkerState.IDLE,
    )
    assert worker.machine_id == "basic-machine-prod-test"
    assert worker.worker_id == "basic-machine-prod-test-worker-2"
    assert worker.pid == process.pid


@pytest.mark.failure(6)
async def test_sigterm_gives_the_running_job_back_at_once_and_uncounted(
    queue: Queue, registry: Registry, spawn: Spawn
) -> None:
    process = spawn()
    job_id = await simulate(queue, duration_s=600, steps=600)
    await becomes(queue, job_id, JobState.RUNNING)

    process.send_signal(signal.SIGTERM)

    job = await becomes(queue, job_id, JobState.PENDING, timeout_s=3)
    printed = await ended(process)
    assert (job.failed_attempts, job.lost_attempts, job.attempts) == (0, 0, [])
    assert "Traceback" not in printed
    assert await registry.live_workers() == []


@pytest.mark.usefixtures("recovery")
@pytest.mark.failure(5)
async def test_what_a_killed_worker_held_is_lost_and_runs_again_when_it_is_back(
    queue: Queue, spawn: Spawn
) -> None:
    process = spawn()
    job_id = await simulate(queue, duration_s=600)
    await becomes(queue, job_id, JobState.RUNNING)

    process.kill()
    process.wait()
    again = spawn(MACHINE_INCARNATION="second")

    job = await eventually(
        lambda: queue.get(job_id),
        "it runs again, long before its lease ends",
        until=lambda job: job.state is JobState.RUNNING and job.attempt == 2,
        timeout_s=10,
    )
    assert (job.lost_attempts, job.failed_attempts) == (1, 0)
    again.send_signal(signal.SIGTERM)
    await ended(again)


async def test_a_result_outlives_the_death_of_redis(
    own_redis: Callable[..., OwnRedis], spawn: Spawn
) -> None:
    server = own_redis()
    async with connect(RedisSettings.load(redis_url=server.url)) as client:
        queue = Queue(client, "own")
        process = spawn(REDIS_URL=server.url, MUSTER_QUEUE="own")
        job_id = await simulate(queue, duration_s=1.5, result="kept")
        await becomes(queue, job_id, JobState.RUNNING)

        server.kill()
        await says(process, "redis_does_not_answer")  # the job is done, and cannot be handed in
        server.start()
        await client.connection_pool.disconnect()  # ours died with it as well

        job = await becomes(queue, job_id, JobState.COMPLETED)
        assert (job.attempt, job.result) == (1, "kept")
        events = [event.state for event in await read_events(queue) if event.job == job_id]
        assert events.count(JobState.COMPLETED) == 1
        await becomes(queue, await simulate(queue), JobState.COMPLETED)
        process.send_signal(signal.SIGTERM)
        await ended(process)


async def test_drains_when_its_parent_dies(queue: Queue, registry: Registry, spawn: Spawn) -> None:
    parent = spawn(program=("-c", PARENT))
    job_id = await simulate(queue, duration_s=600)
    await becomes(queue, job_id, JobState.RUNNING)

    parent.kill()

    job = await becomes(queue, job_id, JobState.PENDING)
    assert job.attempts == []
    await eventually(registry.live_workers, "the worker leaves", until=lambda live: live == [])


async def test_a_connector_of_a_users_own_package_runs_jobs(
    queue: Queue, spawn: Spawn, tmp_path: Path
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    install_shouting(packages)
    process = spawn(CONNECTOR="shouting", path=packages)

    job_id = await submit(queue, service="shouting", payload={"text": "pass muster"})

    job = await becomes(queue, job_id, JobState.COMPLETED)
    assert job.result == {"said": "PASS MUSTER", "on": "gpu-host-1"}
    process.send_signal(signal.SIGTERM)
    await ended(process)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MACHINE_ID", "unknown", "MACHINE_ID: 'unknown' names no machine"),
        ("WORKER_INDEX", "8", "WORKER_INDEX: '8' is refused"),
        ("CONNECTOR", "nope", "CONNECTOR: 'nope' is not installed"),
        ("ARTIFACTS_URL", "ftp://host", "ARTIFACTS_URL: has an unknown scheme"),
    ],
)
async def test_bad_settings_end_it_at_once_with_code_2(
    spawn: Spawn, variable: str, value: str, said: str
) -> None:
    process = spawn(**{variable: value})

    printed, _ = await asyncio.to_thread(process.communicate, timeout=15)

    assert process.returncode == 2
    assert said in " ".join(printed.split())
    assert "Traceback" not in printed
