"""Readers that take nothing: they are cut off, and cost the others nothing."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from support.measuring import percentile
from support.streams import request
from support.traffic import Rates, traffic
from support.viewers import crowd

if TYPE_CHECKING:
    from support.measuring import Measure
    from support.monitor_server import MonitorServer

STALLED = 20
SETTLED_S = 40.0
GIVEN_UP_AFTER_S = 60.0
CONNECTIONS = Path("/proc/net/tcp")
ESTABLISHED = "01"


class Stalled:
    """Readers that ask for the whole fleet, uncompressed, and take nothing of it.

    A reader's line is full from when the kernel holds no more for it. ``blocked_s`` tells for how
    long it then was, until the server let go of the connection.
    """

    def __init__(self, port: int, token: str, sockets: ExitStack) -> None:
        self.blocked_s: dict[int, float] = {}
        self._port = port
        self._held: dict[int, int] = {}
        self._grew_at: dict[int, float] = {}
        for _ in range(STALLED):
            reader = sockets.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", port))
            reader.sendall(request("size=100", token, gzip=False))
            name = reader.getsockname()[1]
            self._held[name], self._grew_at[name] = 0, time.monotonic()

    def look(self) -> None:
        """See which lines are full, and which are cut off."""
        now, held = time.monotonic(), self._queued()
        for name in self._held.keys() - self.blocked_s.keys():
            if name not in held:
                self.blocked_s[name] = now - self._grew_at[name]
            elif held[name] > self._held[name]:
                self._held[name], self._grew_at[name] = held[name], now

    def _queued(self) -> dict[int, int]:
        """Return, by the readers' ports, how many bytes the server's kernel holds for them."""
        queued = {}
        for line in CONNECTIONS.read_text().splitlines()[1:]:
            _, local, remote, state, queues = line.split()[:5]
            if _port(local) == self._port and state == ESTABLISHED:
                queued[_port(remote)] = int(queues.partition(":")[0], 16)
        return queued


def most_memory(monitor: MonitorServer, for_s: float) -> int:
    """Return the most bytes that the server holds in so many seconds."""
    most, until = 0, time.monotonic() + for_s
    while time.monotonic() < until:
        most = max(most, monitor.process.memory_info().rss)
        time.sleep(0.1)
    return most


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def test_20_stalled_readers_are_cut_off_and_cost_nothing(
    redis_url: str, queue_name: str, monitor: MonitorServer, measure: Measure
) -> None:
    views = ["page=1&size=20", "size=100"] * 25
    rates = Rates(status=200, telemetry=1800)
    with (
        traffic(redis_url, queue_name, rates, machines=100),
        crowd(monitor.port, monitor.token, views, processes=1) as viewers,
        ExitStack() as sockets,
    ):
        # Given viewers, and a server whose memory has settled: its log of the latest events is full
        monitor.knows(100)
        viewers.connect()
        viewers.watch(SETTLED_S)
        before = most = most_memory(monitor, for_s=10)

        # When twenty more come that read nothing
        viewers.begin()
        stalled = Stalled(monitor.port, monitor.token, sockets)
        deadline = time.monotonic() + GIVEN_UP_AFTER_S
        while len(stalled.blocked_s) < STALLED and time.monotonic() < deadline:
            stalled.look()
            most = max(most, monitor.process.memory_info().rss)
            time.sleep(0.1)
        seen = viewers.end()

    # Then they are cut off in time, and nobody else notices
    measure("stalled readers: cut off", len(stalled.blocked_s), STALLED, at_least=True)
    longest_s = max(stalled.blocked_s.values(), default=GIVEN_UP_AFTER_S)
    measure("stalled readers: longest blocked", longest_s, 10, "s")
    measure("stalled readers: more memory", (most - before) / 1e6, 5, "MB")
    measure("others meanwhile: status p99", percentile(seen.status_ms, 0.99), 150, "ms")
    measure("others meanwhile: telemetry p99", percentile(seen.telemetry_ms, 0.99), 300, "ms")
    measure("others meanwhile: disconnections", seen.drops, 0)
