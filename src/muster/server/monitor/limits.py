"""How many streams there may be: in all, of one user, of one address."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = {
    "viewers": "The server shows the fleet to as many viewers as it can.",
    "user": "This token has as many streams open as it may.",
    "address": "This address has as many streams open as it may.",
}


@dataclass(frozen=True, slots=True)
class ViewerLimits:
    """The most that there may be of each."""

    viewers: int = 1000
    user: int = 100
    address: int = 100


class Admission:
    """Counts the streams that are open."""

    def __init__(self, limits: ViewerLimits) -> None:
        self._limits = limits
        self._users: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    def refusal(self, user: str, address: str) -> str | None:
        """Return which limit one more stream would break, if any."""
        limits = self._limits
        if self._users.total() >= limits.viewers:
            return "viewers"
        if self._users[user] >= limits.user:
            return "user"
        return "address" if self._addresses[address] >= limits.address else None

    @contextmanager
    def admitted(self, user: str, address: str) -> Iterator[None]:
        """Count a stream while it is open."""
        for counter, name in ((self._users, user), (self._addresses, address)):
            counter[name] += 1
        try:
            yield
        finally:
            for counter, name in ((self._users, user), (self._addresses, address)):
                counter[name] -= 1
                if not counter[name]:
                    del counter[name]
