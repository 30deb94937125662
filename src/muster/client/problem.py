"""Problem details (RFC 9457): how every error travels between server and client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from muster.errors import InvalidInput, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """What is wrong with one value of a request, and what to do."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(description="Path of the value, such as requirements.vram_mib.")
    value: str | None = Field(default=None, description="The value, shortened.")
    problem: str
    remedy: str

    def __str__(self) -> str:
        """Say it in one line."""
        shown = "" if self.value is None else f"{self.value} "
        return f"{self.field}: {shown}{self.problem}. {self.remedy}"

    @classmethod
    def of(cls, error: InvalidInput) -> FieldProblem:
        """Take over what an ``InvalidInput`` says."""
        return cls(
            field=error.field,
            value=error.shown,
            problem=error.problem,
            remedy=error.remedy,
        )


class Problem(BaseModel):
    """The body of every answer that is an error."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="Which kind of problem: a name that programs can test.")
    title: str = Field(description="The kind of problem, in words.")
    status: int = Field(description="The HTTP status, again.")
    detail: str = Field(description="What went wrong this time, and what to do.")
    errors: list[FieldProblem] = Field(default_factory=list, description="One per bad value.")


def field_problems(
    errors: Sequence[Mapping[str, Any]], *, prefixes: frozenset[str] = frozenset()
) -> list[FieldProblem]:
    """Put what pydantic found into words. A path's first part is left out if it is a prefix."""
    return [_field_problem(error, prefixes) for error in errors]


def _field_problem(error: Mapping[str, Any], prefixes: frozenset[str]) -> FieldProblem:
    place = error["loc"]
    if len(place) > 1 and place[0] in prefixes:
        place = place[1:]
    value: str | None = shorten(error["input"])
    message: str = error["msg"]
    problem, remedy = "is refused", f"{message}."
    if error["type"] == "missing":
        value, problem, remedy = None, "is missing", "Add it."
    elif error["type"] == "extra_forbidden":
        problem, remedy = "is not a known field", "Remove it, or correct its name."
    elif " should " in message:
        remedy = f"It should {message.split(' should ', 1)[1]}."
    return FieldProblem(field=_path(place), value=value, problem=problem, remedy=remedy)


def _path(place: Sequence[str | int]) -> str:
    """Write ``("jobs", 3, "priority")`` as ``jobs[3].priority``."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return path.removeprefix(".") or "body"
