"""Something that is watched: one document, encoded once for all who watch it."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from muster.server.monitor import documents
from muster.server.monitor.frames import Frame, message
from muster.server.monitor.selection import page_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muster.server.monitor.documents import Document
    from muster.server.monitor.fold import Fleet
    from muster.server.monitor.rows import Row
    from muster.server.monitor.viewer import Viewer
    from muster.server.monitor.views import View


class Subscription:
    """A view whose rows and their order are fixed: what is on a screen does not jump.

    ``document`` is what all its viewers hold once they have taken the frames made so far.
    """

    def __init__(self, view: View, order: Sequence[str]) -> None:
        self.view = view
        self.order = list(order)
        self.members = frozenset(order)
        self.key = key_of(view, order)
        self.viewers: set[Viewer] = set()
        self.left_at = 0.0
        self.document: Document = {}
        self._snapshot: Frame | None = None
        self._snapshot_id = ""

    def refresh(self, document: Document) -> Document:
        """Take a newer document; return the patch that leads there."""
        patch = documents.difference(self.document, document)
        if patch:
            self.document = document
            self._snapshot = None
        return patch

    def snapshot(self, event_id: str, at: int) -> Frame:
        """Return the document as a frame: the same one until it, or the log, goes on."""
        if self._snapshot is None or self._snapshot_id != event_id:
            self._snapshot = message({"type": "snapshot", "at": at, **self.document}, event_id)
            self._snapshot_id = event_id
        return self._snapshot


def key_of(view: View, order: Sequence[str]) -> str:
    """Return a short name of a view and its frozen order, for resume tokens."""
    text = repr((view.describe(), list(order)))
    return blake2b(text.encode(), digest_size=5).hexdigest()


def fleet_document(
    view: View, order: Sequence[str], selected: Sequence[str], fleet: Fleet, totals: Row
) -> Document:
    """Return the document of machines. ``selected`` is what the view's query finds now."""
    document: Document = {"fleet": totals, "order": list(order), **documents.rows(fleet, order)}
    document["page"] = page_facts(view, order, selected)
    missing = [name for name in view.named if name not in fleet.machines.shown]
    if missing:
        document["missing"] = missing
    return document


def page_facts(view: View, order: Sequence[str], selected: Sequence[str]) -> dict[str, Any]:
    """Return where in the fleet the shown page lies, and how far the fleet moved on from it."""
    size = view.size if view.paged else len(view.named)
    now, page, pages = page_of(selected, view.page, size)
    changed = sum(a != b for a, b in zip(now, order, strict=False)) + abs(len(now) - len(order))
    return {
        "page": page,
        "pages": pages,
        "size": size,
        "matched": len(selected),
        "changed": changed if view.paged else 0,
    }


def job_document(view: View, row: Row | None, fleet: Fleet, totals: Row) -> Document:
    """Return the document of one job, with the machine and worker that run it."""
    document: Document = {"fleet": totals, "order": [], "machines": {}, "workers": {}, "jobs": {}}
    if row is None:
        return document | {"missing": [view.job]}
    if view.job in fleet.jobs:
        row = row | fleet.jobs[view.job]
        worker = fleet.workers.shown.get(row["worker"])
        if worker:
            machine = worker["machine"]
            document["workers"] = {row["worker"]: worker}
            document["machines"] = {
                name: shown for name, shown in fleet.machines.shown.items() if name == machine
            }
    document["jobs"] = {view.job: row}
    return document
