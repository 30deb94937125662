"""The live stream, the same by single requests, and what Prometheus reads."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, Security
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from pydantic_core import to_json

from muster.errors import InvalidInput
from muster.server.auth import Role
from muster.server.guard import authenticate, bearer, guarded
from muster.server.monitor.serving import Asked
from muster.server.monitor.views import View, parse
from muster.server.problems import documented
from muster.server.state import MonitorDep

router = APIRouter(
    prefix="/v1",
    tags=["monitor"],
    route_class=guarded(Role.VIEW),
    dependencies=[Security(bearer)],
)
metrics_router = APIRouter(tags=["monitor"])


class ViewParams(BaseModel):
    """What is to be shown: see docs/monitor-protocol.md."""

    q: str = ""
    state: str = ""
    sort: str = "id"
    page: str = "1"
    size: str = "20"
    machines: str = ""
    machine: str = ""
    job: str = ""
    last: str = Field("", max_length=128, description="Of a stream: the last id that was seen.")

    def view(self) -> View:
        """Return it parsed. Raises ``InvalidInput``."""
        return parse(self.model_dump())


Params = Annotated[ViewParams, Query()]


@router.get(
    "/stream",
    responses={200: {"content": {"text/event-stream": {}}}, **documented()},
    response_class=Response,
)
async def stream(request: Request, monitor: MonitorDep, params: Params) -> Response:
    """Stream a view of the fleet as server-sent events: a snapshot, then what changes.

    One that is too many gets a message too (`busy`), and no 503.
    """
    entry = request.scope["token"]
    tokens = request.app.state.tokens

    def allowed() -> bool:
        try:
            return entry in tokens.entries()
        except InvalidInput:  # unreadable: nobody is let in by an old copy
            return False

    last = params.last or request.headers.get("Last-Event-ID", "")
    return monitor.stream(Asked(params.view(), entry.name, last, allowed))


@router.get("/snapshot", responses=documented())
async def snapshot(request: Request, monitor: MonitorDep, params: Params) -> Response:
    """Return what a view shows now: the stream's first message, for those who ask now and then."""
    document = await monitor.snapshot(params.view())
    unchanging = {name: value for name, value in document.items() if name != "at"}
    etag = f'"{blake2b(to_json(unchanging), digest_size=12).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(to_json(document), media_type="application/json", headers=headers)


@metrics_router.get("/metrics", responses=documented(), response_class=Response)
async def metrics(request: Request, monitor: MonitorDep) -> Response:
    """Return this server's metrics for Prometheus.

    A token is needed here too, unless `MUSTER_METRICS_OPEN=1` is set.
    """
    if not request.app.state.settings.metrics_open:
        authenticate(request)
    return Response(generate_latest(monitor.metrics.registry), media_type=CONTENT_TYPE_LATEST)
