"""Machines in containers fetch their workers' release (failures 1 and 4), whatever happens."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from muster.fleet.model import ReleaseId

if TYPE_CHECKING:
    from conftest import StartMachine
    from muster.simulation.releases.log import Request
    from support.system.machines import MachineContainer
    from support.system.releases import Releases
    from support.system.stack import Stack

REPOSITORY = "acme/muster"
VERSION = "v1.0.0"
IDENTITY = "site-packages/muster/fleet/identity.py"
FAULTS = (
    "cut=4000000@/objects/*3",
    "wrong@/objects/*1",
    "status=503@/releases/*2",
    "retry-after=2@/releases/*1",
    "slow=20000000@/objects/",
)


@dataclass(frozen=True)
class Released:
    """A machine whose workers run the release, and what was asked for while it started."""

    machine: MachineContainer
    asked: list[Request]


@pytest.fixture(scope="session")
def released(stack: Stack, gpus: int, releases: Releases) -> Released:
    releases.clear()
    machine = stack.start_machine("released", gpus=gpus, **releases.settings(VERSION))
    machine.until_idle()
    return Released(machine, releases.log(f"/{REPOSITORY}/releases"))


@pytest.fixture
def asked_for(releases: Releases) -> ReleaseId:
    return ReleaseId(name=REPOSITORY, version=VERSION, sha256=releases.sha256)


@pytest.mark.failure(4)
def test_downloads_from_github_releases_without_rate_limiting(
    released: Released, releases: Releases, asked_for: ReleaseId, gpus: int
) -> None:
    released.machine.until_idle()

    # Each worker runs the release, and for all of them the host was asked for it once.
    assert [worker.release for worker in released.machine.workers()] == [asked_for] * gpus
    assert [(request.path.rpartition("/")[2], request.status) for request in released.asked] == [
        (f"{releases.asset}.sha256", 302),
        (releases.asset, 302),
    ]


@pytest.mark.failure(4)
def test_handles_network_failures_gracefully(
    start_machine: StartMachine, releases: Releases, asked_for: ReleaseId
) -> None:
    # Given a host that fails, limits, breaks off, sends other bytes, and is slow
    releases.clear()
    for fault in FAULTS:
        releases.arm(fault)

    # When a machine starts all the same
    machine = start_machine(**releases.settings(VERSION), WORKER_RELEASE_SHA256=releases.sha256)
    machine.until_idle(timeout_s=180)

    # Then it asked not sooner than told, went on where it was cut off, and runs what it should.
    asked = releases.log(f"/{REPOSITORY}/releases")
    assert {request.status for request in asked} == {302, 429, 503}
    for earlier, later in pairwise(asked):
        assert later.time >= earlier.time + (earlier.retry_after or 0)
    assert [request.range for request in releases.log("/objects/") if request.range]
    assert machine.look().release == asked_for


@pytest.mark.failure(1)
def test_an_old_package_planted_in_the_cache_is_never_run(
    released: Released, releases: Releases, asked_for: ReleaseId, gpus: int
) -> None:
    machine = released.machine

    # Given code in the release's folder that takes its machine from nowhere
    file = f"/data/store/unpacked/{VERSION}-{releases.sha256[:16]}/{IDENTITY}"
    machine.run("sh", "-c", f"echo 'def worker_id(*_): return \"unknown\"' > {file}")
    before = machine.look()

    # When the machine is started again
    machine.container.restart(timeout=machine.stop_grace_s)

    # Then its workers are its own and run the release, and it says what it refused.
    machine.until_idle(after=before.incarnation)
    workers = [(worker.machine_id, worker.release) for worker in machine.workers()]
    assert workers == [(machine.machine_id, asked_for)] * gpus
    said = machine.container.logs().decode()
    assert "unpacked_package_refused" in said
    assert file in said
