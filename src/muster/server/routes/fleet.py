"""Machines and workers, as they report themselves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Security

from muster.fleet.model import Machine, MachinePage, WorkerPage
from muster.server.auth import Role
from muster.server.guard import bearer, guarded
from muster.server.problems import documented
from muster.server.state import RegistryDep

router = APIRouter(
    prefix="/v1",
    tags=["fleet"],
    route_class=guarded(Role.VIEW),
    dependencies=[Security(bearer)],
)

Cursor = Annotated[
    str | None, Query(max_length=256, description="The `cursor` of the page before.")
]
Limit = Annotated[int, Query(ge=1, le=500, description="How many to a page.")]
MachineId = Annotated[str, Path(min_length=1, max_length=128, examples=["gpu-host-1"])]


@router.get("/machines", responses=documented())
async def machines(registry: RegistryDep, cursor: Cursor = None, limit: Limit = 50) -> MachinePage:
    """List machines, with their programs: what runs, beside the GPUs that it should run on."""
    return await registry.machines(cursor=cursor, limit=limit)


@router.get("/machines/{machine_id}", responses=documented(404))
async def machine(machine_id: MachineId, registry: RegistryDep) -> Machine:
    """Return one machine."""
    return await registry.machine(machine_id)


@router.get("/workers", responses=documented())
async def workers(
    registry: RegistryDep,
    machine_id: Annotated[str | None, Query(max_length=128, description="Of one machine.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> WorkerPage:
    """List workers, with what they offer and the jobs that they hold."""
    return await registry.workers(machine_id=machine_id, cursor=cursor, limit=limit)
