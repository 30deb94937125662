"""How often a client may ask: as GitHub's pages count, and as its API does."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from muster.simulation.releases.options import Rate


class SlidingWindow:
    """Accepts a number of requests in any span of so many seconds, for each client apart.

    Only what was accepted counts: asking while refused does not lengthen the wait.
    """

    def __init__(self, rate: Rate, now: Callable[[], float]) -> None:
        self._rate = rate
        self._now = now
        self._accepted: dict[str, deque[float]] = defaultdict(deque)

    def take(self, client: str) -> int | None:
        """Accept a request (None), or return after how many whole seconds one would be."""
        now = self._now()
        accepted = self._accepted[client]
        while accepted and accepted[0] + self._rate.seconds <= now:
            accepted.popleft()
        if len(accepted) < self._rate.requests:
            accepted.append(now)
            return None
        return max(1, math.ceil(accepted[0] + self._rate.seconds - now))


@dataclass(frozen=True, slots=True)
class Budget:
    """What a client has left of the API. ``used`` exceeds ``limit`` where it was refused."""

    limit: int
    used: int
    reset: int

    @property
    def exceeded(self) -> bool:
        """Whether the request that was just counted is one too many."""
        return self.used > self.limit

    @property
    def headers(self) -> dict[str, str]:
        """The headers by which GitHub tells it."""
        return {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(max(0, self.limit - self.used)),
            "x-ratelimit-used": str(min(self.used, self.limit)),
            "x-ratelimit-reset": str(self.reset),
            "x-ratelimit-resource": "core",
        }


class FixedWindow:
    """Accepts a number of requests until the window is over, which a client's first one opens."""

    def __init__(self, rate: Rate, now: Callable[[], float]) -> None:
        self._rate = rate
        self._now = now
        self._windows: dict[str, Budget] = {}

    def take(self, client: str) -> Budget:
        """Count a request."""
        now = self._now()
        last = self._windows.get(client)
        if last is None or last.reset <= now:
            reset = math.ceil(now + self._rate.seconds)
            budget = Budget(self._rate.requests, 1, reset)
        else:
            budget = Budget(last.limit, last.used + 1, last.reset)
        self._windows[client] = budget
        return budget
