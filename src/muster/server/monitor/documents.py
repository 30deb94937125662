"""The document that a viewer holds, and the patch that leads from one state of it to the next.

The law: whoever merges ``difference(old, new)`` into ``old`` has ``new``. Patches are JSON merge
patches (RFC 7396), so no value in a document is None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muster.server.monitor.fold import Fleet

Document = dict[str, Any]


def rows(fleet: Fleet, machines: Iterable[str]) -> Document:
    """Return the rows of those machines, of their workers, and of the jobs that run on these."""
    shown, workers, jobs = {}, {}, {}
    for name in machines:
        row = fleet.machines.shown.get(name)
        if row is not None:
            shown[name] = row
        for worker in fleet.workers_of.get(name, ()):
            workers[worker] = fleet.workers.shown[worker]
            for job in fleet.jobs_of.get(worker, ()):
                jobs[job] = fleet.jobs[job]
    return {"machines": shown, "workers": workers, "jobs": jobs}


def difference(old: Document, new: Document) -> Document:
    """Return the patch; empty when nothing changed. What is the same object is not looked into."""
    patch: Document = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if before is value:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            inner = difference(before, value)
            if inner:
                patch[name] = inner
        elif before != value or name not in old:
            patch[name] = value
    return patch
