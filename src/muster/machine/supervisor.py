"""Runs programs under a supervisord of our own, and keeps them running."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from muster.client.profile import write_private
from muster.errors import MusterError
from muster.machine import launch
from muster.machine.programs import (
    CONFIG,
    LAUNCH_VARIABLE,
    LOGS,
    SOCKET_VARIABLE,
    ProgramSpec,
    group,
    spec_text,
    write_files,
)
from muster.machine.rpc import ALREADY_STARTED, NOT_RUNNING, Refused, Rpc, SupervisorGone

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Self

LONGEST_SOCKET_PATH = 90
"""Bytes; a unix socket's path may have 107 (unix(7)), and supervisord adds its pid to it."""

START_TIMEOUT_S = 30.0
STARTING = "STARTING"
RUNNING = "RUNNING"
FATAL = "FATAL"
_TAIL_BYTES = 4096
_OUT = "supervisord.out"
_RUNTIME = "run"
_OVER = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})

_log = structlog.get_logger()


class SupervisorFailed(MusterError):
    """The supervisord did not start."""


@dataclass(frozen=True, slots=True)
class Status:
    """How supervisord sees a program: one of its own states, and the process id if there is one."""

    name: str
    state: str
    pid: int | None
    detail: str


class Supervisor:
    """A supervisord with a set of programs, which starts none of them until it is told to.

    The programs come in stages: when it ends, those of the first are stopped, then the next.
    It keeps its configuration and logs in ``directory``, which no other one uses; there,
    ``supervisorctl -s unix://…/run/s`` reaches it. ``env`` is its own environment. Its
    programs end with it, and it ends with the process that opened it, even by SIGKILL. As a
    context manager it is open inside, and outside nothing of it runs.
    """

    def __init__(
        self, directory: Path, stages: Sequence[Sequence[ProgramSpec]], env: Mapping[str, str]
    ) -> None:
        self._directory = directory
        self._stages = stages
        self._groups = {
            program.name: group(number) for number, stage in enumerate(stages) for program in stage
        }
        self._env = env
        self._process: asyncio.subprocess.Process | None = None
        self._resources = AsyncExitStack()
        self._rpc: Rpc | None = None

    @property
    def alive(self) -> bool:
        """Whether the supervisord runs."""
        return self._process is not None and self._process.returncode is None

    async def open(self) -> None:
        """Start the supervisord and wait until it answers. Raises ``SupervisorFailed``."""
        write_files(self._directory, self._stages)
        socket = self._make_runtime_folder() / "s"
        if len(os.fsencode(socket)) > LONGEST_SOCKET_PATH:
            await self.close()
            raise SupervisorFailed(f"{tempfile.gettempdir()} is too long. Set TMPDIR to a shorter.")
        self._rpc = await self._resources.enter_async_context(Rpc(socket))
        self._process = await self._spawn(socket)
        try:
            await self._wait_until_it_answers()
        except BaseException:
            await self.close()
            raise
        _log.info("supervisord_started", pid=self._process.pid, socket=str(socket))

    async def status(self) -> dict[str, Status]:
        """Return the state of each program. Raises ``SupervisorGone``."""
        answer = await self._call("getAllProcessInfo")
        return {
            info["name"]: Status(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"] or None,
                detail=info["spawnerr"] or info["description"],
            )
            for info in answer
        }

    async def start(self, *names: str) -> None:
        """Start programs, without waiting until they run. Those that run already are left alone."""
        for name in names:
            await self._ask("startProcess", name, unless=ALREADY_STARTED)

    async def stop(self, *names: str) -> None:
        """Stop programs, all at once, and wait until they have ended."""
        while True:
            # Again and again: one that had just died when it was asked is started anew.
            for name in names:
                await self._ask("stopProcess", name, unless=NOT_RUNNING)
            if await self._are_over(names):
                return
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        """Stop everything, the supervisord too. Nothing that it started runs afterwards."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            waits = [max(p.stop_wait_s for p in stage) for stage in self._stages if stage]
            patience = sum(waits) + 5
            try:
                await asyncio.wait_for(self._process.wait(), patience)
            except TimeoutError:
                _log.warning("supervisord_killed", pid=self._process.pid, waited_s=patience)
                self._process.kill()
                await self._process.wait()
        self._process = None
        self._rpc = None
        await self._resources.aclose()

    def log_file(self, name: str) -> Path:
        """Return where a program's output goes."""
        return self._directory / LOGS / f"{name}.log"

    def last_line(self, name: str) -> str:
        """Return the last line that a program printed, empty if there is none."""
        try:
            with self.log_file(name).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = log.read().decode(errors="replace").split("\n")
        except FileNotFoundError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def _make_runtime_folder(self) -> Path:
        """Make a folder for the socket, whose path must be short, and a link to it from ours."""
        link = self._directory / _RUNTIME
        if link.is_symlink():  # the run before was killed
            shutil.rmtree(link.readlink(), ignore_errors=True)
            link.unlink()
        folder = Path(tempfile.mkdtemp(prefix="muster-"))
        link.symlink_to(folder)
        self._resources.callback(shutil.rmtree, folder, ignore_errors=True)
        self._resources.callback(link.unlink)
        return folder

    async def _spawn(self, socket: Path) -> asyncio.subprocess.Process:
        launcher = [sys.executable, "-I", "-S", str(Path(launch.__file__))]
        spec = ProgramSpec(
            name="supervisord",
            argv=(sys.executable, "-P", "-m", "supervisor.supervisord", "-n", "-c", CONFIG),
            env={
                **self._env,
                SOCKET_VARIABLE: str(socket),
                LAUNCH_VARIABLE: shlex.join(launcher),
            },
            directory=self._directory,
        )
        spec_file = self._directory / "supervisord.json"
        write_private(spec_file, spec_text(spec))
        with (self._directory / _OUT).open("wb") as out:
            # A session of its own: Ctrl-C in a terminal is for us, who stop things in order.
            return await asyncio.create_subprocess_exec(
                *launcher,
                str(spec_file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    async def _wait_until_it_answers(self) -> None:
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while self.alive and asyncio.get_running_loop().time() < deadline:
            try:
                await self._call("getState")
            except SupervisorGone:
                await asyncio.sleep(0.02)
            else:
                return
        said = (self._directory / _OUT).read_text(encoding="utf-8", errors="replace").strip()
        raise SupervisorFailed(
            f"The supervisord in {self._directory} did not start. It says: {said or 'nothing'}"
        )

    async def _are_over(self, names: Collection[str]) -> bool:
        status = await self.status()
        return all(status[name].state in _OVER for name in names)

    async def _ask(self, method: str, name: str, *, unless: int) -> None:
        try:
            await self._call(method, f"{self._groups[name]}:{name}", False)
        except Refused as refused:
            if refused.code != unless:
                raise

    async def _call(self, method: str, *arguments: object) -> Any:
        if self._rpc is None:
            raise SupervisorGone
        return await self._rpc.call(f"supervisor.{method}", *arguments)
