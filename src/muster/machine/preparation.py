"""What a machine checks and writes before it starts anything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from muster.client.profile import write_private
from muster.errors import InvalidInput
from muster.machine import envfile
from muster.machine.ports import is_free
from muster.machine.programs import ProgramSpec
from muster.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from muster.machine.plan import Plan, Service, WorkerProcess
    from muster.settings import Settings

WORKER_STOP_WAIT_S = 30
SERVICE_STOP_WAIT_S = 10
START_SECONDS = 3
"""Longer than a worker takes to find that it cannot work, so that its restarts have a back-off."""


def check_ports(plan: Plan) -> None:
    """Raise ``InvalidInput`` if a service's port is taken."""
    for service in plan.services:
        if not is_free(service.port):
            raise InvalidInput(
                "SERVICE_BASE_PORT",
                f"gives {service.name} the port {service.port}, which is taken",
                "End the program that uses it, or set SERVICE_BASE_PORT to another range.",
            )


def write_files(plan: Plan) -> None:
    """Make each program's folders, and write each worker's ``.env`` file.

    Each file is then read as its worker will read it: raises ``InvalidInput`` for a value that
    no worker could start with.
    """
    for service in plan.services:
        for folder in service.folders.values():
            folder.mkdir(parents=True, exist_ok=True)
    for worker in plan.workers:
        worker.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(worker.env_file, envfile.render(worker.dotenv))
        WorkerSettings.load(env_file=worker.env_file)


def clean_environment(*settings: type[Settings]) -> dict[str, str]:
    """Return our environment without the variables of these settings.

    A program that reads its settings from an ``.env`` file must not inherit them: the environment
    wins over the file, and is the same for all programs. Others have no business with them, least
    of all with Redis's password.
    """
    ours = {field.alias for each in settings for field in each.model_fields.values()}
    return {name: value for name, value in os.environ.items() if name not in ours}


def stages(
    plan: Plan, environment: Mapping[str, str], *, start_attempts: int
) -> tuple[list[ProgramSpec], list[ProgramSpec]]:
    """Return what the supervisor is to run: the workers, which are stopped first, the services."""

    def specs(programs: Sequence[Service | WorkerProcess], stop_wait_s: int) -> list[ProgramSpec]:
        return [
            ProgramSpec(
                name=program.name,
                argv=program.argv,
                env={**environment, **program.env},
                directory=program.directory,
                stop_wait_s=stop_wait_s,
                start_seconds=START_SECONDS,
                start_attempts=start_attempts,
            )
            for program in programs
        ]

    return specs(plan.workers, WORKER_STOP_WAIT_S), specs(plan.services, SERVICE_STOP_WAIT_S)
