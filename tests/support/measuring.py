"""Numbers that a session measures, beside their goals."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from muster.matrix.results.model import Better
    from muster.matrix.results.plugin import TakesMeasure

RESULTS = Path(__file__).parents[2] / "results"


@dataclass(frozen=True)
class Measurement:
    """One number. ``at_least`` says that more is better; the load is of the whole computer."""

    test: str
    measure: str
    value: float
    goal: float
    unit: str
    at_least: bool
    at: float
    load: float

    @property
    def met(self) -> bool:
        """Whether it is within its goal."""
        return self.value >= self.goal if self.at_least else self.value <= self.goal


class Measurements:
    """All numbers of a session; each is written down as it comes."""

    def __init__(self, file: Path) -> None:
        self.taken: list[Measurement] = []
        self._file = file

    def take(
        self, test: str, measure: str, value: float, goal: float, unit: str, *, at_least: bool
    ) -> Measurement:
        """Write a number down."""
        load = psutil.getloadavg()[0]
        taken = Measurement(
            test, measure, round(value, 4), goal, unit, at_least, round(time.time(), 1), load
        )
        self.taken.append(taken)
        self._file.parent.mkdir(exist_ok=True)
        host = {"cores": psutil.cpu_count(), "python": platform.python_version()}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(taken) | {"met": taken.met} | host) + "\n")
        return taken

    def show(self, console: Console) -> None:
        """Print all of them."""
        table = Table(title="Measured", title_justify="left")
        for column in ("measure", "value", "goal", ""):
            table.add_column(column, justify="right" if column in {"value", "goal"} else "left")
        for each in self.taken:
            sign = "≥" if each.at_least else "≤"
            table.add_row(
                each.measure,
                f"{each.value:,.4g} {each.unit}",
                f"{sign} {each.goal:,g} {each.unit}",
                "[green]met[/green]" if each.met else "[red]missed[/red]",
            )
        console.print(table)


class Measure:
    """Takes the numbers of one test; the test fails, at its end, if one misses its goal."""

    def __init__(self, test: str, measurements: Measurements, record: TakesMeasure) -> None:
        self._test = test
        self._record = record
        self._measurements = measurements
        self._missed: list[str] = []

    def __call__(
        self, measure: str, value: float, goal: float, unit: str = "", *, at_least: bool = False
    ) -> None:
        """Take a number: at most ``goal``, or at least that."""
        taken = self._measurements.take(self._test, measure, value, goal, unit, at_least=at_least)
        better: Better = "higher" if at_least else "lower"
        self._record(measure, value, unit, better=better, goal=goal)
        if not taken.met:
            sign = "at least" if at_least else "at most"
            self._missed.append(f"{measure}: {value:.4g} {unit}, and is to be {sign} {goal:g}")

    def judge(self) -> None:
        """Fail if a goal was missed."""
        assert not self._missed, "; ".join(self._missed)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share does not exceed. There must be some."""
    assert values, "nothing was measured"
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
