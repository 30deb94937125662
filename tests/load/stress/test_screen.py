"""The page with a hundred live machines, in a real Chromium."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from support.simulating import registered, simulating
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

    from support.measuring import Measure
    from support.monitor_server import MonitorServer

FRAMES_FOR_S = 10
HEAP_EVERY_S = 5.0

FRAMES_PER_SECOND = """
async (seconds) => {
  const began = performance.now();
  let frames = 0, now = began;
  while (now - began < seconds * 1000) {
    now = await new Promise(requestAnimationFrame);
    frames += 1;
  }
  return frames / ((performance.now() - began) / 1000);
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "There is no `chromium` on PATH: install it (Debian: apt install chromium)."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--no-proxy-server"]
        )
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, monitor: MonitorServer) -> Iterator[BrowserContext]:
    """A browser that is signed in."""
    context = browser.new_context(base_url=monitor.url, viewport={"width": 1440, "height": 900})
    answer = context.request.post("/v1/session", data={"token": monitor.token})
    assert answer.ok, answer.text()
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, redis_url: str, queue_name: str) -> Iterator[Page]:
    """The page, with a hundred machines at work on it."""
    jobs = ("--jobs", "1000000", "--rate", "120", "--duration", "3", "--seconds", "3600")
    with simulating(redis_url, queue_name, "--machines", "100", *jobs):
        eventually_blocking(
            lambda: registered(redis_url, queue_name),
            "100 machines and 400 workers are registered",
            until=lambda count: count == 500,
            timeout_s=60,
        )
        page = context.new_page()
        page.goto("/?size=100")
        page.get_by_text("sim-100", exact=True).first.wait_for(state="attached", timeout=30_000)
        yield page


def growth(values: list[float]) -> float:
    """Return by how much (percent) the floor of the last third lies above that of the first.

    What is kept raises the floor. Above it lies what is just being taken in, which comes and goes.
    """
    third = max(1, len(values) // 3)
    return (min(values[-third:]) / min(values[:third]) - 1) * 100


def test_100_live_machines_are_shown_smoothly_and_for_long(
    page: Page, context: BrowserContext, measure: Measure, request: pytest.FixtureRequest
) -> None:
    minutes: float = request.config.getoption("--heap-minutes")
    frames = page.evaluate(FRAMES_PER_SECOND, FRAMES_FOR_S)
    measure("100 machines on the page: frames/s", frames, 50, at_least=True)

    devtools = context.new_cdp_session(page)
    heaps, nodes = [], []
    until = time.monotonic() + minutes * 60
    while time.monotonic() < until:
        devtools.send("HeapProfiler.collectGarbage")
        heaps.append(devtools.send("Runtime.getHeapUsage")["usedSize"] / 1e6)
        nodes.append(devtools.send("Memory.getDOMCounters")["nodes"])
        page.wait_for_timeout(HEAP_EVERY_S * 1000)
    measure(f"the page's heap after {minutes:g} min: growth", growth(heaps), 5, "%")
    measure(f"the page's nodes after {minutes:g} min: growth", growth(nodes), 5, "%")
    measure("the page's heap", max(heaps), 50, "MB")
