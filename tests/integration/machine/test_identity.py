"""Every worker has its machine (failure 1), whatever ran under that name or there before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.fleet.model import MachineState, WorkerState

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import StartMachine
    from muster.fleet.registry import Registry

pytestmark = pytest.mark.anyio


@pytest.mark.failure(1)
@pytest.mark.failure(15)
async def test_associates_workers_with_machine_after_restart(
    start_machine: StartMachine, registry: Registry
) -> None:
    first = start_machine()
    before = await first.until(MachineState.READY)
    first.agent.terminate()
    assert first.agent.wait(timeout=30) == 0

    after = await start_machine().until(MachineState.READY)

    assert after.machine_id == before.machine_id == "box"
    assert after.incarnation != before.incarnation
    workers = (await registry.workers()).workers
    assert [(w.machine_id, w.worker_id, w.incarnation, w.state) for w in workers] == [
        ("box", f"box-worker-{index}", after.incarnation, WorkerState.IDLE) for index in range(2)
    ]


@pytest.mark.failure(1)
async def test_handles_machine_id_changes_on_container_restart(
    start_machine: StartMachine, registry: Registry
) -> None:
    first = start_machine(MACHINE_ID=None, CONTAINER_NAME="box-a")
    await first.until(MachineState.READY)
    first.agent.terminate()
    assert first.agent.wait(timeout=30) == 0

    second = start_machine(MACHINE_ID=None, CONTAINER_NAME="box-b")
    await second.until(MachineState.READY)

    assert (await registry.machine("box-a")).state is MachineState.OFFLINE
    live = [w for w in (await registry.workers()).workers if w.state is not WorkerState.OFFLINE]
    assert [(w.machine_id, w.worker_id) for w in live] == [
        ("box-b", "box-b-worker-0"),
        ("box-b", "box-b-worker-1"),
    ]


@pytest.mark.failure(1)
@pytest.mark.parametrize("bad", ["", "unknown", "a b", "a:b", "x" * 49])
async def test_a_machine_without_a_valid_name_does_not_start(
    start_machine: StartMachine, registry: Registry, bad: str
) -> None:
    machine = start_machine(MACHINE_ID=bad, CONTAINER_NAME="box")

    assert machine.agent.wait(timeout=30) == 2
    assert f"MACHINE_ID: {bad!r}" in machine.log()
    assert (await registry.machines()).total == 0


async def test_a_second_machine_on_the_same_data_is_refused(start_machine: StartMachine) -> None:
    first = start_machine(NUM_GPUS="1")
    await first.until(MachineState.READY)

    second = start_machine(NUM_GPUS="1")

    assert second.agent.wait(timeout=30) == 1
    assert "Machine box runs already" in second.log()
    await first.until(MachineState.READY)


async def test_a_second_machine_of_one_name_is_refused_wherever_it_is(
    start_machine: StartMachine, tmp_path: Path, registry: Registry
) -> None:
    first = start_machine(NUM_GPUS="1")
    ready = await first.until(MachineState.READY)

    second = start_machine(NUM_GPUS="1", MUSTER_DATA_DIR=str(tmp_path))

    assert second.agent.wait(timeout=30) == 1
    assert "is alive already" in second.log()
    assert second.processes() == []
    assert (await registry.machine("box")).incarnation == ready.incarnation
