"""System tests run on whole fleets in containers, at the session's number of GPUs.

What needs the Docker SDK is imported where it is used: ``anywhere`` runs without, too.
"""

from __future__ import annotations

import secrets
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.anywhere.fixtures import backend, fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from docker import DockerClient

    from muster.client import Client
    from support.system.machines import MachineContainer
    from support.system.releases import Releases
    from support.system.stack import Stack

    StartMachine = Callable[..., MachineContainer]

__all__ = ["backend", "fleet"]


def pytest_configure() -> None:
    """Let SIGTERM end the run as Ctrl-C does: with everything removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def gpus(request: pytest.FixtureRequest) -> int:
    """How many GPUs this session's machines have (``--gpus``)."""
    return int(request.config.getoption("--gpus"))


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerClient]:
    """The Docker engine, without what dead runs left on it. Without one, nothing is tested."""
    from support.system import belongings
    from support.system.engine import NO_ENGINE, EngineMissing, connect_with_images

    try:
        client = connect_with_images()
    except EngineMissing as error:
        pytest.exit(str(error), NO_ENGINE)
    belongings.sweep(client)
    yield client
    client.close()


@pytest.fixture(scope="session")
def coverage(request: pytest.FixtureRequest) -> Path | None:
    """Where programs in containers leave what they measured, if they are to (``--coverage``)."""
    from support.system.measured import prepare

    folder: Path | None = request.config.getoption("--coverage")
    if folder:
        prepare(folder)
    return folder


@pytest.fixture(scope="session")
def image(engine: DockerClient, coverage: Path | None) -> str:
    """The machine's image, of the sources as they are."""
    from support.system.image import machine_image

    return machine_image(engine, measured=coverage is not None)


@pytest.fixture(scope="session")
def stack(engine: DockerClient, image: str, coverage: Path | None) -> Iterator[Stack]:
    """Redis and a server: one for all tests of the session."""
    from support.system.engine import redis_image
    from support.system.stack import Stack

    with Stack(
        engine, machine_image=image, redis_image=redis_image(engine), coverage=coverage
    ) as running:
        yield running


@pytest.fixture(scope="session")
def redis_url() -> str:
    """Nothing: the Redis that other tiers run on this computer is in the stack here."""
    return ""


@pytest.fixture(scope="session")
def releases(stack: Stack) -> Releases:
    """A release server with one release, ``v1.0.0``, of the code that is tested."""
    running = stack.start_releases()
    running.publish("v1.0.0")
    return running


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    """A client of the server that may do everything. A test leaves no job that is not over."""
    with stack.client() as opened:
        yield opened


@pytest.fixture
def start_machine(stack: Stack, gpus: int) -> Iterator[StartMachine]:
    """Start machines of the test's own, by default with the session's number of GPUs."""
    prefix = secrets.token_hex(3)
    with ExitStack() as started:

        def start(name: str = "box", **options: object) -> MachineContainer:
            machine = stack.start_machine(
                f"{prefix}-{name}",
                **{"gpus": gpus, **options},  # type: ignore[arg-type]
            )
            started.callback(machine.remove)
            return machine

        yield start


@pytest.fixture(scope="session")
def _shared_machine(stack: Stack, gpus: int) -> MachineContainer:
    return stack.start_machine("shared", gpus=gpus)


@pytest.fixture
def machine(_shared_machine: MachineContainer) -> MachineContainer:
    """The machine that most tests share, ready and idle. They leave it able to become so again."""
    _shared_machine.until_idle()
    return _shared_machine
