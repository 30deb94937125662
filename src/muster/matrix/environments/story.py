"""The last lines of a run: what ran where, what did not, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from muster.matrix.environments.model import Environment

NAMED = 3
"""How many tests that did not run are named, of each reason."""


@dataclass
class Story:
    """What is to be told. Parallel workers each have one, and hand it over at their end."""

    ran: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, str] = field(default_factory=dict)
    """Why each test did not run."""
    notes: dict[str, None] = field(default_factory=dict)
    """What was found of the environment; a dict, to keep the order and say nothing twice."""

    def note(self, line: str) -> None:
        """Tell this too."""
        self.notes[line] = None

    def handed_over(self) -> dict[str, Any]:
        """Return what a worker hands over."""
        return {"left_out": self.left_out, "notes": list(self.notes)}

    def take(self, handed: dict[str, Any]) -> None:
        """Take what a worker handed over."""
        self.left_out |= handed["left_out"]
        for line in handed["notes"]:
            self.note(line)

    def saw(self, report: pytest.TestReport) -> None:
        """Take note of how a test went."""
        if report.when == "call" and not report.skipped:
            parts = report.nodeid.split("/")
            self.ran[parts[1] if parts[0] == "tests" and len(parts) > 2 else parts[0]] += 1
        elif report.skipped:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else "it was skipped"
            self.left_out[report.nodeid] = why

    def lines(self, environment: Environment) -> list[str]:
        """Return the lines."""
        ran = ", ".join(f"{count} {tier}" for tier, count in sorted(self.ran.items()))
        told = [f"ran in {environment.name} ({environment.source}): {ran or 'nothing'}"]
        reasons: dict[str, list[str]] = {}
        for test, why in self.left_out.items():
            reasons.setdefault(why, []).append(test)
        for why, tests in reasons.items():
            more = f" and {len(tests) - NAMED} more" if len(tests) > NAMED else ""
            told.append(f"did not run, since {why}: {', '.join(tests[:NAMED])}{more}")
        return [*told, *self.notes]
