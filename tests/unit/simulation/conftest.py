"""A simulated ComfyUI, and a client that speaks to it without the connector."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.comfyui import Simulator, Site, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    from websockets.asyncio.client import ClientConnection


@dataclass
class Client:
    """One websocket and one HTTP client, as a browser has them."""

    http: httpx.AsyncClient
    socket: ClientConnection

    async def submit(self, graph: dict[str, Any], **extra: Any) -> str:
        """Queue a graph and return its prompt id."""
        body = {"prompt": graph, "client_id": "me", **extra}
        answer = await self.http.post("/prompt", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["prompt_id"])

    async def frames(self) -> list[dict[str, Any]]:
        """Read text frames up to the one that ends a prompt."""
        seen = []
        while True:
            message = await self.socket.recv()
            if isinstance(message, bytes):
                continue
            seen.append(json.loads(message))
            if seen[-1]["type"] == "executing" and seen[-1]["data"]["node"] is None:
                return seen

    async def until(self, event: str) -> dict[str, Any]:
        """Read frames up to the first of a type, and return its data."""
        while True:
            message = await self.socket.recv()
            if isinstance(message, str) and json.loads(message)["type"] == event:
                data: dict[str, Any] = json.loads(message)["data"]
                return data

    async def record(self, prompt_id: str) -> dict[str, Any]:
        """Return what the history holds of a prompt."""
        history = (await self.http.get(f"/history/{prompt_id}")).json()
        entry: dict[str, Any] = history.get(prompt_id, {})
        return entry


@pytest.fixture(scope="session")
async def site(anyio_backend: str) -> AsyncIterator[Site]:
    """Where simulators are reached."""
    async with serving() as site:
        yield site


@pytest.fixture
async def comfyui(site: Site) -> AsyncIterator[Simulator]:
    """A simulator."""
    async with site.simulator() as simulator:
        yield simulator


@pytest.fixture
async def client(comfyui: Simulator) -> AsyncIterator[Client]:
    """A client that is connected to it."""
    async with comfyui.client() as http, comfyui.socket() as socket:
        yield Client(http, socket)
