from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput
from muster.machine import preparation
from muster.machine.plan import plan
from muster.machine.settings import MachineSettings
from muster.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    Load = Callable[..., MachineSettings]


@pytest.mark.failure(1)
@pytest.mark.failure(15)
def test_creates_env_file_with_correct_machine_id(load: Load) -> None:
    planned = plan(load(MACHINE_ID="box-7", NUM_GPUS="3"), incarnation="i1")

    preparation.write_files(planned)

    for index, worker in enumerate(planned.workers):
        settings = WorkerSettings.load(env_file=worker.env_file)
        assert settings.machine_id == "box-7"
        assert settings.worker_index == index
        assert settings.worker_id == worker.worker_id == f"box-7-worker-{index}"
        assert settings.incarnation == "i1"
        assert worker.env_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.failure(1)
def test_an_env_file_of_an_earlier_name_is_not_kept(load: Load) -> None:
    settings = load(MACHINE_ID="box-7")
    before = plan(settings, incarnation="i1")
    preparation.write_files(before)
    before.workers[0].env_file.write_text("MACHINE_ID=unknown\n")

    preparation.write_files(plan(settings, incarnation="i2"))

    read = WorkerSettings.load(env_file=before.workers[0].env_file)
    assert (read.machine_id, read.incarnation) == ("box-7", "i2")


def test_gives_each_service_its_own_folders(load: Load) -> None:
    planned = plan(load(), incarnation="i1")

    preparation.write_files(planned)

    folders = [folder for service in planned.services for folder in service.folders.values()]
    assert len(folders) == 8
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize(
    ("name", "bad"),
    [("WORKER_MODELS", "two words"), ("WORKER_CONCURRENCY", "many"), ("WORKER_LABELS", "=x")],
)
def test_refuses_what_no_worker_could_start_with(load: Load, name: str, bad: str) -> None:
    planned = plan(load(**{name: bad}), incarnation="i1")

    with pytest.raises(InvalidInput, match=f"^{name}: "):
        preparation.write_files(planned)


def test_programs_inherit_nothing_that_would_win_over_an_env_file(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("WORKER_INDEX", "0")
    monkeypatch.setenv("HF_HOME", "/models")
    load(REDIS_URL="redis://:secret@redis/0")

    environment = preparation.clean_environment(MachineSettings, WorkerSettings)

    assert environment["HF_HOME"] == "/models"
    assert not {"SERVICE_URL", "WORKER_INDEX", "MACHINE_ID", "NUM_GPUS"} & set(environment)
    assert "secret" not in str(environment)


def test_marks_every_program_as_this_machines_and_binds_it_to_its_gpu(load: Load) -> None:
    planned = plan(load(), incarnation="i1")

    workers, services = preparation.stages(planned, {"PATH": "/bin"}, start_attempts=3)

    assert len(workers) == len(services) == 2
    for spec in (*workers, *services):
        assert spec.env["PATH"] == "/bin"
        assert spec.env["MUSTER_MACHINE"] == "gpu-host-1"
        assert spec.env["MUSTER_MACHINE_DIR"] == str(planned.directory)
        assert spec.env["MACHINE_INCARNATION"] == "i1"
        assert spec.name.endswith(f"gpu{spec.env['CUDA_VISIBLE_DEVICES']}")
        assert spec.env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
