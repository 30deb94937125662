"""A compose file started as people start it: by compose."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from muster.client import Client
from support.redis import free_port
from support.system.belongings import Run, remove
from support.system.containers import LOOPBACK
from support.system.engine import EngineMissing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker import DockerClient
    from docker.models.containers import Container

    from support.system.certificates import Certificates

_TIMEOUT_S = 180


@dataclass(frozen=True)
class Project:
    """A compose file with the labels of a run, and the variables that it is filled with."""

    client: DockerClient
    run: Run
    argv: list[str]
    environment: Mapping[str, str]
    port: int
    certificates: Certificates | None = None

    def compose(self, *arguments: str) -> str:
        """Run a compose command, which must succeed, and return what it printed."""
        done = subprocess.run(
            [*self.argv, *arguments],
            env={**os.environ, **self.environment},
            check=False,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
        assert done.returncode == 0, f"`compose {arguments[0]}` failed: {done.stderr}"
        return done.stdout

    def api(self, token: str) -> Client:
        """Return a client of the server that the project publishes."""
        place = f"{LOOPBACK}:{self.port}"
        if self.certificates:
            return self.certificates.client(f"https://{place}", token)
        return Client(f"http://{place}", token)

    def container(self, service: str) -> Container:
        """Return the container of a service."""
        return self.client.containers.get(self.compose("ps", "-q", service).strip())


@contextmanager
def project(
    client: DockerClient, file: Path, certificates: Certificates | None = None, **variables: str
) -> Iterator[Project]:
    """Prepare a project of that compose file; afterwards nothing of it is left.

    With ``certificates`` it speaks TLS by them.
    """
    run = Run()
    port = free_port()
    variables["MUSTER_PORT"] = str(port)
    if certificates:
        variables["TLS_DIR"] = str(certificates.folder)
    with tempfile.TemporaryDirectory(prefix="muster-compose-") as folder:
        labels = Path(folder) / "labels.yaml"
        labels.write_text(_labelled(file, run), encoding="utf-8")
        argv = [*_compose(), "-p", run.name("compose"), "-f", str(file), "-f", str(labels)]
        started = Project(client, run, argv, variables, port, certificates)
        try:
            yield started
            started.compose("down", "--volumes", "--timeout", "60")
        finally:
            remove(client, run.id)


def _compose() -> list[str]:
    """Return how compose is called here: Docker's plugin, or the program that was before it."""
    plugin = ["docker", "compose"]
    if (
        shutil.which("docker")
        and not subprocess.run([*plugin, "version"], check=False, capture_output=True).returncode
    ):
        return plugin
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise EngineMissing(
        "Neither `docker compose` nor `docker-compose` is here. Install one (on Debian: "
        "apt-get install docker-compose)."
    )


def _labelled(file: Path, run: Run) -> str:
    """Return a compose file that adds the run's labels to everything in ``file``."""
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    return yaml.safe_dump(
        {
            kind: {name: {"labels": run.labels} for name in document[kind]}
            for kind in ("services", "networks", "volumes")
        }
    )
