"""A fleet in containers: all that the environment's compose file describes, by the engine alone."""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from support.anywhere.fleet import profile_of
from support.redis import free_port
from support.system.belongings import Run, remove
from support.system.compose import internal_networks, read_services
from support.system.containers import LOOPBACK, Containers, awaited
from support.system.engine import redis_image
from support.system.image import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient
    from docker.models.containers import Container

    from muster.client.profile import Profile
    from muster.fleet.model import Program
    from muster.matrix.environments.model import Environment
    from support.system.compose import Service

PASSWORDS = ("OPERATOR", "SERVER", "MACHINE", "SENTINEL")
SERVER_PORT = 8700


@dataclass(frozen=True)
class ContainerBackend:
    """A fleet that runs in containers of this run."""

    profile: Profile
    redis_url: str | None
    second_url: str | None
    """Where the other server is, if there are two."""
    containers: dict[str, Container]
    """By the name of their service."""
    services: dict[str, Service]

    def kill(self, machine_id: str, program: Program) -> None:
        """End a program by SIGKILL, from within its container."""
        (name,) = [
            name
            for name, service in self.services.items()
            if service.environment.get("MACHINE_ID") == machine_id
        ]
        kill = f"import os; os.kill({program.pid}, 9)"
        execute(self.containers[name], "python", "-c", kill)


@contextmanager
def container_fleet(
    engine: DockerClient, image: str, environment: Environment
) -> Iterator[ContainerBackend]:
    """Run one that is provisioned as that environment; machines come up by and by."""
    file = ROOT / "envs" / f"{environment.name}.compose.yaml"
    passwords = {f"REDIS_{role}_PASSWORD": secrets.token_urlsafe() for role in PASSWORDS}
    with tempfile.TemporaryDirectory(prefix="muster-test-") as certificates:
        make_certificates(Path(certificates))
        variables = {
            "MACHINE_IMAGE": image,
            "REDIS_IMAGE": redis_image(engine),
            "NUM_GPUS": str(environment.machines.gpus),
            "TLS_DIR": certificates,
            **passwords,
        }
        whole = _Whole(Containers(engine, Run(), file.parent), file, variables)
        try:
            token = whole.containers.make_token(whole.services["server"])
            whole.start()
            redis_url = whole.services["server"].environment["REDIS_URL"]
            _provision(whole.running["server"], redis_url, passwords, environment.name)
            ca_file = Path(certificates) / "ca.pem" if redis_url.startswith("rediss") else None
            yield ContainerBackend(
                profile_of(whole.url("server", tls=ca_file is not None), token, ca_file),
                redis_url,
                whole.url("server-2", tls=True) if "server-2" in whole.ports else None,
                whole.running,
                whole.services,
            )
        finally:
            remove(engine, whole.containers.run.id)


def make_certificates(folder: Path) -> None:
    """Make those of ``envs/certificates``."""
    script = ROOT / "envs" / "certificates"
    subprocess.run([str(script), str(folder)], check=True, capture_output=True, timeout=60)


def execute(container: Container, *argv: str, **environment: str) -> str:
    """Run a program inside, which must succeed, and return what it printed."""
    code, said = container.exec_run(list(argv), environment=environment)
    assert isinstance(said, bytes)
    assert code == 0, f"{argv[0]} in {container.name} failed with {code}: {said.decode()}"
    return said.decode()


@dataclass
class _Whole:
    """All services of a compose file, but those that belong to a profile."""

    containers: Containers
    file: Path
    variables: dict[str, str]
    running: dict[str, Container] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        definitions = yaml.safe_load(self.file.read_text(encoding="utf-8"))["services"]
        services = read_services(self.file, self.variables)
        self.services = {
            name: replace(service, options=service.options | _restarting(definitions[name]))
            for name, service in services.items()
            if "profiles" not in definitions[name]
        }

    def url(self, service: str, *, tls: bool) -> str:
        """Return where a server is."""
        return f"{'https' if tls else 'http'}://{LOOPBACK}:{self.ports[service]}"

    def start(self) -> None:
        """Start all, each when those before it can be used."""
        internal = internal_networks(self.file)
        names = dict.fromkeys(name for each in self.services.values() for name in each.networks)
        networks = {
            name: self.containers.network(name, internal=name in internal) for name in names
        }
        for name, service in self.services.items():
            ports = {}
            if service.command == ["server"]:
                self.ports[name] = free_port()
                ports = {SERVER_PORT: self.ports[name]}
            self.running[name] = self.containers.start(
                service, networks=[networks[each] for each in service.networks], ports=ports
            )
            if service.healthcheck:
                self._until_healthy(self.running[name], name)

    @staticmethod
    def _until_healthy(container: Container, name: str) -> None:
        def health() -> str:
            container.reload()
            return str(container.attrs["State"]["Health"]["Status"])

        awaited(
            health,
            f"{name} is healthy",
            of=container,
            until="healthy".__eq__,
            hint="its health check is in the compose file.",
        )


def _restarting(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the engine's option: here programs may come before what they need, as with compose."""
    policy = definition.get("restart")
    return {"restart_policy": {"Name": policy}} if policy else {}


def _provision(server: Container, redis_url: str, passwords: dict[str, str], name: str) -> None:
    """Write the nameplate as the operator of Redis does: the server's own user may not."""
    scheme, _, rest = redis_url.partition("://")
    password, place = passwords["REDIS_OPERATOR_PASSWORD"], rest.rpartition("@")[2]
    url = f"{scheme}://operator:{password}@{place}"
    execute(server, "muster", "nameplate", "write", name, REDIS_URL=url)
