"""What is refused before anything is done for a job."""

from __future__ import annotations

from typing import Any

import pytest

from muster.simulation.comfyui.workflow import text_to_image
from muster.worker.connectors.base import JobFailed
from muster.worker.connectors.comfyui.payload import parse, renamed

LOADS = {"1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}}}


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        ({}, "payload.prompt"),
        ({"prompt": {}}, "payload.prompt"),
        ({"prompt": []}, "payload.prompt"),
        ({"prompt": "a cat"}, "payload.prompt"),
        ({"prompt": {"1": {"inputs": {}}}}, "payload.prompt.1.class_type"),
        ({"prompt": {"1": "KSampler"}}, "payload.prompt.1"),
        ({"prompt": {"1": {"class_type": "A", "inputs": []}}}, "payload.prompt.1.inputs"),
        ({"prompt": {"../1": {"class_type": "A"}}}, "payload.prompt.../1"),
        ({"prompt": LOADS, "input": {}}, "payload.input"),
        ({"prompt": LOADS, "inputs": {"cat.png": {}}}, "payload.inputs.cat.png.url"),
        ({"prompt": LOADS, "inputs": {"cat.png": {"url": "x", "sha256": "y"}}}, "sha256"),
        ({"prompt": LOADS, "inputs": {"../cat.png": {"url": "x"}}}, "payload.inputs.../cat.png"),
        ({"prompt": LOADS, "inputs": {"a..png": {"url": "x"}}}, "payload.inputs.a..png"),
        ({"prompt": LOADS, "inputs": {"dog.png": {"url": "x"}}}, "no node uses dog.png"),
    ],
)
def test_a_bad_payload_fails_for_good_and_names_the_place(
    payload: dict[str, Any], place: str
) -> None:
    with pytest.raises(JobFailed) as caught:
        parse(payload)

    assert caught.value.error.kind == "invalid_payload"
    assert place in caught.value.error.message
    assert not caught.value.retryable


def test_a_good_payload_keeps_the_graph_as_it_is() -> None:
    graph = text_to_image()
    graph["9"]["_meta"] = {"title": "Save"}

    assert parse({"prompt": graph}).graph() == graph


def test_only_whole_input_values_are_renamed() -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "cat.png", "size": 3}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat.png", "clip": ["1", 0]}},
    }

    changed = renamed(graph, {"cat.png": "job-cat.png"})

    assert changed["1"]["inputs"] == {"image": "job-cat.png", "size": 3}
    assert changed["2"] == graph["2"]
    assert graph["1"]["inputs"]["image"] == "cat.png"
