from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from muster.fleet.model import Worker, WorkerState
from muster.jobs.model import Capabilities

if TYPE_CHECKING:
    import httpx
    from fastapi import FastAPI

    from muster.fleet.registry import Registry

pytestmark = pytest.mark.anyio

JOB = {"service": "simulation", "payload": {"seconds": 0.1}}


async def submit(http: httpx.AsyncClient, **fields: Any) -> str:
    answer = await http.post("/v1/jobs", json=JOB | fields)
    assert answer.status_code == 201, answer.text
    job_id: str = answer.json()["id"]
    return job_id


async def test_a_submitted_job_can_be_read_back_whole(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/jobs", json=JOB | {"priority": 0})

    assert answer.status_code == 201
    assert answer.json()["duplicate"] is False
    job = (await http.get(answer.headers["Location"])).json()
    assert job["state"] == "pending"
    assert job["priority"] == 0
    assert job["payload"] == {"seconds": 0.1}


async def test_a_seen_idempotency_key_is_answered_with_its_job_and_200(
    http: httpx.AsyncClient,
) -> None:
    first = await http.post("/v1/jobs", json=JOB | {"idempotency_key": "order-1"})

    second = await http.post("/v1/jobs", json=JOB | {"idempotency_key": "order-1"})

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == {"id": first.json()["id"], "duplicate": True}
    assert (await http.get("/v1/queue")).json()["counts"]["pending"] == 1


async def test_bulk_submission_keeps_the_order(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/jobs/bulk", json=[JOB | {"priority": n} for n in (10, 90, 50)])

    assert answer.status_code == 201
    jobs = [(await http.get(f"/v1/jobs/{made['id']}")).json() for made in answer.json()]
    assert [job["priority"] for job in jobs] == [10, 90, 50]


async def test_pages_lead_through_all_jobs_of_a_state(http: httpx.AsyncClient) -> None:
    made = [await submit(http, priority=priority) for priority in (10, 90, 50)]

    first = (await http.get("/v1/jobs?state=pending&limit=2")).json()
    second = (await http.get(f"/v1/jobs?state=pending&limit=2&cursor={first['cursor']}")).json()

    listed = [job["id"] for job in first["jobs"] + second["jobs"]]
    assert listed == [made[1], made[2], made[0]]
    assert (first["total"], second["total"], second["cursor"]) == (3, 3, None)
    assert first["jobs"][0]["payload"] is None


async def test_without_a_state_running_jobs_are_listed(http: httpx.AsyncClient) -> None:
    await submit(http)

    assert (await http.get("/v1/jobs")).json() == {"jobs": [], "cursor": None, "total": 0}


async def test_a_job_is_cancelled_once_and_retried(http: httpx.AsyncClient) -> None:
    job_id = await submit(http)

    cancelled = await http.post(f"/v1/jobs/{job_id}/cancel")
    again = await http.post(f"/v1/jobs/{job_id}/cancel")
    retried = await http.post(f"/v1/jobs/{job_id}/retry")
    retried_again = await http.post(f"/v1/jobs/{job_id}/retry")

    assert cancelled.json()["state"] == "cancelled"
    assert again.status_code == 409
    assert again.json()["type"] == "urn:muster:problem:conflict"
    assert retried.json()["state"] == "pending"
    assert retried_again.status_code == 409


async def test_a_pending_job_is_explained(http: httpx.AsyncClient) -> None:
    job_id = await submit(http)

    explanation = (await http.get(f"/v1/jobs/{job_id}/explanation")).json()

    assert explanation["job_id"] == job_id
    assert explanation["summary"] == "No worker is alive."


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs/nope"),
        ("GET", "/v1/jobs/nope/explanation"),
        ("POST", "/v1/jobs/nope/cancel"),
        ("POST", "/v1/jobs/nope/retry"),
        ("GET", "/v1/machines/nope"),
    ],
)
async def test_what_is_not_there_is_a_404(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await http.request(method, path)

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "'nope'" in answer.json()["detail"]


async def test_the_queue_is_paused_and_resumed(http: httpx.AsyncClient) -> None:
    paused = (await http.post("/v1/queue/pause")).json()
    resumed = (await http.post("/v1/queue/resume")).json()

    assert (paused["paused"], resumed["paused"]) == (True, False)
    assert set(resumed["counts"]) >= {"pending", "running", "completed"}


async def test_a_service_that_only_a_live_worker_offers_is_known(
    http: httpx.AsyncClient, app: FastAPI
) -> None:
    job = JOB | {"service": "whisper"}
    refused = await http.post("/v1/jobs", json=job)

    registry: Registry = app.state.registry
    await registry.register_worker(
        Worker(
            worker_id="m1-worker-0",
            machine_id="m1",
            incarnation="i1",
            gpu=0,
            state=WorkerState.IDLE,
            capabilities=Capabilities(service="whisper"),
        )
    )
    taken = await http.post("/v1/jobs", json=job)

    assert refused.status_code == 422
    assert taken.status_code == 201


async def test_the_fleet_is_listed(http: httpx.AsyncClient, app: FastAPI) -> None:
    registry: Registry = app.state.registry
    for machine, index in (("m1", 0), ("m1", 1), ("m2", 0)):
        await registry.register_worker(
            Worker(
                worker_id=f"{machine}-worker-{index}",
                machine_id=machine,
                incarnation="i1",
                gpu=index,
                state=WorkerState.IDLE,
                capabilities=Capabilities(service="comfyui"),
            )
        )

    of_one = (await http.get("/v1/workers?machine_id=m1&limit=1")).json()
    machines = (await http.get("/v1/machines")).json()

    assert of_one["total"] == 2
    assert [worker["worker_id"] for worker in of_one["workers"]] == ["m1-worker-0"]
    assert machines["machines"] == []
