from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from muster.fleet.model import ReleaseId, Worker, WorkerState
from muster.jobs.model import Capabilities
from muster.machine.inspection import differences
from muster.machine.plan import Plan, plan
from muster.machine.settings import MachineSettings
from muster.machine.supervisor import Status


@pytest.fixture
def planned() -> Plan:
    settings = MachineSettings.load(
        machine_id="box",
        num_gpus=2,
        data_dir=Path("/data"),
        connector="comfyui",
        service_command="serve {port}",
    )
    return plan(settings, incarnation="now")


@pytest.fixture
def programs(planned: Plan) -> dict[str, Status]:
    """Every planned program, running."""
    return {
        program.name: Status(program.name, "RUNNING", pid, "pid 1, uptime 0:01:00")
        for pid, program in enumerate(planned.programs, start=100)
    }


@pytest.fixture
def workers(planned: Plan) -> dict[str, Worker]:
    """Every planned worker, registered and idle."""
    return {
        worker.worker_id: Worker(
            worker_id=worker.worker_id,
            machine_id="box",
            incarnation="now",
            gpu=worker.gpu,
            state=WorkerState.IDLE,
            capabilities=Capabilities(service="comfyui"),
            release=planned.release,
        )
        for worker in planned.workers
    }


def seen(
    planned: Plan,
    programs: dict[str, Status],
    workers: dict[str, Worker],
    earlier: dict[str, Status] | None = None,
) -> list[str]:
    return differences(
        planned,
        programs,
        programs if earlier is None else earlier,
        workers.values(),
        lambda name: f"last words of {name}",
    )


def test_a_machine_that_runs_as_planned_differs_in_nothing(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker]
) -> None:
    assert seen(planned, programs, workers) == []


@pytest.mark.parametrize("state", ["BACKOFF", "FATAL", "STOPPED", "EXITED", "STOPPING"])
def test_names_a_program_that_does_not_run_with_its_last_words(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker], state: str
) -> None:
    programs["comfyui-gpu1"] = Status("comfyui-gpu1", state, None, "Exited too quickly")

    assert seen(planned, programs, workers) == [
        f"comfyui-gpu1 is {state} (Exited too quickly): last words of comfyui-gpu1"
    ]


@pytest.mark.failure(3)
@pytest.mark.parametrize("name", ["comfyui-gpu0", "comfyui-gpu1", "worker-gpu0", "worker-gpu1"])
def test_notices_any_planned_program_that_was_never_started(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker], name: str
) -> None:
    del programs[name]

    assert seen(planned, programs, workers) == [f"{name} is not known to the supervisor"]


def test_a_program_must_keep_its_process(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker]
) -> None:
    earlier = programs | {"worker-gpu0": replace(programs["worker-gpu0"], pid=99)}

    assert seen(planned, programs, workers, earlier) == ["worker-gpu0 has just been started"]


def test_a_program_that_starts_does_not_run_yet(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker]
) -> None:
    programs["comfyui-gpu0"] = replace(programs["comfyui-gpu0"], state="STARTING")

    assert seen(planned, programs, workers) == ["comfyui-gpu0 has just been started"]


def test_a_worker_whose_program_does_not_run_is_named_once(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker]
) -> None:
    programs["worker-gpu1"] = Status("worker-gpu1", "FATAL", None, "Exited too quickly")
    del workers["box-worker-1"]

    assert seen(planned, programs, workers) == [
        "worker-gpu1 is FATAL (Exited too quickly): last words of worker-gpu1"
    ]


@pytest.mark.failure(3)
def test_a_planned_worker_must_register(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker]
) -> None:
    del workers["box-worker-1"]

    assert seen(planned, programs, workers) == ["worker-gpu1 has not registered as box-worker-1"]


def test_a_worker_of_an_earlier_start_does_not_count(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker]
) -> None:
    workers["box-worker-1"] = workers["box-worker-1"].model_copy(update={"incarnation": "before"})

    assert seen(planned, programs, workers) == ["worker-gpu1 has not registered as box-worker-1"]


def test_says_why_a_worker_does_not_work_yet(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker]
) -> None:
    waiting = {"state": WorkerState.STARTING, "reason": "port 8188 does not answer"}
    workers["box-worker-0"] = workers["box-worker-0"].model_copy(update=waiting)

    assert seen(planned, programs, workers) == [
        "worker-gpu0 is starting: port 8188 does not answer"
    ]


@pytest.mark.failure(3)
def test_notices_a_live_worker_that_is_not_planned(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker]
) -> None:
    workers["box-worker-5"] = workers["box-worker-0"].model_copy(
        update={"worker_id": "box-worker-5"}
    )

    assert seen(planned, programs, workers) == ["box-worker-5 is idle, but not planned"]


def test_workers_that_went_offline_are_no_matter(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker]
) -> None:
    gone = {"worker_id": "box-worker-5", "state": WorkerState.OFFLINE}
    workers["box-worker-5"] = workers["box-worker-0"].model_copy(update=gone)

    assert seen(planned, programs, workers) == []


@pytest.mark.failure(1)
def test_names_a_worker_that_runs_another_release(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker]
) -> None:
    old = ReleaseId(name="acme/muster", version="v1.0.0", sha256="ab" * 32)
    workers["box-worker-1"] = workers["box-worker-1"].model_copy(update={"release": old})

    assert seen(planned, programs, workers) == [
        f"worker-gpu1 runs acme/muster v1.0.0 (sha256 abababababababab…), not {planned.release}"
    ]


@pytest.mark.failure(1)
def test_names_a_worker_whose_code_is_too_old_to_know_its_release(
    planned: Plan, programs: dict[str, Status], workers: dict[str, Worker]
) -> None:
    silent = {"release": None, "version": "0.0.9"}
    workers["box-worker-0"] = workers["box-worker-0"].model_copy(update=silent)

    assert seen(planned, programs, workers) == [
        f"worker-gpu0 runs a Muster 0.0.9 that does not know its release, not {planned.release}"
    ]
