"""The monitor under the load that it is made for: nobody is disconnected, every screen is right."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from muster.fleet.model import WorkerState
from support.cuts import line_to
from support.screens import Screen, showing
from support.simulating import simulating
from support.traffic import PaperFleet, living
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.measuring import Measure
    from support.monitor_server import MonitorServer

pytestmark = pytest.mark.anyio

VIEWS = ("page=1&size=20", "size=100", "machine=sim-001", "machines=sim-002,sim-003", "sort=load")


def quiet_after(jobs: int, workers: int) -> Callable[[dict[str, Any]], bool]:
    """Tell what a screen shows when so many jobs are completed: all workers idle, nothing runs."""

    def shown(document: dict[str, Any]) -> bool:
        fleet = document["fleet"]
        return (
            fleet["jobs"]["completed"] == jobs
            and fleet["jobs"]["running"] == 0
            and fleet["workers"]["idle"] == workers
            and not document["jobs"]
            and {row["state"] for row in document["workers"].values()} == {WorkerState.IDLE.value}
        )

    return shown


async def all_right(screens: list[Screen], *, timeout_s: float) -> None:
    await eventually(
        lambda: [screen.document.get("fleet") for screen in screens if not screen.right_at],
        "all screens are right",
        until=lambda wrong: not wrong,
        timeout_s=timeout_s,
    )


async def watch_simulation(
    redis_url: str, queue: str, monitor: MonitorServer, jobs: int, *options: str
) -> list[Screen]:
    """Let 20 screens watch a fleet of ten machines until all its jobs are over."""
    fleet = ("--machines", "10", "--workers", "4", "--jobs", str(jobs), "--seconds", "600")
    views = [VIEWS[number % len(VIEWS)] for number in range(20)]
    screens = [Screen(monitor.port, view, monitor.token) for view in views]
    with simulating(redis_url, queue, *fleet, *options) as simulation:
        await eventually(
            lambda: Redis.from_url(redis_url).hlen(f"muster:{{{queue}}}:workers"),
            "all workers are there",
            until=lambda count: count == 40,
            timeout_s=30,
        )
        async with showing(screens):
            for screen in screens:
                screen.want(quiet_after(jobs, workers=40))
            await all_right(screens, timeout_s=90)
        assert simulation.poll() is None
    return screens


@pytest.mark.failure(2)
async def test_should_handle_10_concurrent_machines_without_disconnection(
    redis_url: str, queue_name: str, monitor: MonitorServer, measure: Measure
) -> None:
    screens = await watch_simulation(
        redis_url, queue_name, monitor, 400, "--rate", "25", "--duration", "1"
    )

    measure("10 machines: disconnections", sum(screen.drops for screen in screens), 0)
    measure("10 machines: levels below live", sum(len(screen.levels) for screen in screens), 0)
    fewest = min(screen.messages.count("delta") for screen in screens)
    assert fewest > 20, "a screen was hardly told anything"


@pytest.mark.failure(2)
async def test_should_handle_burst_job_processing(
    redis_url: str, queue_name: str, monitor: MonitorServer, measure: Measure
) -> None:
    """300 jobs at once, and each of them soon over."""
    screens = await watch_simulation(redis_url, queue_name, monitor, 300, "--duration", "0.2")

    measure("burst of 300 jobs: disconnections", sum(screen.drops for screen in screens), 0)
    measure("burst of 300 jobs: screens right", len(screens), 20, at_least=True)


@pytest.mark.failure(2)
async def test_should_reconnect_automatically_after_connection_drop(
    redis_url: str, queue_name: str, monitor: MonitorServer, measure: Measure
) -> None:
    # Given screens that are right, behind a line
    with Redis.from_url(redis_url) as redis:
        fleet = PaperFleet(redis, queue_name, machines=10)
        fleet.plant()
        monitor.knows(10)
        with living(fleet):
            async with line_to(monitor.port) as line:
                screens = [Screen(line.port, "size=20", monitor.token) for _ in range(20)]
                async with showing(screens):
                    for screen in screens:
                        screen.want(fleet.shown_by)
                    await all_right(screens, timeout_s=20)

                    # When the line breaks, and all workers change meanwhile
                    line.cut()
                    await asyncio.sleep(1)
                    fleet.change(fleet.workers, text="changed")
                    for screen in screens:
                        screen.want(fleet.shown_by)
                    assert not any(screen.right_at for screen in screens)
                    line.mend()
                    mended_at = time.time()

                    # Then all are right again, and nobody did anything for it
                    await all_right(screens, timeout_s=20)

    slowest = max((screen.right_at or 0) - mended_at for screen in screens)
    measure("connection drop: right again after", slowest, 1.5, "s")
    assert all(screen.drops >= 1 and screen.connects >= 2 for screen in screens)
