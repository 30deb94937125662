"""One viewer's queue: bounded, whatever its connection does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from muster.server.monitor.frames import Plain, message
from muster.server.monitor.viewer import BITE, QUEUE, Viewer, bites
from muster.tasks import end
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from muster.server.monitor.frames import Frame

pytestmark = pytest.mark.anyio

SNAPSHOT = message({"type": "snapshot"})


class Line:
    """A connection that can be stopped."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.taken = b""
        self.ended = False

    async def send(self, content: bytes, more: bool) -> None:
        """Take bytes, once it is open."""
        await self.open.wait()
        self.taken += content
        self.ended = not more


@asynccontextmanager
async def pumping(viewer: Viewer, line: Line) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(viewer.pump(line.send))
    try:
        yield task
    finally:
        await end(task)


@pytest.fixture
async def viewer(anyio_backend: str) -> Viewer:
    return Viewer(Plain(), lambda: [SNAPSHOT], ends_at=1e12, allowed=lambda: True)


def delta(number: int) -> Frame:
    return message({"type": "delta", "n": number})


async def test_sends_what_is_queued_in_order(viewer: Viewer) -> None:
    line = Line()
    async with pumping(viewer, line):
        viewer.offer(delta(1))
        viewer.offer(delta(2))

        await eventually(lambda: line.taken == delta(1).plain + delta(2).plain, "both came")


@pytest.mark.failure(2)
async def test_one_that_stalls_gets_a_new_snapshot_and_no_growing_queue(viewer: Viewer) -> None:
    line = Line()
    async with pumping(viewer, line):
        line.open.clear()
        viewer.offer(delta(0))
        await eventually(lambda: viewer.queued == 0, "the first frame is under way")

        fell_behind = [viewer.offer(delta(number)) for number in range(1, 1000)]

        assert fell_behind.count(True) == 1
        assert viewer.queued <= QUEUE
        line.open.set()
        await eventually(lambda: SNAPSHOT.plain in line.taken, "it got a new snapshot")
        assert line.taken == delta(0).plain + SNAPSHOT.plain
        viewer.offer(delta(2000))
        await eventually(lambda: line.taken.endswith(delta(2000).plain), "it goes on")


async def test_knows_for_how_long_a_line_takes_nothing(viewer: Viewer) -> None:
    line = Line()
    now = asyncio.get_running_loop().time
    async with pumping(viewer, line):
        assert viewer.blocked_s(now()) == 0
        line.open.clear()
        viewer.offer(delta(1))

        await eventually(lambda: viewer.blocked_s(now()) > 0.02, "it counts as blocked")
        line.open.set()
        await eventually(lambda: viewer.blocked_s(now()) == 0, "it does not any more")


async def test_an_eviction_ends_the_pump_even_while_it_is_blocked(viewer: Viewer) -> None:
    line = Line()
    line.open.clear()
    async with pumping(viewer, line) as task:
        viewer.offer(delta(1))
        await eventually(lambda: viewer.queued == 0, "the frame is under way")

        viewer.evict()

        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()
        assert viewer.evicted


async def test_a_stream_ends_with_its_last_word(viewer: Viewer) -> None:
    line = Line()
    async with pumping(viewer, line) as task:
        viewer.offer(delta(1))
        viewer.finish(message({"type": "bye"}))

        await asyncio.wait_for(task, 5)
        assert line.ended
        assert line.taken == delta(1).plain + message({"type": "bye"}).plain


@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        ([], []),
        ([b"a" * 10, b"b" * 20], [30]),
        ([b"a" * BITE], [BITE]),
        ([b"a", b"b" * (BITE + 1), b"c"], [1, BITE, 1, 1]),
        ([b"a" * 2 * BITE, b"b" * 5], [BITE, BITE, 5]),
    ],
)
def test_what_is_sent_at_once_is_small(parts: list[bytes], sizes: list[int]) -> None:
    sent = list(bites(parts))

    assert [len(bite) for bite in sent] == sizes
    assert b"".join(sent) == b"".join(parts)


async def test_a_stalled_connection_is_given_no_more_than_a_bite(viewer: Viewer) -> None:
    line, given = Line(), []

    async def send(content: bytes, more: bool) -> None:
        given.append(len(content))
        await line.send(content, more)

    line.open.clear()
    task = asyncio.create_task(viewer.pump(send))
    viewer.offer(message({"type": "snapshot", "text": "x" * 10 * BITE}))
    await eventually(lambda: given, "the first bytes are under way")
    for number in range(100):
        viewer.offer(delta(number))
    await asyncio.sleep(0)

    assert sum(given) <= BITE
    await end(task)
