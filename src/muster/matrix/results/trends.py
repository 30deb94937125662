"""What many runs say together: series, medians, flaky tests, slow tests."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from muster.matrix.results.store import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from muster.matrix.results.model import Better
    from muster.matrix.results.rulebook import Rulebook
    from muster.matrix.results.store import MeasureRow, RunRow, Store, TestRow

Place = tuple[str, str]
"""A session and an environment: runs of one place can be compared."""


@dataclass(frozen=True)
class Flaky:
    """A test that both passed and failed at one revision."""

    test: str
    place: Place
    revision: str
    passed: int
    failed: int
    message: str


@dataclass(frozen=True)
class Drop:
    """A benchmark whose ratio to its control is worse than its median; ``by`` is a fraction."""

    ratio: float
    median: float
    by: float


def whole(runs: Iterable[RunRow]) -> list[RunRow]:
    """Return the runs of all of their session's tests."""
    return [run for run in runs if not run.part]


def by_place(runs: Iterable[RunRow]) -> dict[Place, list[RunRow]]:
    """Sort runs by session and environment, in the order given."""
    places: defaultdict[Place, list[RunRow]] = defaultdict(list)
    for run in runs:
        places[run.session, run.environment].append(run)
    return dict(places)


def series(rows: Iterable[MeasureRow]) -> dict[tuple[Place, str], list[MeasureRow]]:
    """Sort measures by place and name, in the order given."""
    found: defaultdict[tuple[Place, str], list[MeasureRow]] = defaultdict(list)
    for row in rows:
        found[(row.run.session, row.run.environment), row.measure.name].append(row)
    return dict(found)


def flaky(store: Store, runs: Iterable[RunRow], rules: Rulebook) -> list[Flaky]:
    """Find tests that passed and failed at one revision, in the newest runs of a place.

    The tree must be as committed: of a changed one nobody knows whether it was the same.
    """
    found = []
    for place, newest in by_place(run for run in runs if not run.dirty).items():
        within = rules.of(place[1]).flaky_within
        revisions = {run.id: run.revision for run in newest[:within]}
        told: defaultdict[tuple[str, str], list[TestRow]] = defaultdict(list)
        for test in store.tests(list(revisions)):
            told[test.test, revisions[test.run_id]].append(test)
        for (name, revision), rows in told.items():
            failed = [row for row in rows if row.outcome in FAILED]
            passed = sum(row.outcome == "passed" for row in rows)
            if failed and passed:
                message = failed[0].message
                found.append(Flaky(name, place, revision, passed, len(failed), message))
    return found


def drop(newest_first: Sequence[MeasureRow], bound: float, of: int, needs: int) -> Drop | None:
    """Judge the newest of a series against the median of those before it."""
    ratios = [row.measure.ratio for row in newest_first if row.measure.ratio is not None]
    before = ratios[1 : of + 1]
    if len(before) < needs or newest_first[0].measure.ratio is None:
        return None
    usual = median(before)
    by = worse_by(ratios[0], usual, newest_first[0].measure.better)
    return Drop(ratios[0], usual, by) if by > bound else None


def worse_by(now: float, before: float, better: Better) -> float:
    """Return by which fraction a number is worse than before; negative if it is better."""
    if before == 0:
        return 0.0
    change = (now - before) / abs(before)
    return change if better == "lower" else -change


def slowest(tests: Iterable[TestRow], count: int) -> list[TestRow]:
    """Return the slowest of tests."""
    return sorted(tests, key=lambda test: test.duration_s, reverse=True)[:count]
