"""Each fault does what it says, as often as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from muster.errors import InvalidInput
from muster.simulation.comfyui.__main__ import main
from muster.simulation.comfyui.faults import Faults, Kind, parse
from muster.simulation.comfyui.workflow import text_to_image

if TYPE_CHECKING:
    from conftest import Client
    from support.comfyui import Simulator


@pytest.mark.parametrize(
    "text",
    ["raise=KSampler", "hang=VAEDecode*2", "slow=2.5", "drop=3*1", "silent", "refuse*1", "die=1"],
)
def test_a_fault_reads_as_it_is_written(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "explode", "raise", "raise=", "silent=1", "drop=soon", "drop=0", "slow=x", "die=1*0"],
)
def test_a_fault_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^fault: .* Use "):
        parse(text)


def test_a_fault_fires_as_often_as_it_was_armed_for() -> None:
    faults = Faults()
    faults.arm(parse("raise=KSampler*2"))

    assert not faults.fires(Kind.RAISE, "VAEDecode")
    assert [faults.fires(Kind.RAISE, "KSampler") for _ in range(3)] == [True, True, False]


def test_a_fault_without_a_number_fires_for_good() -> None:
    faults = Faults()
    faults.arm(parse("slow=3"))

    assert [faults.slowdown() for _ in range(3)] == [3.0, 3.0, 3.0]


def test_a_bad_fault_ends_the_simulator_with_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--fault", "explode"]) == 2
    assert "fault: 'explode' is not a fault. Use" in capsys.readouterr().err


def test_help_lists_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    told = capsys.readouterr().out
    assert all(f"  {kind}" in told for kind in Kind)


@pytest.mark.anyio
async def test_faults_are_armed_and_disarmed_over_http(client: Client) -> None:
    path = "/simulation/faults"

    armed = await client.http.post(path, json={"fault": "silent*1"})
    refused = await client.http.post(path, json={"fault": "explode"})
    shown = await client.http.get(path)
    disarmed = await client.http.delete(path)

    assert armed.json() == shown.json() == {"faults": ["silent*1"]}
    assert refused.status_code == 422
    assert "'explode' is not a fault" in refused.json()["error"]
    assert disarmed.json() == {"faults": []}


@pytest.mark.anyio
async def test_a_node_that_raises_ends_the_prompt_and_the_next_one_runs(
    client: Client, comfyui: Simulator
) -> None:
    comfyui.arm("raise=KSampler*1")

    failed = await client.submit(text_to_image())
    await client.frames()
    worked = await client.submit(text_to_image())
    await client.frames()

    status = (await client.record(failed))["status"]
    event, data = status["messages"][-1]
    assert (status["status_str"], event) == ("error", "execution_error")
    assert data["exception_type"] == "RuntimeError"
    assert data["exception_message"] == "simulated failure of KSampler"
    assert (data["node_id"], data["node_type"]) == ("3", "KSampler")
    assert set(data["executed"]) == {"4", "5", "6", "7"}
    assert data["traceback"]
    assert (await client.record(worked))["status"]["status_str"] == "success"


@pytest.mark.anyio
async def test_dropped_sockets_do_not_stop_the_run(client: Client, comfyui: Simulator) -> None:
    comfyui.arm("drop=2")

    prompt_id = await client.submit(text_to_image())

    with pytest.raises(ConnectionClosed):
        await client.frames()
    await comfyui.idle()
    assert (await client.record(prompt_id))["status"]["status_str"] == "success"


@pytest.mark.anyio
async def test_a_silent_run_sends_only_status(client: Client, comfyui: Simulator) -> None:
    comfyui.arm("silent")
    await client.submit(text_to_image())
    await comfyui.idle()

    await client.socket.close()

    assert all('"status"' in str(message) for message in [m async for m in client.socket])


@pytest.mark.anyio
async def test_a_new_socket_can_be_refused(comfyui: Simulator) -> None:
    comfyui.arm("refuse*1")

    with pytest.raises(InvalidStatus):
        async with comfyui.socket():
            pass
    async with comfyui.socket() as second:
        assert '"status"' in str(await second.recv())


@pytest.mark.anyio
async def test_a_forgetful_one_looks_as_after_a_restart(client: Client, comfyui: Simulator) -> None:
    done = await client.submit(text_to_image(seed=1))
    await client.frames()
    comfyui.arm("forget=1*1")
    lost = await client.submit(text_to_image(seed=2))

    with pytest.raises(ConnectionClosed):
        await client.frames()

    await comfyui.idle()
    assert [await client.record(prompt_id) for prompt_id in (done, lost)] == [{}, {}]
    assert (await client.http.get("/history")).json() == {}


@pytest.mark.anyio
async def test_it_tells_what_it_is_and_did(client: Client) -> None:
    await client.submit(text_to_image())
    await client.frames()

    told = (await client.http.get("/simulation")).json()

    assert (told["gpu"], told["executed"]) == (0, 1)
