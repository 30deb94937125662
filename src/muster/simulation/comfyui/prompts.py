"""The queue of prompts and the history of those that are over, both in memory only."""

from __future__ import annotations

import asyncio
import heapq
from typing import Any

from muster.simulation.comfyui.checks import Graph

Item = tuple[float, str, Graph, dict[str, Any], list[str]]
"""Number, prompt id, graph, extra data, outputs to execute: as ``/queue`` shows it."""

HISTORY_LENGTH = 10_000


class Prompts:
    """What waits, what runs and what is over."""

    def __init__(self) -> None:
        self.pending: list[Item] = []
        self.running: Item | None = None
        self.history: dict[str, dict[str, Any]] = {}
        self._arrived = asyncio.Event()

    @property
    def waiting(self) -> list[Item]:
        """What waits, next first."""
        return sorted(self.pending, key=lambda item: item[0])

    @property
    def remaining(self) -> int:
        """How many prompts wait or run."""
        return len(self.pending) + (self.running is not None)

    def put(self, item: Item) -> None:
        """Queue a prompt. Ids are not checked for duplicates: both would run.

        Raises TypeError when another with the same number and id waits, and queues it all the
        same: so does ComfyUI, whose heap compares the graphs then.
        """
        self._arrived.set()
        heapq.heappush(self.pending, item)

    async def take(self) -> Item:
        """Wait for the next prompt and mark it as running."""
        while not self.pending:
            self._arrived.clear()
            await self._arrived.wait()
        self.running = heapq.heappop(self.pending)
        return self.running

    def finish(self, item: Item, outcome: dict[str, Any]) -> None:
        """Move the running prompt to the history; one with the same id there is overwritten."""
        self.running = None
        if len(self.history) >= HISTORY_LENGTH:
            self.history.pop(next(iter(self.history)))
        self.history[item[1]] = {"prompt": list(item), **outcome}

    def delete(self, prompt_id: str) -> bool:
        """Remove a waiting prompt; one that runs is left alone."""
        for item in self.pending:
            if item[1] == prompt_id:
                self.pending.remove(item)
                heapq.heapify(self.pending)
                return True
        return False

    def forget(self) -> None:
        """Lose everything, as a restart does."""
        self.pending.clear()
        self.running = None
        self.history.clear()
