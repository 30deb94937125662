"""A fleet of processes on this computer: Redis, a server, and machines with simulated GPUs."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muster.fleet import nameplate
from muster.jobs.connection import connect
from muster.machine.ports import free_row
from muster.settings import RedisSettings
from support.anywhere.fleet import profile_of
from support.processes import running_process
from support.roles import roles_redis
from support.server_process import serving

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from muster.client.profile import Profile
    from muster.fleet.model import Program
    from support.roles import RolesRedis

SIMULATOR = (
    *("{python}", "-m", "muster.simulation.comfyui", "--port", "{port}", "--gpu", "{gpu}"),
    *("--output-directory", "{output_dir}", "--temp-directory", "{temp_dir}"),
    *("--input-directory", "{input_dir}"),
)
OURS = ("MUSTER_", "REDIS_URL", "MACHINE_ID", "CONTAINER_NAME", "WORKER_", "SERVICE_")


@dataclass(frozen=True)
class ProcessBackend:
    """A fleet that runs as processes of this computer."""

    profile: Profile
    redis_url: str | None
    redis: RolesRedis
    folder: Path
    """Where its files are: the server's ``tokens.toml``, and the logs."""

    def kill(self, machine_id: str, program: Program) -> None:
        """End a program by SIGKILL."""
        assert program.pid, f"{program.name} of {machine_id} does not run"
        os.kill(program.pid, signal.SIGKILL)


@contextmanager
def process_fleet(environment: str | None, *, count: int, gpus: int) -> Iterator[ProcessBackend]:
    """Run one that is provisioned as that environment; machines come up by and by."""
    with (
        tempfile.TemporaryDirectory(prefix="muster-test-") as name,
        roles_redis() as redis,
        serving(Path(name), redis.url("server")) as server,
        ExitStack() as machines,
    ):
        if environment is not None:
            provision(redis.url("operator"), environment)
        for number in range(1, count + 1):
            machines.enter_context(_machine(Path(name), redis, f"box-{number}", gpus))
        profile = profile_of(server.url, server.token)
        yield ProcessBackend(profile, redis.url("reader"), redis, Path(name))


def provision(redis_url: str, environment: str, *, permits: str | None = None) -> None:
    """Write the nameplate, as whoever provisions an environment does, and perhaps a permit."""

    async def write() -> None:
        async with connect(RedisSettings.load(redis_url=redis_url)) as redis:
            await nameplate.write(redis, environment, replace=True)
            if permits is not None:
                await nameplate.permit(redis, permits, seconds=600)

    asyncio.run(write())


@contextmanager
def _machine(
    folder: Path, redis: RolesRedis, machine_id: str, gpus: int
) -> Iterator[subprocess.Popen[bytes]]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
    variables = {
        **clean,
        "REDIS_URL": redis.url("machine"),
        "MACHINE_ID": machine_id,
        "NUM_GPUS": str(gpus),
        "MUSTER_DATA_DIR": str(folder / "data"),
        "SERVICE_COMMAND": shlex.join(SIMULATOR),
        "SERVICE_BASE_PORT": str(free_row(gpus)),
    }
    env_argv = [sys.executable, "-m", "muster.cli", "machine"]
    with running_process(
        env_argv, folder / f"{machine_id}.log", environment=variables, ends_within_s=60
    ) as process:
        yield process
