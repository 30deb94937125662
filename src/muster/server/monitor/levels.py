"""Less is sent when the server is late, in steps, and more again by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LATE_S = 0.25
PUNCTUAL_S = 0.1
LATE_FOR_S = 2.0
RELIEVED_S = 0.4
PUNCTUAL_FOR_S = 10.0


@dataclass(frozen=True, slots=True)
class Level:
    """How much is sent, how often (seconds), and how people are told."""

    name: str
    interval_s: float
    words: str

    def message(self) -> dict[str, Any]:
        """Return what viewers are told."""
        interval_s = self.interval_s
        return {"type": "level", "level": self.name, "interval_s": interval_s, "words": self.words}


LIVE = Level("live", 0.22, "live")
SLOWER = Level("slower", 1.0, "reduced: 1 update a second")
TOTALS = Level("totals", 2.0, "reduced: totals only, every 2 s")
POLLING = Level("polling", 5.0, "reduced: the page asks every 5 s")
LEVELS = (LIVE, SLOWER, TOTALS, POLLING)


class Levels:
    """Judges by how late the server's ticks are. Times are in seconds, of any steady clock.

    Late for two seconds: one level down. On time for ten: one level up. A process that is starved
    is on time for moments, whenever it is let run and has caught up: these do not count.
    """

    def __init__(self) -> None:
        self._index = 0
        self._late_since: float | None = None
        self._late_at = 0.0
        self._punctual_since: float | None = None

    @property
    def level(self) -> Level:
        """The level now."""
        return LEVELS[self._index]

    def observe(self, lag_s: float, now: float) -> bool:
        """Take how late a tick was; tell whether the level changed."""
        if lag_s > LATE_S:
            self._punctual_since = None
            self._late_since = now if self._late_since is None else self._late_since
            self._late_at = now
            return now - self._late_since >= LATE_FOR_S and self._move(1)
        if now - self._late_at > RELIEVED_S:
            self._late_since = None
        if lag_s > PUNCTUAL_S:
            self._punctual_since = None
            return False
        self._punctual_since = now if self._punctual_since is None else self._punctual_since
        return now - self._punctual_since >= PUNCTUAL_FOR_S and self._move(-1)

    def _move(self, steps: int) -> bool:
        """Go down or up, and judge anew from here."""
        index = min(max(self._index + steps, 0), len(LEVELS) - 1)
        moved = index != self._index
        self._index = index
        self._late_since = self._punctual_since = None
        return moved
