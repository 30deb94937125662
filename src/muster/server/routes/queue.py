"""The queue as a whole: how it stands, pause, resume."""

from __future__ import annotations

from fastapi import APIRouter, Security

from muster.client.model import QueueStatus
from muster.jobs.queue import Queue
from muster.server.auth import Role
from muster.server.guard import bearer, guarded
from muster.server.problems import documented
from muster.server.state import QueueDep

viewing = APIRouter(
    prefix="/v1/queue",
    tags=["queue"],
    route_class=guarded(Role.VIEW),
    dependencies=[Security(bearer)],
)
operating = APIRouter(
    prefix="/v1/queue",
    tags=["queue"],
    route_class=guarded(Role.OPERATE),
    dependencies=[Security(bearer)],
)


@viewing.get("", responses=documented())
async def status(queue: QueueDep) -> QueueStatus:
    """Count the jobs by state, and say whether the queue is paused."""
    return await _status(queue)


@operating.post("/pause", responses=documented())
async def pause(queue: QueueDep) -> QueueStatus:
    """Hand out no more jobs. Running ones go on, submissions are taken."""
    await queue.pause()
    return await _status(queue)


@operating.post("/resume", responses=documented())
async def resume(queue: QueueDep) -> QueueStatus:
    """Hand out jobs again."""
    await queue.resume()
    return await _status(queue)


async def _status(queue: Queue) -> QueueStatus:
    return QueueStatus(queue=queue.name, paused=await queue.paused(), counts=await queue.counts())
