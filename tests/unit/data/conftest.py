"""The fakes that are held against what was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.comfyui import Simulator, Site, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(scope="session")
async def site(anyio_backend: str) -> AsyncIterator[Site]:
    """Where simulators of ComfyUI are reached."""
    async with serving() as site:
        yield site


@pytest.fixture
async def comfyui(site: Site) -> AsyncIterator[Simulator]:
    """A simulator of ComfyUI."""
    async with site.simulator() as simulator:
        yield simulator
