"""The ComfyUI connector against the simulator: good runs, each trap, each way to fail."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from muster.artifacts import ArtifactsUnavailable
from muster.simulation.comfyui.workflow import text_to_image
from muster.worker.connectors.base import JobFailed, ServiceNotReady
from muster.worker.connectors.comfyui import ComfyUI, run
from muster.worker.connectors.comfyui.api import ComfyApi
from muster.worker.connectors.comfyui.inputs import Inputs
from support.comfyui import URL, AttemptContext
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import Meddler
    from support.comfyui import Simulator

pytestmark = pytest.mark.anyio


def a_job(**options: Any) -> AttemptContext:
    return AttemptContext({"prompt": text_to_image(**options)})


async def failure(connector: ComfyUI, context: AttemptContext) -> JobFailed:
    with pytest.raises(JobFailed) as caught:
        async with asyncio.timeout(10):
            await connector.run(context)
    return caught.value


async def sampling(comfyui: Simulator) -> None:
    """Wait until the sampler is at work, in a node that can be interrupted."""

    def node() -> str | None:
        current = comfyui.executor.current
        return current.node_id if current else None

    await eventually(node, "the sampler runs", until=lambda node_id: node_id == "3")


async def test_the_outputs_are_in_the_artifact_store_when_it_returns(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    context = a_job(images=2)

    result = await connector.run(context)

    assert result["prompt_id"] in comfyui.executor.prompts.history
    images = result["outputs"]["9"]["images"]
    for number, image in enumerate(images, start=1):
        name = f"ComfyUI_0000{number}_.png"
        content = (comfyui.folders.output / name).read_bytes()
        assert image == {
            "url": f"memory:///0123456789abcdef/1/9/{name}",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "filename": name,
            "type": "output",
        }
        assert await context.read(image["url"]) == content
    assert len(images) == 2


async def test_progress_goes_up_to_the_end(connector: ComfyUI) -> None:
    context = a_job(steps=5)

    await connector.run(context)

    fractions = [fraction for fraction, _ in context.told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(set(fractions)) > 7
    assert "KSampler 3/5" in [message for _, message in context.told]


async def test_texts_are_kept_subfolders_too_and_previews_are_not(connector: ComfyUI) -> None:
    context = a_job()
    context.payload["prompt"]["9"]["inputs"]["filename_prefix"] = "cats/big/cat"
    context.payload["prompt"]["10"] = {
        "class_type": "PreviewImage",
        "inputs": {"images": ["8", 0]},
    }
    context.payload["prompt"]["11"] = {"class_type": "PreviewAny", "inputs": {"source": ["6", 0]}}

    outputs = (await connector.run(context))["outputs"]

    assert set(outputs) == {"9", "11"}
    assert outputs["9"]["images"][0]["url"].endswith("/1/9/cats/big/cat_00001_.png")
    assert outputs["11"] == {"text": ["a lighthouse in a storm"]}


async def test_a_second_attempt_is_a_new_prompt_of_a_new_client(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    first = await connector.run(a_job(seed=1))
    second = await connector.run(a_job(seed=2))

    assert first["prompt_id"] != second["prompt_id"]
    records = comfyui.executor.prompts.history.values()
    assert len({record["prompt"][3]["client_id"] for record in records}) == 2


async def test_several_jobs_at_once_do_not_mix_their_results(connector: ComfyUI) -> None:
    contexts = [AttemptContext(a_job(seed=seed).payload, job_id=f"job{seed}") for seed in range(4)]

    results = await asyncio.gather(*(connector.run(context) for context in contexts))

    urls = [result["outputs"]["9"]["images"][0]["url"] for result in results]
    assert [url.split("/")[3] for url in urls] == ["job0", "job1", "job2", "job3"]
    assert len({result["outputs"]["9"]["images"][0]["sha256"] for result in results}) == 4


@pytest.mark.failure(17)
async def test_a_cached_result_does_not_hang_and_is_stored_anew(connector: ComfyUI) -> None:
    first = a_job(seed=7)
    again = AttemptContext(first.payload, job_id="another")

    old = (await connector.run(first))["outputs"]["9"]["images"][0]
    async with asyncio.timeout(1):
        new = (await connector.run(again))["outputs"]["9"]["images"][0]

    assert new["filename"] == old["filename"]
    assert new["url"] == "memory:///another/1/9/ComfyUI_00001_.png"
    assert await again.read(new["url"]) == await first.read(old["url"])


async def test_a_cached_result_whose_file_is_gone_is_told(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    await connector.run(a_job(seed=7))
    (comfyui.folders.output / "ComfyUI_00001_.png").unlink()

    failed = await failure(connector, a_job(seed=7))

    assert failed.error.kind == "output_missing"
    assert failed.error.details == {"node": "9", "filename": "ComfyUI_00001_.png"}
    assert failed.retryable


@pytest.mark.parametrize("fault", ["refuse*1", "drop=1*1", "drop=4*1", "silent*1"])
@pytest.mark.failure(17)
async def test_a_result_arrives_without_the_websocket(
    connector: ComfyUI, comfyui: Simulator, fault: str
) -> None:
    comfyui.arm(fault)

    async with asyncio.timeout(10):
        result = await connector.run(a_job())

    assert len(result["outputs"]["9"]["images"]) == 1


async def test_frames_of_others_do_not_hide_the_silence_of_ones_own(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    comfyui.arm("silent*1")
    running = asyncio.create_task(connector.run(a_job()))
    chatter = asyncio.create_task(_announce_for_ever(comfyui))

    async with asyncio.timeout(10):
        assert (await running)["outputs"]
    chatter.cancel()
    await asyncio.gather(chatter, return_exceptions=True)


async def _announce_for_ever(comfyui: Simulator) -> None:
    while True:
        comfyui.executor.announce()
        comfyui.executor.hub.send("crystools.monitor", [1, 2])  # type: ignore[arg-type]
        await asyncio.sleep(0.05)


async def test_the_history_is_read_only_when_it_is_written(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    comfyui.arm("slow=50")  # between execution_success and the history: 50 ms

    assert (await connector.run(a_job(steps=1)))["outputs"]


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({"1": {"class_type": "Nope"}}, "node Nope does not exist"),
        ({"1": {"class_type": "EmptyLatentImage"}}, "Prompt has no outputs"),
        ({"1": {"class_type": "SaveImage"}}, "Prompt outputs failed validation"),
    ],
)
@pytest.mark.failure(19)
async def test_a_graph_that_comfyui_refuses_fails_for_good(
    connector: ComfyUI, graph: dict[str, Any], message: str
) -> None:
    failed = await failure(connector, AttemptContext({"prompt": graph}))

    assert failed.error.kind == "prompt_refused"
    assert message in failed.error.message
    assert not failed.retryable


async def test_a_refusal_says_what_is_wrong_with_which_node(connector: ComfyUI) -> None:
    context = a_job()
    context.payload["prompt"]["4"]["inputs"]["ckpt_name"] = "missing.safetensors"

    failed = await failure(connector, context)

    node = failed.error.details["node_errors"]["4"]
    assert node["class_type"] == "CheckpointLoaderSimple"
    assert node["errors"][0]["type"] == "value_not_in_list"
    assert "missing.safetensors" in node["errors"][0]["details"]


async def test_a_graph_of_which_a_part_was_dropped_is_no_success_and_stops(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    context = a_job(steps=10_000)
    context.payload["prompt"]["10"] = {"class_type": "SaveImage", "inputs": {}}

    failed = await failure(connector, context)

    assert failed.error.kind == "prompt_refused"
    assert list(failed.error.details["node_errors"]) == ["10"]
    assert not failed.retryable
    assert comfyui.executor.prompts.remaining == 0
    assert comfyui.outputs() == []


@pytest.mark.failure(18)
async def test_an_error_in_a_node_can_be_retried_and_is_told_in_full(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    comfyui.arm("raise=KSampler*1")

    failed = await failure(connector, a_job())

    assert failed.retryable
    assert failed.error.kind == "execution_error"
    assert failed.error.message == (
        "RuntimeError in node 3 (KSampler): simulated failure of KSampler"
    )
    details = failed.error.details
    assert details["exception_type"] == "RuntimeError"
    assert details["exception_message"] == "simulated failure of KSampler"
    assert (details["node_id"], details["node_type"]) == ("3", "KSampler")
    assert 0 < len(details["traceback"]) <= 5
    assert (await connector.run(a_job()))["outputs"]


async def test_an_interrupt_by_somebody_else_is_not_an_error_of_the_node(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    running = asyncio.create_task(failure(connector, a_job(steps=10_000)))
    await sampling(comfyui)

    async with comfyui.client() as http:
        await http.post("/interrupt")

    failed = await running
    assert failed.error.kind == "interrupted"
    assert "node 3 (KSampler)" in failed.error.message
    assert failed.retryable


async def test_a_restart_in_the_middle_of_a_run_is_noticed_soon(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    comfyui.arm("forget=2*1")

    failed = await failure(connector, a_job())

    assert failed.error.kind == "service_lost"
    assert failed.lost
    assert failed.retryable


async def test_a_waiting_prompt_that_somebody_deletes_is_noticed_soon(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    first = asyncio.create_task(connector.run(a_job(steps=10_000)))
    await sampling(comfyui)
    second = asyncio.create_task(failure(connector, a_job(seed=2)))
    await eventually(lambda: comfyui.executor.prompts.pending, "the second one waits")

    comfyui.executor.prompts.pending.clear()

    assert (await second).error.kind == "service_lost"
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_cancelled_job_is_interrupted_before_it_lets_go(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    running = asyncio.create_task(connector.run(a_job(steps=10_000)))
    await sampling(comfyui)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert comfyui.executor.prompts.remaining == 0
    assert comfyui.outputs() == []


async def test_a_cancelled_job_that_waits_is_deleted_and_others_go_on(
    connector: ComfyUI, comfyui: Simulator
) -> None:
    first = asyncio.create_task(connector.run(a_job(steps=10_000)))
    await sampling(comfyui)
    second = asyncio.create_task(connector.run(a_job(seed=2)))
    await eventually(lambda: comfyui.executor.prompts.pending, "the second one waits")

    second.cancel()

    with pytest.raises(asyncio.CancelledError):
        await second
    assert comfyui.executor.prompts.remaining == 1
    assert not first.done()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_job_that_is_cancelled_while_it_is_submitted_does_not_run_on(
    connector: ComfyUI, comfyui: Simulator, meddler: Meddler
) -> None:
    delivered: list[asyncio.Task[httpx.Response]] = []

    async def deliver(body: bytes) -> httpx.Response:
        await asyncio.sleep(0.05)
        async with comfyui.client() as http:
            return await http.post("/prompt", content=body)

    async def on_its_way(request: httpx.Request) -> httpx.Response:
        # What was sent arrives, even if the sender no longer waits for the answer.
        delivered.append(asyncio.create_task(deliver(request.content)))
        return await asyncio.shield(delivered[0])

    meddler.on["/prompt"] = on_its_way
    running = asyncio.create_task(connector.run(a_job(steps=10_000)))
    await eventually(lambda: delivered, "the prompt is on its way")

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await delivered[0]).status_code == 200
    assert comfyui.executor.prompts.remaining == 0


async def test_a_run_that_ends_between_two_questions_is_not_taken_for_lost(
    connector: ComfyUI, comfyui: Simulator, meddler: Meddler
) -> None:
    comfyui.arm("refuse")

    async def only_when_over(_: httpx.Request) -> None:
        await comfyui.idle()

    meddler.on["/queue"] = only_when_over

    assert (await connector.run(a_job(steps=100)))["outputs"]


async def test_a_hiccup_of_the_network_does_not_lose_the_run(
    connector: ComfyUI, comfyui: Simulator, meddler: Meddler
) -> None:
    comfyui.arm("refuse")
    errors = [httpx.ConnectError("reset"), httpx.ReadTimeout("")]

    async def hiccup(_: httpx.Request) -> None:
        if errors:
            raise errors.pop()

    meddler.on["/history"] = hiccup

    assert (await connector.run(a_job()))["outputs"]
    assert not errors


async def test_a_service_that_stays_away_loses_its_job(
    connector: ComfyUI, comfyui: Simulator, meddler: Meddler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LOST_AFTER_S", 0.3)
    comfyui.arm("refuse")

    async def away(_: httpx.Request) -> None:
        raise httpx.ConnectError("connection refused")

    meddler.on.update(dict.fromkeys(("/history", "/queue", "/interrupt"), away))

    failed = await failure(connector, a_job())

    assert failed.error.kind == "service_lost"
    assert "connection refused" in failed.error.message
    assert failed.retryable


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(502), httpx.Response(200, text="<html>"), httpx.Response(200, json=[])],
)
async def test_an_answer_that_is_not_comfyuis_can_be_retried(
    connector: ComfyUI, meddler: Meddler, answer: httpx.Response
) -> None:
    async def proxy(_: httpx.Request) -> httpx.Response:
        return answer

    meddler.on["/prompt"] = proxy

    failed = await failure(connector, a_job())

    assert failed.error.kind == "service_error"
    assert "/prompt" in failed.error.message
    assert failed.retryable


async def test_a_refusal_without_a_reason_is_a_refusal_all_the_same(
    connector: ComfyUI, meddler: Meddler
) -> None:
    async def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(400, text="bad")

    meddler.on["/prompt"] = refuse

    failed = await failure(connector, a_job())

    assert (failed.error.kind, failed.retryable) == ("prompt_refused", False)


async def test_a_service_that_goes_away_while_files_are_read_can_be_retried(
    connector: ComfyUI, meddler: Meddler
) -> None:
    async def reset(_: httpx.Request) -> None:
        raise httpx.ReadError("connection reset")

    meddler.on["/view"] = reset

    failed = await failure(connector, a_job())

    assert failed.error.kind == "service_lost"
    assert "connection reset" in failed.error.message
    assert failed.retryable


@pytest.mark.parametrize("filename", ["../../evil.png", "a\\b.png", "evil\n.png"])
async def test_a_file_name_that_would_leave_its_folder_is_refused(
    connector: ComfyUI, comfyui: Simulator, meddler: Meddler, filename: str
) -> None:
    async def renamed(_: httpx.Request) -> None:
        for record in comfyui.executor.prompts.history.values():
            record["outputs"] = {"9": {"images": [{"filename": filename, "type": "output"}]}}

    meddler.on["/history"] = renamed

    failed = await failure(connector, a_job())

    assert (failed.error.kind, failed.retryable) == ("output_refused", False)


@pytest.mark.parametrize(
    "status",
    [
        None,
        {"status_str": "error", "completed": False, "messages": []},
        {"status_str": "Success", "completed": True, "messages": [["execution_success", {}]]},
        {"completed": True, "messages": [["execution_success", {}]]},
    ],
)
@pytest.mark.failure(18)
async def test_only_success_is_success(
    connector: ComfyUI, comfyui: Simulator, meddler: Meddler, status: Any
) -> None:
    async def restated(_: httpx.Request) -> None:
        for record in comfyui.executor.prompts.history.values():
            record["status"] = status

    meddler.on["/history"] = restated

    assert (await failure(connector, a_job())).error.kind == "execution_error"


async def test_a_node_that_cannot_be_stopped_does_not_hold_the_worker_for_ever(
    connector: ComfyUI, comfyui: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "STOP_S", 0.2)
    comfyui.arm("hang=KSampler")
    running = asyncio.create_task(connector.run(a_job()))
    await sampling(comfyui)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2):
            await running


async def test_it_is_ready_when_the_service_answers(connector: ComfyUI) -> None:
    await connector.ready()


async def test_a_service_that_is_not_there_takes_no_attempt(tmp_path: Any) -> None:
    transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "nobody.sock"))
    connector = ComfyUI(ComfyApi(URL, transport=transport), Inputs(frozenset()))

    with pytest.raises(ServiceNotReady, match="does not answer"):
        await connector.ready()
    with pytest.raises(ServiceNotReady):
        await connector.run(a_job())
    await connector.close()


async def test_a_storage_that_fails_can_be_retried(connector: ComfyUI) -> None:
    context = a_job()

    async def put(*_: object) -> None:
        raise ArtifactsUnavailable("the bucket is full")

    context.artifacts.put = put  # type: ignore[assignment,method-assign]

    failed = await failure(connector, context)

    assert (failed.error.kind, failed.error.message) == (
        "artifacts_unavailable",
        "the bucket is full",
    )
    assert failed.retryable
