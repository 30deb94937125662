"""A fleet in containers: all that the environment's compose file describes, by the engine alone."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from support.anywhere.fleet import profile_of
from support.redis import free_port
from support.system.belongings import Run, remove
from support.system.certificates import Certificates
from support.system.compose import internal_networks, read_services
from support.system.containers import LOOPBACK, Containers, awaited, stop_quietly
from support.system.engine import prometheus_image, redis_image
from support.system.image import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docker import DockerClient
    from docker.models.containers import Container

    from muster.client import Client
    from muster.client.profile import Profile
    from muster.fleet.model import Program
    from muster.matrix.environments.model import Environment
    from support.system.compose import Service

PASSWORDS = ("OPERATOR", "SERVER", "MACHINE", "SENTINEL")
PROMETHEUS = "prometheus"
PROMETHEUS_TOKEN = "prometheus.token"


@dataclass(frozen=True)
class ContainerBackend:
    """A fleet that runs in containers of this run."""

    profile: Profile
    redis_url: str | None
    urls: dict[str, str]
    """Where each service is that publishes a port, by its name."""
    containers: dict[str, Container]
    """By the name of their service."""
    services: dict[str, Service]
    certificates: Certificates
    start: Callable[[str], Container]

    @contextmanager
    def running(self, service: str) -> Iterator[Container]:
        """Run a service that belongs to a profile, for so long."""
        container = self.start(service)
        try:
            yield container
            stop_quietly(container, self.services[service].stop_grace_s)
        finally:
            container.remove(force=True)

    def client(self, server: str, *, patience_s: float) -> Client:
        """Return a client of that server, which may do everything."""
        token = self.profile.token.get_secret_value()
        return self.certificates.client(self.urls[server], token, patience_s=patience_s)

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
    with tempfile.TemporaryDirectory(prefix="muster-test-") as folder:
        certificates = Certificates(Path(folder))
        variables = {
            "MACHINE_IMAGE": image,
            "REDIS_IMAGE": redis_image(engine),
            "NUM_GPUS": str(environment.machines.gpus),
            "TLS_DIR": folder,
            **passwords,
        }
        definitions = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]
        if PROMETHEUS in definitions:
            variables["PROMETHEUS_IMAGE"] = prometheus_image(engine)
        whole = _Whole(Containers(engine, Run(), file.parent), file, definitions, variables)
        try:
            server = whole.services["server"]
            token = whole.containers.make_token(server)
            if PROMETHEUS in definitions:
                reading = whole.containers.make_token(server, PROMETHEUS, "view")
                certificates.put(PROMETHEUS_TOKEN, reading)
            whole.start_all()
            redis_url = whole.services["server"].environment["REDIS_URL"]
            _provision(whole.running["server"], redis_url, passwords, environment.name)
            yield ContainerBackend(
                profile_of(whole.urls["server"], token, certificates.ca_file),
                redis_url,
                whole.urls,
                whole.running,
                whole.services,
                certificates,
                whole.start,
            )
        finally:
            remove(engine, whole.containers.run.id)


def execute(container: Container, *argv: str, **environment: str) -> str:
    """Run a program inside, which must succeed, and return what it printed."""
    code, said = container.exec_run(list(argv), environment=environment)
    assert isinstance(said, bytes)
    assert code == 0, f"{argv[0]} in {container.name} failed with {code}: {said.decode()}"
    return said.decode()


@dataclass
class _Whole:
    """All services of a compose file."""

    containers: Containers
    file: Path
    definitions: dict[str, dict[str, Any]]
    variables: dict[str, str]
    running: dict[str, Container] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        services = read_services(self.file, self.variables)
        self.services = {
            name: replace(service, options=service.options | _restarting(self.definitions[name]))
            for name, service in services.items()
        }

    def start_all(self) -> None:
        """Start all but those of a profile, each when those before it can be used."""
        internal = internal_networks(self.file)
        names = dict.fromkeys(name for each in self.services.values() for name in each.networks)
        self.networks.update(
            {name: self.containers.network(name, internal=name in internal) for name in names}
        )
        for name, service in self.services.items():
            if "profiles" not in self.definitions[name]:
                self.running[name] = self.start(name)
                if service.healthcheck:
                    self._until_healthy(self.running[name], name)

    def start(self, name: str) -> Container:
        """Start one service."""
        service = self.services[name]
        ports = {inside: free_port() for inside in _published(self.definitions[name])}
        for port in ports.values():
            self.urls[name] = f"https://{LOOPBACK}:{port}"
        networks = [self.networks[each] for each in service.networks]
        return self.containers.start(service, networks=networks, ports=ports)

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


def _published(definition: dict[str, Any]) -> list[int]:
    """Return the ports within that a service publishes."""
    return [int(port.rpartition(":")[2]) for port in definition.get("ports", [])]


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
