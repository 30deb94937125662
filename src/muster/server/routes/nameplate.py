"""Which environment this is: what its Redis says, as it is asked."""

from __future__ import annotations

from fastapi import APIRouter, Request, Security

from muster.fleet import nameplate
from muster.fleet.nameplate import Nameplate
from muster.server.auth import Role
from muster.server.guard import bearer, guarded
from muster.server.problems import documented

router = APIRouter(
    prefix="/v1/nameplate",
    tags=["environment"],
    route_class=guarded(Role.VIEW),
    dependencies=[Security(bearer)],
)


@router.get("", responses=documented(404))
async def show(request: Request) -> Nameplate:
    """Return the environment that this server's Redis belongs to."""
    return await nameplate.read(request.app.state.redis)
