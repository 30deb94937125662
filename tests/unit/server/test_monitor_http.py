"""The monitor by single requests: snapshots, lists, the log, metrics, commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.fleet.commands import WAITING_AT_MOST, Action, Commands
from muster.fleet.model import MachineState, Program
from muster.fleet.registry import Registry
from muster.jobs.queue import Queue
from muster.server.auth import Role
from support.fleets import machine, register
from support.jobs import a_request, a_worker, take
from support.waiting import eventually

if TYPE_CHECKING:
    import httpx
    from fastapi import FastAPI
    from redis.asyncio import Redis

pytestmark = pytest.mark.anyio


@pytest.fixture
def registry(redis: Redis, queue_name: str) -> Registry:
    return Registry(redis, queue_name)


@pytest.fixture
def queue(redis: Redis, queue_name: str) -> Queue:
    return Queue(redis, queue_name)


async def test_a_snapshot_is_the_streams_first_message(
    http: httpx.AsyncClient, registry: Registry
) -> None:
    await register(registry, "gpu-1", "gpu-2")

    answer = await eventually(
        lambda: http.get("/v1/snapshot", params={"size": "20"}),
        "the hub has read it",
        until=lambda answer: answer.json()["order"] == ["gpu-1", "gpu-2"],
    )
    assert answer.json()["type"] == "snapshot"
    assert answer.json()["page"]["matched"] == 2

    again = await http.get("/v1/snapshot", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


async def test_lists_are_found_sorted_and_paged_as_the_stream_is(
    http: httpx.AsyncClient, registry: Registry
) -> None:
    await register(registry, *(f"gpu-{number}" for number in (1, 2, 10)))
    await registry.report_machine(machine("gpu-2", state=MachineState.DEGRADED))

    async def names(**params: str | int) -> list[str]:
        answer = await http.get("/v1/machines", params=params)
        return [found["machine_id"] for found in answer.json()["machines"]]

    assert await names(sort="id") == ["gpu-1", "gpu-2", "gpu-10"]
    assert await names(sort="-id", limit=2) == ["gpu-10", "gpu-2"]
    assert await names(page=2, limit=2) == ["gpu-10"]
    assert await names(sort="state", limit=1) == ["gpu-2"]
    assert await names(q="gpu-1") == ["gpu-1", "gpu-10"]
    assert await names(state="degraded") == ["gpu-2"]
    page = (await http.get("/v1/machines", params={"page": 2, "limit": 2})).json()
    assert (page["page"], page["pages"], page["total"], page["cursor"]) == (2, 2, 3, None)


async def test_a_cursor_goes_through_all_that_is_found(
    http: httpx.AsyncClient, registry: Registry
) -> None:
    await register(registry, "x1", "x2", "x3", "y1")
    seen, cursor = [], None
    while True:
        params = {"q": "x", "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await http.get("/v1/workers", params=params)).json()
        seen += [worker["worker_id"] for worker in page["workers"]]
        cursor = page["cursor"]
        if cursor is None:
            break

    assert seen == ["x1-worker-0", "x2-worker-0", "x3-worker-0"]


@pytest.mark.parametrize(
    "params",
    [{"cursor": "a", "page": "2"}, {"state": "fine"}, {"sort": "colour"}, {"page": "0"}],
)
async def test_a_list_that_cannot_be_made_is_refused(
    http: httpx.AsyncClient, params: dict[str, str]
) -> None:
    assert (await http.get("/v1/machines", params=params)).status_code == 422


@pytest.mark.parametrize("path", ["/v1/stream", "/v1/snapshot"])
async def test_a_view_that_cannot_be_shown_is_refused(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, params={"size": "1000"})

    assert answer.status_code == 422
    assert "20, 50 or 100" in answer.json()["detail"]


async def test_the_log_is_read_entry_by_entry(http: httpx.AsyncClient, queue: Queue) -> None:
    jobs = [(await queue.submit(a_request())).id for _ in range(3)]

    first = (await http.get("/v1/events", params={"limit": 2})).json()
    rest = (await http.get("/v1/events", params={"after": first["cursor"]})).json()

    assert [event["job"] for event in first["events"] + rest["events"]] == jobs
    assert not first["missed"]
    assert not rest["missed"]
    end = (await http.get("/v1/events", params={"after": rest["cursor"]})).json()
    assert end == {"events": [], "cursor": rest["cursor"], "missed": False}


async def test_a_gap_in_the_log_is_said(
    http: httpx.AsyncClient, queue: Queue, redis: Redis
) -> None:
    for _ in range(3):
        await queue.submit(a_request())
    first = (await http.get("/v1/events", params={"limit": 1})).json()
    await redis.xtrim(queue.key("events"), maxlen=1, approximate=False)

    rest = (await http.get("/v1/events", params={"after": first["cursor"]})).json()

    assert rest["missed"]
    assert len(rest["events"]) == 1


async def test_the_story_of_a_job(http: httpx.AsyncClient, queue: Queue, redis: Redis) -> None:
    worker = await a_worker(queue)
    job = (await queue.submit(a_request())).id
    other = (await queue.submit(a_request())).id
    await take(worker)
    await queue.cancel(job)

    story = (await http.get(f"/v1/jobs/{job}/events")).json()

    assert [event["state"] for event in story["events"]] == ["pending", "running", "cancelled"]
    assert story["complete"]
    await redis.xtrim(queue.key("events"), maxlen=1, approximate=False)
    assert not (await http.get(f"/v1/jobs/{other}/events")).json()["complete"]
    assert (await http.get("/v1/jobs/none/events")).status_code == 404


async def test_metrics_tell_of_queue_and_monitor(
    http: httpx.AsyncClient, queue: Queue, anonymous: httpx.AsyncClient, app: FastAPI
) -> None:
    await queue.submit(a_request())

    answer = await eventually(
        lambda: http.get("/metrics"),
        "the job is counted",
        until=lambda answer: 'muster_jobs{state="pending"} 1.0' in answer.text,
    )
    for name in ("viewers", "queued_frames", "evictions_total", "resyncs_total", "lag_seconds_sum"):
        assert f"muster_monitor_{name}" in answer.text
    assert (await anonymous.get("/metrics")).status_code == 401
    app.state.settings = app.state.settings.model_copy(update={"metrics_open": True})
    assert (await anonymous.get("/metrics")).status_code == 200


async def test_a_command_waits_for_its_machine(http: httpx.AsyncClient, registry: Registry) -> None:
    program = Program(name="worker-gpu0", kind="worker", gpu=0, state="RUNNING")
    await registry.register_machine(machine("a", programs=[program]))

    drained = await http.post("/v1/machines/a/drain")
    await http.post("/v1/machines/a/programs/worker-gpu0/restart")

    assert drained.status_code == 202
    taken = await Commands(registry).take("a", "a")
    assert [(c.action, c.program, c.by) for c in taken] == [
        (Action.DRAIN, "", f"{Role.OPERATE}-token"),
        (Action.RESTART, "worker-gpu0", f"{Role.OPERATE}-token"),
    ]
    assert drained.json()["id"] == taken[0].id
    assert await Commands(registry).take("a", "a") == []


async def test_a_command_is_not_obeyed_by_a_later_start_of_the_machine(
    http: httpx.AsyncClient, registry: Registry
) -> None:
    await registry.register_machine(machine("a"))
    await http.post("/v1/machines/a/drain")

    assert await Commands(registry).take("a", "another") == []


async def test_a_command_that_a_newer_server_knows_is_passed_over(
    http: httpx.AsyncClient, registry: Registry
) -> None:
    await registry.register_machine(machine("a"))
    newer = b'{"machine_id":"a","incarnation":"a","action":"polish"}'
    await registry.redis.rpush(f"{registry.root}:commands:a", newer)
    await http.post("/v1/machines/a/drain")

    taken = await Commands(registry).take("a", "a")

    assert [command.action for command in taken] == [Action.DRAIN]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/machines/none/drain", 404),
        ("/v1/machines/a/programs/none/restart", 404),
        ("/v1/machines/gone/undrain", 409),
    ],
)
async def test_a_command_that_nobody_can_obey_is_refused(
    http: httpx.AsyncClient, registry: Registry, path: str, status: int
) -> None:
    await registry.register_machine(machine("a"))
    await registry.register_machine(machine("gone"))
    await registry.leave_machine(machine("gone"))

    assert (await http.post(path)).status_code == status


async def test_commands_do_not_pile_up(http: httpx.AsyncClient, registry: Registry) -> None:
    await registry.register_machine(machine("a"))
    for _ in range(WAITING_AT_MOST):
        assert (await http.post("/v1/machines/a/drain")).status_code == 202

    assert (await http.post("/v1/machines/a/drain")).status_code == 409
