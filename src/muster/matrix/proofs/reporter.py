"""A pytest plugin that writes what happened to each test, one JSON object a line.

It is loaded by path, and imports nothing of Muster's: so no fault can change what it tells.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

REPORT_VARIABLE = "MUSTER_PROOF_REPORT"


def pytest_sessionstart() -> None:
    """Tell where the code that is tested comes from."""
    import muster  # noqa: PLC0415  (the copy's, at the time of the tests)

    _write(kind="code", file=str(muster.__file__))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Tell of a file that could not be collected."""
    if report.failed:
        _write(kind="not collected", test=report.nodeid, message=report.longreprtext)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell which tests there are."""
    for item in items:
        _write(kind="collected", test=item.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell how a phase of a test ended: setup, call, teardown; a rerun is an outcome too."""
    _write(
        kind="phase",
        test=report.nodeid,
        phase=report.when,
        outcome="xfailed" if hasattr(report, "wasxfail") else report.outcome,
        message=_message(report),
    )


def _message(report: pytest.TestReport) -> str:
    """Return what the failure says, without the lines of code around it."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message) if crash else report.longreprtext


def _write(**fact: str | None) -> None:
    with Path(os.environ[REPORT_VARIABLE]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(fact) + "\n")
