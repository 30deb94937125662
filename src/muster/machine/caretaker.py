"""Keeps programs running, and the supervisord that runs them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from muster.machine import leftovers
from muster.machine.rpc import SupervisorGone
from muster.machine.supervisor import FATAL, RUNNING, Status, Supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from muster.machine.programs import ProgramSpec

LOOK_EVERY_S = 1.0
LONGEST_WAIT_S = 300.0

_log = structlog.get_logger()


class Caretaker:
    """As a context manager it starts all programs, and leaves none behind.

    ``stages`` are the programs in the order in which they are stopped: those of one stage at once.
    ``environment`` is the supervisord's; it holds ``marker``, as each program's does, by which
    processes are found that outlived their supervisord. A program that supervisord gives up is
    started again after ``first_wait_s``, and twice as long after each further time.

    Programs that are ``held`` stay stopped until they are let go.

    ``programs`` is how supervisord saw them at the last look, ``earlier`` at the look before, and
    ``restarts`` counts how often each was seen with a new process that nobody asked for.
    """

    def __init__(
        self,
        directory: Path,
        stages: Sequence[Sequence[ProgramSpec]],
        *,
        environment: Mapping[str, str],
        marker: Mapping[str, str],
        first_wait_s: float,
    ) -> None:
        self.programs: dict[str, Status] = {}
        self.earlier: dict[str, Status] = {}
        self.restarts: Counter[str] = Counter()
        self.held: set[str] = set()
        self._stages = [[program.name for program in stage] for stage in stages]
        self._marker = marker
        self._first_wait_s = first_wait_s
        self._waits: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._pids: dict[str, int] = {}
        self._supervisor = Supervisor(directory, stages, environment)

    @property
    def given_up(self) -> list[str]:
        """The programs that supervisord does not try to start any more, until we do."""
        return [name for name, status in self.programs.items() if status.state == FATAL]

    def last_line(self, name: str) -> str:
        """Return the last line that a program printed."""
        return self._supervisor.last_line(name)

    def log_file(self, name: str) -> Path:
        """Return where a program's output goes."""
        return self._supervisor.log_file(name)

    async def run(self) -> None:
        """Look after the programs until cancelled."""
        gone = False
        while True:
            try:
                if gone:
                    await self._revive()
                gone = False
                await self._look()
                await self._heal()
            except SupervisorGone:
                gone = True
            await asyncio.sleep(LOOK_EVERY_S)

    async def hold(self, *names: str) -> None:
        """Stop programs, and keep them stopped even if the supervisord is started anew."""
        self.held.update(names)
        await self._supervisor.stop(*names)

    async def release(self, *names: str) -> None:
        """Start programs that were held."""
        self.held.difference_update(names)
        for name in names:
            self._pids.pop(name, None)
        await self._supervisor.start(*names)

    async def restart(self, name: str) -> None:
        """Stop a program as gently as it likes to be stopped, and start it, unless it is held."""
        await self._supervisor.stop(name)
        self._pids.pop(name, None)
        if name not in self.held:
            await self._supervisor.start(name)

    async def drain(self) -> None:
        """Stop all programs, stage after stage."""
        try:
            for names in self._stages:
                await self._supervisor.stop(*names)
                await self._look()
        except SupervisorGone:
            _log.warning("supervisord_gone_while_draining")

    async def __aenter__(self) -> Self:
        await self._start_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._supervisor.close()
        await asyncio.to_thread(leftovers.end, self._marker)

    async def _start_all(self) -> None:
        await self._supervisor.open()
        for names in reversed(self._stages):
            await self._supervisor.start(*(name for name in names if name not in self.held))
        await self._look()

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
            if status.state == RUNNING or name in self.held:
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
        await asyncio.to_thread(leftovers.end, self._marker)
        await self._start_all()
