"""What this server knows, for whoever asks: the fleet, the log, the clock."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from muster.server.monitor.fold import Fleet
from muster.server.monitor.history import History
from muster.server.monitor.log import Log
from muster.server.monitor.selection import fleet_facts, page_of, select
from muster.server.monitor.subscription import fleet_document, job_document

if TYPE_CHECKING:
    from muster.server.monitor.documents import Document
    from muster.server.monitor.rows import Row
    from muster.server.monitor.selection import Query
    from muster.server.monitor.views import View

SELECTIONS_KEPT = 100


class State:
    """The present, as far as it was read. ``watched`` holds the jobs that are looked at alone."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.epoch = ""
        self.fleet = Fleet()
        self.log = Log()
        self.history = History()
        self.watched: dict[str, Row | None] = {}
        self.totals: Row = self.fleet.totals()
        self._ahead_ms = 0.0
        self._selections: dict[Query, tuple[int, float, list[str]]] = {}

    def start(self, epoch: str, fleet: Fleet, log: Log) -> None:
        """Take a state that was read whole."""
        self.epoch, self.fleet, self.log = epoch, fleet, log
        self._selections.clear()
        self.recount()
        self.ready.set()

    def recount(self) -> None:
        """Make the totals anew; those that are the same stay the same object."""
        new = self.fleet.totals()
        old = self.totals
        self.totals = {k: old[k] if old.get(k) == value else value for k, value in new.items()}

    def set_clock(self, now_ms: float) -> None:
        """Take the time by Redis's clock."""
        self._ahead_ms = now_ms - monotonic() * 1000

    def now_ms(self) -> int:
        """Return the time by Redis's clock."""
        return round(monotonic() * 1000 + self._ahead_ms)

    def selected(self, view: View, *, max_age_s: float = 0) -> list[str]:
        """Return all that a view finds now, in order; an answer may be that old (seconds)."""
        if not view.paged:
            return [name for name in view.named if name in self.fleet.machines.shown]
        now = monotonic()
        version, at, ids = self._selections.get(view.query, (-1, 0.0, []))
        if version != self.fleet.version and now - at >= max_age_s:
            ids = select(view.query, fleet_facts(self.fleet))
            if len(self._selections) >= SELECTIONS_KEPT:
                self._selections.clear()
            self._selections[view.query] = self.fleet.version, now, ids
        return ids

    def order(self, view: View, *, max_age_s: float = 0) -> list[str]:
        """Return the rows of a view as they stand now; an answer may be that old (seconds)."""
        if not view.paged:
            return list(view.named)
        return page_of(self.selected(view, max_age_s=max_age_s), view.page, view.size)[0]

    def document(self, view: View, order: list[str], *, max_age_s: float = 0) -> Document:
        """Return what a view shows now, with its rows in that order."""
        if view.job:
            return job_document(view, self.watched.get(view.job), self.fleet, self.totals)
        selected = self.selected(view, max_age_s=max_age_s)
        return fleet_document(view, order, selected, self.fleet, self.totals)
