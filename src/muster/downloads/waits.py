"""When to ask again after an answer that is not the file: pure functions, so that laws hold.

Limits are told as GitHub documents them
(https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api, "Exceeding the
rate limit"): wait for ``retry-after``; else, when ``x-ratelimit-remaining`` is 0, until
``x-ratelimit-reset``; else at least a minute, and longer each time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_PASSING = frozenset({408, 425, 500, 502, 503, 504})
_LIMIT_WORDS = ("rate limit", "abuse detection")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Waits of our own choice, in seconds: the first, doubled after each failure, up to the most.

    ``limited_s`` is the first one after a limit that does not say for how long.
    """

    first_s: float = 1.0
    most_s: float = 60.0
    limited_s: float = 60.0
    limited_most_s: float = 900.0

    def after(self, failures: int, jitter: float) -> float:
        """Return the wait after so many failures: from half the planned one to all of it.

        ``jitter`` from 0 to 1 spreads those who fail together.
        """
        return _doubled(self.first_s, failures, self.most_s) * (1 + jitter) / 2

    def after_limit(self, failures: int, jitter: float) -> float:
        """Return the wait after a limit without a time: never less than planned, a tenth more."""
        return _doubled(self.limited_s, failures, self.limited_most_s) * (1 + jitter / 10)


def is_limit(status: int, headers: Mapping[str, str], body: str) -> bool:
    """Whether an answer says "too often", and not "never": both may come as 403."""
    if status == 429:
        return True
    if status != 403:
        return False
    told = "retry-after" in headers or headers.get("x-ratelimit-remaining", "").strip() == "0"
    return told or any(words in body.lower() for words in _LIMIT_WORDS)


def is_passing(status: int, headers: Mapping[str, str], body: str) -> bool:
    """Whether asking again later can help."""
    return status in _PASSING or is_limit(status, headers, body)


def told_wait(status: int, headers: Mapping[str, str], now: float) -> float | None:
    """Return for how many seconds the answer asks to be left alone; None when it does not say.

    ``now`` is the epoch time here; the answer's own ``Date`` is preferred, since clocks differ.
    """
    now = _epoch(headers.get("date", "")) or now
    asked = headers.get("retry-after", "").strip()
    if asked:
        wait = float(asked) if asked.isascii() and asked.isdigit() else _until(_epoch(asked), now)
        if wait is not None and math.isfinite(wait):
            return wait
    if status in {403, 429} and headers.get("x-ratelimit-remaining", "").strip() == "0":
        reset = headers.get("x-ratelimit-reset", "").strip()
        wait = _until(float(reset), now) if reset.isascii() and reset.isdigit() else None
        return wait if wait is not None and math.isfinite(wait) else None
    return None


def _until(moment: float | None, now: float) -> float | None:
    return None if moment is None else max(0.0, moment - now)


def _epoch(date: str) -> float | None:
    """Return the time of an HTTP date (RFC 9110, section 5.6.7)."""
    try:
        moment: datetime = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _doubled(first: float, failures: int, most: float) -> float:
    return min(most, first * 2.0 ** min(failures, 60))
