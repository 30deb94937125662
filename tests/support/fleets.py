"""Machines and workers as tests of the monitor register them: records, without processes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from muster.fleet.model import Machine, MachineState, Worker, WorkerState
from muster.fleet.registry import HEARTBEAT_S
from muster.jobs.model import Capabilities
from muster.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from muster.fleet.registry import Registry


def machine(name: str, **facts: Any) -> Machine:
    """Return a ready machine of two GPUs."""
    known: dict[str, Any] = {"state": MachineState.READY, "incarnation": "a", "gpus": 2}
    return Machine(machine_id=name, **(known | facts))


def worker(machine_id: str, gpu: int = 0, **facts: Any) -> Worker:
    """Return an idle worker of a machine."""
    known: dict[str, Any] = {
        "state": WorkerState.IDLE,
        "incarnation": "a",
        "capabilities": Capabilities(service="simulation"),
    }
    return Worker(
        worker_id=f"{machine_id}-worker-{gpu}", machine_id=machine_id, gpu=gpu, **(known | facts)
    )


async def register(registry: Registry, *machine_ids: str, workers: int = 1) -> None:
    """Register machines with workers."""
    for name in machine_ids:
        await registry.register_machine(machine(name))
        for gpu in range(workers):
            await registry.register_worker(worker(name, gpu))


@asynccontextmanager
async def beating(registry: Registry) -> AsyncIterator[None]:
    """Keep all that register alive. Nothing else about them changes, whatever a test reports."""
    hearts = asyncio.create_task(_beat(registry))
    try:
        yield
    finally:
        await end(hearts)


async def _beat(registry: Registry) -> None:
    while True:
        seconds, _ = await registry.redis.time()
        for kind in ("machines", "workers"):
            seen = f"{registry.root}:{kind}:seen"
            if names := cast("list[bytes]", await registry.redis.zrange(seen, 0, -1)):
                await registry.redis.zadd(seen, dict.fromkeys(names, seconds * 1000), xx=True)
        await asyncio.sleep(HEARTBEAT_S)
