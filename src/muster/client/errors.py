"""What the client raises: the server's problems, in the server's words, as Muster errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from muster.client.problem import FieldProblem, Problem
from muster.errors import Busy, Conflict, InvalidInput, MusterError, NotFound

if TYPE_CHECKING:
    import httpx

RETRY_AFTER_S = 1.0


class Refused(MusterError):
    """The server refuses the token, or the token's role does not allow this."""


class ServerUnavailable(MusterError):
    """The server cannot be reached, or cannot work at the moment.

    ``reached`` is false when it is sure that the server saw nothing of the request.
    """

    def __init__(
        self,
        message: str | None = None,
        *,
        reached: bool = True,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reached = reached
        self.retry_after = retry_after


class ServerFailed(MusterError):
    """The server gave an answer that makes no sense."""


class Rejected(InvalidInput):
    """The server refuses values of the request; ``errors`` has one entry for each."""

    def __init__(self, detail: str, errors: list[FieldProblem]) -> None:
        first = errors[0] if errors else FieldProblem(field="request", problem=detail, remedy="")
        super().__init__(first.field, first.problem, first.remedy)
        self.args = (detail,)
        self.errors = errors


class WaitTimeout(MusterError):
    """The job is not over yet."""


def error_of(response: httpx.Response) -> MusterError:
    """Return the error that a response stands for."""
    status = response.status_code
    problem = _problem(response)
    said = problem.detail if problem else f"{response.url.host} answered {status}."
    if status == 429:
        return Busy(said, retry_after=_retry_after(response) or RETRY_AFTER_S)
    if status in {502, 503, 504}:
        return ServerUnavailable(said, retry_after=_retry_after(response))
    if problem is None:
        return ServerFailed(f"{said} That is not an answer of Muster. Check MUSTER_URL.")
    if status == 422:
        return Rejected(said, problem.errors)
    return _PLAIN.get(status, ServerFailed)(said)


def _problem(response: httpx.Response) -> Problem | None:
    """Return None for an answer that is not Muster's: from a proxy in between, or elsewhere."""
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None


_PLAIN: dict[int, type[MusterError]] = {
    401: Refused,
    403: Refused,
    404: NotFound,
    409: Conflict,
}
