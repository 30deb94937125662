"""What a viewer asks to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from muster.errors import InvalidInput
from muster.fleet.model import MachineState
from muster.server.monitor.selection import Query

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum

SIZES = (20, 50, 100)
MACHINES_AT_MOST = 100
LONGEST = 256
LONGEST_LIST = 8192


@dataclass(frozen=True, slots=True)
class View:
    """One page of the machines that a query finds, or some machines, or one, or one job."""

    query: Query = field(default_factory=Query)
    page: int = 1
    size: int = SIZES[0]
    machines: tuple[str, ...] = ()
    machine: str = ""
    job: str = ""

    @property
    def named(self) -> tuple[str, ...]:
        """The machines that are asked for by name; none for a page or a job."""
        return (self.machine,) if self.machine else self.machines

    @property
    def paged(self) -> bool:
        """Whether it is a page of what a query finds."""
        return not (self.machines or self.machine or self.job)

    def describe(self) -> dict[str, Any]:
        """Return the view as viewers are told it."""
        if self.job:
            return {"job": self.job}
        if self.machine:
            return {"machine": self.machine}
        if self.machines:
            return {"machines": list(self.machines)}
        query = self.query
        return {
            "q": query.q,
            "state": list(query.states),
            "sort": query.sort,
            "page": self.page,
            "size": self.size,
        }


def parse(params: Mapping[str, str]) -> View:
    """Return the view that a URL's query asks for. Raises ``InvalidInput``."""
    named = [name for name in ("machines", "machine", "job") if params.get(name)]
    if len(named) > 1:
        raise InvalidInput(
            named[1], f"cannot be together with {named[0]}", "Ask for one of them in one stream."
        )
    if named:
        return _named(named[0], params[named[0]])
    return View(
        query=parse_query(params, MachineState),
        page=_number(params, "page", 1, "Use a number from 1."),
        size=_size(params),
    )


def parse_query(params: Mapping[str, str], states: type[StrEnum]) -> Query:
    """Return what is looked for, among things of those states. Raises ``InvalidInput``."""
    return Query(_text(params, "q"), _states(params, states), params.get("sort") or "id")


def _named(kind: str, value: str) -> View:
    limit = LONGEST_LIST if kind == "machines" else LONGEST
    if len(value) > limit:
        raise InvalidInput(kind, f"is longer than {limit} characters", "Ask for fewer.")
    if kind == "machine":
        return View(machine=value)
    if kind == "job":
        return View(job=value)
    machines = tuple(dict.fromkeys(name for name in value.split(",") if name))
    if not 1 <= len(machines) <= MACHINES_AT_MOST:
        raise InvalidInput(
            "machines",
            f"names {len(machines)} machines",
            f"Name 1 to {MACHINES_AT_MOST}, with commas between.",
        )
    return View(machines=machines)


def _text(params: Mapping[str, str], name: str) -> str:
    text = params.get(name, "").strip()
    if len(text) > LONGEST:
        raise InvalidInput(name, f"is longer than {LONGEST} characters", "Look for less.")
    return text


def _states(params: Mapping[str, str], known: type[StrEnum]) -> tuple[str, ...]:
    states = tuple(sorted({state for state in params.get("state", "").split(",") if state}))
    for state in states:
        if state not in set(known):
            raise InvalidInput("state", "is not known", f"Use {', '.join(known)}.", value=state)
    return states


def _size(params: Mapping[str, str]) -> int:
    size = _number(params, "size", SIZES[0], "Use 20, 50 or 100.")
    if size not in SIZES:
        raise InvalidInput("size", "is no page's size", "Use 20, 50 or 100.", value=size)
    return size


def _number(params: Mapping[str, str], name: str, default: int, remedy: str) -> int:
    text = params.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 6 and int(text) > 0):
        raise InvalidInput(name, "is not a number that can be used", remedy, value=text)
    return int(text)
