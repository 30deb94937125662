"""The last outcomes of tests, from the runs that were recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muster.matrix.results.runfile import NoRunYet, read, run_files

if TYPE_CHECKING:
    import datetime as dt

    from muster.matrix.results.model import Run

PLACE = Path("results", "runs")
_GOOD_TO_BAD = ("passed", "skipped", "xfailed", "xpassed", "error", "failed")


@dataclass(frozen=True)
class Outcome:
    """How a test last went: the worst of its parameters in the last run that had it."""

    outcome: str
    day: dt.date


def last_outcomes(folder: Path) -> dict[str, Outcome]:
    """Return the last outcome of each test, by its id without parameters."""
    outcomes: dict[str, Outcome] = {}
    for file in run_files(folder):
        try:
            outcomes |= _of_run(read(file))
        except NoRunYet:
            continue
    return outcomes


def _of_run(run: Run) -> dict[str, Outcome]:
    worst: dict[str, str] = {}
    for line in run.tests:
        test = line.id.partition("[")[0]
        worst[test] = max(worst.get(test, "passed"), line.outcome, key=_GOOD_TO_BAD.index)
    day = run.head.started.date()
    return {test: Outcome(outcome, day) for test, outcome in worst.items()}
