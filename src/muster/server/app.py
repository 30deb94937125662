"""The app: its parts put together, and what runs beside the requests."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI
from redis.exceptions import RedisError

from muster.client.problem import Problem
from muster.fleet.commands import Commands
from muster.fleet.registry import Registry
from muster.jobs.connection import connect
from muster.jobs.limits import Limits
from muster.jobs.queue import Queue
from muster.jobs.recovery import Recovery
from muster.server.access import AccessLog
from muster.server.auth import TokensFile
from muster.server.monitor.limits import ViewerLimits
from muster.server.monitor.monitor import Monitor
from muster.server.problems import add_handlers
from muster.server.routes import (
    events,
    fleet,
    health,
    jobs,
    machines,
    monitor,
    nameplate,
    page,
    queue,
    session,
)
from muster.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from muster.server.settings import ServerSettings

DESCRIPTION = """
Submit jobs to a fleet of GPU machines, and see what becomes of them.

Every route but the health checks and signing in needs a token: `Authorization: Bearer TOKEN`, or a
browser's session. Every error is a problem document (RFC 9457) that says what is wrong and what to
do.
"""
EVERY_S = 2.0
WEB = Path(__file__).parent / "web"

log = structlog.get_logger()


def create_app(settings: ServerSettings) -> FastAPI:
    """Return the app. It connects to Redis when it starts, and works again after Redis was away."""
    app = FastAPI(
        title="Muster",
        version=version("muster-fleet"),
        description=DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.tokens = TokensFile(settings.tokens_file)
    app.state.web_files = page.read_web_files(WEB)
    add_handlers(app)
    app.add_middleware(AccessLog)
    for router in (
        jobs.viewing,
        jobs.submitting,
        events.router,
        fleet.router,
        machines.operating,
        monitor.router,
        monitor.metrics_router,
        session.opening,
        session.viewing,
        page.router,
        queue.viewing,
        queue.operating,
        jobs.operating,
        nameplate.router,
        health.router,
    ):
        app.include_router(router)
    _describe_problems(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: ServerSettings = app.state.settings
    redis = connect(settings)
    app.state.redis = redis
    app.state.queue = Queue(
        redis,
        settings.queue,
        limits=Limits(payload_bytes=settings.payload_bytes),
        wait_replicas=settings.wait_replicas,
    )
    app.state.registry = Registry(redis, settings.queue)
    app.state.commands = Commands(app.state.registry)
    own_redis = connect(settings)
    app.state.monitor = Monitor(own_redis, settings.queue, _viewer_limits(settings))
    beside: list[asyncio.Task[None]] = []
    try:
        await app.state.queue.open()
        beside += [
            asyncio.create_task(_keep_up("recovery", Recovery(app.state.queue).run)),
            asyncio.create_task(_keep_up("expiry", app.state.registry.expire)),
            asyncio.create_task(_keep_up("monitor", app.state.monitor.run)),
        ]
        yield
    finally:
        app.state.monitor.close()
        await end(*beside)
        await own_redis.aclose()
        await redis.aclose()


def _viewer_limits(settings: ServerSettings) -> ViewerLimits:
    return ViewerLimits(settings.viewers, settings.viewers_per_user, settings.viewers_per_address)


async def _keep_up(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run it again and again, through times without Redis and whatever else goes wrong."""
    while True:
        try:
            await run()
        except (RedisError, OSError) as error:
            log.warning("waits_for_redis", part=name, error=type(error).__name__)
        except Exception:
            log.exception("part_failed", part=name)
        await asyncio.sleep(EVERY_S)


def _describe_problems(app: FastAPI) -> None:
    """Put our errors into OpenAPI in place of FastAPI's own, which never leave this server."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        schemas = schema["components"]["schemas"]
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs")
        schemas["Problem"] = problem
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
