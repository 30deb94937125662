"""The history of jobs, read entry by entry."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Security

from muster.jobs.events import EventPage, JobStory, job_story, read_page
from muster.server.auth import Role
from muster.server.guard import bearer, guarded
from muster.server.problems import documented
from muster.server.routes.jobs import JobId
from muster.server.state import QueueDep

EVENT_ID = r"^\d{1,16}(-\d{1,16})?$"

router = APIRouter(
    prefix="/v1",
    tags=["jobs"],
    route_class=guarded(Role.VIEW),
    dependencies=[Security(bearer)],
)


@router.get("/events", responses=documented())
async def events(
    queue: QueueDep,
    after: Annotated[
        str,
        Query(pattern=EVENT_ID, description="The `cursor` of the page before."),
    ] = "0",
    limit: Annotated[int, Query(ge=1, le=1000, description="How many to a page.")] = 100,
) -> EventPage:
    """Read the log of all jobs, oldest first; `missed` when entries after `after` are gone."""
    return await read_page(queue, after=after, limit=limit)


@router.get("/jobs/{job_id}/events", responses=documented(404))
async def job_events(job_id: JobId, queue: QueueDep) -> JobStory:
    """Return every event of one job, from its submission on."""
    return await job_story(queue, await queue.get(job_id))
