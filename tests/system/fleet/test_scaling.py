"""N GPUs, N services, N workers (failure 3), counted by the machine and from outside."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from muster.fleet.model import MachineState
from support.system.machines import SERVICE, WORKER, MachineContainer

if TYPE_CHECKING:
    from conftest import StartMachine
    from muster.fleet.model import Machine


def running(machine: Machine) -> list[str]:
    return [program.name for program in machine.programs if program.state == "RUNNING"]


def planned(gpus: int) -> list[str]:
    return [f"{kind}-gpu{gpu}" for kind in ("comfyui", "worker") for gpu in range(gpus)]


def assert_runs(machine: MachineContainer, gpus: int) -> None:
    """Check the machine's own count, its workers' registration, and its processes from outside."""
    now = machine.look()
    assert (now.state, now.gpus, running(now)) == (MachineState.READY, gpus, planned(gpus))
    assert [worker.gpu for worker in machine.workers()] == list(range(gpus))
    assert machine.count_from_outside(SERVICE) == gpus
    assert machine.count_from_outside(WORKER) == gpus


@pytest.mark.failure(3)
def test_scales_from_1_to_8_gpus_correctly(start_machine: StartMachine, gpus: int) -> None:
    """Of all numbers, this session's."""
    machine = start_machine()

    machine.until_idle()

    assert_runs(machine, gpus)


@pytest.mark.failure(3)
def test_each_gpu_has_its_own_service_and_worker(machine: MachineContainer, gpus: int) -> None:
    bound = Counter(
        (kind, machine.environment(process)["CUDA_VISIBLE_DEVICES"])
        for kind in (SERVICE, WORKER)
        for process in machine.processes(kind)
    )
    ports = {
        process.command.split("--port ")[1].split()[0] for process in machine.processes(SERVICE)
    }

    assert bound == {(kind, str(gpu)): 1 for kind in (SERVICE, WORKER) for gpu in range(gpus)}
    assert ports == {str(8188 + gpu) for gpu in range(gpus)}


@pytest.mark.failure(3)
def test_handles_gpu_count_changes_on_restart(start_machine: StartMachine, gpus: int) -> None:
    # Given a machine with another number of GPUs
    others = gpus % 8 + 1
    before = start_machine(gpus=others)
    before.until_idle()
    assert_runs(before, others)

    # When its container is made anew with this session's number
    before.remove()
    after = start_machine(volume=before.volume)

    # Then that many run, and no other is left
    after.until_idle()
    assert_runs(after, gpus)


@pytest.mark.failure(3)
def test_more_gpus_than_eight_are_refused(start_machine: StartMachine) -> None:
    nine = start_machine(gpus=9)

    assert nine.container.wait(timeout=60)["StatusCode"] == 2
    assert "NUM_GPUS: '9'" in nine.container.logs().decode()
