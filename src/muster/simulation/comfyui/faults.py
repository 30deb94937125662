"""Faults on demand, each armed for a number of times or for good."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from muster.errors import InvalidInput


class Kind(StrEnum):
    """What can go wrong. ``FAULTS`` says what each does and what its value means."""

    RAISE = "raise"
    HANG = "hang"
    SLOW = "slow"
    DROP = "drop"
    SILENT = "silent"
    REFUSE = "refuse"
    FORGET = "forget"
    DIE = "die"


FAULTS = {
    Kind.RAISE: "raise=CLASS: a node of that class raises RuntimeError",
    Kind.HANG: "hang=CLASS: a node of that class never ends and cannot be interrupted",
    Kind.SLOW: "slow=FACTOR: each step of a prompt takes that many times longer",
    Kind.DROP: "drop=STEP: all websockets are closed at that sampling step; the run goes on",
    Kind.SILENT: "silent: a prompt sends no frames, though the websocket stays open",
    Kind.REFUSE: "refuse: a new websocket is refused",
    Kind.FORGET: "forget=STEP: at that step sockets, queue and history are gone, as by a restart",
    Kind.DIE: "die=STEP: the process kills itself at that sampling step",
}

_FORM = re.compile(r"(?P<kind>[a-z]+)(=(?P<value>[^*]+))?(\*(?P<times>[1-9][0-9]*))?")
_CLASS, _STEP = r"[A-Za-z0-9_]+", r"[1-9][0-9]*"
_VALUES = {
    Kind.RAISE: _CLASS,
    Kind.HANG: _CLASS,
    Kind.SLOW: r"[0-9]*\.?[0-9]+",
    Kind.DROP: _STEP,
    Kind.SILENT: "",
    Kind.REFUSE: "",
    Kind.FORGET: _STEP,
    Kind.DIE: _STEP,
}


@dataclass(slots=True)
class Fault:
    """An armed fault; ``times`` is how often it still fires, None for always."""

    kind: Kind
    value: str = ""
    times: int | None = None

    def __str__(self) -> str:
        value = f"={self.value}" if self.value else ""
        times = "" if self.times is None else f"*{self.times}"
        return f"{self.kind}{value}{times}"


def parse(text: str) -> Fault:
    """Read ``KIND[=VALUE][*TIMES]``, for example ``raise=KSampler*1``. Raises ``InvalidInput``."""
    match = _FORM.fullmatch(text)
    if not match or match["kind"] not in list(Kind):
        raise InvalidInput(
            "fault", "is not a fault", f"Use KIND[=VALUE][*TIMES] of {', '.join(Kind)}.", value=text
        )
    kind, value = Kind(match["kind"]), match["value"] or ""
    if not re.fullmatch(_VALUES[kind], value):
        raise InvalidInput("fault", "has a wrong value", f"Use {FAULTS[kind]}.", value=text)
    return Fault(kind, value, int(match["times"]) if match["times"] else None)


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

    def fires(self, kind: Kind, value: str = "") -> bool:
        """Whether such a fault is armed; counts it as fired."""
        for fault in self.armed:
            if fault.kind is kind and fault.value == value:
                self._count(fault)
                return True
        return False

    def slowdown(self) -> float:
        """Return by how much the next prompt is slowed down; counts the fault as fired."""
        for fault in self.armed:
            if fault.kind is Kind.SLOW:
                self._count(fault)
                return float(fault.value)
        return 1.0

    def _count(self, fault: Fault) -> None:
        if fault.times is None:
            return
        fault.times -= 1
        if fault.times == 0:
            self.armed.remove(fault)
