"""The simulator's frames and records are those that were measured with ComfyUI 0.3.64."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from muster.simulation.comfyui.workflow import text_to_image
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import Client
    from support.comfyui import Simulator

pytestmark = pytest.mark.anyio


def kinds(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in frames]


async def preview(client: Client) -> bytes:
    while isinstance(message := await client.socket.recv(), str):
        pass
    return message


async def test_a_prompt_tells_its_story_in_order(client: Client) -> None:
    await client.submit(text_to_image(steps=2))
    frames = await client.frames()

    story = [kind for kind in kinds(frames) if kind != "progress_state"]
    assert story[:5] == ["status", "status", "status", "execution_start", "execution_cached"]
    assert story[5:-3] == [
        *["executing"] * 5,
        "progress",
        "progress",
        "executing",
        "executing",
        "executed",
    ]
    assert story[-3:] == ["execution_success", "status", "executing"]
    assert frames[0]["data"]["sid"] == "me"


async def test_the_history_is_written_between_success_and_the_last_frame(
    client: Client, comfyui: Simulator
) -> None:
    comfyui.arm("slow=100")
    prompt_id = await client.submit(text_to_image(steps=1))

    await client.until("execution_success")
    assert await client.record(prompt_id) == {}

    await client.until("executing")
    record = await client.record(prompt_id)
    assert record["status"]["status_str"] == "success"
    assert record["status"]["completed"] is True
    assert [event for event, _ in record["status"]["messages"]] == [
        "execution_start",
        "execution_cached",
        "execution_success",
    ]
    assert record["prompt"][1:3] == [prompt_id, text_to_image(steps=1)]
    assert record["outputs"] == {
        "9": {
            "images": [{"filename": "ComfyUI_00001_.png", "subfolder": "", "type": "output"}],
        }
    }


async def test_the_same_prompt_again_is_cached_and_gives_the_old_file(
    client: Client, comfyui: Simulator
) -> None:
    first = await client.submit(text_to_image(seed=7))
    await client.frames()

    second = await client.submit(text_to_image(seed=7))
    frames = await client.frames()

    assert second != first
    assert (await client.record(second))["outputs"] == (await client.record(first))["outputs"]
    assert "progress" not in kinds(frames)
    assert comfyui.outputs() == ["ComfyUI_00001_.png"]


async def test_only_what_changed_runs_again(client: Client, comfyui: Simulator) -> None:
    await client.submit(text_to_image(seed=1))
    await client.frames()

    await client.submit(text_to_image(seed=2))
    cached = next(f for f in await client.frames() if f["type"] == "execution_cached")

    assert set(cached["data"]["nodes"]) == {"4", "5", "6", "7"}
    assert comfyui.outputs() == ["ComfyUI_00001_.png", "ComfyUI_00002_.png"]


async def test_the_cache_holds_only_the_latest_prompt(client: Client, comfyui: Simulator) -> None:
    for seed in (1, 2, 1):
        await client.submit(text_to_image(seed=seed))
        await client.frames()

    assert len(comfyui.outputs()) == 3


async def test_a_batch_makes_as_many_images(client: Client, comfyui: Simulator) -> None:
    await client.submit(text_to_image(images=3))
    await client.frames()

    contents = {path.read_bytes() for path in comfyui.folders.output.iterdir()}
    assert len(contents) == 3


async def test_a_prompt_id_that_the_client_gives_is_not_deduplicated(
    client: Client, comfyui: Simulator
) -> None:
    for seed in (1, 2):
        await client.submit(text_to_image(seed=seed), prompt_id="mine")
        await client.frames()

    assert (await client.record("mine"))["prompt"][2] == text_to_image(seed=2)
    assert len(comfyui.outputs()) == 2


async def test_the_same_id_and_number_answers_500_yet_runs(
    client: Client, comfyui: Simulator
) -> None:
    comfyui.arm("slow=50")
    await client.submit(text_to_image(seed=1))
    await client.until("progress")

    answers = [
        await client.http.post(
            "/prompt", json={"prompt": text_to_image(seed=seed), "prompt_id": "twin", "number": 5}
        )
        for seed in (2, 3)
    ]

    assert [answer.status_code for answer in answers] == [200, 500]
    await client.http.post("/interrupt")
    comfyui.executor.faults.disarm()
    await comfyui.idle()
    assert comfyui.executor.executed == 3


async def test_what_was_sent_to_the_front_runs_first(client: Client, comfyui: Simulator) -> None:
    comfyui.arm("slow=50*1")
    await client.submit(text_to_image(seed=1))
    await client.until("progress")
    await client.submit(text_to_image(seed=2), prompt_id="back")
    await client.submit(text_to_image(seed=3), prompt_id="front", front=True)

    queue = (await client.http.get("/queue")).json()

    assert [item[1] for item in queue["queue_pending"]] == ["front", "back"]
    assert len(queue["queue_running"]) == 1
    assert (await client.http.get("/prompt")).json() == {"exec_info": {"queue_remaining": 3}}


async def test_an_interrupt_is_recorded_as_an_error_with_its_own_last_message(
    client: Client, comfyui: Simulator
) -> None:
    prompt_id = await client.submit(text_to_image(steps=10_000))
    await client.until("progress")

    await client.http.post("/interrupt", json={"prompt_id": prompt_id})
    story = kinds(await client.frames())

    assert [kind for kind in story if kind != "progress_state"][-3:] == [
        "execution_interrupted",
        "status",
        "executing",
    ]
    status = (await client.record(prompt_id))["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)
    event, data = status["messages"][-1]
    assert (event, data["node_type"]) == ("execution_interrupted", "KSampler")


async def test_an_interrupt_of_another_prompt_is_ignored(client: Client) -> None:
    prompt_id = await client.submit(text_to_image(steps=20))
    await client.until("progress")

    answer = await client.http.post("/interrupt", json={"prompt_id": "another"})
    await client.frames()

    assert (answer.status_code, answer.content) == (200, b"")
    assert (await client.record(prompt_id))["status"]["status_str"] == "success"


async def test_a_waiting_prompt_can_be_deleted_and_a_running_one_not(
    client: Client, comfyui: Simulator
) -> None:
    running = await client.submit(text_to_image(steps=10_000))
    await client.until("progress")
    waiting = await client.submit(text_to_image(seed=2))

    answer = await client.http.post("/queue", json={"delete": [running, waiting]})

    assert (answer.status_code, answer.content) == (200, b"")
    assert comfyui.executor.prompts.remaining == 1
    assert await client.record(waiting) == {}


async def test_the_queue_can_be_cleared(client: Client, comfyui: Simulator) -> None:
    await client.submit(text_to_image(steps=10_000))
    await client.until("progress")
    await client.submit(text_to_image(seed=2))

    await client.http.post("/queue", json={"clear": True})

    assert comfyui.executor.prompts.remaining == 1


async def test_an_older_socket_of_the_same_client_silences_the_newer_when_it_closes(
    client: Client, comfyui: Simulator
) -> None:
    async with comfyui.socket() as newer:
        assert json.loads(await newer.recv())["type"] == "status"
        await client.socket.close()
        await eventually(
            lambda: not comfyui.executor.hub.connected("me"), "the old socket is unregistered"
        )
        await client.submit(text_to_image())
        await comfyui.idle()

        await newer.close()
        assert [message async for message in newer] == []


async def test_a_socket_that_joins_a_run_learns_the_node_without_a_prompt_id(
    client: Client, comfyui: Simulator
) -> None:
    await client.submit(text_to_image(steps=10_000))
    await client.until("progress")

    async with comfyui.socket() as second:
        frames = [json.loads(await second.recv()) for _ in range(2)]

    assert kinds(frames) == ["status", "executing"]
    assert frames[1]["data"] == {"node": "3"}


async def test_frames_go_only_to_the_client_that_submitted(
    client: Client, comfyui: Simulator
) -> None:
    async with comfyui.socket("ws://comfyui/ws?clientId=other") as other:
        await client.submit(text_to_image())
        await client.frames()
        await other.close()
        seen = [json.loads(message)["type"] async for message in other]

    assert set(seen) == {"status"}


async def test_previews_are_binary_and_name_their_node_to_those_that_asked(
    client: Client,
) -> None:
    await client.submit(text_to_image(seed=1, steps=1))
    plain = await preview(client)
    assert struct.unpack(">II", plain[:8]) == (1, 2)
    assert plain[8:].startswith(b"\x89PNG")

    await client.frames()
    flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
    await client.socket.send(json.dumps(flags))
    await client.until("feature_flags")
    prompt_id = await client.submit(text_to_image(seed=2, steps=1))
    frame = await preview(client)

    kind, length = struct.unpack(">II", frame[:8])
    assert kind == 4
    assert json.loads(frame[8 : 8 + length])["prompt_id"] == prompt_id
    assert frame[8 + length :].startswith(b"\x89PNG")


async def test_every_route_is_under_api_too(client: Client) -> None:
    await client.submit(text_to_image())
    await client.frames()

    for path in ("/prompt", "/queue", "/history", "/system_stats", "/object_info"):
        assert (await client.http.get(f"/api{path}")).json() == (await client.http.get(path)).json()


async def test_the_node_classes_are_described(client: Client) -> None:
    everything = (await client.http.get("/object_info")).json()
    one = (await client.http.get("/object_info/KSampler")).json()

    assert one == {"KSampler": everything["KSampler"]}
    assert one["KSampler"]["input"]["required"]["steps"][0] == "INT"
    assert (await client.http.get("/object_info/Nope")).json() == {}


async def test_files_are_shown_and_nothing_else(client: Client, comfyui: Simulator) -> None:
    (comfyui.folders.output.parent / "secret.png").write_bytes(b"secret")
    await client.submit(text_to_image())
    await client.frames()

    async def view(**query: str) -> int:
        return (await client.http.get("/view", params=query)).status_code

    found = await client.http.get("/view", params={"filename": "ComfyUI_00001_.png"})
    assert found.content == (comfyui.folders.output / "ComfyUI_00001_.png").read_bytes()
    assert await view(filename="missing.png") == 404
    assert await view(filename="../secret.png") == 400
    assert await view(filename="secret.png", subfolder="..") == 400
    assert await view(filename="/etc/passwd") == 400
    assert await view(filename="a.png", type="models") == 400
    assert await view() == 400


async def test_an_upload_gets_another_name_if_its_own_is_taken(
    client: Client, comfyui: Simulator
) -> None:
    async def upload(content: bytes, name: str = "a.png", **form: str) -> dict[str, str] | int:
        answer = await client.http.post(
            "/upload/image", files={"image": (name, content)}, data=form
        )
        return answer.json() if answer.status_code == 200 else answer.status_code

    assert await upload(b"1") == {"name": "a.png", "subfolder": "", "type": "input"}
    assert await upload(b"1") == {"name": "a.png", "subfolder": "", "type": "input"}
    assert await upload(b"2") == {"name": "a (1).png", "subfolder": "", "type": "input"}
    assert await upload(b"3", overwrite="true") == {
        "name": "a.png",
        "subfolder": "",
        "type": "input",
    }
    assert await upload(b"4", subfolder="b") == {"name": "a.png", "subfolder": "b", "type": "input"}
    assert (comfyui.folders.input / "a.png").read_bytes() == b"3"
    assert await upload(b"5", subfolder="../..") == 400
    assert await upload(b"5", "..") == 400
    assert (await client.http.post("/upload/image", data={"image": "text"})).status_code == 400


async def test_a_loaded_image_runs_again_when_its_content_changed(
    client: Client, comfyui: Simulator
) -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "b/c"}},
    }
    for content in (b"\x89PNG\r\n\x1a\n1", b"\x89PNG\r\n\x1a\n2"):
        (comfyui.folders.input / "a.png").write_bytes(content)
        await client.submit(graph)
        await client.frames()

    saved = [comfyui.folders.output / "b" / f"c_0000{n}_.png" for n in (1, 2)]
    assert [path.read_bytes()[-1:] for path in saved] == [b"1", b"2"]


async def test_nothing_is_saved_outside_the_output_folder(
    client: Client, comfyui: Simulator
) -> None:
    graph = text_to_image()
    graph["9"]["inputs"]["filename_prefix"] = "../../evil"

    prompt_id = await client.submit(graph)
    await client.frames()

    event, data = (await client.record(prompt_id))["status"]["messages"][-1]
    assert (event, data["node_id"]) == ("execution_error", "9")
    assert "outside the output folder" in data["exception_message"]
    assert comfyui.outputs() == []


async def test_previews_go_to_the_temp_folder_and_texts_are_no_files(client: Client) -> None:
    graph = text_to_image()
    graph["9"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    graph["10"] = {"class_type": "PreviewAny", "inputs": {"source": ["6", 0]}}

    prompt_id = await client.submit(graph)
    await client.frames()

    outputs = (await client.record(prompt_id))["outputs"]
    assert [image["type"] for image in outputs["9"]["images"]] == ["temp"]
    assert outputs["10"] == {"text": ["a lighthouse in a storm"]}


async def test_the_temp_folder_is_wiped_at_start(comfyui: Simulator, tmp_path: Any) -> None:
    from muster.simulation.comfyui.app import create_app
    from muster.simulation.comfyui.options import Folders, Options

    folders = Folders.under(tmp_path)
    folders.temp.mkdir()
    (folders.temp / "old.png").touch()
    (tmp_path / "kept.txt").touch()
    app = create_app(Options(folders=folders))

    async with app.router.lifespan_context(app):
        assert list(folders.temp.iterdir()) == []
        assert (tmp_path / "kept.txt").exists()
