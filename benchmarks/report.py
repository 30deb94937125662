"""What was measured, beside its goal and beside the limit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Goal:
    """What a number should be: at least, or at most, ``value``."""

    value: float
    at_most: bool = False

    def met_by(self, value: float) -> bool:
        """Tell whether the number is good enough."""
        return value <= self.value if self.at_most else value >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {_short(self.value)}"


@dataclass(frozen=True, slots=True)
class Row:
    """One number. ``of_bare`` is its share of the bare limit, for rates."""

    section: str
    what: str
    value: float
    unit: str
    goal: Goal | None = None
    of_bare: float | None = None


@dataclass(slots=True)
class Report:
    """All numbers of a run."""

    setting: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    bare: float | None = None

    def rate(self, section: str, what: str, per_s: float, goal: float | None = None) -> None:
        """Add jobs per second, beside the bare limit if that is known."""
        share = per_s / self.bare if self.bare else None
        self.rows.append(Row(section, what, per_s, "/s", Goal(goal) if goal else None, share))

    def cost(
        self, section: str, what: str, value: float, unit: str, at_most: float | None = None
    ) -> None:
        """Add a number that should be small."""
        goal = None if at_most is None else Goal(at_most, at_most=True)
        self.rows.append(Row(section, what, value, unit, goal))

    def table(self) -> Table:
        """Render for people, what is alike together."""
        table = Table(title=" · ".join(f"{name} {said}" for name, said in self.setting.items()))
        table.add_column("")
        table.add_column("measured", justify="right")
        table.add_column("of the limit", justify="right")
        table.add_column("goal", justify="right")
        sections: dict[str, list[Row]] = {}
        for row in self.rows:
            sections.setdefault(row.section, []).append(row)
        for section, rows in sections.items():
            table.add_section()
            table.add_row(f"[bold]{section}[/bold]")
            for row in rows:
                share = "" if row.of_bare is None else f"{row.of_bare:.1%}"
                number = f"{_short(row.value)} {row.unit}"
                table.add_row(f"  {row.what}", number, share, _judged(row))
        return table

    def write(self, file: Path) -> None:
        """Write for programs."""
        rows = [
            asdict(row) | {"met": row.goal.met_by(row.value) if row.goal else None}
            for row in self.rows
        ]
        file.write_text(json.dumps({"setting": self.setting, "rows": rows}, indent=2) + "\n")


def _judged(row: Row) -> str:
    if row.goal is None:
        return ""
    colour = "green" if row.goal.met_by(row.value) else "red"
    return f"[{colour}]{row.goal}[/{colour}]"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
