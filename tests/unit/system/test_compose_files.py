"""What the compose files promise can be read from them, without an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.system.compose import NotUnderstood, Service, internal_networks, read_services

ENVS = Path(__file__).parents[3] / "envs"
PASSWORDS = {
    f"REDIS_{role}_PASSWORD": f"of-{role}" for role in ("OPERATOR", "SERVER", "MACHINE", "SENTINEL")
}
NAMES = ["local", "staging", "production-like"]


def services(name: str, **variables: str) -> dict[str, Service]:
    return read_services(
        ENVS / f"{name}.compose.yaml", {**PASSWORDS, "TLS_DIR": "/certificates", **variables}
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_service_is_hardened(name: str) -> None:
    for service in services(name).values():
        options = service.options
        assert options["read_only"], service.name
        assert options["init"], service.name
        assert options["cap_drop"] == ["ALL"], service.name
        assert options["security_opt"] == ["no-new-privileges:true"], service.name


@pytest.mark.parametrize("name", NAMES)
def test_machines_reach_nothing_outside(name: str) -> None:
    machines = [each for each in services(name).values() if each.command == ["machine"]]

    assert machines
    for machine in machines:
        assert set(machine.networks) <= internal_networks(ENVS / f"{name}.compose.yaml")


def test_machines_of_staging_share_no_network_and_nothing_that_they_could_write() -> None:
    one, other = (services("staging")[name] for name in ("machine-1", "machine-2"))

    assert not set(one.networks) & set(other.networks)
    assert all(volume.endswith(":ro") for volume in set(one.volumes) & set(other.volumes))
    assert one.environment["MACHINE_ID"] != other.environment["MACHINE_ID"]


@pytest.mark.parametrize("name", ["staging", "production-like"])
def test_machines_are_given_the_authority_and_no_key(name: str) -> None:
    for each in services(name).values():
        if each.command == ["machine"]:
            assert [volume for volume in each.volumes if "certificates" in volume] == [
                "/certificates/ca.pem:/tls/ca.pem:ro"
            ]


def test_fills_in_variables() -> None:
    machine = services("staging", MACHINE_IMAGE="built", NUM_GPUS="7")["machine-1"]

    assert machine.image == "built"
    assert machine.environment["NUM_GPUS"] == "7"
    assert machine.environment["MUSTER_QUEUE"] == "default"
    assert machine.environment["REDIS_URL"] == "rediss://machine:of-MACHINE@redis:6379/0"


def test_staging_does_not_start_without_passwords() -> None:
    with pytest.raises(NotUnderstood, match="Set the password of the machines"):
        services("staging", REDIS_MACHINE_PASSWORD="")


def test_leaves_out_nothing_in_silence(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {x: {image: i, command: [c], networks: [n], privileged: true}}")

    with pytest.raises(NotUnderstood, match="x: privileged"):
        read_services(file, {})
