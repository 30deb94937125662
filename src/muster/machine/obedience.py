"""Does what operators ask of the machine: drain, undrain, restart one of its programs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from muster.fleet.commands import Action
from muster.machine.rpc import SupervisorGone

if TYPE_CHECKING:
    from muster.fleet.commands import Command, Commands
    from muster.machine.caretaker import Caretaker
    from muster.machine.plan import Plan

LOOK_EVERY_S = 2.0

_log = structlog.get_logger()


class Obedience:
    """Fetches the commands for one machine and carries them out, one after the other.

    ``drained`` says by whom the machine was drained, and is empty while it is not.
    """

    def __init__(self, planned: Plan, commands: Commands, caretaker: Caretaker) -> None:
        self.drained = ""
        self._plan = planned
        self._commands = commands
        self._caretaker = caretaker
        self._names = {program.name for program in planned.programs}
        self._workers = [worker.name for worker in planned.workers]

    async def run(self) -> None:
        """Obey until cancelled, through times without Redis."""
        while True:
            try:
                await self._obey_all()
            except (RedisError, OSError) as error:
                _log.debug(
                    "commands_not_fetched", error=str(error)
                )  # the agent says that it is away
            await asyncio.sleep(LOOK_EVERY_S)

    async def _obey_all(self) -> None:
        plan = self._plan
        for command in await self._commands.take(plan.machine_id, plan.incarnation):
            said = {"action": command.action.value, "program": command.program, "by": command.by}
            _log.info("command_taken", command=command.id, **said)
            try:
                await self._obey(command)
            except SupervisorGone:  # it comes back, and with it all that is not held
                _log.warning("command_cut_short", command=command.id, **said)

    async def _obey(self, command: Command) -> None:
        if command.action is Action.DRAIN:
            self.drained = f"{command.by} drained it: its workers are stopped until it is undrained"
            await self._caretaker.hold(*self._workers)
        elif command.action is Action.UNDRAIN:
            self.drained = ""
            await self._caretaker.release(*self._workers)
        elif command.program in self._names:
            await self._caretaker.restart(command.program)
        else:
            _log.warning("command_for_no_program", program=command.program)
