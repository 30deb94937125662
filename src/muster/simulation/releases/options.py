"""How one simulated release server is set up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

_RATE = re.compile(r"([1-9][0-9]*)/([0-9]*\.?[0-9]+)")


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests a client may make in how many seconds."""

    requests: int
    seconds: float


HOURLY = Rate(60, 3600)


@dataclass(frozen=True, slots=True)
class Options:
    """``objects_host`` is where redirects to the bytes lead: ``HOST:PORT``, or ``HOST`` alone.

    Without a port it is the port that was asked. ``log_file`` gets one line of JSON for each
    request that is over.
    """

    directory: Path
    objects_host: str | None = None
    limit: Rate | None = None
    api_limit: Rate = HOURLY
    log_file: Path | None = None


def parse_rate(field: str, text: str) -> Rate:
    """Read ``REQUESTS/SECONDS``, for example ``6/10``. Raises ``InvalidInput``."""
    match = _RATE.fullmatch(text)
    if not match or not float(match[2]):
        raise InvalidInput(
            field, "is not a limit", "Use REQUESTS/SECONDS, for example 6/10.", value=text
        )
    return Rate(int(match[1]), float(match[2]))
