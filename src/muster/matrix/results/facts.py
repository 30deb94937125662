"""Gathers all that the report shows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from muster.matrix.ledger.kept import read_verdicts
from muster.matrix.results import alerts, grid, rulebook, trends

if TYPE_CHECKING:
    from pathlib import Path

    from muster.matrix.ledger.kept import KeptVerdict
    from muster.matrix.results.alerts import Known
    from muster.matrix.results.grid import Grid
    from muster.matrix.results.rulebook import Rulebook
    from muster.matrix.results.store import MeasureRow, RunRow, Store, TestRow
    from muster.matrix.results.trends import Flaky, Place

SHOWN = 40
"""So many runs are on a plot."""
SLOWEST = 12
_KNOWN_ENVIRONMENTS = ("local", "staging", "production-like", "production")


@dataclass(frozen=True)
class Coverage:
    """What part of the code the tests reach, in percent; files with the least first."""

    percent: float
    lines: int
    missing: int
    weakest: list[tuple[str, float]]


@dataclass(frozen=True)
class Facts:
    """All that the report shows."""

    generated: datetime
    rules: Rulebook
    runs: list[RunRow]
    newest: list[RunRow]
    sessions: Grid
    gpus: Grid | None
    tests_by_gpus: list[tuple[str, Grid]]
    durations: dict[Place, list[RunRow]]
    benchmarks: dict[tuple[Place, str], list[MeasureRow]]
    flaky: list[Flaky]
    slowest: list[tuple[TestRow, str]]
    problems: list[Known]
    past_problems: list[Known]
    proofs: list[KeptVerdict]
    coverage: Coverage | None


def gather(store: Store, folder: Path, pyproject: Path) -> Facts:
    """Gather from the store, and from what sessions left in the folder."""
    rules = rulebook.load(pyproject)
    runs = store.runs()
    whole = trends.whole(runs)
    newest = grid.newest(whole)
    environments = _environments(runs)
    tests = store.tests([run.id for run in newest])
    known = alerts.known(store, open_only=False)
    part_ids = {run.id for run in runs if run.part}
    measures = [row for row in store.measures() if row.run.id not in part_ids]
    return Facts(
        generated=datetime.now(UTC),
        rules=rules,
        runs=runs,
        newest=newest,
        sessions=grid.sessions(newest, environments),
        gpus=grid.gpu_counts(newest, environments),
        tests_by_gpus=grid.tests_by_gpus(newest, tests),
        durations=_newest_few(trends.by_place(r for r in whole if r.duration_s is not None)),
        benchmarks=trends.series(measures),
        flaky=trends.flaky(store, whole, rules),
        slowest=_slowest(tests, newest),
        problems=[problem for problem in known if problem.cleared is None],
        past_problems=[problem for problem in known if problem.cleared is not None],
        proofs=read_verdicts(folder / "proofs.json"),
        coverage=read_coverage(folder / "coverage.json"),
    )


def read_coverage(path: Path) -> Coverage | None:
    """Return what ``coverage json`` wrote; None where it did not."""
    if not path.exists():
        return None
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    files = sorted(
        ((name, each["summary"]["percent_covered"]) for name, each in told["files"].items()),
        key=lambda pair: (pair[1], pair[0]),
    )
    totals = told["totals"]
    return Coverage(
        totals["percent_covered"], totals["num_statements"], totals["missing_lines"], files[:8]
    )


def _slowest(tests: list[TestRow], runs: list[RunRow]) -> list[tuple[TestRow, str]]:
    """Return the slowest tests, each where it was slowest, with the session."""
    session = {run.id: run.session for run in runs}
    found: dict[str, tuple[TestRow, str]] = {}
    for test in trends.slowest(tests, len(tests)):
        found.setdefault(test.test, (test, session[test.run_id]))
    return list(found.values())[:SLOWEST]


def _newest_few(places: dict[Place, list[RunRow]]) -> dict[Place, list[RunRow]]:
    return {place: runs[:SHOWN] for place, runs in sorted(places.items())}


def _environments(runs: list[RunRow]) -> list[str]:
    """Return the environments that ran, the known ones first in their order."""
    ran = {run.environment for run in runs}
    known = [name for name in _KNOWN_ENVIRONMENTS if name in ran]
    return known + sorted(ran - set(known))
