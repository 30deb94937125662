"""The simulated ComfyUI speaks as the recorded one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from muster.simulation.comfyui.app import COMFYUI_VERSION
from muster.simulation.comfyui.workflow import text_to_image
from support.recorded import differences, recorded

if TYPE_CHECKING:
    import httpx
    from websockets.asyncio.client import ClientConnection

    from support.comfyui import Simulator

pytestmark = pytest.mark.anyio
REAL = recorded("comfyui", COMFYUI_VERSION)


async def _frames(socket: ClientConnection) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = []
    while not (frames and frames[-1]["type"] == "executing" and not frames[-1]["data"]["node"]):
        message = await socket.recv()
        if isinstance(message, str):
            frames.append(json.loads(message))
    return frames


async def _tell(comfyui: Simulator, story: str) -> list[dict[str, Any]]:
    """Run a prompt that ends as the story does, and return its frames."""
    async with comfyui.client() as http, comfyui.socket() as socket:
        if story == "error":
            comfyui.arm("raise=KSampler")
        if story == "interrupt":
            comfyui.arm("slow=1000")
        body = {"prompt": text_to_image(steps=2), "client_id": "me"}
        await http.post("/prompt", json=body)
        if story != "interrupt":
            return await _frames(socket)
        before = []
        while not before or before[-1]["type"] != "progress":
            if isinstance(message := await socket.recv(), str):
                before.append(json.loads(message))
        await http.post("/interrupt")
        return before + await _frames(socket)


@pytest.mark.parametrize("story", REAL["stories"])
async def test_a_story_begins_and_ends_as_recorded(comfyui: Simulator, story: str) -> None:
    frames = await _tell(comfyui, story)

    kinds = [frame["type"] for frame in frames if frame["type"] != "progress_state"]
    begins, ends = REAL["stories"][story]["begins"], REAL["stories"][story]["ends"]
    assert kinds[: len(begins)] == begins
    assert kinds[-len(ends) :] == ends


@pytest.mark.parametrize("story", REAL["stories"])
async def test_each_frame_has_the_recorded_fields(comfyui: Simulator, story: str) -> None:
    frames = await _tell(comfyui, story)

    unlike = [
        f"{frame['type']} {problem}"
        for frame in frames
        for problem in differences(frame["data"], REAL["frames"][frame["type"]])
    ]
    assert unlike == []


async def test_answers_have_the_recorded_fields(comfyui: Simulator) -> None:
    async with comfyui.client() as http, comfyui.socket() as socket:
        accepted = (await http.post("/prompt", json=_prompt())).json()
        await _frames(socket)
        record = (await http.get(f"/history/{accepted['prompt_id']}")).json()
        answers = {
            "POST /prompt 200": accepted,
            "GET /history 200": record[accepted["prompt_id"]],
            "GET /history 200 status": record[accepted["prompt_id"]]["status"],
            **{f"GET {path} 200": await _json(http, path) for path in _PATHS},
        }

    unlike = [
        f"{name} {problem}"
        for name, answer in answers.items()
        for problem in differences(answer, REAL["answers"][name])
    ]
    assert unlike == []


@pytest.mark.parametrize("kind", REAL["refusals"])
async def test_refusals_are_those_recorded(comfyui: Simulator, kind: str) -> None:
    async with comfyui.client() as http:
        answer = await http.post("/prompt", json=REAL["refusals"][kind])

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == kind
    assert differences(answer.json(), REAL["answers"]["POST /prompt 400"]) == []
    assert differences(answer.json()["error"], REAL["answers"]["POST /prompt 400 error"]) == []


_PATHS = ("/prompt", "/queue", "/system_stats", "/object_info/Nope")


def _prompt() -> dict[str, Any]:
    return {"prompt": text_to_image(steps=1), "client_id": "me"}


async def _json(http: httpx.AsyncClient, path: str) -> dict[str, Any]:
    answer = await http.get(path)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body
