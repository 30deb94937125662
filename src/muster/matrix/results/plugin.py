"""Records a run of the tests: ``pytest --record SESSION``, which every Nox session gives.

Of a parallel run only the controller writes. Tests record numbers by the fixture ``measure``.
"""

from __future__ import annotations

import os
import platform
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from muster.matrix.results.gathering import Gathering
from muster.matrix.results.model import Head, Measure, Tail, gpus_of, tier_of
from muster.matrix.results.revision import revision
from muster.matrix.results.runfile import Writer, prune

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from muster.matrix.results.model import Judged

    TakesMeasure = Callable[..., None]

RUNS = "results/runs"
PROPERTY = "muster-measure"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the session's name, and whether the run is of all its tests."""
    group = parser.getgroup("results")
    group.addoption(
        "--record", metavar="SESSION", help=f"record the run in {RUNS}, under that session's name"
    )
    group.addoption(
        "--record-part", action="store_true", help="say in the record that tests are left out"
    )


@pytest.hookimpl(tryfirst=True)  # before the plugin that writes JUnit XML looks where to
def pytest_configure(config: pytest.Config) -> None:
    """Begin the record."""
    session = config.getoption("--record")
    if session is None or hasattr(config, "workerinput") or config.option.collectonly:
        return
    folder = config.rootpath / RUNS
    prune(folder)
    writer = Writer(folder, _head(config, session))
    if config.option.xmlpath is None:
        config.option.xmlpath = str(writer.junit)
    config.pluginmanager.register(Recorder(writer), "muster-recorder")


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> TakesMeasure:
    """Record numbers: ``measure("claims", 812.0, "1/s", better="higher", goal=500)``.

    ``control`` is the like number of something that our code does not change, measured in the same
    run; alerts compare the ratio of both with that of earlier runs.
    """

    def take(name: str, value: float, unit: str, **judged: Unpack[Judged]) -> None:
        taken = Measure(test=request.node.nodeid, name=name, value=value, unit=unit, **judged)
        request.node.user_properties.append((PROPERTY, taken.model_dump_json()))

    return take


class Recorder:
    """Writes down what pytest reports."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._gathering = Gathering()
        self._began = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a test down when its last phase is over."""
        line = self._gathering.add(report)
        if line is None:
            return
        self._writer.add(line)
        for name, value in report.user_properties:
            if name == PROPERTY:
                self._writer.add(Measure.model_validate_json(str(value)))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Write down what could not be collected."""
        line = self._gathering.add_uncollected(report)
        if line is not None:
            self._writer.add(line)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the end."""
        self._writer.end(
            Tail(
                totals=self._gathering.totals,
                exit_status=int(exitstatus),
                duration_s=round(time.monotonic() - self._began, 3),
            )
        )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where the record is."""
        terminalreporter.write_line(f"recorded in {self._writer.path}")


def _head(config: pytest.Config, session: str) -> Head:
    commit, dirty = revision(config.rootpath)
    return Head(
        id=secrets.token_hex(4),
        session=session,
        environment=_environment(config),
        tier=tier_of(session),
        gpus=gpus_of(session),
        revision=commit,
        dirty=dirty,
        part=config.getoption("--record-part") or _selects(config),
        python=platform.python_version(),
        started=datetime.now(UTC),
    )


def _environment(config: pytest.Config) -> str:
    named = config.getoption("--env", default=None) or os.environ.get("MUSTER_ENV")
    return str(named or "local")


def _selects(config: pytest.Config) -> bool:
    """Tell whether the command line leaves tests out."""
    options = ("keyword", "markexpr", "failure", "deselect", "lf", "maxfail", "stepwise")
    named = any("::" in word for word in config.args)
    return named or any(config.getoption(name, default=None) for name in options)
