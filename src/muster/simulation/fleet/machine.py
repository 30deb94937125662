"""One simulated machine: it speaks to the fleet as an agent does, and its workers are real ones."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from muster.fleet.model import Machine, MachineState, Program
from muster.fleet.registry import HEARTBEAT_S, Registry
from muster.fleet.running import installed_release
from muster.simulation.fleet.patience import insist
from muster.tasks import end
from muster.worker.connectors.simulation import Simulation as SimulatedService
from muster.worker.loop import Worker

if TYPE_CHECKING:
    from muster.jobs.queue import Queue
    from muster.worker.settings import WorkerSettings

LOOK_EVERY_S = 0.2

log = structlog.get_logger()


class SimulatedMachine:
    """A machine from its start to its end. One that comes back is another, of the same id.

    ``settings`` are those of any of its workers; id, index and incarnation are its own.
    """

    def __init__(
        self, machine_id: str, workers: int, settings: WorkerSettings, queue: Queue
    ) -> None:
        self.machine_id = machine_id
        self.dead = False
        self._state = MachineState.STARTING
        self._incarnation = secrets.token_hex(8)
        self._started_at = datetime.now(UTC)
        self._release = installed_release()
        self._registry = Registry(queue.redis, settings.queue)
        service = SimulatedService.from_settings(settings)
        own = {"machine_id": machine_id, "incarnation": self._incarnation}
        self._workers = [
            Worker.on(queue, settings.model_copy(update=own | {"worker_index": gpu}), service)
            for gpu in range(workers)
        ]
        self._running: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether all its workers take jobs."""
        return self._state is MachineState.READY

    @property
    def worker_ids(self) -> list[str]:
        """The ids of its workers."""
        return [worker.leases.worker_id for worker in self._workers]

    async def register(self) -> None:
        """Take its id. Raises ``Conflict`` when another machine of this id is alive."""
        await insist(lambda: self._registry.register_machine(self._record()))

    async def run(self) -> None:
        """Work until it is told to leave, then drain; or until it dies.

        Raises ``Conflict`` when another takes its id.
        """
        self._running = [asyncio.create_task(worker.run()) for worker in self._workers]
        reporting = asyncio.create_task(self._report_forever())
        working = set(self._running)
        try:
            while working and not self.dead:
                done, working = await asyncio.wait(
                    {*working, reporting}, return_when=asyncio.FIRST_COMPLETED
                )
                working.discard(reporting)
                for task in done:
                    if not self.dead:
                        task.result()
        finally:
            await end(reporting, *self._running)
        if not self.dead:
            await self._say_farewell()

    def leave(self) -> None:
        """Drain: running jobs go back, and the fleet is told."""
        self._state = MachineState.DRAINING
        for worker in self._workers:
            worker.drain()

    def die(self) -> None:
        """End at once and tell nobody, as when the power goes."""
        self.dead = True
        for task in self._running:
            task.cancel()

    async def _report_forever(self) -> None:
        while True:
            starting = self._state is MachineState.STARTING
            if starting and not any(worker.not_ready for worker in self._workers):
                self._state = MachineState.READY
            try:
                await self._registry.report_machine(self._record())
            except (RedisError, OSError) as error:
                log.warning("report_missed", machine=self.machine_id, error=str(error))
            starting = self._state is MachineState.STARTING
            await asyncio.sleep(LOOK_EVERY_S if starting else HEARTBEAT_S)

    async def _say_farewell(self) -> None:
        try:
            await self._registry.leave_machine(self._record())
        except (RedisError, OSError) as error:
            log.warning("left_without_notice", machine=self.machine_id, error=str(error))

    def _record(self) -> Machine:
        return Machine(
            machine_id=self.machine_id,
            incarnation=self._incarnation,
            state=self._state,
            gpus=len(self._workers),
            programs=[
                Program(
                    name=f"worker-gpu{gpu}",
                    kind="worker",
                    gpu=gpu,
                    state="RUNNING",
                    pid=os.getpid(),
                )
                for gpu in range(len(self._workers))
            ],
            host=socket.gethostname(),
            version=self._release.version,
            release=self._release,
            started_at=self._started_at,
        )
