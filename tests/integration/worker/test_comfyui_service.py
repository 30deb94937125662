"""The ComfyUI connector and a service that is a real process: it dies, returns, loses sockets."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from muster.artifacts import ArtifactStore
from muster.simulation.comfyui.workflow import text_to_image
from muster.worker.connectors.base import JobFailed, ServiceNotReady
from support.comfyui import AttemptContext
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Service
    from muster.worker.connectors.comfyui import ComfyUI


@pytest.fixture
def context(tmp_path: Path) -> AttemptContext:
    store = ArtifactStore(f"file://{tmp_path}/artifacts")
    return AttemptContext({"prompt": text_to_image(steps=100)}, artifacts=store)


async def sampling(context: AttemptContext) -> None:
    """Wait until the sampler has reported a step."""
    await eventually(
        lambda: any("KSampler " in message for _, message in context.told), "the sampler steps"
    )


async def failure(running: asyncio.Task[Any]) -> tuple[JobFailed, float]:
    """Return why a job failed and how long that took from now."""
    started = time.monotonic()
    with pytest.raises(JobFailed) as caught:
        await asyncio.wait_for(running, 15)
    return caught.value, time.monotonic() - started


@pytest.mark.anyio
async def test_a_job_runs_over_tcp_and_its_image_is_in_the_folder(
    connector: ComfyUI, context: AttemptContext, tmp_path: Path
) -> None:
    context.payload["prompt"] = text_to_image(steps=2)

    result = await connector.run(context)

    image = result["outputs"]["9"]["images"][0]
    stored = tmp_path / "artifacts" / context.job_id / "1" / "9" / image["filename"]
    assert stored.read_bytes() == (tmp_path / "comfyui/output" / image["filename"]).read_bytes()


@pytest.mark.anyio
async def test_a_service_that_is_killed_fails_its_job_within_seconds(
    connector: ComfyUI, context: AttemptContext, service: Service
) -> None:
    running = asyncio.create_task(connector.run(context))
    await sampling(context)

    service.send(signal.SIGKILL)

    failed, seconds = await failure(running)
    assert failed.error.kind == "service_lost"
    assert failed.retryable
    assert seconds < 8
    with pytest.raises(ServiceNotReady):
        await connector.run(context)


@pytest.mark.anyio
async def test_a_service_that_is_killed_and_restarted_fails_its_job_and_takes_the_next(
    connector: ComfyUI, context: AttemptContext, service: Service
) -> None:
    running = asyncio.create_task(connector.run(context))
    await sampling(context)

    service.send(signal.SIGKILL)
    await asyncio.to_thread(service.start)

    failed, seconds = await failure(running)
    assert failed.error.kind == "service_lost"
    assert seconds < 8
    context.payload["prompt"] = text_to_image(steps=2)
    assert (await connector.run(context))["outputs"]


@pytest.mark.anyio
async def test_a_service_that_dies_by_itself_is_noticed(
    connector: ComfyUI, context: AttemptContext, service: Service
) -> None:
    service.arm("die=3")

    failed, _ = await failure(asyncio.create_task(connector.run(context)))

    assert failed.error.kind == "service_lost"


@pytest.mark.anyio
async def test_a_socket_that_drops_in_the_middle_does_not_lose_the_result(
    connector: ComfyUI, context: AttemptContext, service: Service
) -> None:
    service.arm("drop=10")

    result = await connector.run(context)

    assert len(result["outputs"]["9"]["images"]) == 1


@pytest.mark.anyio
async def test_a_service_that_stalls_for_a_while_does_not_lose_the_result(
    connector: ComfyUI, context: AttemptContext, service: Service
) -> None:
    running = asyncio.create_task(connector.run(context))
    await sampling(context)

    with service.frozen():
        await asyncio.wait({running}, timeout=3)
        assert not running.done()

    assert (await running)["outputs"]


@pytest.mark.anyio
async def test_a_service_that_is_frozen_for_good_fails_its_job(
    connector: ComfyUI,
    context: AttemptContext,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connector._api._http, "timeout", httpx.Timeout(1))
    running = asyncio.create_task(connector.run(context))
    await sampling(context)

    with service.frozen():
        failed, _ = await failure(running)

    assert failed.error.kind == "service_lost"


@pytest.mark.anyio
async def test_a_cancelled_job_frees_the_service(
    connector: ComfyUI, context: AttemptContext, service: Service
) -> None:
    running = asyncio.create_task(connector.run(context))
    await sampling(context)

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert service.get("/queue") == {"queue_running": [], "queue_pending": []}


def test_sigterm_ends_the_simulator_at_once(service: Service) -> None:
    httpx.post(f"{service.url}/prompt", json={"prompt": text_to_image(steps=1000)}, trust_env=False)
    started = time.monotonic()

    code = service.send(signal.SIGTERM)

    assert time.monotonic() - started < 1
    assert code != 0


def test_ctrl_c_ends_the_simulator_well(service: Service) -> None:
    assert service.send(signal.SIGINT) == 0


def test_the_simulator_forgets_its_history_when_it_is_killed(service: Service) -> None:
    service.arm("silent")
    service.send(signal.SIGKILL)

    service.start()

    assert service.get("/history") == {}
    assert service.get("/simulation/faults") == {"faults": []}


def test_options_reach_the_simulator(make_service: Any) -> None:
    service = make_service("--gpu", "3", "--fault", "raise=KSampler*1", "--checkpoint", "a.ckpt")

    assert service.get("/simulation")["gpu"] == 3
    assert service.get("/simulation/faults") == {"faults": ["raise=KSampler*1"]}
    info = service.get("/object_info/CheckpointLoaderSimple")["CheckpointLoaderSimple"]
    assert info["input"]["required"]["ckpt_name"][0] == ["a.ckpt"]
