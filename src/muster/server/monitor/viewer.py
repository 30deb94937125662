"""One open stream: a bounded queue of shared frames, and who takes from it."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from muster.server.monitor.frames import Frame, Gzip, Plain

    Send = Callable[[bytes, bool], Awaitable[None]]

QUEUE = 8
BLOCKED_S = 8.0
"""With a look every second, one that takes nothing is cut off within 10 s, late as it may be."""

BITE = 32 * 1024
"""So much is sent at once: what a connection does not take is then held once, not by each."""

SILENT_S = 15.0


class Viewer:
    """Takes frames as fast as its connection does, and costs the others nothing.

    One that falls ``QUEUE`` frames behind loses them and gets what ``catch_up`` returns instead,
    when it takes again. ``allowed`` says whether its token is still good.
    """

    def __init__(
        self,
        stream: Plain | Gzip,
        catch_up: Callable[[], list[Frame]],
        *,
        ends_at: float,
        allowed: Callable[[], bool],
    ) -> None:
        self.ends_at = ends_at
        self.allowed = allowed
        self.sent_bytes = 0
        self.evicted = False
        self._stream = stream
        self._catch_up = catch_up
        self._queue: deque[Frame] = deque()
        self._behind = False
        self._last: Frame | None = None
        self._awaited: asyncio.Future[None] | None = None
        self._blocked_since: float | None = None
        self._sent_at = monotonic()
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def queued(self) -> int:
        """How many frames wait."""
        return len(self._queue)

    def offer(self, frame: Frame) -> bool:
        """Queue a frame; tell whether the viewer has just fallen too far behind for it."""
        if self._behind:
            return False
        if len(self._queue) >= QUEUE:
            self.resync()
            return True
        self._queue.append(frame)
        self._wake()
        return False

    def resync(self) -> None:
        """Drop what waits; the viewer is to get everything anew."""
        self._queue.clear()
        self._behind = True
        self._wake()

    def finish(self, last: Frame) -> None:
        """End the stream well, with this frame after those that wait."""
        self._last = last
        self._wake()

    def evict(self) -> None:
        """End the stream at once, without a word: its viewer takes none."""
        self.evicted = True
        if self._task:
            self._task.cancel()

    def blocked_s(self, now: float) -> float:
        """Return for how long the connection has taken nothing of what there is for it."""
        return 0 if self._blocked_since is None else now - self._blocked_since

    def silent_s(self, now: float) -> float:
        """Return for how long nothing more was sent."""
        return now - self._sent_at

    async def pump(self, send: Send) -> None:
        """Send what is queued until the stream is over. ``send`` waits while the line is full."""
        self._task = asyncio.current_task()
        while True:
            await self._something()
            last = self._last
            parts = [self._stream.add(frame) for frame in self._taken()]
            if last:
                parts += self._stream.add(last), self._stream.end()
            for bite in bites(parts):
                await self._send(send, bite, more=True)
            if last:
                await self._send(send, b"", more=False)
                return

    async def _something(self) -> None:
        """Wait until there is something to do, without an Event, which looks for its loop anew."""
        if not (self._queue or self._behind or self._last):
            self._awaited = self._loop.create_future()
            await self._awaited

    def _wake(self) -> None:
        if self._awaited and not self._awaited.done():
            self._awaited.set_result(None)

    def _taken(self) -> list[Frame]:
        frames = list(self._queue)
        self._queue.clear()
        if self._behind:
            self._behind = False
            return self._catch_up()
        return frames

    async def _send(self, send: Send, content: bytes, *, more: bool) -> None:
        self._blocked_since = self._sent_at = monotonic()
        await send(content, more)
        self._blocked_since = None
        self.sent_bytes += len(content)


def bites(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes: small parts together, large ones cut, none much longer than a bite."""
    small: list[bytes] = []
    for part in parts:
        if len(part) < BITE:
            small.append(part)
            continue
        if small:
            yield b"".join(small)
            small = []
        for start in range(0, len(part), BITE):
            yield part[start : start + BITE]
    if small:
        yield b"".join(small)
