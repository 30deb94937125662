"""Faults on demand, each armed for a number of times or for good, everywhere or for some paths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from muster.errors import InvalidInput


class Kind(StrEnum):
    """What can go wrong. ``FAULTS`` says what each does and what its value means."""

    CUT = "cut"
    WRONG = "wrong"
    TRUNCATE = "truncate"
    SLOW = "slow"
    STALL = "stall"
    STATUS = "status"
    FORBIDDEN = "forbidden"
    SECONDARY = "secondary"
    PRIMARY = "primary"
    RETRY_AFTER = "retry-after"
    NO_VALIDATOR = "no-validator"
    CHANGED = "changed"


FAULTS = {
    Kind.CUT: "cut=BYTES: the connection closes after that many bytes of a longer body",
    Kind.WRONG: "wrong: some bytes of the body are not those of the file",
    Kind.TRUNCATE: "truncate=BYTES: a longer file is served as if it ended there",
    Kind.SLOW: "slow=BYTES_PER_SECOND: the body comes at that rate",
    Kind.STALL: "stall: the body stops before its end, and the connection stays open",
    Kind.STATUS: "status=CODE: the answer is that error, 400 to 599",
    Kind.FORBIDDEN: "forbidden: the answer is 403 with a page, as for what one may not see",
    Kind.SECONDARY: "secondary: the answer is 403 for a secondary rate limit, without a time",
    Kind.PRIMARY: "primary=SECONDS: the answer is 403 with a rate limit that resets then",
    Kind.RETRY_AFTER: "retry-after=SECONDS: the answer is 429 with Retry-After",
    Kind.NO_VALIDATOR: "no-validator: a file has no ETag and no Last-Modified",
    Kind.CHANGED: "changed: a file has another ETag and Last-Modified than before",
}

FORM = "KIND[=VALUE][@SUBSTRING-OF-PATH][*TIMES]"

_FORM = re.compile(
    r"(?P<kind>[a-z-]+)(=(?P<value>[^@*]+))?(@(?P<where>[^*]+))?(\*(?P<times>[1-9][0-9]*))?"
)
_NUMBER = r"[0-9]+"
_VALUES = {
    Kind.CUT: _NUMBER,
    Kind.TRUNCATE: _NUMBER,
    Kind.SLOW: r"[1-9][0-9]*",
    Kind.STATUS: r"[45][0-9]{2}",
    Kind.PRIMARY: _NUMBER,
    Kind.RETRY_AFTER: _NUMBER,
}


@dataclass(slots=True)
class Fault:
    """An armed fault; ``times`` is how often it still fires, None for always.

    ``where`` is what a request's path must contain.
    """

    kind: Kind
    value: str = ""
    where: str = ""
    times: int | None = None

    def __str__(self) -> str:
        value = f"={self.value}" if self.value else ""
        where = f"@{self.where}" if self.where else ""
        times = "" if self.times is None else f"*{self.times}"
        return f"{self.kind}{value}{where}{times}"

    @property
    def number(self) -> int:
        """The value; 0 where the kind has none."""
        return int(self.value or 0)


def parse(text: str) -> Fault:
    """Read ``KIND[=VALUE][@SUBSTRING-OF-PATH][*TIMES]``. Raises ``InvalidInput``.

    ``cut=65536*2`` cuts two bodies, ``status=503@/objects/`` fails every object.
    """
    match = _FORM.fullmatch(text)
    if not match or match["kind"] not in list(Kind):
        raise InvalidInput(
            "fault", "is not a fault", f"Use {FORM} of {', '.join(Kind)}.", value=text
        )
    kind, value = Kind(match["kind"]), match["value"] or ""
    if not re.fullmatch(_VALUES.get(kind, ""), value):
        raise InvalidInput("fault", "has a wrong value", f"Use {FAULTS[kind]}.", value=text)
    return Fault(kind, value, match["where"] or "", int(match["times"]) if match["times"] else None)


class Faults:
    """The faults that are armed now."""

    def __init__(self) -> None:
        self.armed: list[Fault] = []

    def arm(self, fault: Fault) -> None:
        """Add one."""
        self.armed.append(fault)

    def disarm(self) -> None:
        """Remove all."""
        self.armed.clear()

    def take(self, *kinds: Kind, path: str, below: int | None = None) -> Fault | None:
        """Return the first such fault that is armed for the path; counts it as fired.

        With ``below``, one whose number is that or more does not fire: a body of 10 bytes cannot be
        cut after 20.
        """
        for fault in self.armed:
            if fault.kind not in kinds or fault.where not in path:
                continue
            if below is not None and fault.number >= below:
                continue
            self._count(fault)
            return fault
        return None

    def _count(self, fault: Fault) -> None:
        if fault.times is None:
            return
        fault.times -= 1
        if fault.times == 0:
            # By identity: two faults that were armed alike are two faults.
            self.armed = [other for other in self.armed if other is not fault]
