"""The monitor as viewers meet it: a server process, streams over TCP, many machines."""

from __future__ import annotations

import json
import signal
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from muster.fleet.model import MachineState, WorkerState
from muster.fleet.registry import Registry
from muster.jobs.queue import Queue
from muster.server.monitor.viewer import BLOCKED_S
from support.fleets import beating, machine, register, worker
from support.jobs import a_request, a_worker, take
from support.screen import watching
from support.server_process import serving
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from redis.asyncio import Redis

    from support.server_process import Server

pytestmark = pytest.mark.anyio

MACHINES = [f"gpu-{number}" for number in range(1, 46)]


@pytest.fixture
async def registry(redis: Redis, queue_name: str) -> AsyncIterator[Registry]:
    registry = Registry(redis, queue_name)
    async with beating(registry):
        yield registry


@pytest.fixture
def queue(redis: Redis, queue_name: str) -> Queue:
    return Queue(redis, queue_name)


@pytest.fixture
async def viewer(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(server) as viewer:
        yield viewer


def client_of(server: Server) -> httpx.AsyncClient:
    """Return an async client that shows the token."""
    return httpx.AsyncClient(
        base_url=server.url,
        headers={"Authorization": f"Bearer {server.token}"},
        trust_env=False,
        timeout=30,
        limits=httpx.Limits(max_connections=200),
    )


async def metric(viewer: httpx.AsyncClient, name: str) -> float:
    lines = (await viewer.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def knows(viewer: httpx.AsyncClient, count: int) -> None:
    await eventually(
        lambda: viewer.get("/v1/snapshot"),
        f"the server knows {count} machines",
        until=lambda answer: answer.json()["page"]["matched"] == count,
    )


@pytest.mark.failure(2)
async def test_should_support_pagination_for_machine_lists(
    viewer: httpx.AsyncClient, registry: Registry
) -> None:
    await register(registry, *MACHINES)
    await knows(viewer, len(MACHINES))
    pages = []

    for number in (1, 2, 3):
        async with watching(viewer, page=str(number), size="20") as screen:
            await screen.until(
                lambda document: document["fleet"]["machines"]["total"] == len(MACHINES),
                "totals, which follow at the next tick, are of all",
            )
        listed = (await viewer.get("/v1/machines", params={"page": number, "limit": 20})).json()
        assert [found["machine_id"] for found in listed["machines"]] == screen.document["order"]
        assert screen.document["page"]["pages"] == listed["pages"] == 3
        pages.append(screen)

    assert [name for page in pages for name in page.document["order"]] == MACHINES
    for page in pages:
        assert len(page.document["machines"]) <= 20
        assert set(page.document["workers"]) == {f"{n}-worker-0" for n in page.document["order"]}
        assert max(len(json.dumps(message)) for message in page.messages) < 20_000


@pytest.mark.failure(2)
async def test_should_support_selective_machine_monitoring(
    viewer: httpx.AsyncClient, registry: Registry
) -> None:
    await register(registry, *MACHINES)
    await knows(viewer, len(MACHINES))

    async with (
        watching(viewer, machines="gpu-7,gpu-30") as some,
        watching(viewer, machine="gpu-9") as one,
    ):
        await some.hears("snapshot")
        await one.hears("snapshot")
        for name in ("gpu-1", "gpu-7", "gpu-9", "gpu-30"):
            await registry.report_machine(machine(name, state=MachineState.DEGRADED))
        await some.until(
            lambda document: {m["state"] for m in document["machines"].values()} == {"degraded"},
            "both changed",
        )
        await one.until(
            lambda document: document["machines"]["gpu-9"]["state"] == "degraded", "it changed"
        )
        await one.until(
            lambda document: document["fleet"]["machines"]["degraded"] == 4, "totals are of all"
        )

    assert some.document["order"] == ["gpu-7", "gpu-30"]
    assert set(some.document["machines"]) == {"gpu-7", "gpu-30"}
    for screen, others in ((some, {"gpu-1", "gpu-9"}), (one, {"gpu-1", "gpu-7", "gpu-30"})):
        told = {name for delta in screen.of("delta") for name in delta.get("machines", {})}
        assert not told & others


@pytest.mark.failure(2)
async def test_paging_keeps_the_live_state(
    viewer: httpx.AsyncClient, registry: Registry, queue: Queue
) -> None:
    await register(registry, *MACHINES)
    await registry.report_worker(worker("gpu-25", state=WorkerState.BUSY))
    leases = await a_worker(queue, "gpu-25-worker-0")
    job = (await queue.submit(a_request())).id
    await take(leases)
    await knows(viewer, len(MACHINES))

    for _ in range(2):  # there, away, and back again
        async with watching(viewer, page="1") as first:
            await first.hears("snapshot")
        async with watching(viewer, page="2") as second:
            await second.until(
                lambda document: document["jobs"][job]["worker"] == "gpu-25-worker-0", "it runs"
            )
            assert second.document["workers"]["gpu-25-worker-0"]["state"] == "busy"


async def test_a_stream_is_read_by_every_proxy_and_asks_nothing(
    viewer: httpx.AsyncClient, registry: Registry
) -> None:
    await register(registry, "gpu-1")
    async with viewer.stream("GET", "/v1/stream") as stream:
        assert stream.headers["Cache-Control"] == "no-store"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert stream.headers["Content-Encoding"] == "gzip"
        first = await anext(stream.aiter_bytes())
        assert first.startswith(b":")
        assert b"retry: 500\n" in first
    plain = {"Accept-Encoding": "gzip;q=0"}
    async with viewer.stream("GET", "/v1/stream", headers=plain) as stream:
        assert "Content-Encoding" not in stream.headers
    await eventually(
        lambda: metric(viewer, "muster_monitor_viewers"),
        "those that left are not counted",
        until=lambda count: count == 0,
    )


async def test_one_too_many_is_told_so_by_a_message_and_not_a_503(
    tmp_path: Path, redis_url: str, queue_name: str
) -> None:
    with serving(tmp_path, redis_url, queue_name, MUSTER_VIEWERS_PER_USER="1") as server:
        async with client_of(server) as viewer, watching(viewer) as screen:
            await screen.hears("snapshot")
            async with watching(viewer) as second:
                busy = await second.hears("busy")
                await eventually(lambda: second.ended, "the stream ends")

            assert busy["reason"] == "user"
            assert second.retry_ms == busy["retry_s"] * 1000
            assert not screen.ended


@pytest.mark.failure(2)
async def test_stalled_readers_are_cut_off_and_delay_nobody(
    server: Server, viewer: httpx.AsyncClient, registry: Registry
) -> None:
    names = [f"gpu-{number}" for number in range(1, 101)]
    await register(registry, *names)
    await knows(viewer, len(names))
    stalled = [stalled_reader(server, "/v1/stream?size=100") for _ in range(3)]
    try:
        async with watching(viewer, machine="gpu-1") as screen:
            await screen.hears("snapshot")
            round_ = 0

            async def evictions() -> float:
                nonlocal round_
                round_ += 1
                reasons = [f"{round_} {'x' * 300}"]
                for name in names:
                    await registry.report_machine(machine(name, reasons=reasons))
                await screen.until(
                    lambda document: document["machines"]["gpu-1"]["reasons"] == reasons,
                    "the others are live",
                    timeout_s=3,
                )
                return await metric(viewer, "muster_monitor_evictions_total")

            await eventually(
                evictions, "all are cut off", until=lambda n: n == 3, timeout_s=BLOCKED_S + 20
            )
            await eventually(
                lambda: metric(viewer, "muster_monitor_viewers"),
                "one viewer is left",
                until=lambda count: count == 1,
            )
            assert not screen.ended
    finally:
        for connection in stalled:
            connection.close()


def stalled_reader(server: Server, path: str) -> socket.socket:
    """Open a stream and never read from it."""
    address = urlsplit(server.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((address.hostname, address.port))
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {server.token}\r\n\r\n".encode()
    )
    return connection


@pytest.mark.failure(2)
async def test_the_next_server_goes_on_where_the_last_one_ended(
    tmp_path: Path, redis_url: str, queue_name: str, registry: Registry, queue: Queue
) -> None:
    await register(registry, "gpu-1")
    leases = await a_worker(queue, "gpu-1-worker-0")
    with serving(tmp_path / "one", redis_url, queue_name) as server:
        async with client_of(server) as viewer, watching(viewer, machine="gpu-1") as screen:
            job = (await queue.submit(a_request())).id
            await take(leases)
            await screen.hears("events")
            server.process.send_signal(signal.SIGTERM)
            assert (await screen.hears("bye"))["reason"] == "shutdown"
            await eventually(lambda: screen.ended, "the stream ends")
    last = screen.last_id

    await queue.cancel(job)

    with serving(tmp_path / "two", redis_url, queue_name) as server:
        async with (
            client_of(server) as viewer,
            watching(viewer, machine="gpu-1", last=last) as back,
        ):
            events = (await back.hears("events"))["events"]
    assert back.of("hello")[0]["resumed"] is True
    assert [event["state"] for event in events] == ["cancelled"]
    assert back.document["jobs"] == {}


async def test_a_log_that_was_trimmed_meanwhile_is_said_to_be_missed(
    tmp_path: Path, redis_url: str, queue_name: str, redis: Redis, queue: Queue
) -> None:
    await queue.submit(a_request())
    with serving(tmp_path / "one", redis_url, queue_name) as server:
        async with client_of(server) as viewer, watching(viewer) as screen:
            await screen.hears("snapshot")
    for _ in range(3):
        await queue.submit(a_request())
    await redis.xtrim(queue.key("events"), maxlen=1, approximate=False)

    with serving(tmp_path / "two", redis_url, queue_name) as server:
        headers = {"Last-Event-ID": screen.last_id}
        async with client_of(server) as viewer, watching(viewer, headers) as back:
            await back.until(
                lambda document: document["fleet"]["jobs"]["pending"] == 4, "the state is right"
            )
    assert back.of("hello")[0]["missed"] == "trimmed"


async def test_a_browser_watches_with_its_cookie(server: Server, registry: Registry) -> None:
    await register(registry, "gpu-1")
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as browser:
        assert (await browser.get("/v1/stream")).status_code == 401
        signed_in = await browser.post("/v1/session", json={"token": server.token})
        assert signed_in.status_code == 200

        async with watching(browser, machine="gpu-1") as screen:
            await screen.until(lambda document: "gpu-1" in document["machines"], "it is shown")
        refused = await browser.post("/v1/queue/pause", headers={"Origin": "http://evil.example"})
        assert refused.status_code == 403
