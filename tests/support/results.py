"""Run files as recorded runs leave them, made to order."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from muster.matrix.results.model import Head, Measure, Run, Tail, TestLine, gpus_of, tier_of
from muster.matrix.results.runfile import Writer

if TYPE_CHECKING:
    from pathlib import Path

    from muster.matrix.results.model import Outcome

BEGIN = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)
CLEAN = "4f2a9c1e7b"


def run(
    session: str = "unit",
    *,
    day: float = 0,
    environment: str = "local",
    outcomes: dict[str, Outcome] | None = None,
    measures: list[Measure] | None = None,
    revision: str = CLEAN,
    dirty: bool = False,
    part: bool = False,
    exit_status: int | None = None,
    ended: bool = True,
    seconds: float = 10.0,
) -> Run:
    """Make a run of these tests; without any, one that passed. ``day`` says when it began."""
    outcomes = {"tests/unit/test_a.py::test_one": "passed"} if outcomes is None else outcomes
    failed = any(outcome in {"failed", "error"} for outcome in outcomes.values())
    tests = [
        TestLine(
            id=name,
            outcome=outcome,
            phases={"call": "failed" if outcome == "failed" else "passed"},
            duration_s=seconds / max(1, len(outcomes)),
            message="assert 1 == 2" if outcome in {"failed", "error"} else "",
        )
        for name, outcome in outcomes.items()
    ]
    return Run(
        head=Head(
            id=secrets.token_hex(4),
            session=session,
            environment=environment,
            tier=tier_of(session),
            gpus=gpus_of(session),
            revision=revision,
            dirty=dirty,
            part=part,
            python="3.13.1",
            started=BEGIN + timedelta(days=day),
        ),
        tests=tests,
        measures=measures or [],
        tail=Tail(
            totals={},
            exit_status=int(failed) if exit_status is None else exit_status,
            duration_s=seconds,
        )
        if ended
        else None,
    )


def measured(
    name: str = "claims",
    value: float = 900.0,
    *,
    control: float | None = 1000.0,
    goal: float | None = None,
    higher: bool = True,
    unit: str = "1/s",
) -> Measure:
    """Make a measure, of a number that is the better the higher it is unless told otherwise."""
    return Measure(
        test="tests/load/load/test_rates.py::test_rate",
        name=name,
        value=value,
        unit=unit,
        better="higher" if higher else "lower",
        goal=goal,
        control=control,
    )


def write(folder: Path, made: Run) -> Path:
    """Write a run's file, as the recorder does."""
    writer = Writer(folder, made.head)
    for line in (*made.tests, *made.measures):
        writer.add(line)
    if made.tail:
        writer.end(made.tail)
    else:
        writer._file.close()  # as its process does when it is killed
    return writer.path
