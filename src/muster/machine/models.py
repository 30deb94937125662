"""Brings models to a machine, one wish after the other, and lets those go that make room."""

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
from muster.fleet.model import Download
from muster.jobs.demand import read_demand
from muster.jobs.queue import Queue
from muster.machine.plan import model_paths
from muster.machine.wishes import Wishes
from muster.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from redis.asyncio import Redis

    from muster.downloads.catalogue import Catalogue, Model
    from muster.downloads.fetching import Fetcher
    from muster.fleet.model import Worker
    from muster.jobs.demand import Demand
    from muster.machine.settings import MachineSettings
    from muster.machine.wishes import Wish

LOOK_EVERY_S = 1.0
KEEP_EVERY_S = 4.0
SETTLE_S = 6.0
"""For so long a place is kept after a fetch: until the workers have told what they have now."""

FIRST_RETRY_S = 30.0
MOST_RETRY_S = 900.0

_log = structlog.get_logger()


@dataclass(slots=True)
class _Trouble:
    """Why a model could not be fetched, and when it is tried again (monotonic)."""

    why: str
    wait_s: float
    again_at: float


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
    """Looks once a second for what is missing here, and fetches it.

    ``workers`` is how this machine's workers were last seen; the agent sets it.
    """

    def __init__(
        self, settings: MachineSettings, catalogue: Catalogue, fetcher: Fetcher, redis: Redis
    ) -> None:
        self.workers: Sequence[Worker] = ()
        self.downloads: list[Download] = []
        self._models = Models(Store(settings.store_dir), budget=settings.model_budget)
        self._wishes = Wishes(self._models, catalogue, settings.models_kept, settings.model_fetches)
        self._catalogue = catalogue
        self._kept = settings.models_kept
        self._fetcher = fetcher
        self._queue = Queue(redis, settings.queue)
        self._fetches = Fetches(redis, settings.queue, settings.machine_id)
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
        await asyncio.to_thread(self._models.retain, self._catalogue.models)
        while True:
            try:
                await self._turn()
            except (RedisError, OSError) as error:
                _log.warning("models_wait", error=str(error))
            except Exception:  # noqa: BLE001  (services and workers run on without new models)
                _log.exception("models_failed")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _turn(self) -> None:
        """Fulfil the most urgent wish that can be."""
        # In a thread: a file that was touched is read whole, a large one takes time to go.
        await asyncio.to_thread(self._models.audit)
        await asyncio.to_thread(self._models.clear)
        demands = await read_demand(self._queue)
        self._forget_troubles(demands)
        for wish in self._wishes.among(demands, self.workers):
            if all(map(self._may_try, wish.names)) and await self._fulfil(wish):
                return

    async def _fulfil(self, wish: Wish) -> bool:
        """Fetch the models, if there is a place among those who do, and room; return whether."""
        names = wish.names
        if not await self._fetches.take(names, at_most=wish.at_most):
            return False
        async with self._kept_places(names):
            fetched = await self._room_made(wish)
            for model in wish.models:
                fetched = fetched and await self._fetch(model)
        if fetched:
            await self._fetches.keep(names, for_s=SETTLE_S)
        else:
            await self._fetches.leave(names)
        return fetched

    async def _room_made(self, wish: Wish) -> bool:
        """Make room; where models in use have to go for it, wait for the jobs that use them."""

        def make_room() -> bool:
            return self._models.make_room(wish.size, wish.spared, even_in_use=wish.starved)

        while not await asyncio.to_thread(make_room):
            if not (wish.starved and self._models.leaving()):
                return False
            await asyncio.sleep(LOOK_EVERY_S)
        return True

    async def _fetch(self, model: Model) -> bool:
        def tell(done: int, total: int | None) -> None:
            shown(done, total)
            self.downloads = [Download(name=model.name, done=done, size=model.size)]

        _log.info("model_fetch", model=model.name, bytes=model.size)
        try:
            with meter(f"model {model.name}") as shown:
                store = self._models.store
                async with store.hold(model.url, model.content, self._fetcher, tell):
                    self._models.offer(model)
        except (DownloadFailed, ContentMismatch, NoSpace, OSError) as error:
            self._note_trouble(model.name, str(error))
            return False
        finally:
            self.downloads = []
        self._troubles.pop(model.name, None)
        _log.info("model_here", model=model.name)
        return True

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

    def _may_try(self, name: str) -> bool:
        trouble = self._troubles.get(name)
        return trouble is None or time.monotonic() >= trouble.again_at

    def _note_trouble(self, name: str, why: str) -> None:
        earlier = self._troubles.get(name)
        wait_s = min(2 * earlier.wait_s, MOST_RETRY_S) if earlier else FIRST_RETRY_S
        message = f"model {name} cannot be had: {why}"
        self._troubles[name] = _Trouble(message, wait_s, time.monotonic() + wait_s)
        _log.error("model_not_had", model=name, why=why, wait_s=wait_s)

    def _forget_troubles(self, demands: Sequence[Demand]) -> None:
        """Forget troubles with models that nobody wants any more, or that came another way."""
        wanted = self._kept.union(*(demand.need.models for demand in demands))
        for name in self._troubles.keys() - (wanted - self._models.present()):
            del self._troubles[name]


def _tell_comfyui(settings: MachineSettings, catalogue: Catalogue) -> None:
    """Write the file for ComfyUI's ``--extra-model-paths-config`` (YAML, of which JSON is a part).

    Each first folder of the catalogue's paths (``checkpoints/…``) is one of ComfyUI's kinds.
    """
    kinds = {PurePosixPath(model.path).parts[0] for model in catalogue.models if "/" in model.path}
    section = {kind: kind for kind in sorted(kinds)}
    base_path = str(settings.store_dir / MODELS)
    write_json(model_paths(settings), {"muster": {"base_path": base_path, **section}})
