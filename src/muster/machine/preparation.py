"""What a machine checks and writes before it starts anything."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from muster.client.profile import write_private
from muster.errors import InvalidInput
from muster.machine import envfile
from muster.machine.programs import ProgramSpec
from muster.machine.settings import MachineSettings
from muster.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from muster.machine.plan import Plan, Service, WorkerProcess

WORKER_STOP_WAIT_S = 30
SERVICE_STOP_WAIT_S = 10

_OURS = frozenset(
    str(field.alias)
    for settings in (MachineSettings, WorkerSettings)
    for field in settings.model_fields.values()
)


def check_ports(plan: Plan) -> None:
    """Raise ``InvalidInput`` if a service's port is taken."""
    for service in plan.services:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", service.port))
            except OSError as error:
                raise InvalidInput(
                    "SERVICE_BASE_PORT",
                    f"gives {service.name} the port {service.port}, "
                    f"which cannot be had ({error.strerror})",
                    "End the program that uses it, or set SERVICE_BASE_PORT to another range.",
                ) from None


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


def environment(plan: Plan) -> dict[str, str]:
    """Return the environment that the machine's programs share.

    It is ours without the variables of our own settings. A worker reads those from its ``.env``
    file, and one left in the environment would win over the file, the same for every worker;
    a service has no business with Redis's password.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _OURS}
    return {**inherited, **plan.marker}


def program_specs(
    plan: Plan, environment: Mapping[str, str], *, start_attempts: int
) -> list[ProgramSpec]:
    """Return what the supervisor is to run for a plan."""
    return [
        ProgramSpec(
            name=program.name,
            argv=program.argv,
            env={**environment, **program.env},
            directory=program.directory,
            stop_wait_s=_stop_wait(program),
            start_attempts=start_attempts,
        )
        for program in plan.programs
    ]


def _stop_wait(program: Service | WorkerProcess) -> int:
    return WORKER_STOP_WAIT_S if program.kind == "worker" else SERVICE_STOP_WAIT_S
