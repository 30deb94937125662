"""Brings models to a machine: those that it is to keep, and those that jobs wait for."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from muster.downloads.catalogue import read_catalogue
from muster.downloads.errors import ContentMismatch, DownloadFailed, NoSpace
from muster.downloads.fetching import open_fetcher
from muster.downloads.files import write_json
from muster.downloads.meter import meter
from muster.downloads.models import MODELS, Models
from muster.downloads.store import Store
from muster.errors import InvalidInput
from muster.fleet.fetches import Fetches
from muster.fleet.model import Download, WorkerState
from muster.jobs.demand import read_demand
from muster.jobs.queue import Queue
from muster.jobs.requirements import unmet
from muster.machine.plan import model_paths
from muster.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from redis.asyncio import Redis

    from muster.downloads.catalogue import Catalogue, Model
    from muster.downloads.fetching import Fetcher
    from muster.fleet.model import Worker
    from muster.jobs.demand import Demand
    from muster.machine.settings import MachineSettings

LOOK_EVERY_S = 1.0
KEEP_EVERY_S = 4.0
SETTLE_S = 6.0
"""For so long a place is kept after a fetch: until the workers have told what they have now."""

LATER_S = 2.0
"""A machine that must make room, or has no idle worker, leaves it to better ones for so long."""

IMPATIENT_S = 30.0
"""A job that waits longer, though a worker has its models, makes idle machines fetch them too."""

STARVED_S = 60.0
"""A job that waits longer makes room even where all models are in use."""

FIRST_RETRY_S = 30.0
MOST_RETRY_S = 900.0

_log = structlog.get_logger()


@dataclass(slots=True)
class _Trouble:
    """Why a model could not be fetched, and when it is tried again (monotonic)."""

    why: str
    wait_s: float
    again_at: float


@dataclass(frozen=True, slots=True)
class Wish:
    """Models to fetch, how many machines may do so at once, and whether even used ones may go."""

    models: tuple[Model, ...]
    at_most: int
    starved: bool = False


@asynccontextmanager
async def model_keeper(
    settings: MachineSettings, redis: Redis
) -> AsyncIterator[ModelKeeper | None]:
    """Give what keeps a machine's models, or None where the settings name no catalogue.

    Raises ``InvalidInput`` for a catalogue that cannot be used.
    """
    if settings.model_catalogue is None:
        yield None
        return
    catalogue = read_catalogue(settings.model_catalogue, settings.places)
    for name in sorted(settings.models_kept):
        if catalogue.find(name) is None:
            raise InvalidInput(
                "MODELS_KEPT", "is not in the catalogue", "Add it, or leave it out.", value=name
            )
    _tell_comfyui(settings, catalogue)
    async with open_fetcher(settings) as fetcher:
        yield ModelKeeper(settings, catalogue, fetcher, redis)


class ModelKeeper:
    """Looks once a second for what is missing here, and fetches it, one wish after the other.

    ``workers`` is how this machine's workers were last seen; the agent sets it.
    """

    def __init__(
        self, settings: MachineSettings, catalogue: Catalogue, fetcher: Fetcher, redis: Redis
    ) -> None:
        self.workers: Sequence[Worker] = ()
        self.downloads: list[Download] = []
        self._models = Models(Store(settings.store_dir), budget=settings.model_budget)
        self._catalogue = catalogue
        self._fetcher = fetcher
        self._queue = Queue(redis, settings.queue)
        self._fetches = Fetches(redis, settings.queue, settings.machine_id)
        self._kept = settings.models_kept
        self._at_most = settings.model_fetches
        self._troubles: dict[str, _Trouble] = {}

    @property
    def present(self) -> list[str]:
        """The models that the machine has fetched and offers."""
        return sorted(self._models.present())

    @property
    def troubles(self) -> list[str]:
        """Which models could not be had, in words."""
        return [trouble.why for trouble in self._troubles.values()]

    async def run(self) -> None:
        """Keep the models as wanted until cancelled, through times without Redis."""
        self._models.retain(self._catalogue.models)
        while True:
            try:
                # In a thread: a file that was touched is read whole, a large one takes time to go.
                await asyncio.to_thread(self._models.audit)
                await asyncio.to_thread(self._models.clear)
                if wish := await self.wish():
                    await self._fulfil(wish)
            except (RedisError, OSError) as error:
                _log.warning("models_wait", error=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def wish(self) -> Wish | None:
        """Return what this machine would fetch next, if anything."""
        present = self._models.present()
        for name in sorted(self._kept - present):
            model = self._catalogue.find(name)
            if model is not None and self._may_try(model):
                return Wish((model,), self._at_most)
        demands = await read_demand(self._queue)
        for demand in sorted(demands, key=lambda each: -each.age_ms):
            if wish := self._answer(demand, present):
                return wish
        return None

    def _answer(self, demand: Demand, present: frozenset[str]) -> Wish | None:
        """Return what this machine would fetch so that it can run the jobs; None if it should not.

        Models that are nowhere are fetched by one machine; if jobs wait long although a worker has
        theirs, by idle machines too.
        """
        models = [self._catalogue.find(name) for name in sorted(demand.need.models - present)]
        missing = tuple(model for model in models if model is not None)
        if not missing or len(missing) < len(models) or not all(map(self._may_try, missing)):
            return None
        able = [worker for worker in self.workers if _could_run(worker, demand)]
        if not able or not self._models.could_hold(self._size_of(demand)):
            return None
        idle = any(worker.state is WorkerState.IDLE for worker in able)
        waited_s = demand.age_ms / 1000
        if demand.served:
            return Wish(missing, self._at_most) if idle and waited_s > IMPATIENT_S else None
        fits = self._models.fits(sum(model.size for model in missing))
        if waited_s < LATER_S * ((not idle) + (not fits)):
            return None
        return Wish(missing, at_most=1, starved=waited_s > STARVED_S)

    def _size_of(self, demand: Demand) -> int:
        needed = (self._catalogue.find(name) for name in demand.need.models)
        return sum(model.size for model in needed if model is not None)

    async def _fulfil(self, wish: Wish) -> None:
        names = [model.name for model in wish.models]
        if not await self._fetches.take(names, at_most=wish.at_most):
            return
        settled = False
        try:
            if await asyncio.to_thread(self._make_room, wish):
                async with self._kept_places(names):
                    for model in wish.models:
                        await self._fetch(model)
                settled = True
        except (DownloadFailed, ContentMismatch, NoSpace, OSError) as error:
            self._note_trouble(names, str(error))
        if settled:
            await self._fetches.keep(names, for_s=SETTLE_S)
        else:
            await self._fetches.leave(names)

    def _make_room(self, wish: Wish) -> bool:
        size = sum(model.size for model in wish.models)
        keep = self._kept.union(model.name for model in wish.models)
        return self._models.make_room(size, keep, even_in_use=wish.starved)

    async def _fetch(self, model: Model) -> None:
        def tell(done: int, total: int | None) -> None:
            shown(done, total)
            self.downloads = [Download(name=model.name, done=done, size=model.size)]

        _log.info("model_fetch", model=model.name, bytes=model.size)
        with meter(f"model {model.name}") as shown:
            try:
                hold = self._models.store.hold(model.url, model.content, self._fetcher, tell)
                async with hold:
                    self._models.offer(model)
            finally:
                self.downloads = []
        self._troubles.pop(model.name, None)
        _log.info("model_here", model=model.name)

    @asynccontextmanager
    async def _kept_places(self, names: list[str]) -> AsyncIterator[None]:
        async def keep() -> None:
            while True:
                await asyncio.sleep(KEEP_EVERY_S)
                try:
                    await self._fetches.keep(names)
                except (RedisError, OSError) as error:
                    _log.warning("fetch_place_not_kept", models=names, error=str(error))

        keeping = asyncio.create_task(keep())
        try:
            yield
        finally:
            await end(keeping)

    def _may_try(self, model: Model) -> bool:
        trouble = self._troubles.get(model.name)
        return trouble is None or time.monotonic() >= trouble.again_at

    def _note_trouble(self, names: list[str], why: str) -> None:
        for name in names:
            earlier = self._troubles.get(name)
            wait_s = min(2 * earlier.wait_s, MOST_RETRY_S) if earlier else FIRST_RETRY_S
            message = f"model {name} cannot be had: {why}"
            self._troubles[name] = _Trouble(message, wait_s, time.monotonic() + wait_s)
            _log.error("model_not_had", model=name, why=why, wait_s=wait_s)


def _tell_comfyui(settings: MachineSettings, catalogue: Catalogue) -> None:
    """Write the file for ComfyUI's ``--extra-model-paths-config`` (YAML, of which JSON is a part).

    Each first folder of the catalogue's paths (``checkpoints/…``) is one of ComfyUI's kinds.
    """
    kinds = {PurePosixPath(model.path).parts[0] for model in catalogue.models if "/" in model.path}
    section = {kind: kind for kind in sorted(kinds)}
    base_path = str(settings.store_dir / MODELS)
    write_json(model_paths(settings), {"muster": {"base_path": base_path, **section}})


def _could_run(worker: Worker, demand: Demand) -> bool:
    """Whether a worker could run the jobs if it had their models."""
    if worker.state is WorkerState.OFFLINE:
        return False
    rest = demand.need.model_copy(update={"models": frozenset()})
    return not unmet(demand.need.service, rest, worker.capabilities)
