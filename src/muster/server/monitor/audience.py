"""All who watch: what they share, how they come and go, and who is cut off."""

from __future__ import annotations

import random
from dataclasses import dataclass
from importlib.metadata import version
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from muster.server.monitor.frames import Frame, comment, message
from muster.server.monitor.levels import LIVE, POLLING, TOTALS, Level, Levels
from muster.server.monitor.log import events_for, events_message
from muster.server.monitor.subscription import Subscription, key_of
from muster.server.monitor.viewer import BLOCKED_S, SILENT_S, Viewer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from muster.server.monitor.documents import Document
    from muster.server.monitor.frames import Gzip, Plain
    from muster.server.monitor.log import Entry
    from muster.server.monitor.metrics import Metrics
    from muster.server.monitor.state import State
    from muster.server.monitor.views import View

PROTOCOL = 1
VERSION = version("muster-fleet")
LAST_ID_LENGTH = 128
LIFE_S = 600.0
LIFE_JITTER = 0.1
KEPT_S = 120.0
KEPT_AT_MOST = 200
SELECTION_AGE_S = 1.0
SILENCE = comment()

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Resume:
    """A viewer's last id, taken apart: which data, how far in the log, which frozen order."""

    epoch: str
    log: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Resume | None:
        """Return what an id says, or None when there is none that could have come from here."""
        parts = text.split(":")
        if len(parts) != 3 or len(text) > LAST_ID_LENGTH:
            return None
        milliseconds, _, number = parts[1].partition("-")
        if not all(part.isascii() and part.isdigit() for part in (milliseconds, number)):
            return None
        return cls(*parts)


class Audience:
    """Viewers by what they watch: those that watch the same share every frame."""

    def __init__(self, state: State, levels: Levels, metrics: Metrics) -> None:
        self._state = state
        self._levels = levels
        self._metrics = metrics
        self._subscriptions: dict[str, Subscription] = {}
        self._closing = False
        self._away: dict[str, Any] | None = None

    @property
    def viewers(self) -> Iterator[Viewer]:
        """All viewers."""
        return (v for subscription in self._subscriptions.values() for v in subscription.viewers)

    def join(
        self,
        view: View,
        stream: Plain | Gzip,
        resume: Resume | None,
        allowed: Callable[[], bool] = lambda: True,
    ) -> Viewer:
        """Add a viewer, and queue what it gets first. The state must be there."""
        subscription = self._subscription(view, resume)
        ends_in_s = LIFE_S * random.uniform(1 - LIFE_JITTER, 1 + LIFE_JITTER)  # noqa: S311
        viewer = Viewer(
            stream,
            lambda: self._catch_up(subscription),
            ends_at=monotonic() + ends_in_s,
            allowed=allowed,
        )
        subscription.viewers.add(viewer)
        missed, entries = self._missed(resume, view)
        hello = {
            "type": "hello",
            "protocol": PROTOCOL,
            "server": VERSION,
            "epoch": self._state.epoch,
            "resumed": resume is not None and missed is None,
            "view": view.describe(),
            "ends_in_s": round(ends_in_s),
        }
        if missed:
            hello["missed"] = missed
        viewer.offer(message(hello))
        for frame in self._catch_up(subscription, told=LIVE):
            viewer.offer(frame)
        viewer.offer(message(self._state.history.message(), self._event_id(subscription)))
        if entries:
            viewer.offer(message(events_message(entries), self._event_id(subscription)))
        if resume is not None:
            self._metrics.resumes.labels(missed or "resumed").inc()
        if self._closing or self._levels.level is POLLING:
            self._dismiss(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Take a viewer away. What it watched is kept for a while, for when it comes back."""
        for subscription in self._subscriptions.values():
            if viewer in subscription.viewers:
                subscription.viewers.remove(viewer)
                subscription.left_at = monotonic()

    def set_away(self, content: dict[str, Any] | None) -> None:
        """Tell everybody, now and whoever comes, that the state cannot be read; None: it can."""
        self._away = content
        if content:
            self.broadcast(content)

    def flush(self, entries: Iterable[Entry] = ()) -> None:
        """Tell everybody what changed since they were told, and what the log says."""
        entries = list(entries)
        self._state.log.tell()
        for subscription in self._watched():
            self._tell(subscription)
            told = events_for(subscription.view, entries, self._state.fleet) if entries else []
            if told:
                self._send(subscription, events_message(told))

    def flush_urgent(self, machines: set[str]) -> None:
        """Tell those who look at one of the machines, or at one job alone."""
        for subscription in self._watched():
            if subscription.view.job or not machines.isdisjoint(subscription.members):
                self._tell(subscription)

    def broadcast(self, content: dict[str, Any]) -> None:
        """Tell everybody the same."""
        frame = self._encode(content)
        for viewer in self.viewers:
            self._offer(viewer, frame)

    def start_anew(self) -> None:
        """Give everybody a new snapshot: the state was read whole, or more is shown again."""
        for subscription in self._subscriptions.values():
            self._take(subscription)
            for viewer in subscription.viewers:
                viewer.resync()

    def change_level(self, *, rows_missed: bool) -> None:
        """Tell everybody how much is sent from now on; at the last level all streams end."""
        level = self._levels.level
        log.warning("monitor_level", level=level.name, words=level.words)
        if level is POLLING:
            for viewer in list(self.viewers):
                self._dismiss(viewer)
            return
        self.broadcast(level.message())
        if rows_missed:
            self.start_anew()

    def close(self) -> None:
        """End all streams: the server ends."""
        self._closing = True
        for viewer in list(self.viewers):
            self._dismiss(viewer)

    def sweep(self, now: float) -> None:
        """Once a second: break silences, end what is old, cut off who takes nothing.

        Nobody has to say anything to stay.
        """
        for viewer in list(self.viewers):
            if viewer.blocked_s(now) > BLOCKED_S:
                self._metrics.evictions.inc()
                viewer.evict()
            elif now > viewer.ends_at:
                viewer.finish(bye("rotation"))
            elif not viewer.allowed():
                viewer.finish(bye("session"))
            elif viewer.silent_s(now) > SILENT_S:
                self._offer(viewer, SILENCE)
        self._forget_left(now)

    def jobs_watched(self) -> set[str]:
        """Return the jobs that are looked at alone."""
        return {s.view.job for s in self._watched() if s.view.job}

    def machines_watched(self) -> set[str]:
        """Return the machines whose rows are on a screen."""
        return {name for subscription in self._watched() for name in subscription.members}

    def measure(self) -> None:
        """Bring the gauges up to date."""
        viewers = list(self.viewers)
        self._metrics.viewers.set(len(viewers))
        self._metrics.subscriptions.set(sum(1 for _ in self._watched()))
        self._metrics.queued.set(sum(viewer.queued for viewer in viewers))

    def _watched(self) -> Iterator[Subscription]:
        return (s for s in list(self._subscriptions.values()) if s.viewers)

    def _subscription(self, view: View, resume: Resume | None) -> Subscription:
        """Return what the viewer looks at: with the order it had, or as all stands now."""
        kept = self._subscriptions.get(resume.key) if resume else None
        if kept is None or kept.view != view or resume is None or resume.epoch != self._state.epoch:
            order = self._state.order(view)
            key = key_of(view, order)
            kept = self._subscriptions.setdefault(key, Subscription(view, order))
        if not kept.viewers:
            self._take(kept)
        return kept

    def _take(self, subscription: Subscription) -> Document:
        """Bring a document up to date; return the patch."""
        state, view = self._state, subscription.view
        document = state.document(view, subscription.order, max_age_s=SELECTION_AGE_S)
        return subscription.refresh(document)

    def _tell(self, subscription: Subscription) -> None:
        if self._levels.level is TOTALS:
            new = self._state.document(
                subscription.view, subscription.order, max_age_s=SELECTION_AGE_S
            )
            kept = {name: new[name] for name in ("fleet", "page") if name in new}
            patch = subscription.refresh(subscription.document | kept)
        else:
            patch = self._take(subscription)
        if patch:
            self._send(subscription, {"type": "delta", "at": self._state.now_ms(), **patch})

    def _send(self, subscription: Subscription, content: dict[str, Any]) -> None:
        frame = self._encode(content, self._event_id(subscription))
        for viewer in subscription.viewers:
            self._offer(viewer, frame)

    def _encode(self, content: dict[str, Any], event_id: str = "") -> Frame:
        self._metrics.frames.labels(content["type"]).inc()
        return message(content, event_id)

    def _offer(self, viewer: Viewer, frame: Frame) -> None:
        if viewer.offer(frame):
            self._metrics.resyncs.inc()

    def _catch_up(self, subscription: Subscription, told: Level | None = None) -> list[Frame]:
        """Return what one needs that missed anything: the level, all that is shown, how old it is.

        The level is left out if it is the one that the viewer was ``told``.
        """
        level = self._levels.level
        frames = [] if level is told else [message(level.message())]
        frames.append(subscription.snapshot(self._event_id(subscription), self._state.now_ms()))
        return [*frames, message(self._away)] if self._away else frames

    def _missed(self, resume: Resume | None, view: View) -> tuple[str | None, list[Entry]]:
        """Return why a resumed viewer missed something of the log, if so, else what to tell it."""
        if resume is None:
            return None, []
        if resume.epoch != self._state.epoch:
            return "epoch", []
        entries = self._state.log.since(resume.log, self._state.now_ms())
        if entries is None:
            return "trimmed", []
        return None, events_for(view, entries, self._state.fleet)

    def _event_id(self, subscription: Subscription) -> str:
        return f"{self._state.epoch}:{self._state.log.told}:{subscription.key}"

    def _dismiss(self, viewer: Viewer) -> None:
        polling = self._levels.level is POLLING and not self._closing
        viewer.finish(message(POLLING.message()) if polling else bye("shutdown"))

    def _forget_left(self, now: float) -> None:
        left = [s for s in self._subscriptions.values() if not s.viewers]
        left.sort(key=lambda s: s.left_at)
        excess = len(left) - KEPT_AT_MOST
        for number, subscription in enumerate(left):
            if number < excess or now - subscription.left_at > KEPT_S:
                del self._subscriptions[subscription.key]


WORDS = {
    "rotation": "This stream has lasted long enough; the next one goes on.",
    "shutdown": "The server ends.",
    "session": "The token is no longer good. Sign in.",
}


def bye(reason: str) -> Frame:
    """Return the message that ends a stream well."""
    content = {"type": "bye", "reason": reason, "retry_s": 0.5, "words": WORDS[reason]}
    return message(content)
