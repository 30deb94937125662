"""Keeps a machine's programs running, and the supervisord that runs them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from muster.machine import leftovers, preparation
from muster.machine.rpc import SupervisorGone
from muster.machine.supervisor import FATAL, RUNNING, Status, Supervisor

if TYPE_CHECKING:
    from typing import Self

    from muster.machine.plan import Plan
    from muster.machine.settings import MachineSettings

LOOK_EVERY_S = 2.0
LONGEST_WAIT_S = 300.0

_log = structlog.get_logger()


class Caretaker:
    """As a context manager it starts the planned programs, and leaves none behind.

    ``programs`` is how supervisord saw them at the last look, ``earlier`` at the look before, and
    ``restarts`` counts how often each was seen with a new process.
    """

    def __init__(self, planned: Plan, settings: MachineSettings) -> None:
        self.programs: dict[str, Status] = {}
        self.earlier: dict[str, Status] = {}
        self.restarts: Counter[str] = Counter()
        self._plan = planned
        self._first_wait_s = settings.restart_wait_s
        self._waits: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._pids: dict[str, int] = {}
        environment = preparation.environment(planned)
        self._supervisor = Supervisor(
            planned.directory / "supervisor",
            preparation.program_specs(
                planned, environment, start_attempts=settings.restart_attempts
            ),
            environment,
        )

    @property
    def in_trouble(self) -> bool:
        """Whether the supervisor gave up on a program."""
        return any(status.state == FATAL for status in self.programs.values())

    def last_line(self, name: str) -> str:
        """Return the last line that a program printed."""
        return self._supervisor.last_line(name)

    async def run(self) -> None:
        """Look after the programs until cancelled."""
        while True:
            try:
                await self._look()
                await self._heal()
            except SupervisorGone:
                await self._revive()
            await asyncio.sleep(LOOK_EVERY_S)

    async def drain(self) -> None:
        """Stop the workers, which give their jobs back, and then the services."""
        try:
            await self._supervisor.stop(*(worker.name for worker in self._plan.workers))
            await self._supervisor.stop(*(service.name for service in self._plan.services))
            await self._look()
        except SupervisorGone:
            _log.warning("supervisord_gone_while_draining")

    async def __aenter__(self) -> Self:
        await self._supervisor.open()
        await self._start_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._supervisor.close()
        await asyncio.to_thread(leftovers.end, self._plan.marker)

    async def _start_all(self) -> None:
        await self._supervisor.start(*(program.name for program in self._plan.programs))

    async def _look(self) -> None:
        self.earlier, self.programs = self.programs, await self._supervisor.status()
        for status in self.programs.values():
            if status.pid is None:
                continue
            if self._pids.setdefault(status.name, status.pid) != status.pid:
                self._pids[status.name] = status.pid
                self.restarts[status.name] += 1
                _log.warning("program_restarted", program=status.name, pid=status.pid)

    async def _heal(self) -> None:
        """Start again what supervisord gave up, each time after twice the wait."""
        now = asyncio.get_running_loop().time()
        for name, status in self.programs.items():
            if status.state == RUNNING:
                self._waits.pop(name, None)
                self._due.pop(name, None)
            elif status.state == FATAL and name not in self._due:
                wait_s = self._waits.get(name, self._first_wait_s)
                self._waits[name] = min(2 * wait_s, LONGEST_WAIT_S)
                self._due[name] = now + wait_s
                _log.error("program_given_up", program=name, detail=status.detail, wait_s=wait_s)
            elif status.state == FATAL and now >= self._due[name]:
                del self._due[name]
                await self._supervisor.start(name)

    async def _revive(self) -> None:
        _log.error("supervisord_gone")
        self.earlier, self.programs = {}, {}
        await self._supervisor.close()
        await asyncio.to_thread(leftovers.end, self._plan.marker)
        await self._supervisor.open()
        await self._start_all()
