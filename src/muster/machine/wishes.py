"""What models a machine would fetch: those that it is to keep, and those that jobs wait for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster.fleet.model import WorkerState
from muster.jobs.requirements import unmet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from muster.downloads.catalogue import Catalogue, Model
    from muster.downloads.models import Models
    from muster.fleet.model import Worker
    from muster.jobs.demand import Demand

LATER_S = 2.0
"""A machine that must make room, or has no idle worker, leaves it to better ones for so long."""

IMPATIENT_S = 30.0
"""If jobs wait for longer, though a worker has their models, idle machines fetch them too."""

STARVED_S = 60.0
"""If jobs wait for longer, busy machines do so too, and room is made even of what is in use."""

_AT_WORK = frozenset({WorkerState.IDLE, WorkerState.BUSY})


@dataclass(frozen=True, slots=True)
class Wish:
    """Models to fetch, and how many machines may do so at once.

    ``spared`` are those that must not go for them; ``starved`` lets even models in use go.
    """

    models: tuple[Model, ...]
    at_most: int
    spared: frozenset[str]
    starved: bool = False

    @property
    def names(self) -> list[str]:
        """The models' names."""
        return [model.name for model in self.models]

    @property
    def size(self) -> int:
        """How many bytes they take."""
        return sum(model.size for model in self.models)


class Wishes:
    """A machine's wishes. Models that are nowhere are fetched by one machine at a time."""

    def __init__(
        self, models: Models, catalogue: Catalogue, kept: frozenset[str], at_most: int
    ) -> None:
        self._models = models
        self._catalogue = catalogue
        self._kept = kept
        self._at_most = at_most

    def among(self, demands: Sequence[Demand], workers: Sequence[Worker]) -> Iterator[Wish]:
        """Yield what would be fetched, the most urgent first, given what jobs wait for."""
        present = self._models.present()
        for name in sorted(self._kept - present):
            if model := self._catalogue.find(name):
                yield Wish((model,), self._at_most, self._kept)
        wanted = self._kept.union(*(demand.need.models for demand in demands))
        for demand in sorted(demands, key=lambda each: -each.age_ms):
            able = [worker for worker in workers if _could_run(worker, demand)]
            if able and (wish := self._answer(demand, able, present, wanted)):
                yield wish

    def _answer(
        self,
        demand: Demand,
        able: Sequence[Worker],
        present: frozenset[str],
        wanted: frozenset[str],
    ) -> Wish | None:
        """Return what to fetch so that one of these workers can run the jobs; None: not now."""
        names = min((_missing(demand, worker, present) for worker in able), key=len)
        models = tuple(filter(None, map(self._catalogue.find, sorted(names))))
        if not models or len(models) < len(names) or not self._could_hold(demand, names | present):
            return None
        waited_s = demand.age_ms / 1000
        starved = waited_s > STARVED_S
        idle = any(worker.state is WorkerState.IDLE for worker in able)
        spared = self._kept | demand.need.models if starved else wanted
        if demand.served:
            at_most = min(self._at_most, demand.waiting)
            go = starved or (idle and waited_s > IMPATIENT_S)
        else:
            at_most = 1
            fits = self._models.fits(sum(model.size for model in models))
            go = waited_s >= LATER_S * ((not idle) + (not fits))
        return Wish(models, at_most, spared, starved) if go else None

    def _could_hold(self, demand: Demand, stored: frozenset[str]) -> bool:
        """Whether the jobs' models fit beside those that are kept in any case."""
        names = self._kept | (demand.need.models & stored)
        models = filter(None, map(self._catalogue.find, names))
        return self._models.could_hold(sum(model.size for model in models))


def _missing(demand: Demand, worker: Worker, present: frozenset[str]) -> frozenset[str]:
    return demand.need.models - worker.capabilities.models - present


def _could_run(worker: Worker, demand: Demand) -> bool:
    """Whether a worker is at work, and could run the jobs if it had their models."""
    rest = demand.need.model_copy(update={"models": frozenset()})
    return worker.state in _AT_WORK and not unmet(demand.need.service, rest, worker.capabilities)
