"""A hundred simulated machines: all are seen, jobs complete, and a failover loses none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from muster.fleet.model import MachineState, WorkerState
from muster.jobs.model import JobRequest, JobState
from support.anywhere.prometheus import Prometheus
from support.anywhere.replication import pair, silent
from support.system.containers import awaited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.client import Client
    from support.anywhere.containers import ContainerBackend
    from support.anywhere.fleet import Fleet

pytestmark = [pytest.mark.needs("docker", "tls", "sentinel"), pytest.mark.acts("destructive")]

MACHINES, WORKERS_EACH = 100, 4
WORKERS = MACHINES * WORKERS_EACH
PAGE = 500


@pytest.fixture
def client(fleet: Fleet, containers: ContainerBackend) -> Iterator[Client]:
    with containers.client("server", patience_s=fleet.environment.target("failover_s")) as opened:
        yield opened


@pytest.fixture
def simulated(fleet: Fleet, containers: ContainerBackend, client: Client) -> Iterator[None]:
    """The simulated machines, all of them ready, and their workers idle."""
    with containers.running("simulation") as container:
        awaited(
            lambda: (len(ready(client)), len(idle(client))),
            f"{MACHINES} simulated machines are ready, and {WORKERS} workers idle",
            of=container,
            until=(MACHINES, WORKERS).__eq__,
            timeout_s=fleet.environment.target("simulated_ready_s"),
            hint="its options are in envs/production-like.compose.yaml.",
        )
        yield


def ready(client: Client) -> set[str]:
    return {
        machine.machine_id
        for machine in client.machines(limit=PAGE).machines
        if machine.state is MachineState.READY and machine.machine_id.startswith("sim-")
    }


def idle(client: Client) -> set[str]:
    return {
        worker.worker_id
        for worker in client.workers(limit=PAGE).workers
        if worker.state is WorkerState.IDLE and worker.machine_id.startswith("sim-")
    }


def jobs(count: int) -> list[JobRequest]:
    payload = {"duration_s": 2, "steps": 2}
    return [JobRequest(service="simulation", payload=payload) for _ in range(count)]


@pytest.mark.usefixtures("simulated")
def test_all_of_them_are_seen(fleet: Fleet, client: Client) -> None:
    names = {f"sim-{number:03}" for number in range(1, MACHINES + 1)}
    assert ready(client) == names
    assert idle(client) == {f"{name}-worker-{gpu}" for name in names for gpu in range(WORKERS_EACH)}

    real = fleet.environment.machines.count or 0
    prometheus = Prometheus(fleet)
    for server in ("server", "server-2"):
        machines = f'muster_machines{{state="ready", instance="{server}:8700"}}'
        prometheus.until(
            partial(prometheus.number, machines),
            f"Prometheus sees by {server} that all machines are ready",
            MACHINES + real,
        )


@pytest.mark.usefixtures("simulated")
def test_a_failover_while_all_of_them_work_loses_no_job(
    fleet: Fleet, containers: ContainerBackend, client: Client
) -> None:
    within_s = fleet.environment.target("failover_s")
    redis = pair(containers, within_s)

    # Given a job for each worker, and as many that wait, of which the replica knows
    accepted = client.submit_many(jobs(2 * WORKERS))
    redis.until_in_step()

    # When the primary falls silent, and the other server takes more meanwhile
    with silent(redis.primary):
        with containers.client("server-2", patience_s=within_s) as other:
            accepted += other.submit_many(jobs(WORKERS))

        # Then every job that was accepted completes, without the former primary
        states = [client.wait(job.id, timeout=within_s).state for job in accepted]
    assert states == [JobState.COMPLETED] * (3 * WORKERS)

    # And the machines are those that they were
    assert pair(containers, within_s).replica == redis.primary
    assert len(ready(client)) == MACHINES
