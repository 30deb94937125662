from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import InvalidInput
from muster.machine.gpus import Gpu
from muster.machine.plan import Plan, plan
from muster.machine.settings import MachineSettings

COUNTS = st.integers(min_value=1, max_value=8)


def planned(count: int | None, *, gpus: int = 0, **settings: Any) -> Plan:
    """Plan a machine of ``count`` GPUs on which the driver finds ``gpus``."""
    given_settings = {
        "machine_id": "box",
        "data_dir": Path("/data"),
        "connector": "comfyui",
        "service_command": "{python} main.py --port {port} --gpu {gpu} "
        "{output_dir} {temp_dir} {input_dir} {user_dir}",
    } | settings
    loaded = MachineSettings.load(num_gpus=count, **given_settings)
    found = [Gpu(name=f"GPU {index}", memory_mib=1000 + index) for index in range(gpus)]
    return plan(loaded, found, incarnation="i1")


@pytest.mark.failure(3)
@given(COUNTS)
def test_generates_correct_number_of_service_names(count: int) -> None:
    machine = planned(count)

    assert [service.name for service in machine.services] == [
        f"comfyui-gpu{gpu}" for gpu in range(count)
    ]
    assert [worker.name for worker in machine.workers] == [
        f"worker-gpu{gpu}" for gpu in range(count)
    ]


@pytest.mark.failure(3)
@given(COUNTS)
def test_uses_same_gpu_count_across_services(count: int) -> None:
    machine = planned(count)

    assert machine.gpus == len(machine.services) == len(machine.workers) == count
    assert len(machine.programs) == 2 * count


@pytest.mark.failure(3)
@given(COUNTS)
def test_nothing_is_shared_that_must_be_apart(count: int) -> None:
    machine = planned(count)

    assert _all_differ(program.name for program in machine.programs)
    assert _all_differ(service.port for service in machine.services)
    assert _all_differ(worker.worker_id for worker in machine.workers)
    assert _all_differ(worker.env_file for worker in machine.workers)
    assert _all_differ(f for service in machine.services for f in service.folders.values())


@pytest.mark.failure(3)
@given(COUNTS)
def test_each_worker_speaks_to_the_service_of_its_gpu(count: int) -> None:
    machine = planned(count)

    for service, worker in zip(machine.services, machine.workers, strict=True):
        assert urlsplit(worker.dotenv["SERVICE_URL"]).port == service.port
        assert service.gpu == worker.gpu == int(worker.dotenv["WORKER_INDEX"])
        assert service.env["CUDA_VISIBLE_DEVICES"] == str(service.gpu)
        assert worker.env["CUDA_VISIBLE_DEVICES"] == str(worker.gpu)


@pytest.mark.failure(1)
@given(COUNTS)
@pytest.mark.failure(15)
def test_every_worker_has_its_machine(count: int) -> None:
    for worker in planned(count).workers:
        assert worker.dotenv["MACHINE_ID"] == "box"
        assert worker.dotenv["MACHINE_INCARNATION"] == "i1"
        assert worker.worker_id == f"box-worker-{worker.gpu}"


@pytest.mark.failure(3)
@given(COUNTS, COUNTS)
def test_names_are_stable_whatever_the_number_of_gpus(one: int, other: int) -> None:
    fewer, more = sorted((one, other))

    assert planned(more).services[:fewer] == planned(fewer).services
    assert planned(more).workers[:fewer] == planned(fewer).workers


@pytest.mark.failure(3)
@given(st.integers().filter(lambda count: not 1 <= count <= 8))
def test_refuses_other_numbers_of_gpus(count: int) -> None:
    with pytest.raises(InvalidInput, match=f"^NUM_GPUS: {count} "):
        planned(count)


@pytest.mark.failure(3)
@given(COUNTS)
def test_without_a_number_every_gpu_is_used(found: int) -> None:
    assert planned(None, gpus=found).gpus == found


def test_fewer_gpus_than_there_are_may_be_used() -> None:
    assert planned(3, gpus=8).gpus == 3


@pytest.mark.failure(3)
def test_refuses_to_guess_a_number_of_gpus() -> None:
    with pytest.raises(
        InvalidInput, match=r"^NUM_GPUS: is not set, and the NVIDIA driver finds no"
    ):
        planned(None)


def test_refuses_more_gpus_than_there_are() -> None:
    with pytest.raises(InvalidInput) as refusal:
        planned(4, gpus=2)

    assert str(refusal.value) == (
        "NUM_GPUS: 4 is more than the 2 that the NVIDIA driver finds. Use a number from 1 to 2."
    )


def test_refuses_to_choose_among_more_gpus_than_a_machine_may_have() -> None:
    with pytest.raises(InvalidInput, match=r"^NUM_GPUS: is not set, and the 10 GPUs"):
        planned(None, gpus=10)


def test_fills_the_command_of_each_service() -> None:
    service = planned(2, base_port=9000).services[1]

    home = "/data/machines/box/services/comfyui-gpu1"
    assert service.argv == (
        *(sys.executable, "main.py", "--port", "9001", "--gpu", "1"),
        *(f"{home}/output", f"{home}/temp", f"{home}/input", f"{home}/user"),
    )


def test_a_connector_that_works_in_process_has_no_services() -> None:
    machine = planned(4, connector="simulation")

    assert machine.services == ()
    assert len(machine.workers) == machine.gpus == 4


def test_a_service_is_not_told_what_only_workers_need() -> None:
    machine = planned(1, redis_url="redis://:secret@redis:6379/0")

    assert "secret" not in str(machine.services)
    assert machine.workers[0].dotenv["REDIS_URL"] == "redis://:secret@redis:6379/0"
    assert "secret" not in str((machine.workers[0].argv, machine.workers[0].env))


def test_passes_on_what_workers_offer() -> None:
    dotenv = (
        planned(
            2,
            gpus=2,
            worker_models="sdxl",
            worker_labels="tier=spot",
            artifacts_url="s3://bucket/x",
        )
        .workers[1]
        .dotenv
    )

    assert dotenv["WORKER_MODELS"] == "sdxl"
    assert dotenv["WORKER_LABELS"] == "tier=spot"
    assert dotenv["WORKER_VRAM_MIB"] == "1001"
    assert dotenv["ARTIFACTS_URL"] == "s3://bucket/x"


def test_artifacts_go_to_the_data_folder_by_default() -> None:
    assert planned(1).workers[0].dotenv["ARTIFACTS_URL"] == "file:///data/artifacts"


def _all_differ(values: Any) -> bool:
    listed = list(values)
    return len(listed) == len(set(listed))
