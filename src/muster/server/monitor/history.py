"""How the queue stood in the last five minutes, for sparklines."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

EVERY_S = 5.0
POINTS = 60
LEVELS = ("pending", "running")
RATES = ("completed", "failed")


class History:
    """A point every five seconds: how many wait and run, and what ended per second."""

    def __init__(self) -> None:
        self._ended: Counter[str] = Counter()
        self._points: deque[dict[str, float]] = deque(maxlen=POINTS)
        self._at = 0

    def entered(self, state: str) -> None:
        """Take note that a job entered a state."""
        self._ended[state] += 1

    def add_point(self, counts: dict[str, int], at: int) -> None:
        """Close a span of time. ``at`` is now, ms."""
        point: dict[str, float] = {name: counts.get(name, 0) for name in LEVELS}
        point |= {name: round(self._ended[name] / EVERY_S, 2) for name in RATES}
        self._points.append(point)
        self._ended.clear()
        self._at = at

    def message(self, *, points: int = POINTS) -> dict[str, Any]:
        """Return the newest points as a message."""
        newest = list(self._points)[-points:]
        return {
            "type": "history",
            "every_s": EVERY_S,
            "at": self._at,
            "series": {name: [p[name] for p in newest] for name in (*LEVELS, *RATES)},
        }
