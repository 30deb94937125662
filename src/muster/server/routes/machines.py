"""What operators have machines do. The server leaves a command; the machine's agent fetches it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Security, status

from muster.errors import Conflict, NotFound
from muster.fleet.commands import Action, Command
from muster.fleet.model import MachineState
from muster.server.auth import Role
from muster.server.guard import bearer, guarded
from muster.server.problems import documented
from muster.server.routes.fleet import MachineId
from muster.server.state import CommandsDep, RegistryDep

operating = APIRouter(
    prefix="/v1/machines/{machine_id}",
    tags=["fleet"],
    route_class=guarded(Role.OPERATE),
    dependencies=[Security(bearer)],
)

ProgramName = Annotated[str, Path(min_length=1, max_length=128, examples=["worker-gpu0"])]
RESPONSES = documented(404, 409)
ACCEPTED = status.HTTP_202_ACCEPTED


class _Sender:
    """Sends commands in the name of who asks."""

    def __init__(self, request: Request, registry: RegistryDep, commands: CommandsDep) -> None:
        self._by = request.scope["token"].name
        self._registry = registry
        self._commands = commands

    async def send(self, machine_id: str, action: Action, program: str = "") -> Command:
        """Leave a command for a machine. Raises ``NotFound`` or ``Conflict``."""
        machine = await self._registry.machine(machine_id)
        if machine.state is MachineState.OFFLINE:
            raise Conflict(f"Machine {machine_id!r} is offline: nobody there would obey.")
        names = [known.name for known in machine.programs]
        if program and program not in names:
            raise NotFound(
                f"Machine {machine_id!r} has no program {program!r}. It has {', '.join(names)}."
            )
        command = Command(
            machine_id=machine_id,
            incarnation=machine.incarnation,
            action=action,
            program=program,
            by=self._by,
        )
        await self._commands.send(command)
        return command


SenderDep = Annotated[_Sender, Depends(_Sender)]


@operating.post("/drain", status_code=ACCEPTED, responses=RESPONSES)
async def drain(machine_id: MachineId, sender: SenderDep) -> Command:
    """Stop a machine's workers: they hand their jobs back. It stays, and is `draining`."""
    return await sender.send(machine_id, Action.DRAIN)


@operating.post("/undrain", status_code=ACCEPTED, responses=RESPONSES)
async def undrain(machine_id: MachineId, sender: SenderDep) -> Command:
    """Start the workers of a drained machine again."""
    return await sender.send(machine_id, Action.UNDRAIN)


@operating.post("/programs/{program}/restart", status_code=ACCEPTED, responses=RESPONSES)
async def restart(machine_id: MachineId, program: ProgramName, sender: SenderDep) -> Command:
    """Restart a service or a worker of a machine. A worker hands its jobs back first."""
    return await sender.send(machine_id, Action.RESTART, program)
