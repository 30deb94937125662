"""Hundreds of viewers, in processes of their own so that the client is not what is measured.

``python -m support.viewers`` is one such process: its plan is the first line on stdin, commands are
the following ones, and each is answered by a line on stdout.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.streams import Stream, request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RETRY_S = 0.5
MARK = "t"
"""What precedes the time (ms) of a change, in the texts that the traffic writes."""

_TESTS = Path(__file__).parents[1]


@dataclass
class Seen:
    """What viewers saw in a stretch of time. Latencies are in ms, from writing to reading."""

    seconds: float = 0
    telemetry_ms: list[float] = field(default_factory=list)
    status_ms: list[float] = field(default_factory=list)
    bytes_of: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    levels: set[str] = field(default_factory=set)
    drops: int = 0
    silent: int = 0

    def add(self, answer: dict[str, Any]) -> None:
        """Take in what one process saw."""
        self.seconds = max(self.seconds, answer["seconds"])
        self.telemetry_ms += answer["telemetry_ms"]
        self.status_ms += answer["status_ms"]
        self.levels |= set(answer["levels"])
        self.drops += answer["drops"]
        self.silent += answer["silent"]
        for view, counts in answer["bytes"].items():
            self.bytes_of[view] += counts

    def rate_kb(self, view: str) -> float:
        """Return the most that a viewer of this view received, in kB a second."""
        return max(self.bytes_of[view]) / self.seconds / 1000


class Crowd:
    """Viewers in several processes."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def connect(self) -> float:
        """Connect all at once; return after how many seconds each had its snapshot."""
        began = time.time()
        return self._last(self._ask("connect")) - began

    def whole_since(self, moment: float) -> float:
        """Wait until each has had a snapshot since that time; return how long that took them."""
        return self._last(self._ask("whole", since=moment)) - moment

    def watch(self, seconds: float) -> Seen:
        """Return what they see in so many seconds."""
        self.begin()
        time.sleep(seconds)
        return self.end()

    def begin(self) -> None:
        """Begin to look at what they see."""
        self._ask("begin")

    def end(self) -> Seen:
        """Return what they have seen since."""
        seen = Seen()
        for answer in self._ask("end"):
            seen.add(answer)
        return seen

    def _last(self, answers: list[dict[str, Any]]) -> float:
        return max(float(answer["last_at"]) for answer in answers)

    def _ask(self, what: str, **more: Any) -> list[dict[str, Any]]:
        for process in self._processes:
            assert process.stdin
            process.stdin.write(json.dumps({"do": what} | more) + "\n")
            process.stdin.flush()
        answers = []
        for process in self._processes:
            assert process.stdout
            line = process.stdout.readline()
            assert line, f"viewers ended with {process.wait()}"
            answers.append(json.loads(line))
        return answers


@contextmanager
def crowd(
    port: int,
    token: str,
    views: Sequence[str],
    *,
    processes: int = 2,
    decode_each: int = 1,
    gzip: bool = True,
) -> Iterator[Crowd]:
    """Start viewers of these views; of each view one in ``decode_each`` also reads what it gets."""
    count: dict[str, int] = defaultdict(int)
    plans: list[list[dict[str, Any]]] = [[] for _ in range(processes)]
    for place, view in enumerate(views):
        decode = count[view] % decode_each == 0
        count[view] += 1
        plans[place % processes].append({"view": view, "decode": decode})
    children: list[subprocess.Popen[str]] = []
    try:
        for plan in plans:
            child = subprocess.Popen(
                [sys.executable, "-m", "support.viewers"],
                cwd=_TESTS,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            children.append(child)
            assert child.stdin
            whole = {"port": port, "token": token, "gzip": gzip, "viewers": plan}
            child.stdin.write(json.dumps(whole) + "\n")
            child.stdin.flush()
        yield Crowd(children)
    finally:
        for child in children:
            child.kill()
            child.communicate()


class _Viewer:
    """One viewer of a process; it comes back when it is dropped."""

    def __init__(self, whole: dict[str, Any], plan: dict[str, Any], seen: _Tally) -> None:
        self.view: str = plan["view"]
        self.snapshot_at = 0.0
        self.drops = 0
        self.stream: Stream | None = None
        self._port: int = whole["port"]
        self._decode: bool = plan["decode"]
        self._request = request(self.view, whole["token"], gzip=whole["gzip"])
        self._seen = seen
        self._received_before = 0
        self._counted = 0

    @property
    def received(self) -> int:
        """The bytes that it got in all."""
        return self._received_before + (self.stream.received if self.stream else 0)

    def take_received(self) -> int:
        """Return the bytes since the last call."""
        before, self._counted = self._counted, self.received
        return self._counted - before

    async def run(self) -> None:
        told = self._told if self._decode else None
        while True:
            try:
                _, self.stream = await asyncio.get_running_loop().create_connection(
                    lambda: Stream(self._request, told), "127.0.0.1", self._port
                )
                await self.stream.closed
                self.drops += 1
                self._received_before += self.stream.received
                self.stream = None
            except OSError:
                pass
            await asyncio.sleep(RETRY_S * random.uniform(0.8, 1.2))

    def _told(self, _: str, message: dict[str, Any]) -> None:
        if message["type"] == "snapshot":
            self.snapshot_at = time.time()
        elif message["type"] == "delta":
            self._seen.take(message)
        elif message["type"] == "level":
            self._seen.level = message["level"]
            self._seen.levels.add(message["level"])

    @property
    def has_snapshot(self) -> bool:
        """Whether it has one; who does not read what it gets takes any first kilobyte for one."""
        return self.snapshot_at > 0 if self._decode else self.received > 1000


class _Tally:
    """The latencies of all viewers of a process."""

    def __init__(self) -> None:
        self.telemetry_ms: list[float] = []
        self.status_ms: list[float] = []
        self.level = "live"
        self.levels = {"live"}

    def begin(self) -> None:
        """Forget what was seen so far; the level stays."""
        self.telemetry_ms.clear()
        self.status_ms.clear()
        self.levels = {self.level}

    def take(self, delta: dict[str, Any]) -> None:
        now = time.time() * 1000
        for into, rows, text in (
            (self.telemetry_ms, delta.get("jobs", {}), "message"),
            (self.status_ms, delta.get("workers", {}), "reason"),
        ):
            for row in rows.values():
                written = row.get(text, "") if row else ""
                if written.startswith(MARK):
                    into.append(round(now - int(written[1:]), 1))


async def _main() -> None:
    loop = asyncio.get_running_loop()
    plan = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    tally = _Tally()
    viewers = [_Viewer(plan, each, tally) for each in plan["viewers"]]
    tasks: list[asyncio.Task[None]] = []
    began = time.time()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        answer: dict[str, Any] = {}
        if command["do"] == "connect":
            tasks = [asyncio.create_task(viewer.run()) for viewer in viewers]
            await _until(lambda: all(viewer.has_snapshot for viewer in viewers), tasks)
            answer = {"last_at": time.time()}
        elif command["do"] == "whole":
            await _until(lambda since=command["since"]: _all_since(viewers, since), tasks)
            answer = {"last_at": max(viewer.snapshot_at for viewer in viewers)}
        elif command["do"] == "begin":
            began = time.time()
            tally.begin()
            for viewer in viewers:
                viewer.take_received()
                viewer.drops = 0
        else:
            answer = _answer(viewers, tally, time.time() - began)
        print(json.dumps(answer), flush=True)


async def _until(condition: Any, tasks: list[asyncio.Task[None]]) -> None:
    deadline = time.time() + 60
    while not condition():
        assert not any(task.done() for task in tasks), tasks
        assert time.time() < deadline, "some viewers never had a snapshot"
        await asyncio.sleep(0.02)


def _all_since(viewers: list[_Viewer], moment: float) -> bool:
    return all(viewer.snapshot_at > moment for viewer in viewers)


def _answer(viewers: list[_Viewer], tally: _Tally, seconds: float) -> dict[str, Any]:
    counts: dict[str, list[int]] = defaultdict(list)
    for viewer in viewers:
        counts[viewer.view].append(viewer.take_received())
    return {
        "seconds": seconds,
        "telemetry_ms": tally.telemetry_ms,
        "status_ms": tally.status_ms,
        "bytes": counts,
        "levels": sorted(tally.levels),
        "drops": sum(viewer.drops for viewer in viewers),
        "silent": sum(count == 0 for view in counts.values() for count in view),
    }


if __name__ == "__main__":
    asyncio.run(_main())
