"""The history of a queue: one event for every change of a job's state, in the order it happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from muster.jobs.model import JobState

if TYPE_CHECKING:
    from muster.jobs.queue import Queue

    Entries = list[tuple[bytes, dict[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class Event:
    """A job entered ``state``. ``id`` orders events and resumes reading after them."""

    id: str
    at: datetime
    job: str
    state: JobState
    worker: str
    attempt: int
    detail: str


async def read_events(queue: Queue, *, after: str = "0", limit: int = 1000) -> list[Event]:
    """Return the events after the one with id ``after``, oldest first."""
    entries = await queue.redis.xrange(queue.key("events"), min=f"({after}", count=limit)
    return [_event(entry_id.decode(), fields) for entry_id, fields in cast("Entries", entries)]


def _event(entry_id: str, fields: dict[bytes, bytes]) -> Event:
    return Event(
        id=entry_id,
        at=datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC),
        job=fields[b"job"].decode(),
        state=JobState(fields[b"state"].decode()),
        worker=fields[b"worker"].decode(),
        attempt=int(fields[b"attempt"]),
        detail=fields[b"detail"].decode(),
    )
