"""What tests of all tiers share: Redis, names, marks, and checks that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import settings
from redis import Redis

from muster.jobs.connection import connect
from muster.settings import RedisSettings
from support import leaks
from support.leaks import Keys
from support.redis import OwnRedis, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from redis.asyncio import Redis as AsyncRedis

    from support.redis import Listen

TESTS = Path(__file__).parent
TIERS = {
    "unit": "no network; one process",
    "integration": "real processes, loopback TCP",
    "browser": "the monitor in a real Chromium",
    "system": "whole fleets in containers",
    "load": "many machines, simulated, against goals",
}

# A commit is judged by the same examples each time; `default` and `nightly` explore.
settings.register_profile("default", deadline=None, max_examples=40)
settings.register_profile("ci", deadline=None, max_examples=40, derandomize=True, print_blob=True)
settings.register_profile("nightly", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default")
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the number of GPUs that the system sessions are named for."""
    parser.addoption("--gpus", type=int, default=4, help="GPUs of the system tests' machines")
    parser.addoption(
        "--coverage", type=Path, metavar="FOLDER", help="programs in containers measure theirs here"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register a mark per tier, and let Ctrl-C reach what tests start.

    A shell that starts us in the background has SIGINT ignored, and children would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for tier, meaning in TIERS.items():
        config.addinivalue_line("markers", f"{tier}: {meaning}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier: the folder that it lies in."""
    for item in items:
        item.add_marker(item.path.relative_to(TESTS).parts[0])


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as Muster does."""
    return "asyncio"


@pytest.fixture
def own_redis(listen: Listen) -> Iterator[Callable[..., OwnRedis]]:
    """Start Redis servers that the test may kill, freeze and restart; they keep their data.

    Options are those of ``EmbeddedRedis``, for example ``own_redis(appendfsync="always")``.
    """
    with ExitStack() as servers:

        def start(**options: Any) -> OwnRedis:
            return servers.enter_context(running(listen, **options))

        yield start


@pytest.fixture
def queue_name(redis_url: str, testrun_uid: str, worker_id: str) -> Iterator[str]:
    """A queue's name that no other test has; the queue's keys are removed after the test."""
    name = f"{testrun_uid[:6]}-{worker_id}-{secrets.token_hex(4)}"
    yield name
    with Redis.from_url(redis_url) as client:
        keys = list(client.scan_iter(match=f"muster:{{{name}}}:*", count=1000))
        if keys:
            client.unlink(*keys)


@pytest.fixture
async def redis(redis_url: str, anyio_backend: str) -> AsyncIterator[AsyncRedis]:
    """A client of the shared Redis, as Muster's own parts make it."""
    async with connect(RedisSettings.load(redis_url=redis_url)) as client:
        yield client


@pytest.fixture(autouse=True)
def _nothing_is_left(_keys: Keys, request: pytest.FixtureRequest) -> Iterator[None]:
    """A test ends the processes and threads, closes the sockets and removes the keys it makes.

    System tests share a client of the engine, which opens and keeps sockets as it likes.
    """
    sockets = request.node.get_closest_marker("system") is None
    before = leaks.held(sockets=sockets)
    yield
    left = [*leaks.left_since(before, sockets=sockets), *_keys.left()]
    assert not left, f"left behind: {'; '.join(left)}"


@pytest.fixture(scope="session")
def _keys(redis_url: str) -> Iterator[Keys]:
    with Keys(redis_url) as keys:
        yield keys


@pytest.fixture(autouse=True)
def _no_leaked_tasks(request: pytest.FixtureRequest, _nothing_is_left: None) -> None:
    """A test ends the tasks that it starts."""
    if request.node.get_closest_marker("anyio"):
        request.getfixturevalue("_all_tasks_end")


@pytest.fixture
async def _all_tasks_end(anyio_backend: str) -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    started = {task for task in asyncio.all_tasks() - before if not _of_anyio(task)}
    if started:
        _, leaked = await asyncio.wait(started, timeout=1)
        assert not leaked, f"left running: {leaked}"


def _of_anyio(task: asyncio.Task[Any]) -> bool:
    """Tell whether it is the task in which anyio's plugin runs this very fixture."""
    return "TestRunner." in repr(task.get_coro())


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Commands set up logging for their process, which here is the tests'."""
    yield
    structlog.reset_defaults()
