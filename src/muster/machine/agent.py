"""Runs one machine: starts what is planned, watches that it runs, and tells the fleet."""

from __future__ import annotations

import asyncio
import secrets
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from muster.client.target import ClientSettings
from muster.downloads.contents import prune
from muster.downloads.store import Store
from muster.errors import Conflict, NotFound
from muster.fleet.commands import Commands
from muster.fleet.model import Machine, MachineState, Program
from muster.fleet.registry import HEARTBEAT_S, Registry
from muster.jobs.connection import check, connect
from muster.machine import gpus, health, leftovers, preparation
from muster.machine.caretaker import Caretaker
from muster.machine.code import prepared
from muster.machine.inspection import differences
from muster.machine.models import ModelKeeper, model_keeper
from muster.machine.obedience import Obedience
from muster.machine.plan import Plan, plan
from muster.machine.relay import Relay
from muster.machine.settings import MachineSettings
from muster.tasks import end, stop_signals
from muster.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STARTING_S = 120.0
LAST_WORDS_S = 5.0

_log = structlog.get_logger()


async def run(settings: MachineSettings) -> None:
    """Run the machine until SIGTERM or SIGINT, then drain it.

    Raises ``InvalidInput`` for settings that cannot work, ``Conflict`` if another machine of this
    id is alive, here or elsewhere, ``RedisUnavailable`` if Redis is not there at the start. Later
    it may be away: the programs run on meanwhile.
    """
    found, incarnation = gpus.detect(), secrets.token_hex(8)
    planned = plan(settings, found, incarnation=incarnation)
    async with AsyncExitStack() as stack:
        lock = planned.directory / "lock"
        stack.enter_context(leftovers.sole_run(lock, f"Machine {planned.machine_id}"))
        await asyncio.to_thread(leftovers.end, planned.marker)
        preparation.check_ports(planned)
        code = await stack.enter_async_context(prepared(settings))
        store = Store(settings.store_dir)
        await asyncio.to_thread(prune, store, models_kept=settings.models_kept)
        planned = plan(settings, found, incarnation=incarnation, code=code)
        preparation.write_files(planned)
        redis = await stack.enter_async_context(connect(settings))
        await check(redis, settings)
        keeper = await stack.enter_async_context(model_keeper(settings, redis))
        caretaker = _caretaker(planned, settings)
        await stack.enter_async_context(_relaying(planned, caretaker, wanted=settings.log_programs))
        agent = Agent(
            planned,
            Registry(redis, settings.queue),
            caretaker,
            keeper,
            complaint=code.complaint,
        )
        await agent.run()


def _caretaker(planned: Plan, settings: MachineSettings) -> Caretaker:
    clean = preparation.clean_environment(ClientSettings, MachineSettings, WorkerSettings)
    environment = {**clean, **planned.marker}
    return Caretaker(
        planned.directory / "supervisor",
        preparation.stages(planned, environment, start_attempts=settings.restart_attempts),
        environment=environment,
        marker=planned.marker,
        first_wait_s=settings.restart_wait_s,
    )


@asynccontextmanager
async def _relaying(planned: Plan, caretaker: Caretaker, *, wanted: bool) -> AsyncIterator[None]:
    """Pass on what the programs print, if that is wanted, until all have ended."""
    if not wanted:
        yield
        return
    names = [program.name for program in planned.programs]
    relay = asyncio.create_task(Relay({name: caretaker.log_file(name) for name in names}).run())
    try:
        yield
    finally:
        await end(relay)


class Agent:
    """The machine's voice in the fleet: it registers, reports and leaves."""

    def __init__(
        self,
        planned: Plan,
        registry: Registry,
        caretaker: Caretaker,
        keeper: ModelKeeper | None = None,
        *,
        complaint: str = "",
    ) -> None:
        self._plan = planned
        self._keeper = keeper
        self._obedience = Obedience(planned, Commands(registry), caretaker)
        self._complaints = [complaint] if complaint else []
        self._registry = registry
        self._caretaker = caretaker
        self._state = MachineState.STARTING
        self._reasons: list[str] = []
        self._started_at = self._starts_at = datetime.now(UTC)
        self._redis_away = False
        self._stopping = False

    async def run(self) -> None:
        """Register, run what is planned until a signal comes, drain, and leave."""
        with stop_signals() as stopped:
            await self._register()
            try:
                async with self._caretaker:
                    await self._until_stopped(stopped)
            finally:
                await self._say_farewell()

    async def _until_stopped(self, stopped: asyncio.Event) -> None:
        stop = asyncio.create_task(stopped.wait())
        care = asyncio.create_task(self._caretaker.run())
        report = asyncio.create_task(self._report_forever())
        obey = asyncio.create_task(self._obedience.run())
        tasks = {stop, care, report, obey}
        if self._keeper:
            tasks.add(asyncio.create_task(self._keeper.run()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stop}:
                task.result()
            await end(care, obey)
            _log.info("machine_draining", machine=self._plan.machine_id)
            self._stopping = True
            self._state, self._reasons = MachineState.DRAINING, []
            await self._caretaker.drain()
        finally:
            await end(*tasks)

    async def _register(self) -> None:
        # We hold the machine's lock: if the incarnation that holds the id in Redis is the last one
        # that held the lock, it is dead, and need not be waited for.
        note = self._plan.directory / "incarnation"
        earlier = note.read_text(encoding="ascii") if note.exists() else None
        try:
            registered = (await self._registry.machine(self._plan.machine_id)).incarnation
        except NotFound:
            registered = None
        takeover = registered is not None and registered == earlier
        await self._registry.register_machine(self._record(), takeover=takeover)
        note.write_text(self._plan.incarnation, encoding="ascii")
        _log.info(
            "machine_registered",
            machine=self._plan.machine_id,
            incarnation=self._plan.incarnation,
            gpus=self._plan.gpus,
        )

    async def _report_forever(self) -> None:
        while True:
            await self._report()
            await asyncio.sleep(HEARTBEAT_S)

    async def _report(self) -> None:
        try:
            if not self._stopping:
                await self._look()
            await self._registry.report_machine(self._record())
        except RedisError as error:
            if not self._redis_away:
                _log.warning("redis_away", error=str(error))
            self._redis_away = True
        else:
            if self._redis_away:
                _log.info("redis_back")
            self._redis_away = False
        self._leave_note()

    def _leave_note(self) -> None:
        try:
            health.write(self._plan.directory, self._state, self._reasons)
        except OSError as error:
            _log.warning("health_not_noted", error=str(error))

    async def _look(self) -> None:
        """Compare what runs with the plan, and judge."""
        workers = await self._registry.workers_of(self._plan.machine_id)
        if self._stopping:  # since we asked
            return
        reasons = differences(
            self._plan,
            self._caretaker.programs,
            self._caretaker.earlier,
            workers,
            self._caretaker.last_line,
        )
        lasting = list(self._complaints)
        if self._keeper:
            self._keeper.workers = workers
            lasting += self._keeper.troubles
        if self._obedience.drained:
            state, reasons = MachineState.DRAINING, [self._obedience.drained]
            self._starts_at = datetime.now(UTC)
        else:
            state = self._judge(reasons, lasting)
            reasons += lasting
        if (state, reasons) != (self._state, self._reasons):
            _log.info("machine_state", state=state.value, reasons=reasons)
        self._state, self._reasons = state, reasons

    def _judge(self, passing: list[str], lasting: list[str]) -> MachineState:
        """Return the state; while a machine starts, what may pass by itself is waited for."""
        if not passing:
            return MachineState.DEGRADED if lasting else MachineState.READY
        age_s = (datetime.now(UTC) - self._starts_at).total_seconds()
        starts = self._state in {MachineState.STARTING, MachineState.DRAINING}
        young = starts and age_s < STARTING_S
        stumbled = self._caretaker.given_up or self._caretaker.restarts
        return MachineState.STARTING if young and not stumbled else MachineState.DEGRADED

    def _record(self) -> Machine:
        programs = self._caretaker.programs
        return Machine(
            machine_id=self._plan.machine_id,
            incarnation=self._plan.incarnation,
            state=self._state,
            reasons=self._reasons,
            gpus=self._plan.gpus,
            programs=[
                Program(
                    name=program.name,
                    kind=program.kind,
                    gpu=program.gpu,
                    state=programs[program.name].state if program.name in programs else "STOPPED",
                    pid=programs[program.name].pid if program.name in programs else None,
                    restarts=self._caretaker.restarts[program.name],
                )
                for program in self._plan.programs
            ],
            host=socket.gethostname(),
            version=version("muster-fleet"),
            release=self._plan.release,
            models=self._keeper.present if self._keeper else [],
            downloads=self._keeper.downloads if self._keeper else [],
            started_at=self._started_at,
        )

    async def _say_farewell(self) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._registry.leave_machine(self._record())
        except (RedisError, TimeoutError, Conflict) as error:
            _log.warning("machine_left_unannounced", error=str(error))
        else:
            _log.info("machine_left", machine=self._plan.machine_id)
