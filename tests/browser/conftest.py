"""Browser tests look at the monitor as people do: in a real Chromium, at a real server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from playwright.sync_api import sync_playwright

from muster.server.auth import Role
from support.monitor import fleet_of_hands
from support.monitored import monitored
from support.proxy import proxy_to
from support.redis import on_tcp, running
from support.seat import Look, Seat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from support.monitor import FleetOfHands
    from support.monitored import MonitoredServer
    from support.proxy import Proxy
    from support.redis import Listen


@pytest.fixture(scope="session")
def listen() -> Listen:
    """How Redis listens in this tier."""
    return on_tcp


@pytest.fixture(scope="session")
def redis_url(listen: Listen) -> Iterator[str]:
    """The address of a real Redis that this process's tests share; see ``queue_name``."""
    with running(listen, appendonly=False) as server:
        yield server.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Without one, these tests fail: they have nothing to look with."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "There is no `chromium` on PATH: install it (Debian: apt install chromium)."
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--no-proxy-server"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """An event loop in a thread of its own, for what moves the fleet."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def hands(portal: BlockingPortal, redis_url: str, queue_name: str) -> Iterator[FleetOfHands]:
    """A fleet that the test moves: ``do(hands.add, "gpu-1")``."""
    fleet = fleet_of_hands(redis_url, queue_name)
    with portal.wrap_async_context_manager(fleet) as hands:
        yield hands


@pytest.fixture
def do(portal: BlockingPortal) -> Callable[..., Any]:
    """Run a coroutine function: ``do(hands.add, "gpu-1", gpus=8)``."""

    def run(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        async def call() -> Any:
            return await function(*arguments, **named)

        return portal.call(call)

    return run


@pytest.fixture
def server(tmp_path: Path, redis_url: str, queue_name: str) -> Iterator[MonitoredServer]:
    """A server, as a process of its own."""
    with monitored(tmp_path, redis_url, queue_name) as server:
        yield server


@pytest.fixture
def network(portal: BlockingPortal, server: MonitoredServer) -> Iterator[Proxy]:
    """The network between browser and server, which the test may harm."""
    with portal.wrap_async_context_manager(proxy_to(server.port)) as proxy:
        yield proxy


@pytest.fixture
def sit_down(
    browser: Browser, server: MonitoredServer, network: Proxy
) -> Iterator[Callable[..., Seat]]:
    """Sit down before a browser that is signed in, with a role, and looks as ``look`` says."""
    seats = []

    def sit_down(role: Role | None = Role.OPERATE, look: Look = Look()) -> Seat:  # noqa: B008
        seat = Seat(browser, network.url, look)
        seats.append(seat)
        if role:
            seat.sign_in(server.tokens[role])
        return seat

    yield sit_down
    for seat in seats:
        seat.context.close()


@pytest.fixture
def seat(sit_down: Callable[..., Seat]) -> Seat:
    """One who operates, before a browser."""
    return sit_down()
