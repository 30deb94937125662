from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from muster.cli import local_fleet
from muster.cli.local_fleet import Options, prepare
from muster.errors import InvalidInput
from muster.machine.plan import plan
from muster.machine.settings import MachineSettings
from muster.server.auth import Role, TokensFile
from muster.server.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _ports_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_fleet, "is_free", lambda port: port != 8701)
    monkeypatch.setattr(local_fleet, "free_row", lambda _: 20_000)
    for settings in (MachineSettings, ServerSettings):
        for field in settings.model_fields.values():
            monkeypatch.delenv(str(field.alias), raising=False)


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(
        gpus=4,
        port=8700,
        data_dir=tmp_path,
        machine_id="local",
        queue="default",
        durability="always",
    )


def test_plans_a_machine_of_simulated_comfyuis(options: Options, tmp_path: Path) -> None:
    prepare(options)

    machine = plan(MachineSettings.load(env_file=tmp_path / "machine.env"), incarnation="i")
    assert len(machine.services) == len(machine.workers) == 4
    command = (sys.executable, "-m", "muster.simulation.comfyui", "--port", "20003")
    assert machine.services[3].argv[:5] == command


def test_the_server_knows_the_token_of_the_profile(options: Options, tmp_path: Path) -> None:
    fleet = prepare(options)

    server = ServerSettings.load(env_file=tmp_path / "server.env")
    found = TokensFile(server.tokens_file).find(fleet.profile.token.get_secret_value())
    assert found
    assert found.role is Role.OPERATE
    assert fleet.profile.url == f"http://127.0.0.1:{server.port}"


def test_secrets_are_made_once_and_are_for_the_user_alone(options: Options, tmp_path: Path) -> None:
    first = prepare(options)
    second = prepare(options)

    assert second.profile == first.profile
    assert second.redis.password == first.redis.password
    for name in ("token", "tokens.toml", "redis-password", "machine.env", "server.env"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("lost", ["token", "tokens.toml"])
def test_a_token_that_the_server_would_not_know_is_made_anew(
    options: Options, tmp_path: Path, lost: str
) -> None:
    first = prepare(options)
    (tmp_path / lost).unlink()

    second = prepare(options)

    assert second.profile.token != first.profile.token
    assert TokensFile(tmp_path / "tokens.toml").find(second.profile.token.get_secret_value())


@pytest.mark.parametrize(
    ("bad", "option"),
    [
        ({"gpus": 0}, "--gpus: 0 "),
        ({"gpus": 9}, "--gpus: 9 "),
        ({"port": 8701}, "--port: 8701 is taken"),
        ({"machine_id": "unknown"}, "--machine-id: 'unknown' "),
        ({"queue": "a b"}, "MUSTER_QUEUE: 'a b' "),
    ],
)
def test_refuses_what_cannot_work(options: Options, bad: dict[str, object], option: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        prepare(replace(options, **bad))

    assert str(refusal.value).startswith(option)
