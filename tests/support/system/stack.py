"""One fleet in containers: Redis and a server, to which machines come and from which they go."""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import redis

from support.redis import free_port
from support.system.belongings import Run, remove, stop
from support.system.certificates import Certificates
from support.system.compose import internal_networks, read_services
from support.system.containers import LOOPBACK, Containers, awaited
from support.system.image import ROOT
from support.system.machines import MachineContainer
from support.system.measured import measured
from support.system.releases import RELEASES_PORT, Releases

if TYPE_CHECKING:
    from typing import Self

    from docker import DockerClient
    from docker.models.containers import Container

    from muster.client import Client

STAGING = ROOT / "envs" / "staging.compose.yaml"
_REDIS_PORT, _SERVER_PORT = 6379, 8700


class Stack:
    """Runs what ``envs/staging.compose.yaml`` describes, with machines as tests want them.

    As a context manager it removes all that is the run's, however the block ends. With a folder
    ``coverage`` the programs of the machine's image, which must be one for that, measure theirs.
    """

    def __init__(
        self,
        client: DockerClient,
        *,
        machine_image: str,
        redis_image: str,
        coverage: Path | None = None,
    ) -> None:
        self.run = Run()
        self._engine = client
        self._containers = Containers(client, self.run, STAGING.parent)
        self.passwords = {
            role: secrets.token_urlsafe() for role in ("operator", "server", "machine")
        }
        self._folder = tempfile.TemporaryDirectory(prefix="muster-test-")
        self._certificates = Certificates(Path(self._folder.name))
        self._services = read_services(
            STAGING,
            {
                "MACHINE_IMAGE": machine_image,
                "REDIS_IMAGE": redis_image,
                "TLS_DIR": self._folder.name,
                **{f"REDIS_{role.upper()}_PASSWORD": p for role, p in self.passwords.items()},
            },
        )
        self._coverage = coverage
        if coverage:
            self._services = {
                name: measured(service, coverage) if service.image == machine_image else service
                for name, service in self._services.items()
            }
        self.redis_port, self.server_port = free_port(), free_port()
        self.token = ""
        self.redis: Container
        self.server: Container
        self.within_reach: dict[str, Container] = {}
        """What each machine finds on its network, by name."""

    @property
    def url(self) -> str:
        """Where the server is."""
        return f"https://{LOOPBACK}:{self.server_port}"

    def client(self) -> Client:
        """Return a client of the server, which may do everything."""
        return self._certificates.client(self.url, self.token)

    def redis_client(self, role: str | None = "operator", password: str = "") -> redis.Redis:
        """Return a client of Redis: that role with its password, or another; or nobody."""
        return redis.Redis(
            host=LOOPBACK,
            port=self.redis_port,
            username=role,
            password=password or self.passwords.get(role or ""),
            ssl=True,
            ssl_ca_certs=str(self._certificates.ca_file),
            socket_timeout=5,
        )

    def start_redis_and_server(self) -> None:
        """Start both, and wait until they can be used."""
        internal = internal_networks(STAGING)
        front, back = (
            self._containers.network(name, internal=name in internal) for name in ("front", "back")
        )
        start = self._containers.start
        self.redis = start(
            self._services["redis"], networks=[front, back], ports={_REDIS_PORT: self.redis_port}
        )
        self.within_reach["redis"] = self.redis
        self.token = self._containers.make_token(self._services["server"])
        self._await_redis()
        self.server = start(
            self._services["server"], networks=[front, back], ports={_SERVER_PORT: self.server_port}
        )
        awaited(
            self._is_ready,
            "the server is ready",
            of=self.server,
            hint="it needs Redis and the volume with its tokens.",
            ignoring=(httpx.TransportError,),
        )

    def start_releases(self) -> Releases:
        """Start the release server, which machines that are started later find as ``releases``."""
        internal = internal_networks(STAGING)
        front = self._containers.network("releases", internal="front" in internal)
        port = free_port()
        container = self._containers.start(
            self._services["releases"], networks=[front], ports={RELEASES_PORT: port}
        )
        self.within_reach["releases"] = container
        return Releases(container, f"http://{LOOPBACK}:{port}")

    def start_machine(
        self,
        machine_id: str,
        *,
        gpus: int,
        volume: str | None = None,
        service_options: str = "",
        **environment: str | None,
    ) -> MachineContainer:
        """Start a machine of that name, alone with Redis on a network of its own.

        Its workers have the label ``machine=machine_id``. ``volume`` is where its data are: another
        machine's, to come after that. ``environment`` is set on top of the compose file's; None
        unsets. ``service_options`` are added to its services' command line.
        """
        template = self._services["machine-1"]
        command = template.environment["SERVICE_COMMAND"]
        variables = {
            **template.environment,
            "MACHINE_ID": machine_id,
            "NUM_GPUS": str(gpus),
            "WORKER_LABELS": f"machine={machine_id}",
            "SERVICE_COMMAND": f"{command} {service_options}",
            **environment,
        }
        service = replace(
            template, environment={k: v for k, v in variables.items() if v is not None}
        )
        unique = f"{machine_id}-{secrets.token_hex(2)}"
        network = self._containers.network(
            unique, internal="machine-1" in internal_networks(STAGING)
        )
        for alias, neighbour in self.within_reach.items():
            self._engine.networks.get(network).connect(neighbour, aliases=[alias])
        container = self._containers.start(
            service,
            name=unique,
            networks=[network],
            volumes=[
                f"{volume or unique}:/data" if each.endswith(":/data") else each
                for each in service.volumes
            ],
        )
        named = service.environment.get("MACHINE_ID") or service.environment["CONTAINER_NAME"]
        return MachineContainer(
            machine_id=named,
            label=machine_id,
            gpus=gpus,
            container=container,
            network=network,
            volume=volume or unique,
            stop_grace_s=service.stop_grace_s,
            engine=self._engine,
            neighbours=list(self.within_reach.values()),
            open_client=self.client,
            measured=self._coverage is not None,
        )

    def completions(self, jobs: list[str]) -> dict[str, int]:
        """Return how often each of these jobs was committed as completed."""
        with self.redis_client() as client:
            entries: list[Any] = client.xrange("muster:{default}:events")
        done = [f[b"job"].decode() for _, f in entries if f[b"state"] == b"completed"]
        return {job: done.count(job) for job in jobs}

    def _is_ready(self) -> bool:
        trust = self._certificates.trust
        return httpx.get(f"{self.url}/readyz", verify=trust, trust_env=False).is_success

    def _await_redis(self) -> None:
        with self.redis_client() as client:
            awaited(
                partial(client.ping),
                "Redis answers",
                of=self.redis,
                hint="envs/redis/start needs the three passwords.",
                ignoring=(redis.RedisError,),
            )

    def __enter__(self) -> Self:
        try:
            self.start_redis_and_server()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._coverage:
            stop(self._engine, self.run.id)
        self._remove()

    def _remove(self) -> None:
        remove(self._engine, self.run.id)
        self._folder.cleanup()
