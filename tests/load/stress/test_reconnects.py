"""A thousand times the line breaks, the server dies, the data goes: every screen is right again."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from support.cuts import Line, line_to
from support.measuring import percentile
from support.monitor_server import CROWDED, MonitorServer, monitor_server
from support.screens import Screen, showing
from support.traffic import PaperFleet, Rates, living, traffic
from support.viewers import crowd
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.measuring import Measure
    from support.redis import OwnRedis

FLEETS, SCREENS = 5, 20
LOST_AFTER_S = 10.0
VIEWS = ("page=1&size=20", "page=2&size=20", "size=100", "machine=gpu-0003")


class Site:
    """A fleet on paper with its own Redis and server, and screens behind a line."""

    def __init__(self, redis: Redis, server: MonitorServer, line: Line) -> None:
        self.fleet = PaperFleet(redis, "own", machines=25)
        self.server = server
        self.line = line
        self.screens = [
            Screen(line.port, VIEWS[number % len(VIEWS)], server.token) for number in range(SCREENS)
        ]
        self._redis = redis

    async def fault(self, name: str) -> float:
        """Let something happen, and all workers change meanwhile; return since when all is well."""
        await getattr(self, f"_{name}")()
        return time.time()

    def change(self) -> None:
        """Change all workers, and have the screens show it."""
        self.fleet.change(self.fleet.workers, text=secrets.token_hex(4))
        for screen in self.screens:
            screen.want(self.fleet.shown_by)

    async def right(self, timeout_s: float) -> list[Screen]:
        """Wait until all screens are right; return those that are not by then."""
        deadline = time.time() + timeout_s
        while time.time() < deadline:
            if all(screen.right_at for screen in self.screens):
                return []
            await asyncio.sleep(0.01)
        return [screen for screen in self.screens if not screen.right_at]

    async def _reset(self) -> None:
        self.line.reset()
        self.change()

    async def _server_killed(self) -> None:
        self.server.kill()
        self.change()
        self.server.start()
        await asyncio.to_thread(self.server.ready)

    async def _unavailable(self) -> None:
        self.line.answer_503(SCREENS)
        self.change()
        await eventually(lambda: self.line.refusals == 0, "all were refused", timeout_s=30)

    async def _trimmed(self) -> None:
        self.line.cut()
        self.change()
        for stream in ("events", "telemetry"):
            self._redis.xtrim(f"{self.fleet.root}:{stream}", maxlen=0)
        self.change()
        self.line.mend()

    async def _new_epoch(self) -> None:
        self.line.cut()
        self._redis.flushall()
        self.fleet.plant()
        self.change()
        self.line.mend()


FAULTS = ("reset", "server_killed", "unavailable", "trimmed", "new_epoch")


async def tried(site: Site, rounds: int, took_s: dict[str, list[float]]) -> int:
    """Let faults happen, one after the other; return how many screens lost a final state."""
    lost = 0
    for _ in range(rounds):
        fault = random.choice(FAULTS)
        well_at = await site.fault(fault)
        wrong = await site.right(LOST_AFTER_S)
        lost += len(wrong)
        took_s[fault] += [(screen.right_at or time.time()) - well_at for screen in site.screens]
        if wrong:  # so that the next trial begins from a good state
            await site.right(60)
    return lost


@pytest.mark.anyio
async def test_no_final_state_is_lost_in_a_thousand_reconnects(
    own_redis: Callable[..., OwnRedis],
    tmp_path: Path,
    measure: Measure,
    request: pytest.FixtureRequest,
) -> None:
    trials = request.config.getoption("--trials")
    rounds = max(1, trials // (FLEETS * SCREENS))
    took_s: dict[str, list[float]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        sites = []
        for number in range(FLEETS):
            server = own_redis(appendonly=False)
            folder = tmp_path / str(number)
            folder.mkdir()
            monitor = stack.enter_context(monitor_server(folder, server.url, "own", **CROWDED))
            redis = stack.enter_context(Redis.from_url(server.url))
            line = await stack.enter_async_context(line_to(monitor.port))
            site = Site(redis, monitor, line)
            site.fleet.plant()
            monitor.knows(25)
            stack.enter_context(living(site.fleet))
            await stack.enter_async_context(showing(site.screens))
            site.change()
            assert await site.right(30) == []
            sites.append(site)

        lost = sum(await asyncio.gather(*(tried(site, rounds, took_s) for site in sites)))

    everything = [took for each in took_s.values() for took in each]
    assert len(everything) == rounds * FLEETS * SCREENS
    measure(f"{len(everything)} reconnects: final states lost", lost, 0)
    for fault, took in sorted(took_s.items()):
        measure(f"{fault} ({len(took)}): slowest right after", max(took), 1.5, "s")
    measure("all reconnects: median", percentile(everything, 0.5), 1.5, "s")


def test_500_viewers_come_back_at_once(
    redis_url: str, queue_name: str, monitor: MonitorServer, measure: Measure
) -> None:
    views = ["page=1&size=20"] * 400 + [f"page={page}&size=20" for page in (2, 3, 4, 5)] * 25
    rates = Rates(status=20, telemetry=180)
    with (
        traffic(redis_url, queue_name, rates, machines=100),
        crowd(monitor.port, monitor.token, views) as viewers,
    ):
        monitor.knows(100)
        first = viewers.connect()
        monitor.kill()
        monitor.start()
        ready_at = monitor.ready()
        again = viewers.whole_since(ready_at - 0.5)

    measure("500 viewers at once: all have a snapshot after", first, 3, "s")
    measure("500 viewers after kill -9: all have one after", again - 0.5, 3, "s")
