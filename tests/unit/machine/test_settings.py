from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from muster.machine.settings import MachineSettings

    Load = Callable[..., MachineSettings]


@pytest.mark.failure(1)
def test_reads_machine_id_from_environment(load: Load) -> None:
    assert load(MACHINE_ID="box-7").machine_id == "box-7"


@pytest.mark.failure(14)
def test_takes_the_container_name_without_a_machine_id(load: Load) -> None:
    assert load(MACHINE_ID=None, CONTAINER_NAME="box-8").machine_id == "box-8"


def test_machine_id_wins_over_container_name(load: Load) -> None:
    assert load(MACHINE_ID="box-7", CONTAINER_NAME="box-8").machine_id == "box-7"


@pytest.mark.failure(1)
@pytest.mark.parametrize("bad", ["", "unknown", "a b", "a:b", "x" * 49])
def test_a_bad_machine_id_does_not_fall_through_to_the_container_name(load: Load, bad: str) -> None:
    with pytest.raises(InvalidInput, match=r"^MACHINE_ID: "):
        load(MACHINE_ID=bad, CONTAINER_NAME="box-8")


@pytest.mark.parametrize("bad", ["", "unknown", "a b", "a:b", "x" * 49])
def test_refuses_a_bad_container_name(load: Load, bad: str) -> None:
    with pytest.raises(InvalidInput, match=r"^CONTAINER_NAME: "):
        load(MACHINE_ID=None, CONTAINER_NAME=bad)


@pytest.mark.failure(1)
def test_a_machine_without_a_name_does_not_start(load: Load) -> None:
    with pytest.raises(InvalidInput, match=r"^MACHINE_ID: is not set, and neither is"):
        load(MACHINE_ID=None, CONTAINER_NAME=None)


@pytest.mark.failure(3)
@pytest.mark.parametrize("count", ["1", "8"])
def test_takes_one_to_eight_gpus(load: Load, count: str) -> None:
    assert load(NUM_GPUS=count).num_gpus == int(count)


@pytest.mark.failure(3)
@pytest.mark.parametrize("bad", ["0", "9", "-1", "two", "", "1.5", "NaN", "١٢"])
def test_refuses_other_gpu_counts_with_field_value_and_remedy(load: Load, bad: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        load(NUM_GPUS=bad)

    assert str(refusal.value).startswith(f"NUM_GPUS: {bad!r} ")
    assert "from 1 to 8" in refusal.value.remedy


def test_splits_the_command_as_a_shell_does(load: Load) -> None:
    settings = load(SERVICE_COMMAND="python '/opt/My ComfyUI/main.py' --port {port}")

    assert settings.service_command == ("python", "/opt/My ComfyUI/main.py", "--port", "{port}")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("python 'main.py --port {port}", "No closing quotation"),
        ("python main.py", "{port} is missing"),
        ("python main.py --port {prot}", "{prot} is not known"),
        ("python main.py --port {port} {}", "{} is not known"),
        ("python main.py --port {port.__class__}", "{port.__class__} is not known"),
        ("python main.py --port {port!r}", "stand alone"),
        ("python main.py --port {port:>9}", "stand alone"),
        ("python main.py --port {port", "expected '}'"),
    ],
)
def test_refuses_a_command_that_cannot_work(load: Load, command: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        load(SERVICE_COMMAND=command)

    assert refusal.value.field == "SERVICE_COMMAND"
    assert problem in refusal.value.problem
    assert "{output_dir}" in refusal.value.remedy


def test_comfyui_needs_a_command(load: Load) -> None:
    with pytest.raises(InvalidInput, match=r"^SERVICE_COMMAND: is not set"):
        load(SERVICE_COMMAND=None)


def test_the_simulation_needs_no_command(load: Load) -> None:
    assert load(CONNECTOR="simulation", SERVICE_COMMAND=None).service_command is None


def test_refuses_a_connector_that_is_not_installed(load: Load) -> None:
    with pytest.raises(InvalidInput, match=r"^CONNECTOR: 'confyui' .* only comfyui, simulation"):
        load(CONNECTOR="confyui")


@pytest.mark.parametrize("port", ["80", "65529", "http", ""])
def test_refuses_a_base_port_without_room_for_eight(load: Load, port: str) -> None:
    with pytest.raises(InvalidInput, match=r"^SERVICE_BASE_PORT: "):
        load(SERVICE_BASE_PORT=port)


def test_refuses_a_data_folder_that_depends_on_where_it_is_started(load: Load) -> None:
    with pytest.raises(InvalidInput, match=r"^MUSTER_DATA_DIR: .* not absolute"):
        load(MUSTER_DATA_DIR="data")


def test_keeps_its_data_in_the_users_folder_by_default(
    load: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))

    assert load(MUSTER_DATA_DIR=None).data_dir == tmp_path / "share" / "muster"
