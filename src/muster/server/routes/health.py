"""For load balancers and orchestrators: does the process live, can it work. No token needed."""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Request

from muster.errors import RedisUnavailable
from muster.jobs.connection import check

router = APIRouter(tags=["health"])

log = structlog.get_logger()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer while the process lives, with or without Redis."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "Redis cannot be used"}})
async def readyz(request: Request) -> dict[str, str]:
    """Answer whether jobs can be taken: Redis is there, and never evicts keys."""
    state = request.app.state
    try:
        await check(state.redis, state.settings)
    except RedisUnavailable as error:
        log.warning("not_ready", error=str(error))
        raise RedisUnavailable from None  # the address is nothing for everybody
    return {"status": "ready"}
