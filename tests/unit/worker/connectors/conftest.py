"""A simulated ComfyUI and a connector that speaks to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest

from muster.worker.connectors.comfyui import ComfyUI, run
from muster.worker.connectors.comfyui.api import ComfyApi
from muster.worker.connectors.comfyui.inputs import Inputs
from support.comfyui import URL, Simulator, Site, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Meddling = Callable[[httpx.Request], Awaitable[httpx.Response | None]]


@pytest.fixture(scope="session")
async def site(anyio_backend: str) -> AsyncIterator[Site]:
    """Where simulators are reached."""
    async with serving() as site:
        yield site


@pytest.fixture(autouse=True)
def _ask_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the waits; what is tested is that there is an end to them."""
    monkeypatch.setattr(run, "SILENCE_S", run.SILENCE_S / 10)
    monkeypatch.setattr(run, "POLL_S", run.POLL_S / 10)


@pytest.fixture
async def comfyui(site: Site) -> AsyncIterator[Simulator]:
    """A simulator."""
    async with site.simulator() as simulator:
        yield simulator


@pytest.fixture
def web() -> dict[str, Callable[[httpx.Request], httpx.Response]]:
    """What the rest of the world answers, by URL."""
    return {}


@dataclass
class Meddler(httpx.AsyncBaseTransport):
    """Stands between connector and simulator. ``on`` holds what to do for a path.

    Such a function returns the answer, or None to let the request through.
    """

    inner: httpx.AsyncBaseTransport
    on: dict[str, Meddling] = field(default_factory=dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        meddling = self.on.get(f"/{request.url.path.split('/')[1]}")
        answer = await meddling(request) if meddling else None
        return answer or await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.fixture
def meddler(comfyui: Simulator) -> Meddler:
    """What happens to the connector's requests on their way."""
    return Meddler(comfyui.transport())


@pytest.fixture
async def connector(
    comfyui: Simulator,
    meddler: Meddler,
    web: dict[str, Callable[[httpx.Request], httpx.Response]],
) -> AsyncIterator[ComfyUI]:
    """A connector to the simulator that may fetch from two hosts."""
    world = httpx.MockTransport(lambda request: web[str(request.url)](request))
    hosts = frozenset({"files.example", "cdn.example:8443"})
    api = ComfyApi(URL, transport=meddler, open_socket=comfyui.socket)
    made = ComfyUI(api, Inputs(hosts, transport=world))
    yield made
    await made.close()
