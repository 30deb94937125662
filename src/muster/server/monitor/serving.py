"""One viewer's answer: raw bytes on an ASGI response, from the first byte to the last."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError
from starlette.responses import Response

from muster.server.monitor.audience import Resume
from muster.server.monitor.frames import Gzip, Plain, accepts_gzip, comment, message
from muster.server.monitor.limits import WORDS
from muster.tasks import end

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from muster.server.monitor.hub import Hub
    from muster.server.monitor.limits import Admission
    from muster.server.monitor.metrics import Metrics
    from muster.server.monitor.viewer import Viewer
    from muster.server.monitor.views import View

RETRY_MS = 500
BUSY_S = 5.0
STARTING_S = 1.0
STARTING = "The server has not read the fleet yet."
TRANSPORT = "muster.transport"
"""Where a connection's transport is among the scope's extensions: see ``muster.server.serving``."""

HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a viewer asked for: a view, going on from the id ``last`` if there is one.

    The stream ends once ``allowed`` says no.
    """

    view: View
    user: str
    last: str
    allowed: Callable[[], bool]


class StreamResponse(Response):
    """Streams a view to one viewer. Refusals are messages: after a 503 a browser tries no more."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, admission: Admission, metrics: Metrics, asked: Asked) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._hub = hub
        self._admission = admission
        self._metrics = metrics
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the viewer is gone, the stream is old, or the server ends."""
        accepted = dict(scope["headers"]).get(b"accept-encoding", b"").decode("latin-1")
        stream = Gzip() if accepts_gzip(accepted) else Plain()
        if stream.encoding:
            self.headers["Content-Encoding"] = stream.encoding

        async def send_body(content: bytes, more: bool) -> None:
            await send({"type": "http.response.body", "body": content, "more_body": more})

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send_body(stream.begin() + stream.add(comment("muster", retry_ms=RETRY_MS)), True)
        asked = self._asked
        address = scope["client"][0] if scope.get("client") else ""

        async def refuse(reason: str) -> None:
            self._metrics.refusals.labels(reason).inc()
            await send_body(stream.add(busy(reason)) + stream.end(), False)

        if reason := self._admission.refusal(asked.user, address):
            await refuse(reason)
            return
        with self._admission.admitted(asked.user, address):  # those that wait count, too
            if reason := await self._starting():
                await refuse(reason)
                return
            viewer = self._hub.audience.join(
                asked.view, stream, Resume.parse(asked.last), asked.allowed
            )
            try:
                await self._follow(viewer, receive, send_body)
            finally:
                self._metrics.sent_bytes.inc(viewer.sent_bytes)
                self._hub.audience.leave(viewer)
        if viewer.evicted and (transport := scope.get("extensions", {}).get(TRANSPORT)):
            transport.abort()

    async def _starting(self) -> str | None:
        """Wait a little for the hub's first state, and for what is read only now."""
        try:
            async with asyncio.timeout(STARTING_S):
                await self._hub.state.ready.wait()
                await self._hub.look(self._asked.view)
        except (TimeoutError, RedisError, OSError):
            return "starting"
        return None

    async def _follow(self, viewer: Viewer, receive: Receive, send_body: Any) -> None:
        pump = asyncio.create_task(viewer.pump(send_body))
        gone = asyncio.create_task(_gone(receive))
        try:
            done, _ = await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
            if pump in done and not viewer.evicted:
                pump.result()
        finally:
            await end(pump, gone)


def busy(reason: str) -> Any:
    """Return the message that refuses a stream, for that reason."""
    retry_s = STARTING_S if reason == "starting" else BUSY_S
    words = WORDS.get(reason, STARTING)
    content = {"type": "busy", "reason": reason, "retry_s": retry_s, "words": words}
    return message(content, retry_ms=round(retry_s * 1000))


async def _gone(receive: Receive) -> None:
    """Wait until the viewer has closed its end. Nothing is asked of it before."""
    while (await receive())["type"] != "http.disconnect":
        pass
