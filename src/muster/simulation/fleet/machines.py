"""All machines of a simulated fleet: they come up, come and go, and all leave in the end."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from muster.fleet.registry import Registry
from muster.simulation.fleet.machine import SimulatedMachine
from muster.simulation.fleet.patience import insist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muster.jobs.queue import Queue
    from muster.simulation.fleet.options import Options
    from muster.worker.settings import WorkerSettings

STARTED_AT_ONCE = 16
AWAY_S = 5.0
"""For how long a machine is away. One that died is not let in before it counts as dead."""


class Machines:
    """The fleet's machines. ``deaths`` tells when each worker died, in ms by Redis's clock."""

    def __init__(self, options: Options, queue: Queue, settings: WorkerSettings) -> None:
        self.deaths: dict[str, list[int]] = {}
        self.left = 0
        self.died = 0
        self._options = options
        self._queue = queue
        self._settings = settings
        self._alive: dict[str, SimulatedMachine] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._gate = asyncio.Semaphore(STARTED_AT_ONCE)

    @property
    def ready(self) -> int:
        """How many machines are ready now."""
        return sum(machine.ready for machine in self._alive.values())

    def start(self) -> None:
        """Let all machines come up."""
        for machine_id in self._options.machine_ids:
            self._lives[machine_id] = asyncio.create_task(self._live(machine_id))

    async def watch(self) -> None:
        """Wait for as long as all goes well. Raises what ended a machine that should not end."""
        done, _ = await asyncio.wait(self._lives.values(), return_when=asyncio.FIRST_COMPLETED)
        for life in done:
            life.result()

    async def churn(self) -> None:
        """Let machines leave and die by turns, as many a minute as was asked for."""
        for leaves in _by_turns():
            pause = 60 / self._options.churn
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            ready = [machine for machine in self._alive.values() if machine.ready]
            if not ready:
                continue
            machine = random.choice(ready)  # noqa: S311
            if leaves:
                self.left += 1
                machine.leave()
            else:
                await self.kill(machine.machine_id)

    async def kill(self, machine_id: str) -> None:
        """Let a machine die; it comes back later."""
        machine = self._alive[machine_id]
        seconds, microseconds = await insist(self._queue.redis.time)
        self.died += 1
        for worker_id in machine.worker_ids:
            self.deaths.setdefault(worker_id, []).append(seconds * 1000 + microseconds // 1000)
        machine.die()

    async def stop(self) -> None:
        """Let all machines leave, and forget that they were there."""
        self._stopping.set()
        for machine_id, life in self._lives.items():
            if machine := self._alive.get(machine_id):
                machine.leave()
            else:  # it is away, or still coming up
                life.cancel()
        await asyncio.gather(*self._lives.values(), return_exceptions=True)
        registry = Registry(self._queue.redis, self._settings.queue)
        await registry.forget(self._options.machine_ids, self._options.worker_ids)

    async def _live(self, machine_id: str) -> None:
        """Be that machine, and after each of its ends, in a while, the next of its name."""
        while not self._stopping.is_set():
            async with self._gate:
                machine = SimulatedMachine(
                    machine_id, self._options.workers, self._settings, self._queue
                )
                await machine.register()
            self._alive[machine_id] = machine
            try:
                await machine.run()
            finally:
                del self._alive[machine_id]
            with suppress(TimeoutError):
                async with asyncio.timeout(AWAY_S):
                    await self._stopping.wait()


def _by_turns() -> Iterator[bool]:
    while True:
        yield True
        yield False
