"""Machines with models, many in one process: real keepers, workers, Redis and downloads."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from muster.artifacts import ArtifactStore
from muster.downloads.fetching import open_fetcher
from muster.fleet.registry import Registry
from muster.jobs.leases import Leases
from muster.jobs.queue import Queue
from muster.machine.models import ModelKeeper
from muster.machine.settings import MachineSettings
from muster.tasks import end
from muster.worker.loop import Worker
from muster.worker.settings import WorkerSettings
from support.workers import SERVICE, Scripted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any

    from redis.asyncio import Redis

    from muster.downloads.catalogue import Catalogue
    from muster.worker.connectors.base import Context

LOOK_EVERY_S = 0.05


class ModelMachine:
    """One machine with one worker. Its jobs read their models' files when they begin and end."""

    def __init__(self, settings: MachineSettings, redis: Redis, job_s: float) -> None:
        self.settings = settings
        self.registry = Registry(redis, settings.queue)
        self.missing: list[str] = []
        self._redis = redis
        self._job_s = job_s

    async def run(self, catalogue: Catalogue, stack: AsyncExitStack) -> None:
        """Start the keeper and the worker; both end with the stack."""
        fetcher = await stack.enter_async_context(open_fetcher(self.settings))
        self.keeper = ModelKeeper(self.settings, catalogue, fetcher, self._redis)
        settings = WorkerSettings.load(
            machine_id=self.settings.machine_id,
            worker_index=0,
            incarnation="first",
            artifacts_url="memory://",
            queue=self.settings.queue,
            store_dir=self.settings.store_dir,
        )
        queue = Queue(self._redis, self.settings.queue)
        worker = Worker(
            settings,
            Scripted(self._do),
            Leases(queue, settings.worker_id, settings.capabilities(SERVICE)),
            self.registry,
            ArtifactStore("memory://"),
        )
        tasks = [asyncio.create_task(worker.run()), asyncio.create_task(self.keeper.run())]
        stack.push_async_callback(end, *tasks)

    def on_disk(self) -> int:
        """Return the bytes that its models take."""
        objects = (self.settings.store_dir / "objects").glob("*[!p]")
        return sum(file.stat().st_size for file in objects if not file.suffix)

    async def _do(self, context: Context) -> str:
        models = context.request.requirements.models
        self._look_for(models)
        await asyncio.sleep(self._job_s)
        self._look_for(models)
        return self.settings.machine_id

    def _look_for(self, models: Iterable[str]) -> None:
        links = [self.settings.store_dir / "models" / name for name in models]
        self.missing += [str(link) for link in links if not link.exists()]


class ModelFleet:
    """Machines by number, and what was seen of them while they ran."""

    def __init__(self, machines: list[ModelMachine], catalogue: Catalogue) -> None:
        self.machines = machines
        self.most_at_once: dict[str, int] = {}
        self.most_on_disk = 0
        self._catalogue = catalogue
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for machine in self.machines:
            await machine.run(self._catalogue, self._stack)
        watching = asyncio.create_task(self._watch())
        self._stack.push_async_callback(end, watching)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def missing(self) -> list[str]:
        """Model files that a job did not find while it ran."""
        return [path for machine in self.machines for path in machine.missing]

    async def _watch(self) -> None:
        """Tell each keeper of its workers, as agents do, and look at what they are about."""
        while True:
            workers = (await self.machines[0].registry.workers(limit=1000)).workers
            at_once: dict[str, int] = {}
            for machine in self.machines:
                mine = machine.settings.machine_id
                machine.keeper.workers = [w for w in workers if w.machine_id == mine]
                for download in machine.keeper.downloads:
                    at_once[download.name] = at_once.get(download.name, 0) + 1
                self.most_on_disk = max(self.most_on_disk, machine.on_disk())
            for name, count in at_once.items():
                self.most_at_once[name] = max(count, self.most_at_once.get(name, 0))
            await asyncio.sleep(LOOK_EVERY_S)


def machine_settings(folder: Path, number: int, **given: Any) -> MachineSettings:
    """Return the settings of one machine, with a store of its own."""
    return MachineSettings.load(
        machine_id=f"box-{number}",
        num_gpus=1,
        connector="simulation",
        data_dir=folder / f"box-{number}",
        **given,
    )
