"""One run, told in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from muster.matrix.results.model import Measure
from muster.matrix.results.store import FAILED, RunRow, TestRow
from muster.matrix.results.trends import slowest

if TYPE_CHECKING:
    from muster.matrix.results.store import Store


class Told(BaseModel):
    """A run: itself, what failed, the slowest tests, its measures."""

    run: RunRow
    failed: list[TestRow]
    slowest: list[TestRow]
    measures: list[Measure]

    def text(self) -> str:
        """Return it for people."""
        run = self.run
        lines = [
            f"{run.id}: {run.session} on {run.environment}, {run.state}"
            + (", of a part of the tests" if run.part else ""),
            f"  {run.passed} passed, {run.failed} failed, {run.skipped} skipped"
            + ("" if run.duration_s is None else f" in {run.duration_s:.1f} s"),
            f"  revision {run.revision}{' and changes' if run.dirty else ''}, "
            f"Python {run.python}, {run.started:%Y-%m-%d %H:%M} UTC",
        ]
        lines += _section("Failed", [f"{test.test}: {test.message}" for test in self.failed])
        slow = [f"{test.duration_s:7.2f} s  {test.test}" for test in self.slowest]
        lines += _section("Slowest", slow)
        lines += _section("Measures", [measured(measure) for measure in self.measures])
        return "\n".join(lines)


def of_run(store: Store, wanted: str) -> Told:
    """Tell of the run of that id or session. Raises ``NotFound``."""
    run = store.find(wanted)
    tests = store.tests([run.id])
    return Told(
        run=run,
        failed=[test for test in tests if test.outcome in FAILED],
        slowest=slowest(tests, 10),
        measures=[row.measure for row in store.measures([run.id])],
    )


def measured(measure: Measure) -> str:
    """Return a measure in words."""
    goal = "" if measure.goal is None else f", goal {measure.goal:g}"
    ratio = "" if measure.ratio is None else f", {measure.ratio:.3g} of its control"
    missed = ", MISSED" if measure.missed else ""
    return f"{measure.name}: {measure.value:.4g} {measure.unit}{goal}{ratio}{missed}"


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"{title}:", *(f"  {line}" for line in lines)] if lines else []
