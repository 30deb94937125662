"""The history of a queue: one event for every change of a job's state, in the order it happened."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from pydantic import BaseModel, ConfigDict

from muster.jobs.model import JobState

if TYPE_CHECKING:
    from muster.jobs.model import Job
    from muster.jobs.queue import Queue

    Entries = list[tuple[bytes, dict[bytes, bytes]]]


STORY_BATCH = 1000
SPREAD_MS = 1000
SUBMITTED = "submitted"


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


class EventRecord(BaseModel):
    """An event as it is told outside. ``at`` is in milliseconds."""

    model_config = ConfigDict(frozen=True)

    id: str
    at: int
    job: str
    state: JobState
    worker: str
    attempt: int
    detail: str


class EventPage(BaseModel):
    """Some events, oldest first. ``cursor`` is where to go on; ``missed``: some before are gone."""

    events: list[EventRecord]
    cursor: str
    missed: bool


class JobStory(BaseModel):
    """The events of one job. Not ``complete`` when the log no longer reaches back to its start."""

    events: list[EventRecord]
    complete: bool


async def read_page(queue: Queue, *, after: str, limit: int) -> EventPage:
    """Return a page of the log that follows the event with the id ``after`` (``0``: its start)."""
    entries = await queue.redis.xrange(queue.key("events"), min=after, count=limit + 1)
    records = [_record(_event(i.decode(), f)) for i, f in cast("Entries", entries)]
    known = bool(records) and records[0].id == after
    shown = records[1:] if known else records[:limit]
    cursor = shown[-1].id if shown else after
    return EventPage(events=shown, cursor=cursor, missed=after != "0" and not known)


async def job_story(queue: Queue, job: Job) -> JobStory:
    """Return the events of one job, which the log holds among those of all others."""
    records: list[EventRecord] = []
    after = f"{_milliseconds(job.submitted_at) - 1}"
    until = f"{_milliseconds(job.finished_at) + SPREAD_MS}" if job.finished_at else "+"
    while True:
        entries = await queue.redis.xrange(
            queue.key("events"), min=f"({after}", max=until, count=STORY_BATCH
        )
        batch = cast("Entries", entries)
        wanted = job.id.encode()
        records += [_record(_event(i.decode(), f)) for i, f in batch if f[b"job"] == wanted]
        if len(batch) < STORY_BATCH:
            complete = any(record.detail == SUBMITTED for record in records)
            return JobStory(events=records, complete=complete)
        after = batch[-1][0].decode()


def _record(event: Event) -> EventRecord:
    return EventRecord.model_validate({**asdict(event), "at": _milliseconds(event.at)})


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


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
