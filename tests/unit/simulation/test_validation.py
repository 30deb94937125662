"""The simulator refuses what ComfyUI refuses, in the same words and shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from muster.simulation.comfyui.workflow import text_to_image

if TYPE_CHECKING:
    from conftest import Client
    from support.comfyui import Simulator

pytestmark = pytest.mark.anyio


def changed(node: str, **inputs: Any) -> dict[str, Any]:
    graph = text_to_image()
    graph[node]["inputs"].update(inputs)
    return graph


async def refusal(client: Client, body: Any) -> dict[str, Any]:
    answer = await client.http.post("/prompt", json=body)
    assert answer.status_code == 400
    refused: dict[str, Any] = answer.json()
    assert set(refused) == {"error", "node_errors"}
    assert set(refused["error"]) == {"type", "message", "details", "extra_info"}
    return refused


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "no_prompt"),
        ({"prompt": {}}, "prompt_no_outputs"),
        ({"prompt": {"1": {"class_type": "Nope", "inputs": {}}}}, "invalid_prompt"),
        ({"prompt": {"1": {"inputs": {}}}}, "invalid_prompt"),
        ({"prompt": {"9": {"class_type": "SaveImage"}}}, "prompt_outputs_failed_validation"),
    ],
)
async def test_a_bad_prompt_is_refused_by_type(client: Client, body: Any, kind: str) -> None:
    assert (await refusal(client, body))["error"]["type"] == kind


@pytest.mark.parametrize(
    ("graph", "node", "kind"),
    [
        (changed("3", steps=0), "3", "value_smaller_than_min"),
        (changed("3", cfg=101), "3", "value_bigger_than_max"),
        (changed("3", steps="many"), "3", "invalid_input_type"),
        (changed("3", sampler_name="magic"), "3", "value_not_in_list"),
        (changed("3", model=["4"]), "3", "bad_linked_input"),
        (changed("3", model=["6", 0]), "3", "return_type_mismatch"),
        (changed("3", model=["99", 0]), "3", "exception_during_validation"),
        (changed("3", model=["4", 7]), "3", "exception_during_validation"),
        (changed("3", latent_image=["3", 0]), "3", "exception_during_validation"),
        (changed("4", ckpt_name="missing.safetensors"), "4", "value_not_in_list"),
    ],
)
async def test_a_bad_input_is_told_by_node(
    client: Client, graph: dict[str, Any], node: str, kind: str
) -> None:
    errors = (await refusal(client, {"prompt": graph}))["node_errors"]

    assert [error["type"] for error in errors[node]["errors"]] == [kind]
    assert errors[node]["dependent_outputs"] == ["9"]
    assert errors[node]["class_type"] == graph[node]["class_type"]


async def test_an_image_that_was_not_uploaded_is_told(client: Client) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "../secret.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}},
    }

    errors = (await refusal(client, {"prompt": graph}))["node_errors"]

    assert errors["1"]["errors"][0]["type"] == "custom_validation_failed"


async def test_a_refused_prompt_sends_no_frame_and_is_not_queued(
    client: Client, comfyui: Simulator
) -> None:
    await refusal(client, {"prompt": changed("3", steps=0), "client_id": "me"})

    await client.socket.close()
    frames = [message async for message in client.socket]

    assert len(frames) == 1  # the one that greets
    assert comfyui.executor.executed == 0


async def test_a_bad_output_is_dropped_and_the_rest_runs(client: Client) -> None:
    graph = text_to_image()
    graph["10"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "bad"}}

    answer = (await client.http.post("/prompt", json={"prompt": graph, "client_id": "me"})).json()
    await client.frames()

    assert list(answer["node_errors"]) == ["10"]
    assert list((await client.record(answer["prompt_id"]))["outputs"]) == ["9"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"prompt": []}', b'{"prompt": {"1": 2}}'])
async def test_what_is_no_prompt_at_all_is_a_crash(client: Client, body: bytes) -> None:
    assert (await client.http.post("/prompt", content=body)).status_code == 500
