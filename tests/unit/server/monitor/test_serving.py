"""Streams as the server answers them, without HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from muster.server.monitor.limits import Admission, ViewerLimits
from muster.server.monitor.serving import Asked, StreamResponse
from muster.server.monitor.views import View
from muster.tasks import end
from support.screen import Screen
from support.waiting import eventually

if TYPE_CHECKING:
    from muster.server.monitor.hub import Hub
    from muster.server.monitor.metrics import Metrics

pytestmark = pytest.mark.anyio

SCOPE = {"type": "http", "headers": [], "client": ("127.0.0.1", 1)}


async def _stays() -> Any:
    await asyncio.Event().wait()


async def test_streams_that_wait_for_the_first_state_count(hub: Hub, metrics: Metrics) -> None:
    # Given room for one stream, and a server that has not read the fleet yet
    admission = Admission(ViewerLimits(viewers=1))
    hub.state.ready.clear()
    screens = [Screen(), Screen()]

    # When two come
    async def ask(screen: Screen) -> None:
        async def send(message: Any) -> None:
            screen.feed(message.get("body", b""))

        asked = Asked(View(), "anna", "", lambda: True)
        await StreamResponse(hub, admission, metrics, asked)(SCOPE, _stays, send)

    streams = [asyncio.create_task(ask(screen)) for screen in screens]
    await eventually(lambda: all(screen.comments for screen in screens), "both were answered")
    hub.state.ready.set()

    # Then one is shown the fleet
    try:
        await screens[0].hears("snapshot")
        assert (await screens[1].hears("busy"))["reason"] == "viewers"
    finally:
        await end(*streams)
