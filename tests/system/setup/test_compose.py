"""The compose files, started as their first lines say: jobs complete on their machines."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from muster.errors import MusterError
from muster.fleet.model import MachineState
from muster.jobs.model import JobRequest, JobState
from muster.simulation.comfyui.workflow import text_to_image
from support.system.belongings import left_of
from support.system.certificates import Certificates
from support.system.containers import awaited
from support.system.engine import redis_image
from support.system.image import ROOT
from support.system.machines import READY_HINT
from support.system.project import project

if TYPE_CHECKING:
    from pathlib import Path

    from docker import DockerClient

    from muster.client import Client
    from support.system.project import Project

MACHINES = {
    "local": {"machine": "local"},
    "staging": {"machine-1": "staging-1", "machine-2": "staging-2"},
}
PASSWORDS = ("REDIS_OPERATOR_PASSWORD", "REDIS_SERVER_PASSWORD", "REDIS_MACHINE_PASSWORD")


@pytest.mark.parametrize("name", ["local", "staging"])
def test_a_job_completes(engine: DockerClient, image: str, name: str, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path) if name == "staging" else None
    variables = {
        "MACHINE_IMAGE": image,
        "REDIS_IMAGE": redis_image(engine),
        "NUM_GPUS": "2",
        **{password: secrets.token_urlsafe() for password in PASSWORDS},
    }
    file = ROOT / "envs" / f"{name}.compose.yaml"
    with project(engine, file, certificates, **variables) as fleet:
        # Given a fleet that was started by compose, and a token
        token = fleet.compose(
            *("run", "--rm", "--no-deps", "-T", "server"),
            *("token", "add", "me", "--role", "operate"),
        ).strip()
        fleet.compose("up", "--detach")
        with fleet.api(token) as client:
            for service, machine_id in MACHINES[name].items():
                _until_ready(fleet, client, service, machine_id)

            # When jobs are submitted, then they complete
            jobs = client.submit_many(
                [
                    JobRequest(service="comfyui", payload={"prompt": text_to_image(seed=seed)})
                    for seed in range(8)
                ]
            )
            states = {client.wait(job.id, timeout=60).state for job in jobs}
            assert states == {JobState.COMPLETED}

    assert left_of(engine, fleet.run.id) == []


def _until_ready(fleet: Project, client: Client, service: str, machine_id: str) -> None:
    awaited(
        lambda: client.machine(machine_id),
        f"machine {machine_id} is ready",
        of=fleet.container(service),
        until=lambda machine: machine.state is MachineState.READY,
        timeout_s=120,
        ignoring=(MusterError,),
        hint=READY_HINT,
    )
