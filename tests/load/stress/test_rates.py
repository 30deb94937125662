"""What a server process pays for the changes of a fleet and for those who watch it."""

from __future__ import annotations

import http.client
import threading
import time
from typing import TYPE_CHECKING

from redis import Redis

from support.measuring import percentile
from support.traffic import PaperFleet, Rates, living, traffic
from support.viewers import crowd

if TYPE_CHECKING:
    from support.measuring import Measure
    from support.monitor_server import MonitorServer
    from support.viewers import Seen

TWENTY_WORKERS = "machines=" + ",".join(f"gpu-{number:04}" for number in range(1, 6))
WHOLE_FLEET = "size=100"
VIEWS = [
    *["page=1&size=20"] * 300,
    *[f"page={page}&size=20" for page in (2, 3, 4, 5) for _ in range(25)],
    *[TWENTY_WORKERS] * 50,
    *[WHOLE_FLEET] * 40,
    *[f"machine=gpu-{number:04}" for number in range(1, 11)],
]
"""500 viewers: most look at the first page, some at others, some at everything."""

MEASURED_S = 15.0


def idle_share(redis_url: str, queue: str, monitor: MonitorServer, machines: int) -> float:
    """Return what the server uses (percent of a core) when nothing changes and nobody looks."""
    with Redis.from_url(redis_url) as redis:
        fleet = PaperFleet(redis, queue, machines)
        fleet.plant()
        with living(fleet):
            time.sleep(2)
            return monitor.cpu_share(5)


def watched(
    redis_url: str, queue: str, monitor: MonitorServer, rates: Rates, machines: int
) -> tuple[Seen, float, dict[str, float]]:
    """Let 500 watch; return what they see, the server's share of a core, what was written."""
    with (
        traffic(redis_url, queue, rates, machines=machines) as writer,
        crowd(monitor.port, monitor.token, VIEWS, decode_each=10) as viewers,
    ):
        monitor.knows(machines)
        viewers.connect()
        time.sleep(3)
        began, used = time.monotonic(), monitor.cpu_s()
        seen = viewers.watch(MEASURED_S)
        share = (monitor.cpu_s() - used) / (time.monotonic() - began) * 100
        return seen, share, writer.written()


def rate(written: dict[str, float]) -> float:
    """Return how many changes a second were written."""
    return (written["status"] + written["telemetry"]) / written["seconds"]


def nobody_suffers(measure: Measure, what: str, seen: Seen) -> None:
    """Everybody was sent everything, all the time."""
    measure(f"{what}: levels below live", len(seen.levels - {"live"}), 0)
    measure(f"{what}: disconnections", seen.drops, 0)
    measure(f"{what}: viewers told nothing", seen.silent, 0)


def test_400_workers_and_500_viewers(
    redis_url: str, queue_name: str, monitor: MonitorServer, measure: Measure
) -> None:
    idle = idle_share(redis_url, queue_name, monitor, machines=100)

    rates = Rates(status=200, telemetry=1800)
    seen, share, written = watched(redis_url, queue_name, monitor, rates, machines=100)

    measure("400 workers: changes/s written", rate(written), 1900, at_least=True)
    measure("400 workers: CPU above idle, of a core", share - idle, 15, "%")
    measure("400 workers: status p99", percentile(seen.status_ms, 0.99), 150, "ms")
    measure("400 workers: telemetry p99", percentile(seen.telemetry_ms, 0.99), 300, "ms")
    measure("a page of 20 workers, a viewer", seen.rate_kb(TWENTY_WORKERS), 15, "kB/s")
    measure("the whole fleet, a viewer", seen.rate_kb(WHOLE_FLEET), 50, "kB/s")
    nobody_suffers(measure, "400 workers", seen)


def test_4000_workers_and_500_viewers(
    redis_url: str, queue_name: str, monitor: MonitorServer, measure: Measure
) -> None:
    idle = idle_share(redis_url, queue_name, monitor, machines=1000)

    rates = Rates(status=2000, telemetry=18_000)
    seen, share, written = watched(redis_url, queue_name, monitor, rates, machines=1000)

    measure("4,000 workers: changes/s written", rate(written), 19_000, at_least=True)
    measure("4,000 workers: CPU above idle, of a core", share - idle, 25, "%")
    nobody_suffers(measure, "4,000 workers", seen)


def test_health_is_told_under_ten_times_the_burst(
    redis_url: str, queue_name: str, monitor: MonitorServer, measure: Measure
) -> None:
    """Load balancers end a server that does not answer them."""
    took_ms: list[float] = []
    over = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", monitor.port, timeout=30)
        while not over.wait(0.02):
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            took_ms.append((time.perf_counter() - began) * 1000)
        connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        rates = Rates(status=2000, telemetry=18_000)
        watched(redis_url, queue_name, monitor, rates, machines=100)
    finally:
        over.set()
        asking.join()

    measure("ten times the burst: /healthz p99", percentile(took_ms, 0.99), 100, "ms")
    assert len(took_ms) > 100
