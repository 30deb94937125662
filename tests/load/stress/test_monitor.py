"""The monitor beyond what it is made for: it says that it sends less, and comes back by itself."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from support.measuring import percentile
from support.screens import Screen, showing
from support.simulating import simulating
from support.traffic import PaperFleet, Rates, living, traffic
from support.viewers import crowd
from support.waiting import eventually

if TYPE_CHECKING:
    from support.measuring import Measure
    from support.monitor_server import MonitorServer

pytestmark = pytest.mark.anyio


@pytest.mark.failure(2)
async def test_should_handle_100_machines_with_graceful_degradation(
    redis_url: str, queue_name: str, monitor: MonitorServer, measure: Measure
) -> None:
    """The server gets a tenth of the time that it wants, for a while: as on a host that is full."""
    jobs = ("--jobs", "100000", "--rate", "100", "--duration", "2", "--churn", "12")
    fleet = ("--machines", "100", "--workers", "4", "--seconds", "600")
    views = [f"page={page}&size=20" for page in range(1, 6)] * 10
    screens = [Screen(monitor.port, view, monitor.token) for view in views]
    with simulating(redis_url, queue_name, *fleet, *jobs):
        async with showing(screens):
            # Given screens of all 100 machines, live
            for screen in screens:
                screen.want(lambda document: document["fleet"]["workers"]["total"] == 400)
            await eventually(
                lambda: sum(screen.right_at is not None for screen in screens),
                "all screens show 400 workers",
                until=lambda count: count == len(screens),
                timeout_s=60,
            )

            # When the server hardly gets to run
            starved_at = time.time()
            while not all(screen.levels for screen in screens):
                assert time.time() - starved_at < 60, "no screen was told that less is sent"
                monitor.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(0.45)
                monitor.process.send_signal(signal.SIGCONT)
                await asyncio.sleep(0.05)
            told_after = time.time() - starved_at
            relieved_at = time.time()

            # Then every screen is told, none is dropped, and all are live again by themselves
            await eventually(
                lambda: {screen.levels[-1] for screen in screens},
                "all screens are live again",
                until=lambda levels: levels == {"live"},
                timeout_s=120,
            )
            live_after = time.time() - relieved_at
            drops = sum(screen.drops for screen in screens)
    measure("starved server: screens told after", told_after, 10, "s")
    measure("starved server: live again after", live_after, 60, "s")
    measure("starved server: disconnections", drops, 0)


@pytest.mark.failure(2)
def test_should_handle_rapid_worker_status_changes(
    redis_url: str, queue_name: str, monitor: MonitorServer, measure: Measure
) -> None:
    """All that changes is status: 2,000 times a second, ten times what is planned for."""
    views = ["page=1&size=20", "page=3&size=20", "size=100"] * 10
    rates = Rates(status=2000)
    with (
        traffic(redis_url, queue_name, rates, machines=100) as written,
        crowd(monitor.port, monitor.token, views, processes=1) as viewers,
    ):
        monitor.knows(100)
        viewers.connect()
        seen = viewers.watch(10)
        amount = written.written()

    measure(
        "rapid status: changes/s written", amount["status"] / amount["seconds"], 1900, at_least=True
    )
    measure("rapid status: p99", percentile(seen.status_ms, 0.99), 150, "ms")
    measure("rapid status: disconnections", seen.drops, 0)
    measure("rapid status: viewers told nothing", seen.silent, 0)


async def test_after_rapid_changes_every_screen_shows_the_last_one(
    redis_url: str, queue_name: str, monitor: MonitorServer, measure: Measure
) -> None:
    with Redis.from_url(redis_url) as redis:
        fleet = PaperFleet(redis, queue_name, machines=100)
        fleet.plant()
        monitor.knows(100)
        screens = [
            Screen(monitor.port, view, monitor.token)
            for view in ("size=100", "page=2&size=20", "machine=gpu-0001") * 5
        ]
        with living(fleet):
            async with showing(screens):
                await eventually(
                    lambda: all(screen.document for screen in screens), "all screens show"
                )
                for _ in range(100):
                    fleet.change(fleet.workers)
                    await asyncio.sleep(0)
                changed_at = time.time()
                for screen in screens:
                    screen.want(fleet.shown_by)
                await eventually(
                    lambda: all(screen.right_at for screen in screens), "all screens are right"
                )
    slowest = max((screen.right_at or 0) - changed_at for screen in screens)
    measure("40,000 changes at once: all screens right after", slowest, 1.5, "s")
    assert not any(screen.drops for screen in screens)
