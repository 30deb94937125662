"""Machines and workers, as they report themselves."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Security

from muster.errors import InvalidInput
from muster.fleet.model import Machine, MachinePage, MachineState, Worker, WorkerPage, WorkerState
from muster.server.auth import Role
from muster.server.guard import bearer, guarded
from muster.server.monitor.rows import machine_row, worker_row
from muster.server.monitor.selection import (
    Facts,
    machine_facts,
    page_of,
    select,
    worker_facts,
)
from muster.server.monitor.views import parse_query
from muster.server.problems import documented
from muster.server.state import RegistryDep

router = APIRouter(
    prefix="/v1",
    tags=["fleet"],
    route_class=guarded(Role.VIEW),
    dependencies=[Security(bearer)],
)

MachineId = Annotated[str, Path(min_length=1, max_length=128, examples=["gpu-host-1"])]
Limit = Annotated[int, Query(ge=1, le=500, description="How many to a page.")]


@dataclass(frozen=True, slots=True)
class Found:
    """One page of ids, and where in the whole it lies."""

    ids: list[str]
    place: dict[str, str | int | None]


class Search:
    """Which are listed: pages by number in any order, or all by cursor in the order of ids."""

    def __init__(
        self,
        q: Annotated[
            str, Query(max_length=256, description="Words that are all to be found.")
        ] = "",
        state: Annotated[str, Query(description="One or more states, with commas.")] = "",
        sort: Annotated[
            str, Query(description="id, state, load or started; - in front: backwards.")
        ] = "",
        page: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
        cursor: Annotated[
            str | None, Query(max_length=256, description="The `cursor` of the page before.")
        ] = None,
    ) -> None:
        if cursor and (page or sort):
            raise InvalidInput(
                "cursor",
                "cannot be together with page or sort",
                "Go through all with cursor, or through numbered pages with page.",
            )
        self.params = {"q": q, "state": state, "sort": sort}
        self.page = page or (1 if sort else None)
        self.cursor = cursor

    def among(
        self, facts: list[Facts], states: type[MachineState | WorkerState], limit: int
    ) -> Found:
        """Return what is found. Raises ``InvalidInput``."""
        ids = select(parse_query(self.params, states), facts)
        if self.page is not None:
            shown, page, pages = page_of(ids, self.page, limit)
            return Found(shown, {"cursor": None, "total": len(ids), "page": page, "pages": pages})
        shown = [name for name in sorted(ids) if name > (self.cursor or "")][:limit]
        cursor = shown[-1] if len(shown) == limit else None
        return Found(shown, {"cursor": cursor, "total": len(ids)})


SearchDep = Annotated[Search, Depends(Search)]


@router.get("/machines", responses=documented())
async def machines(registry: RegistryDep, search: SearchDep, limit: Limit = 50) -> MachinePage:
    """List machines, with their programs: what runs, beside the GPUs that it should run on."""
    listed, workers = await registry.everything()
    found = search.among(_machine_facts(listed, workers), MachineState, limit)
    by_id = {machine.machine_id: machine for machine in listed}
    return MachinePage.model_validate(
        {"machines": [by_id[name] for name in found.ids], **found.place}
    )


@router.get("/machines/{machine_id}", responses=documented(404))
async def machine(machine_id: MachineId, registry: RegistryDep) -> Machine:
    """Return one machine."""
    return await registry.machine(machine_id)


@router.get("/workers", responses=documented())
async def workers(
    registry: RegistryDep,
    search: SearchDep,
    machine_id: Annotated[str | None, Query(max_length=128, description="Of one machine.")] = None,
    limit: Limit = 50,
) -> WorkerPage:
    """List workers, with what they offer and the jobs that they hold."""
    _, listed = await registry.everything()
    by_id = {w.worker_id: w for w in listed if machine_id in {None, w.machine_id}}
    facts = [worker_facts(name, _worker_row(w), w.jobs) for name, w in by_id.items()]
    found = search.among(facts, WorkerState, limit)
    return WorkerPage.model_validate(
        {"workers": [by_id[name] for name in found.ids], **found.place}
    )


def _machine_facts(listed: list[Machine], workers: list[Worker]) -> list[Facts]:
    its_workers: defaultdict[str, list[Worker]] = defaultdict(list)
    for worker in workers:
        its_workers[worker.machine_id].append(worker)
    facts = []
    for machine in listed:
        name, own = machine.machine_id, its_workers[machine.machine_id]
        jobs = [job for worker in own for job in worker.jobs]
        row = machine_row(machine.model_dump(mode="json"))
        facts.append(machine_facts(name, row, [_worker_row(worker) for worker in own], jobs))
    return facts


def _worker_row(worker: Worker) -> dict[str, object]:
    return worker_row(worker.model_dump(mode="json"))
