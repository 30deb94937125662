"""What a run has on the engine: labelled with whose it is and until when, so that nothing stays."""

from __future__ import annotations

import os
import secrets
import socket
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import psutil
from docker.errors import APIError, NotFound

from support.system.containers import stop_quietly

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from docker import DockerClient

RUN = "muster.run"
OWNER = "muster.run.owner"
EXPIRES = "muster.run.expires"
TTL_S = 3600
STOP_S = 60


def _owner() -> str:
    """Name this process so that another one can tell whether it still lives."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time()}"


@dataclass(frozen=True)
class Run:
    """One run of the tests, or whatever else starts containers."""

    id: str = field(default_factory=lambda: secrets.token_hex(4))
    owner: str = field(default_factory=_owner)
    expires: int = field(default_factory=lambda: int(time.time()) + TTL_S)

    @property
    def labels(self) -> dict[str, str]:
        """What each container, network and volume of the run is labelled with."""
        return {RUN: self.id, OWNER: self.owner, EXPIRES: str(self.expires)}

    def name(self, what: str) -> str:
        """Return a name that no other run uses."""
        return f"muster-{self.id}-{what}"


def left_of(client: DockerClient, run_id: str) -> list[str]:
    """Return in words what there is of a run."""
    return [f"{kind} {name}" for kind, name, _ in _found(client, f"{RUN}={run_id}")]


def stop(client: DockerClient, run_id: str) -> None:
    """Let the programs in a run's containers end by themselves, the newest first."""
    for container in client.containers.list(filters={"label": f"{RUN}={run_id}"}):
        stop_quietly(container, STOP_S)


def remove(client: DockerClient, run_id: str) -> None:
    """Remove all that a run has, in whatever state it is."""
    _remove(client, f"{RUN}={run_id}", lambda _: True)


def sweep(client: DockerClient) -> None:
    """Remove what dead runs left: those whose process is gone, or whose time is over."""
    _remove(client, RUN, _is_orphaned)


def _is_orphaned(labels: Mapping[str, str]) -> bool:
    if int(labels[EXPIRES]) < time.time():
        return True
    host, pid, started = labels[OWNER].rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        return psutil.Process(int(pid)).create_time() != float(started)
    except psutil.NoSuchProcess:
        return True


def _found(client: DockerClient, label: str) -> list[tuple[str, str, Mapping[str, str]]]:
    filters = {"label": label}
    containers = client.api.containers(all=True, filters=filters)
    volumes = client.api.volumes(filters=filters)["Volumes"] or []
    return [
        *(("container", each["Id"], each["Labels"]) for each in containers),
        *(("network", n["Id"], n["Labels"]) for n in client.api.networks(filters=filters)),
        *(("volume", each["Name"], each["Labels"]) for each in volumes),
    ]


def _remove(client: DockerClient, label: str, doomed: Callable[[Mapping[str, str]], bool]) -> None:
    how = {
        "container": lambda name: client.api.remove_container(name, force=True, v=True),
        "network": client.api.remove_network,
        "volume": client.api.remove_volume,
    }
    for kind, name, labels in _found(client, label):
        if doomed(labels):
            try:
                how[kind](name)
            except NotFound:
                pass
            except APIError as error:  # another process of the run sweeps too
                if error.status_code != HTTPStatus.CONFLICT:
                    raise
