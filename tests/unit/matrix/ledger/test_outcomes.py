"""The last outcome of a test is the worst of its parameters in the last run that had it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from muster.matrix.ledger.outcomes import Outcome, last_outcomes
from muster.matrix.results.model import Head, Tail, TestLine
from muster.matrix.results.runfile import Writer

if TYPE_CHECKING:
    from pathlib import Path


def begin(folder: Path, day: int, **outcomes: str) -> Writer:
    """Begin the record of a run, with tests as ``name__parameter="outcome"``."""
    head = Head(
        id=f"run{day}",
        session="unit",
        environment="local",
        tier="unit",
        revision="abc",
        dirty=False,
        part=False,
        python="3.13.0",
        started=dt.datetime(2026, 3, day, tzinfo=dt.UTC),
    )
    writer = Writer(folder, head)
    for name, outcome in outcomes.items():
        test, _, parameter = name.partition("__")
        test_id = f"{test}[{parameter}]" if parameter else test
        fields = {"id": test_id, "outcome": outcome, "phases": {}, "duration_s": 0.1}
        writer.add(TestLine.model_validate(fields))
    return writer


def record(folder: Path, day: int, **outcomes: str) -> None:
    begin(folder, day, **outcomes).end(Tail(totals={}, exit_status=0, duration_s=1))


def test_the_last_run_that_had_a_test_counts(tmp_path: Path) -> None:
    record(tmp_path, 1, one="passed", two__a="failed", two__b="passed")
    record(tmp_path, 2, one="failed")
    record(tmp_path, 3, one__x="passed", one__y="skipped", three="passed")

    assert last_outcomes(tmp_path) == {
        "one": Outcome("skipped", dt.date(2026, 3, 3)),
        "two": Outcome("failed", dt.date(2026, 3, 1)),
        "three": Outcome("passed", dt.date(2026, 3, 3)),
    }


def test_a_run_that_goes_on_does_not_count_yet(tmp_path: Path) -> None:
    record(tmp_path, 1, one="passed")
    running = begin(tmp_path, 2, one="failed")

    assert last_outcomes(tmp_path)["one"].outcome == "passed"

    running.end(Tail(totals={}, exit_status=1, duration_s=1))
    assert last_outcomes(tmp_path)["one"].outcome == "failed"


def test_without_runs_there_are_none(tmp_path: Path) -> None:
    assert last_outcomes(tmp_path / "runs") == {}
