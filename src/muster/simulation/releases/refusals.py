"""The answers by which GitHub refuses: in its words, with its headers."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from muster.simulation.releases.faults import Kind
from muster.simulation.releases.limits import Budget
from muster.simulation.releases.options import HOURLY

if TYPE_CHECKING:
    from muster.simulation.releases.faults import Fault

KINDS = (Kind.STATUS, Kind.FORBIDDEN, Kind.SECONDARY, Kind.PRIMARY, Kind.RETRY_AFTER)

_DOCUMENTATION = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"
_FORBIDDEN = """<!DOCTYPE html>
<html>
  <head><title>Forbidden &middot; GitHub</title></head>
  <body><h1>Access to this site has been restricted.</h1></body>
</html>
"""


def by_fault(fault: Fault, client: str, now: float) -> Response:
    """Return the answer of a fault of ``KINDS``."""
    match fault.kind:
        case Kind.FORBIDDEN:
            return HTMLResponse(_FORBIDDEN, HTTPStatus.FORBIDDEN)
        case Kind.SECONDARY:
            return secondary()
        case Kind.PRIMARY:
            reset = math.ceil(now + fault.number)
            return primary(Budget(HOURLY.requests, HOURLY.requests + 1, reset), client)
        case Kind.RETRY_AFTER:
            return too_many(fault.number)
        case _:
            return PlainTextResponse(f"Simulated {fault.number}\n", fault.number)


def not_found() -> Response:
    """Return what the pages answer for what there is not."""
    return PlainTextResponse("Not Found", HTTPStatus.NOT_FOUND)


def too_many(seconds: int) -> Response:
    """Return what the pages answer to a client that asked too often."""
    return PlainTextResponse(
        "Too many requests. Please wait a while before you try again.\n",
        HTTPStatus.TOO_MANY_REQUESTS,
        headers={"Retry-After": str(seconds)},
    )


def primary(budget: Budget, client: str) -> Response:
    """Return what the API answers to a client that has used up its requests."""
    message = (
        f"API rate limit exceeded for {client}. (But here's the good news: Authenticated requests "
        "get a higher rate limit. Check out the documentation for more details.)"
    )
    return _of_api(HTTPStatus.FORBIDDEN, message, budget.headers)


def secondary() -> Response:
    """Return what the API answers to a client that asks too fast; it tells no time."""
    message = (
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    )
    return _of_api(HTTPStatus.FORBIDDEN, message)


def not_found_by_api(budget: Budget) -> Response:
    """Return what the API answers for what there is not."""
    return _of_api(HTTPStatus.NOT_FOUND, "Not Found", budget.headers)


def _of_api(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = {"message": message, "documentation_url": _DOCUMENTATION, "status": str(int(status))}
    return JSONResponse(body, status, headers)
