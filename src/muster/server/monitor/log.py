"""The newest part of the log of jobs, and what of it a view is told."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muster.server.monitor.fold import Fleet
    from muster.server.monitor.views import View

    Entry = tuple[str, dict[bytes, bytes]]

KEPT = 10_000
AT_ONCE = 50
LATE_MS = 2000
TROUBLES = frozenset({b"failed", b"lost"})


class Log:
    """Entries in the order of their ids. ``told`` is the last one that viewers were told of."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: deque[Entry] = deque(entries, KEPT)
        self._complete_after = order(self._entries[0][0]) if self._entries else (0, 0)
        self.newest = self.told = self._entries[-1][0] if self._entries else "0-0"

    def add(self, entries: Iterable[Entry]) -> None:
        """Append what is new."""
        self._entries.extend(entries)
        if self._entries:
            self.newest = self._entries[-1][0]
        if len(self._entries) == KEPT:
            self._complete_after = order(self._entries[0][0])

    def tell(self) -> None:
        """Take note that viewers were told all that there is."""
        self.told = self.newest

    def since(self, entry_id: str, now_ms: int) -> list[Entry] | None:
        """Return what was told after that entry, or None when that is no longer all at hand."""
        after = order(entry_id)
        if after < self._complete_after:
            return None
        # One that is newer than all: another server was quicker, or Redis forgot it.
        if after > order(self.newest) and now_ms - after[0] > LATE_MS:
            return None
        told, newer = order(self.told), []
        for entry in reversed(self._entries):
            if order(entry[0]) <= after:
                break
            if order(entry[0]) <= told:
                newer.append(entry)
        return newer[::-1]


def order(entry_id: str) -> tuple[int, int]:
    """Return the place of an entry. Raises ``ValueError`` for what is no id."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


def events_for(view: View, entries: Iterable[Entry], fleet: Fleet) -> list[Entry]:
    """Return what a view is told: all of its job or machine, else trouble."""
    if view.job:
        return [entry for entry in entries if entry[1][b"job"].decode() == view.job]
    if view.machine:
        return [
            entry
            for entry in entries
            if fleet.machine_of(entry[1][b"worker"].decode()) == view.machine
        ]
    return [entry for entry in entries if _is_trouble(entry[1])]


def events_message(entries: list[Entry]) -> dict[str, Any]:
    """Return the newest of the entries as a message, and how many were left out."""
    shown = entries[-AT_ONCE:]
    message: dict[str, Any] = {"type": "events", "events": [told(entry) for entry in shown]}
    if len(entries) > len(shown):
        message["skipped"] = len(entries) - len(shown)
    return message


def told(entry: Entry) -> dict[str, Any]:
    """Return an entry as viewers get it."""
    entry_id, fields = entry
    return {
        "id": entry_id,
        "at": order(entry_id)[0],
        "job": fields[b"job"].decode(),
        "state": fields[b"state"].decode(),
        "worker": fields[b"worker"].decode(),
        "attempt": int(fields[b"attempt"]),
        "detail": fields[b"detail"].decode(),
    }


def _is_trouble(fields: dict[bytes, bytes]) -> bool:
    state = fields[b"state"]
    return state == b"failed" or (state == b"scheduled" and fields[b"detail"] in TROUBLES)
