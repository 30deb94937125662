"""Containers of a run, made from the services of a compose file."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from docker.errors import DockerException

from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

    from support.system.belongings import Run
    from support.system.compose import Service

T = TypeVar("T")
LAST_LINES = 25
LOOK_EVERY_S = 0.1
LOOPBACK = "127.0.0.1"


class Containers:
    """Makes the networks, volumes and containers of one run. ``folder`` is the compose file's."""

    def __init__(self, client: DockerClient, run: Run, folder: Path) -> None:
        self.client = client
        self.run = run
        self._folder = folder

    def network(self, name: str, *, internal: bool) -> str:
        """Make a network of the run's own, and return its name."""
        full = self.run.name(name)
        self.client.networks.create(
            full, driver="bridge", internal=internal, labels=self.run.labels
        )
        return full

    def start(
        self,
        service: Service,
        *,
        networks: list[str],
        name: str | None = None,
        ports: Mapping[int, int] | None = None,
        volumes: list[str] | None = None,
    ) -> Container:
        """Start a service. ``networks`` are existing ones, or none, on which it has its name.

        ``ports`` maps its ports to those of this computer's loopback.
        """
        api = self.client.api
        options = {key: value for key, value in service.options.items() if key != "user"}
        endpoints: Any = {
            name: api.create_endpoint_config(aliases=[service.name]) for name in networks[:1]
        }
        created = api.create_container(
            service.image,
            service.command,
            entrypoint=service.entrypoint,
            name=self.run.name(name or service.name),
            user=service.options["user"],
            environment=service.environment,
            labels=self.run.labels,
            healthcheck=service.healthcheck,
            ports=list(ports or ()),
            host_config=api.create_host_config(
                binds=[self._bind(volume) for volume in volumes or service.volumes],
                network_mode=None if networks else "none",
                port_bindings={inside: (LOOPBACK, port) for inside, port in (ports or {}).items()},
                **options,
            ),
            networking_config=api.create_networking_config(endpoints),
        )
        for network in networks[1:]:
            api.connect_container_to_network(created["Id"], network, aliases=[service.name])
        api.start(created["Id"])
        return self.client.containers.get(created["Id"])

    def make_token(self, server: Service, name: str = "tests", role: str = "operate") -> str:
        """Return a token that the server, which is not running yet, will take."""
        adding = replace(server, command=["token", "add", name, "--role", role])
        container = self.start(adding, name="token", networks=[])
        try:
            code = container.wait(timeout=60)["StatusCode"]
            said = container.logs().decode().strip()
        finally:
            container.remove(force=True)
        assert code == 0, said
        return str(said)

    def _bind(self, volume: str) -> str:
        """Give a named volume the run's name and labels, and a path its folder."""
        source, rest = volume.split(":", 1)
        if source.startswith(("/", ".")):
            return f"{(self._folder / source).resolve()}:{rest}"
        name = self.run.name(source)
        self.client.volumes.create(name, labels=self.run.labels)
        return f"{name}:{rest}"


def awaited(
    probe: Callable[[], T],
    what: str,
    *,
    of: Container,
    hint: str,
    until: Callable[[T], object] = bool,
    timeout_s: float = 60,
    ignoring: tuple[type[Exception], ...] = (),
) -> T:
    """Wait as ``eventually_blocking`` does, for something that a container is to bring about.

    If it is in vain, or the container ends, the error also shows how the container is, the last
    lines of its log, and a hint.
    """

    def look() -> T:
        of.reload()
        if of.status in {"exited", "dead"}:
            raise AssertionError(f"The container ended while we waited for: {what}.")
        return probe()

    try:
        return eventually_blocking(
            look, what, until=until, timeout_s=timeout_s, ignoring=ignoring, every_s=LOOK_EVERY_S
        )
    except AssertionError as error:
        raise AssertionError(f"{error}\n{last_words(of)}\nHint: {hint}") from None


def last_words(container: Container) -> str:
    """Tell how a container is and what it said last."""
    try:
        container.reload()
        said = container.logs(tail=LAST_LINES).decode(errors="replace").rstrip()
    except DockerException as error:
        return f"The container {container.name} is gone ({error})."
    state = container.attrs["State"]
    how = f"{state['Status']}, exit code {state['ExitCode']}" + (
        ", killed for its memory" if state["OOMKilled"] else ""
    )
    return f"The container {container.name} is {how}. It said last:\n{said or '(nothing)'}"


def stop_quietly(container: Container, timeout_s: int) -> None:
    """Stop a container, in whatever state it is."""
    with suppress(DockerException):
        container.unpause()
    container.stop(timeout=timeout_s)
