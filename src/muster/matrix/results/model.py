"""What is known of a run: its head, one record for each test, its measures, its end."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Literal, NotRequired, TypedDict

from pydantic import BaseModel, ConfigDict, FiniteFloat

FORMAT = 1
"""The version of run files. A reader refuses those of a later one."""

_GPUS = re.compile(r"-(\d+)gpu$")
_TIERS = {"stress": "load"}


class RunState(StrEnum):
    """How a run went. An incomplete one was killed: nobody wrote its end."""

    PASSED = "passed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    BROKEN = "broken"
    EMPTY = "empty"
    INCOMPLETE = "incomplete"


# https://docs.pytest.org/en/stable/reference/exit-codes.html
_STATES = {0: RunState.PASSED, 1: RunState.FAILED, 2: RunState.INTERRUPTED, 5: RunState.EMPTY}

Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed"]
Better = Literal["lower", "higher"]


class Judged(TypedDict):
    """How a measure is judged; see ``Measure``."""

    better: Better
    goal: NotRequired[float | None]
    control: NotRequired[float | None]


class Line(BaseModel):
    """A line of a run file."""

    model_config = ConfigDict(extra="forbid")


class Head(Line):
    """The first line: what runs, of which revision, where. ``part`` tells that tests were left out.

    The tier and the GPU count are what the session's name says.
    """

    kind: Literal["run"] = "run"
    format: int = FORMAT
    id: str
    session: str
    environment: str
    tier: str
    gpus: int | None = None
    revision: str
    dirty: bool
    part: bool
    python: str
    started: datetime


class TestLine(Line):
    """One test: the outcome of the whole and of each phase, seconds, the head of the message."""

    __test__ = False

    kind: Literal["test"] = "test"
    id: str
    outcome: Outcome
    phases: dict[str, str]
    duration_s: float
    message: str = ""
    worker: str = ""


class Measure(Line):
    """A number that a test measured. ``control`` is a like number that it is compared with.

    The control is measured in the same run, so that the ratio of both says more of the code than
    of the computer. ``goal`` is what the number must reach.
    """

    kind: Literal["measure"] = "measure"
    test: str
    name: str
    value: FiniteFloat
    unit: str
    better: Better
    goal: FiniteFloat | None = None
    control: FiniteFloat | None = None

    @property
    def ratio(self) -> float | None:
        """The value against the control's; none against a control of 0."""
        return self.value / self.control if self.control else None

    @property
    def missed(self) -> bool:
        """Tell whether the goal is not reached."""
        if self.goal is None:
            return False
        return self.value > self.goal if self.better == "lower" else self.value < self.goal


class Tail(Line):
    """The last line: how many tests had which outcome, pytest's exit code, seconds in all."""

    kind: Literal["end"] = "end"
    totals: dict[Outcome, int]
    exit_status: int
    duration_s: float


class Run(BaseModel):
    """A run as its file tells of it."""

    head: Head
    tests: list[TestLine]
    measures: list[Measure]
    tail: Tail | None

    @property
    def state(self) -> RunState:
        """How it went."""
        if self.tail is None:
            return RunState.INCOMPLETE
        return _STATES.get(self.tail.exit_status, RunState.BROKEN)


def tier_of(session: str) -> str:
    """Return the tier of a session: the first word of its name, and ``load`` for ``stress``."""
    word = session.partition("-")[0]
    return _TIERS.get(word, word)


def gpus_of(session: str) -> int | None:
    """Return the GPU count in a session's name, as in ``system-4gpu``."""
    found = _GPUS.search(session)
    return int(found[1]) if found else None
