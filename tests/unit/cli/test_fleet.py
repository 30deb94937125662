"""Commands about machines, workers and tokens, and the doctor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from muster.client.profile import profile_path
from muster.errors import InvalidInput, NotFound
from muster.fleet.model import Machine, MachineState, Program, Worker, WorkerState
from muster.jobs.model import Capabilities

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Muster
    from support.server import RunningServer


@pytest.fixture
def degraded(server: RunningServer) -> None:
    """A machine of two GPUs, on which one service is down."""
    registry = server.app.state.registry
    states = {"comfyui-gpu0": "RUNNING", "comfyui-gpu1": "BACKOFF"}
    machine = Machine(
        machine_id="m1",
        incarnation="i1",
        state=MachineState.DEGRADED,
        reasons=["comfyui-gpu1 is BACKOFF"],
        gpus=2,
        programs=[
            Program(name=name, kind="service", gpu=gpu, state=state)
            for gpu, (name, state) in enumerate(states.items())
        ],
    )
    server.portal.call(registry.register_machine, machine)
    for gpu, jobs in enumerate(([], ["j1"])):
        worker = Worker(
            worker_id=f"m1-worker-{gpu}",
            machine_id="m1",
            incarnation="i1",
            gpu=gpu,
            state=WorkerState.BUSY if jobs else WorkerState.IDLE,
            capabilities=Capabilities(service="comfyui"),
            jobs=jobs,
        )
        server.portal.call(registry.register_worker, worker)


@pytest.mark.usefixtures("degraded")
def test_machines_are_steered(muster: Muster, server: RunningServer) -> None:
    assert "m1 will drain" in muster("drain", "m1").out
    assert "m1 will start" in muster("undrain", "m1").out
    made = json.loads(muster("restart", "m1", "comfyui-gpu1", "--json").out)
    assert (made["action"], made["program"]) == ("restart", "comfyui-gpu1")

    taken = server.portal.call(server.app.state.commands.take, "m1", "i1")
    assert [command.action for command in taken] == ["drain", "undrain", "restart"]


@pytest.mark.usefixtures("degraded")
def test_a_machine_that_does_not_have_the_program_says_what_it_has(muster: Muster) -> None:
    error = muster("restart", "m1", "worker-gpu7").error

    assert isinstance(error, NotFound)
    assert "It has comfyui-gpu0, comfyui-gpu1" in str(error)


@pytest.mark.usefixtures("degraded")
def test_machines_are_listed_with_plan_fact_and_reasons(muster: Muster) -> None:
    table = muster("machines").out
    [machine] = json.loads(muster("machines", "--json").out)

    assert "1/2" in table
    assert "m1: comfyui-gpu1 is BACKOFF" in table
    assert (machine["machine_id"], machine["state"], machine["gpus"]) == ("m1", "degraded", 2)
    assert machine["services_running"] == 1
    assert machine["workers_running"] == 2
    assert machine["jobs_running"] == 1


@pytest.mark.usefixtures("degraded")
def test_workers_are_listed_by_machine(muster: Muster) -> None:
    assert "j1" in muster("workers").out
    listed = json.loads(muster("workers", "--machine", "m1", "--json").out)
    assert [worker["worker_id"] for worker in listed] == ["m1-worker-0", "m1-worker-1"]
    assert muster("workers", "--machine", "other").out == "No worker has registered.\n"


@pytest.mark.usefixtures("server")
def test_an_empty_fleet_says_how_to_begin(muster: Muster) -> None:
    assert "muster up" in muster("machines").out
    assert muster("machines", "--json").out == "[]\n"


@pytest.mark.usefixtures("server")
def test_the_doctor_finds_a_fleet_well(muster: Muster) -> None:
    outcome = muster("doctor", "--json")

    verdicts = {finding["what"]: finding["verdict"] for finding in json.loads(outcome.out)}
    assert verdicts["Server"] == "ok"
    assert verdicts["Data folder"] == "ok"
    assert outcome.code == 0


def test_the_doctor_names_what_must_be_mended_without_secrets(
    muster: Muster, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "unix://:s3cret@/nowhere/redis.sock")
    monkeypatch.setenv("MUSTER_TOKEN", "wr0ng")

    outcome = muster("doctor")

    assert outcome.code == 1
    assert "fail  Redis: cannot be used" in outcome.out
    assert "fail  Server: cannot be used" in outcome.out
    assert "s3cret" not in outcome.out
    assert "wr0ng" not in outcome.out


def test_tokens_are_added_listed_and_removed(muster: Muster, tmp_path: Path) -> None:
    file = str(tmp_path / "tokens.toml")

    token = muster("token", "add", "ci", "--role", "view", "--file", file).out.strip()
    listed = muster("token", "list", "--file", file).out

    assert listed == "ci view\n"
    assert token not in (tmp_path / "tokens.toml").read_text()
    taken = muster("token", "add", "ci", "--file", file).error
    assert isinstance(taken, InvalidInput)
    assert isinstance(muster("token", "add", "a b", "--file", file).error, InvalidInput)
    assert muster("token", "remove", "ci", "--file", file).code == 0
    assert isinstance(muster("token", "remove", "ci", "--file", file).error, NotFound)
    assert isinstance(muster("token", "list", "--file", file + "x").error, InvalidInput)


def test_without_server_or_profile_the_remedy_is_told(muster: Muster) -> None:
    assert not profile_path().exists()

    error = muster("jobs").error

    assert isinstance(error, InvalidInput)
    assert "muster up" in str(error)
