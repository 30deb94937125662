"""Input files: from where they may come, and how they reach the graph."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from muster.simulation.comfyui.png import make_png
from muster.worker.connectors.base import JobFailed
from muster.worker.connectors.comfyui import inputs
from support.comfyui import AttemptContext

if TYPE_CHECKING:
    from muster.worker.connectors.comfyui import ComfyUI
    from support.comfyui import Simulator

pytestmark = pytest.mark.anyio

IMAGE = make_png("cat")
URL = "https://files.example/cat.png"


def a_job(url: str = URL, **file: str) -> AttemptContext:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "out"}},
    }
    return AttemptContext({"prompt": graph, "inputs": {"cat.png": {"url": url, **file}}})


async def failure(connector: ComfyUI, context: AttemptContext) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        await connector.run(context)
    return caught.value


async def output(connector: ComfyUI, context: AttemptContext) -> bytes:
    result = await connector.run(context)
    return await context.read(result["outputs"]["2"]["images"][0]["url"])


async def test_an_input_comes_from_the_artifact_store(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    context = a_job()
    artifact = await context.artifacts.put("uploads/cat.png", IMAGE)
    context.payload["inputs"]["cat.png"] = {"url": artifact.url, "sha256": artifact.sha256}

    assert await output(connector, context) == IMAGE
    assert [path.name for path in comfyui.folders.input.iterdir()] == ["0123456789abcdef-1-cat.png"]


@pytest.mark.parametrize("url", [URL, "https://cdn.example:8443/cat.png?signature=hunter2"])
async def test_an_input_comes_from_a_listed_host(
    connector: ComfyUI, web: dict[str, Any], url: str
) -> None:
    web[url] = lambda _: httpx.Response(200, content=IMAGE)

    assert await output(connector, a_job(url, sha256=hashlib.sha256(IMAGE).hexdigest())) == IMAGE


async def test_a_redirect_is_followed_to_a_listed_host(
    connector: ComfyUI, web: dict[str, Any]
) -> None:
    target = "https://cdn.example:8443/cat.png"
    web[URL] = lambda _: httpx.Response(302, headers={"location": target})
    web[target] = lambda _: httpx.Response(200, content=IMAGE)

    assert await output(connector, a_job()) == IMAGE


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/cat.png?token=hunter2",
        "https://files.example:8443/cat.png",
        "https://cdn.example/cat.png",
        "https://files.example.evil.example/cat.png",
        "https://user:hunter2@files.example/cat.png",
        "http://169.254.169.254/latest/meta-data",
        "ftp://files.example/cat.png",
        "file:///etc/passwd",
        "s3://bucket/cat.png",
        "cat.png",
        "https://files.example:port/cat.png",
        "https://[files.example/cat.png",
    ],
)
async def test_any_other_place_is_refused_before_anything_is_fetched(
    connector: ComfyUI, comfyui: Simulator, url: str
) -> None:
    failed = await failure(connector, a_job(url))

    assert failed.error.kind == "invalid_payload"
    assert failed.error.message.startswith("payload.inputs.cat.png: may not be fetched from")
    assert "hunter2" not in failed.error.message
    assert not failed.retryable
    assert list(comfyui.folders.input.iterdir()) == []


@pytest.mark.parametrize("target", ["http://169.254.169.254/", "file:///etc/passwd", "//evil/a"])
async def test_a_redirect_to_another_place_is_refused(
    connector: ComfyUI, web: dict[str, Any], target: str
) -> None:
    web[URL] = lambda _: httpx.Response(302, headers={"location": target})

    failed = await failure(connector, a_job())

    assert failed.error.kind == "invalid_payload"
    assert not failed.retryable


async def test_a_url_in_the_store_does_not_lead_out_of_it(connector: ComfyUI) -> None:
    failed = await failure(connector, a_job("memory:///../secret"))

    assert failed.error.kind == "invalid_payload"
    assert not failed.retryable


async def test_endless_redirects_end(connector: ComfyUI, web: dict[str, Any]) -> None:
    web[URL] = lambda _: httpx.Response(302, headers={"location": URL})

    failed = await failure(connector, a_job())

    assert (failed.error.kind, failed.retryable) == ("input_unavailable", False)


@pytest.mark.parametrize(
    ("status", "retryable"), [(404, False), (403, False), (429, True), (500, True), (503, True)]
)
async def test_a_host_that_refuses_is_told(
    connector: ComfyUI, web: dict[str, Any], status: int, *, retryable: bool
) -> None:
    web[URL] = lambda _: httpx.Response(status)

    failed = await failure(connector, a_job())

    assert failed.error.kind == "input_unavailable"
    assert f"https://files.example answered {status}" in failed.error.message
    assert failed.retryable is retryable


async def test_a_host_that_is_away_can_be_retried(connector: ComfyUI, web: dict[str, Any]) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route to host", request=request)

    web[URL] = away

    failed = await failure(connector, a_job())

    assert failed.error.kind == "input_unavailable"
    assert "no route to host" in failed.error.message
    assert failed.retryable


async def test_a_missing_artifact_is_told(connector: ComfyUI) -> None:
    failed = await failure(connector, a_job("memory:///uploads/missing.png"))

    assert failed.error.message == "payload.inputs.cat.png: is not in the artifact store"
    assert not failed.retryable


async def test_other_content_than_promised_is_refused(
    connector: ComfyUI, comfyui: Simulator, web: dict[str, Any]
) -> None:
    web[URL] = lambda _: httpx.Response(200, content=b"something else")

    failed = await failure(connector, a_job(sha256="0" * 64))

    assert (failed.error.kind, failed.retryable) == ("input_mismatch", False)
    assert list(comfyui.folders.input.iterdir()) == []


async def test_too_large_a_file_is_refused(
    connector: ComfyUI, web: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "MAX_BYTES", 10)
    web[URL] = lambda _: httpx.Response(200, content=b"x" * 11)

    failed = await failure(connector, a_job())

    assert failed.error.message == "payload.inputs.cat.png: is larger than 10 bytes"
    assert not failed.retryable


async def test_a_file_that_is_no_image_fails_in_its_node(
    connector: ComfyUI, web: dict[str, Any]
) -> None:
    web[URL] = lambda _: httpx.Response(200, content=b"no image")

    failed = await failure(connector, a_job())

    assert failed.error.kind == "execution_error"
    assert failed.error.details["node_type"] == "LoadImage"
