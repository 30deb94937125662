"""What is written about one failure: the front matter of its ``record.md``, checked strictly."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

Tier = Literal["unit", "integration", "browser", "system", "load"]
TIERS: tuple[Tier, ...] = ("unit", "integration", "browser", "system", "load")
State = Literal["active", "uncovered", "deprecated"]
Kind = Literal[
    "immediate",
    "underlying",
    "configuration",
    "environment",
    "architecture",
    "platform",
    "code",
    "scale",
]
TEST_ID = r"tests/[\w/]+/\w+\.py(::\w+)+"

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


def _with_zone(when: dt.date) -> dt.date:
    if isinstance(when, dt.datetime) and when.tzinfo is None:
        raise ValueError(
            "a time needs its zone: write 2025-07-16T09:30:00Z, or the day alone, 2025-07-16"
        )
    return when


def _test_id(name: str) -> str:
    if not re.fullmatch(TEST_ID, name):
        raise ValueError(
            "this is no test: write tests/TIER/…/test_x.py::test_y, without parameters in brackets"
        )
    return name


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"this is no regular expression ({error}): correct it") from None
    return pattern


When = Annotated[dt.date | dt.datetime, AfterValidator(_with_zone)]
TestId = Annotated[str, AfterValidator(_test_id)]
Regex = Annotated[Text, AfterValidator(_regex)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Cause(_Part):
    """One root cause. ``no_fault`` says why it cannot be put back, where that is so."""

    name: Slug
    kind: Kind
    text: Text
    no_fault: Text | None = None


class Test(_Part):
    """A test that would catch the failure; ``plan`` is the name that the test plan gives it."""

    __test__ = False  # not one of pytest's

    tier: Tier
    id: TestId
    plan: Text | None = None

    @model_validator(mode="after")
    def _lies_in_its_tier(self) -> Self:
        if not self.id.startswith(f"tests/{self.tier}/"):
            raise ValueError(f"{self.id} does not lie in tests/{self.tier}: correct `tier` or `id`")
        return self


class Measure(_Part):
    """Something done so that it does not happen again, and ``where`` it is to be seen."""

    text: Text
    state: Literal["implemented", "planned"]
    where: Text | None = None

    @model_validator(mode="after")
    def _can_be_seen(self) -> Self:
        if self.state == "implemented" and self.where is None:
            raise ValueError(
                "an implemented measure needs `where`: "
                "give a path, path::symbol, a test, or nox -s NAME"
            )
        return self


class Fault(_Part):
    """A patch beside the record that puts one cause back into our code.

    At each of its ``tiers`` the record's tests are run with it, or only those of ``tests``; a test
    that fails with a message in which ``signature`` is found has caught it. All of ``tests`` must.
    """

    file: Annotated[str, StringConstraints(pattern=r"^[\w.-]+\.patch$")]
    cause: Slug
    text: Text
    tiers: Annotated[list[Tier], Field(min_length=1)]
    signature: Regex
    tests: list[TestId] = []


class Record(_Part):
    """A failure: what happened, why, and what would catch it now."""

    id: Annotated[int, Field(ge=1, le=9999)]
    title: Text
    date: When | Literal["unknown"]
    environment: Text
    impact: Text
    symptoms: Annotated[list[Text], Field(min_length=1)]
    state: State = "active"
    reason: Text | None = None
    owner: Text | None = None
    since: dt.date | None = None
    causes: Annotated[list[Cause], Field(alias="cause", min_length=1)]
    tests: Annotated[list[Test], Field(alias="test")] = []
    measures: Annotated[list[Measure], Field(alias="measure")] = []
    faults: Annotated[list[Fault], Field(alias="fault")] = []

    @model_validator(mode="after")
    def _state_is_explained(self) -> Self:
        needed = {
            "active": (),
            "uncovered": ("reason", "owner", "since"),
            "deprecated": ("reason", "since"),
        }[self.state]
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"state {self.state!r} also needs {', '.join(missing)}: add them")
        if self.state == "active" and not self.tests:
            raise ValueError(
                "an active record needs a [[test]]: add one, or set state to 'uncovered'"
            )
        return self

    @model_validator(mode="after")
    def _names_are_its_own(self) -> Self:
        _unique("cause name", [cause.name for cause in self.causes])
        _unique("test", [test.id for test in self.tests])
        _unique("fault file", [fault.file for fault in self.faults])
        return self

    @model_validator(mode="after")
    def _faults_fit(self) -> Self:
        causes = {cause.name for cause in self.causes}
        tests = {test.id: test.tier for test in self.tests}
        for fault in self.faults:
            if fault.cause not in causes:
                raise ValueError(
                    f"{fault.file} puts back {fault.cause!r}, which is no cause of this record: "
                    f"use one of {', '.join(sorted(causes))}"
                )
            for tier in fault.tiers:
                if tier not in tests.values():
                    raise ValueError(
                        f"{fault.file} is to be caught at tier {tier!r}, "
                        "where this record has no [[test]]: add one, or drop the tier"
                    )
            for test in fault.tests:
                if tests.get(test) not in fault.tiers:
                    raise ValueError(
                        f"{fault.file} is to be caught by {test}, which is no [[test]] of this "
                        "record at the fault's tiers: add it there"
                    )
        return self

    def at(self, tier: Tier) -> list[Test]:
        """Return the record's tests at a tier."""
        return [test for test in self.tests if test.tier == tier]


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is there twice: keep one")
