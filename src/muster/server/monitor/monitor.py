"""The monitor's parts put together, one set for each process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from muster.errors import RedisUnavailable
from muster.server.monitor.hub import Hub
from muster.server.monitor.limits import Admission, ViewerLimits
from muster.server.monitor.metrics import Metrics
from muster.server.monitor.serving import StreamResponse
from muster.server.monitor.source import Source

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from muster.server.monitor.documents import Document
    from muster.server.monitor.serving import Asked
    from muster.server.monitor.views import View

STARTING_S = 2.0


class Monitor:
    """What the routes use: streams and snapshots of views. ``redis`` is for it alone."""

    def __init__(self, redis: Redis, queue: str, limits: ViewerLimits) -> None:
        self.metrics = Metrics()
        self.hub = Hub(Source(redis, queue), self.metrics)
        self._admission = Admission(limits)

    async def run(self) -> None:
        """Keep the state up to date and tell viewers, until cancelled."""
        await self.hub.run()

    def close(self) -> None:
        """End all streams well."""
        self.hub.audience.close()

    def stream(self, asked: Asked) -> StreamResponse:
        """Return the answer that streams what is asked for."""
        return StreamResponse(self.hub, self._admission, self.metrics, asked)

    async def snapshot(self, view: View) -> Document:
        """Return what a view shows now, as a message. Raises ``RedisUnavailable``."""
        state = self.hub.state
        try:
            async with asyncio.timeout(STARTING_S):
                await state.ready.wait()
                await self.hub.look(view)
        except (TimeoutError, RedisError, OSError):
            raise RedisUnavailable("The server has not read the fleet yet. Try again.") from None
        document = state.document(view, state.order(view))
        return {"type": "snapshot", "at": state.now_ms(), **document}
