"""Load tests use loopback TCP and real processes; what they measure is printed beside its goal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from support.measuring import RESULTS, Measure, Measurements
from support.monitor_server import CROWDED, MonitorServer, monitor_server
from support.redis import on_tcp, running

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from muster.matrix.results.plugin import TakesMeasure
    from support.redis import Listen

TAKEN = pytest.StashKey[Measurements]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take how long the page's heap is watched, and how many reconnects are tried."""
    group = parser.getgroup("load")
    group.addoption(
        "--heap-minutes", type=float, default=1, help="watch the heap so long (goal: 10)"
    )
    group.addoption("--trials", type=int, default=1000, help="how many reconnects are tried")


def pytest_configure(config: pytest.Config) -> None:
    """Begin a session's measurements."""
    config.stash[TAKEN] = Measurements(RESULTS / "measurements.jsonl")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print one table of all numbers."""
    taken = config.stash[TAKEN]
    if taken.taken:
        terminalreporter.ensure_newline()
        taken.show(Console(width=100, highlight=False))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Function) -> Generator[None, Any, Any]:
    """Fail a test that missed a goal, when it has taken all its numbers."""
    result = yield
    measure = item.funcargs.get("measure")
    if measure:
        measure.judge()
    return result


@pytest.fixture
def measure(request: pytest.FixtureRequest, measure: TakesMeasure) -> Measure:
    """Take a number and its goal; the test fails at its end if it missed one.

    The numbers are recorded with the run, too.
    """
    name = f"{Path(request.node.path).name}::{request.node.name}"
    return Measure(name, request.config.stash[TAKEN], measure)


@pytest.fixture(scope="session")
def listen() -> Listen:
    """How Redis listens in this tier."""
    return on_tcp


@pytest.fixture(scope="session")
def redis_url(listen: Listen) -> Iterator[str]:
    """The address of a real Redis that this process's tests share; see ``queue_name``."""
    with running(listen, appendonly=False) as server:
        yield server.url


@pytest.fixture
def monitor(tmp_path: Path, redis_url: str, queue_name: str) -> Iterator[MonitorServer]:
    """A server process on the test's queue where one user may watch a thousandfold."""
    with monitor_server(tmp_path, redis_url, queue_name, **CROWDED) as server:
        yield server
