"""Every worker has its machine (failure 1), through restarts, renamings and lost caches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.errors import NotFound
from muster.fleet.model import WorkerState
from support.system.containers import awaited

if TYPE_CHECKING:
    from conftest import StartMachine
    from muster.client import Client
    from muster.fleet.model import Worker
    from support.system.machines import MachineContainer


def workers_of(client: Client, machine_id: str) -> list[Worker]:
    return client.workers(machine_id=machine_id, limit=100).workers


@pytest.mark.failure(1)
def test_registers_all_workers_with_correct_machine_id(
    machine: MachineContainer, client: Client, gpus: int
) -> None:
    workers = machine.workers()

    assert [(w.worker_id, w.machine_id, w.gpu) for w in workers] == [
        (f"shared-worker-{gpu}", "shared", gpu) for gpu in range(gpus)
    ]
    everyone = client.workers(limit=200).workers
    assert not [worker for worker in everyone if worker.machine_id in {"", "unknown"}]


@pytest.mark.failure(1)
def test_a_changed_container_name_makes_another_machine(
    start_machine: StartMachine, client: Client, gpus: int
) -> None:
    # Given a machine that takes its name from CONTAINER_NAME
    first = start_machine("first", MACHINE_ID=None, CONTAINER_NAME="name-a")
    awaited(
        lambda: {worker.machine_id for worker in first.workers()},
        "its workers have registered",
        of=first.container,
        until={"name-a"}.__eq__,
        hint="workers take their machine's name from the file that the agent writes.",
    )

    # When its container is made anew under another name, on the same data
    first.remove()
    second = start_machine("second", volume=first.volume, MACHINE_ID=None, CONTAINER_NAME="name-b")

    # Then it is the machine of the new name, and of the old one nothing lives
    assert second.until_idle().machine_id == "name-b"
    awaited(
        lambda: {client.machine("name-a").state, *(w.state for w in workers_of(client, "name-a"))},
        "the old name and its workers are offline",
        of=second.container,
        until={"offline"}.__eq__,
        hint="who has said nothing for ten seconds is offline.",
    )
    assert [worker.state for worker in workers_of(client, "name-b")] == [WorkerState.IDLE] * gpus


@pytest.mark.failure(1)
def test_survives_cache_cleanup_and_maintains_association(
    machine: MachineContainer, gpus: int
) -> None:
    # Given a machine all of whose files are gone
    before = machine.look()
    machine.run("find", "/data", "-mindepth", "1", "-delete")

    # When it is started again
    machine.container.restart(timeout=machine.stop_grace_s)

    # Then it is itself, with all its workers
    after = machine.until_idle(after=before.incarnation)
    assert [worker.machine_id for worker in machine.workers()] == [after.machine_id] * gpus


@pytest.mark.failure(1)
def test_a_machine_without_a_name_does_not_start(
    start_machine: StartMachine, client: Client
) -> None:
    nameless = start_machine(MACHINE_ID="unknown")

    assert nameless.container.wait(timeout=60)["StatusCode"] == 2
    assert "MACHINE_ID: 'unknown' names no machine" in nameless.container.logs().decode()
    with pytest.raises(NotFound):
        client.machine("unknown")
