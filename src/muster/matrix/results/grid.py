"""The matrix as grids: what ran where, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from muster.matrix.results.model import RunState
from muster.matrix.results.store import FAILED
from muster.matrix.results.trends import by_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from muster.matrix.results.store import RunRow, TestRow

_TIERS = ("unit", "integration", "browser", "system", "load")
_GPUS = range(1, 9)


@dataclass(frozen=True)
class Cell:
    """What a field shows: how it went (``good``, ``bad``, ``none``), a word, and more on it."""

    kind: str
    word: str
    more: str = ""


@dataclass(frozen=True)
class Grid:
    """Rows of cells under columns; ``corner`` says what the rows are."""

    corner: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


NOTHING = Cell("none", "·", "not run")


def newest(runs: Iterable[RunRow]) -> list[RunRow]:
    """Return the newest run of each session in each environment. Runs come newest first."""
    return [found[0] for found in by_place(runs).values()]


def sessions(runs: Sequence[RunRow], environments: Sequence[str]) -> Grid:
    """Show sessions by environment, those of one GPU count left out."""
    found = {(run.session, run.environment): run for run in runs if run.gpus is None}
    names = sorted({session for session, _ in found}, key=_order)
    return Grid(
        "session",
        list(environments),
        [(name, [_cell(found.get((name, e))) for e in environments]) for name in names],
    )


def gpu_counts(runs: Sequence[RunRow], environments: Sequence[str]) -> Grid | None:
    """Show environments by GPU count; None where no session of one ran."""
    found = {(run.environment, run.gpus): run for run in runs if run.gpus is not None}
    shown = [name for name in environments if any(name == e for e, _ in found)]
    if not shown:
        return None
    return Grid(
        "environment",
        [_gpus(count) for count in _GPUS],
        [(name, [_cell(found.get((name, count))) for count in _GPUS]) for name in shown],
    )


def tests_by_gpus(runs: Sequence[RunRow], tests: Iterable[TestRow]) -> list[tuple[str, Grid]]:
    """Show each test of the sessions of one GPU count, by that count; a grid per environment."""
    of = {run.id: run for run in runs if run.gpus is not None}
    told: dict[str, dict[str, dict[int | None, TestRow]]] = {}
    for test in tests:
        run = of.get(test.run_id)
        if run:
            told.setdefault(run.environment, {}).setdefault(test.test, {})[run.gpus] = test
    columns = [str(count) for count in _GPUS]
    return [
        (
            environment,
            Grid(
                "test",
                columns,
                [(short(n), [_test(rows.get(c)) for c in _GPUS]) for n, rows in sorted(by.items())],
            ),
        )
        for environment, by in told.items()
    ]


def short(test: str) -> str:
    """Return a test's file and name, without folders."""
    path, separator, name = test.partition("::")
    return f"{PurePosixPath(path).name}{separator}{name}"


def _cell(run: RunRow | None) -> Cell:
    if run is None:
        return NOTHING
    when = f"{run.started:%d %b %H:%M}, {run.revision[:7]}{'+' if run.dirty else ''}"
    if run.state is RunState.PASSED:
        return Cell("good", f"✓ {run.passed:,}", when)
    if run.state is RunState.FAILED:
        return Cell("bad", f"✗ {run.failed:,} of {run.tests:,}", when)
    return Cell("bad", f"✗ {run.state}", when)


def _test(test: TestRow | None) -> Cell:
    if test is None:
        return NOTHING
    if test.outcome in FAILED:
        return Cell("bad", "✗", test.message)
    if test.outcome == "passed":
        return Cell("good", "✓", f"{test.duration_s:.1f} s")
    return Cell("none", "○", test.outcome)


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _order(session: str) -> tuple[int, str]:
    tier = session.partition("-")[0]
    return (_TIERS.index(tier) if tier in _TIERS else len(_TIERS), session)
