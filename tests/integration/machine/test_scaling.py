"""N GPUs, N services, N workers (failure 3): what runs is what was planned, and no more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from muster.fleet.model import Machine, MachineState, WorkerState

if TYPE_CHECKING:
    from conftest import RunningMachine, StartMachine
    from muster.fleet.registry import Registry

pytestmark = pytest.mark.anyio


def names(machine: Machine) -> list[str]:
    return [program.name for program in machine.programs if program.state == "RUNNING"]


def planned_names(count: int) -> list[str]:
    return [f"{kind}-gpu{gpu}" for kind in ("comfyui", "worker") for gpu in range(count)]


def bindings(machine: RunningMachine) -> dict[str, set[str]]:
    """Return to which GPUs the running services and workers are bound, and at which ports."""
    found: dict[str, set[str]] = {"service": set(), "worker": set(), "port": set()}
    for process in machine.processes():
        command = " ".join(process.cmdline())
        gpu = process.environ().get("CUDA_VISIBLE_DEVICES", "")
        if port := re.search(r"simulation\.comfyui --port (\d+)", command):
            found["service"].add(gpu)
            found["port"].add(port[1])
        elif "muster.cli worker" in command:
            found["worker"].add(gpu)
    return found


@pytest.mark.failure(3)
@pytest.mark.parametrize("count", [1, 4])
async def test_starts_n_comfyui_and_n_workers_for_n_gpus(
    start_machine: StartMachine, registry: Registry, count: int
) -> None:
    machine = start_machine(NUM_GPUS=str(count), CONNECTOR="comfyui")

    ready = await machine.until(MachineState.READY)

    assert names(ready) == planned_names(count)
    gpus = {str(gpu) for gpu in range(count)}
    bound = bindings(machine)
    assert (bound["service"], bound["worker"], len(bound["port"])) == (gpus, gpus, count)
    workers = (await registry.workers(machine_id="box")).workers
    assert [worker.worker_id for worker in workers] == [f"box-worker-{gpu}" for gpu in range(count)]
    assert all(worker.capabilities.service == "comfyui" for worker in workers)


@pytest.mark.failure(3)
async def test_handles_gpu_count_changes_on_restart(
    start_machine: StartMachine, registry: Registry
) -> None:
    first = start_machine(NUM_GPUS="8", CONNECTOR="comfyui")
    assert names(await first.until(MachineState.READY, timeout_s=120)) == planned_names(8)
    first.agent.kill()
    first.agent.wait()

    second = start_machine(NUM_GPUS="3", CONNECTOR="comfyui")
    ready = await second.until(MachineState.READY)

    assert names(ready) == planned_names(3)
    gpus = {"0", "1", "2"}
    bound = bindings(second)
    assert (bound["service"], bound["worker"], len(bound["port"])) == (gpus, gpus, 3)
    workers = (await registry.workers(machine_id="box")).workers
    live = [worker.worker_id for worker in workers if worker.state is not WorkerState.OFFLINE]
    assert live == ["box-worker-0", "box-worker-1", "box-worker-2"]
