"""Jobs: submit, look at, cancel, retry, explain."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Response, Security, status

from muster.jobs import explain
from muster.jobs.model import Explanation, Job, JobPage, JobRequest, JobState, Submitted
from muster.server.auth import Role
from muster.server.guard import bearer, guarded
from muster.server.problems import documented
from muster.server.services import check_services
from muster.server.state import QueueDep, RegistryDep

viewing = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    route_class=guarded(Role.VIEW),
    dependencies=[Security(bearer)],
)
submitting = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    route_class=guarded(Role.SUBMIT),
    dependencies=[Security(bearer)],
)
operating = APIRouter(
    prefix="/v1/jobs",
    tags=["jobs"],
    route_class=guarded(Role.OPERATE),
    dependencies=[Security(bearer)],
)

JobId = Annotated[str, Path(min_length=1, max_length=128, examples=["5f0c2b7e9a1d4c38"])]
EXAMPLE = {
    "service": "simulation",
    "payload": {"duration_s": 2},
    "priority": 80,
    "idempotency_key": "order-4711",
}


@submitting.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"model": Submitted, "description": "The job of this idempotency key"},
        **documented(409, 429),
    },
)
async def submit(
    request: Annotated[JobRequest, Body(examples=[EXAMPLE])],
    response: Response,
    queue: QueueDep,
    registry: RegistryDep,
) -> Submitted:
    """Submit a job. Acknowledged means stored: it will reach an end, whoever dies in between."""
    await check_services([request.service], registry)
    submitted = await queue.submit(request)
    if submitted.duplicate:
        response.status_code = status.HTTP_200_OK
    response.headers["Location"] = f"/v1/jobs/{submitted.id}"
    return submitted


@submitting.post("/bulk", status_code=status.HTTP_201_CREATED, responses=documented(409, 429))
async def submit_bulk(
    requests: Annotated[list[JobRequest], Body(min_length=1, examples=[[EXAMPLE, EXAMPLE]])],
    queue: QueueDep,
    registry: RegistryDep,
) -> list[Submitted]:
    """Submit jobs: all of them or, if anything is wrong with one, none. Answers keep the order."""
    await check_services({request.service for request in requests}, registry)
    return await queue.submit_many(requests)


@viewing.get("", responses=documented())
async def page(
    queue: QueueDep,
    state: Annotated[JobState, Query(description="List jobs in this state.")] = JobState.RUNNING,
    cursor: Annotated[
        str | None, Query(max_length=256, description="The `cursor` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="How many jobs to a page.")] = 50,
) -> JobPage:
    """List jobs in a state: waiting ones next first, finished ones newest first.

    Payloads and results are left out; `total` counts all jobs in the state.
    """
    return await queue.page(state, cursor=cursor, limit=limit)


@viewing.get("/{job_id}", responses=documented(404))
async def get(job_id: JobId, queue: QueueDep) -> Job:
    """Return a job whole: payload, progress, result, and the story of its attempts."""
    return await queue.get(job_id)


@viewing.get("/{job_id}/explanation", responses=documented(404))
async def explanation(job_id: JobId, queue: QueueDep, registry: RegistryDep) -> Explanation:
    """Explain why a job is where it is: what no live worker meets, or what stands before it."""
    workers, coming = await registry.live_workers(), await registry.models_coming()
    return await explain.explain(queue, job_id, workers, coming)


@operating.post("/{job_id}/cancel", responses=documented(404, 409))
async def cancel(job_id: JobId, queue: QueueDep) -> Job:
    """Cancel a job that is not over; a running one is interrupted."""
    return await queue.cancel(job_id)


@operating.post("/{job_id}/retry", responses=documented(404, 409))
async def retry(job_id: JobId, queue: QueueDep) -> Job:
    """Give a failed or cancelled job its attempts anew."""
    return await queue.retry(job_id)
