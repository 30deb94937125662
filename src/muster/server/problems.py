"""Every error leaves as problem details (RFC 9457), without secrets and without internals."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError
from starlette.exceptions import HTTPException

from muster.client.problem import MEDIA_TYPE, FieldProblem, Problem, field_problems
from muster.errors import (
    Busy,
    Conflict,
    InvalidInput,
    MusterError,
    NotFound,
    ProtocolMismatch,
    RedisUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

NAMES = "urn:muster:problem:"
SAID = 3
RETRY_AFTER_S = 1

log = structlog.get_logger()


class NotAuthenticated(MusterError):
    """A token is needed: `Authorization: Bearer TOKEN`."""


class NotAllowed(MusterError):
    """The token's role does not allow this."""


class TokensUnreadable(MusterError):
    """The server cannot read its tokens, so it lets nobody in. Its log says why."""


KINDS: dict[type[Exception], tuple[int, str, str]] = {
    InvalidInput: (422, "invalid-input", "The request is not valid"),
    NotAuthenticated: (401, "not-authenticated", "A valid token is needed"),
    NotAllowed: (403, "not-allowed", "The token's role does not allow this"),
    NotFound: (404, "not-found", "There is nothing of that name"),
    Conflict: (409, "conflict", "The present state does not allow this"),
    Busy: (429, "busy", "No more is taken for now"),
    TokensUnreadable: (503, "tokens-unreadable", "The server cannot check tokens at the moment"),
    RedisUnavailable: (503, "redis-unavailable", "Redis cannot be used at the moment"),
    ProtocolMismatch: (503, "protocol-mismatch", "Server and queue are of different versions"),
}


def add_handlers(app: FastAPI) -> None:
    """Have the app answer every error as a problem."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for redis_away in (RedisConnectionError, RedisTimeoutError, ReadOnlyError):
        app.add_exception_handler(redis_away, _redis_away)
    for kind in KINDS:
        app.add_exception_handler(kind, _muster)
    app.add_exception_handler(Exception, _unexpected)


async def _muster(request: Request, error: Exception) -> Response:
    kind = next(kind for kind in type(error).__mro__ if kind in KINDS)
    status, name, title = KINDS[kind]
    errors = [FieldProblem.of(error)] if isinstance(error, InvalidInput) else []
    headers = {}
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="muster"'
    if isinstance(error, Busy):
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
        log.warning("request_failed", path=request.url.path, error=str(error))
    return _response(
        Problem(type=NAMES + name, title=title, status=status, detail=str(error), errors=errors),
        headers,
    )


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  (narrows for the type checker)
    errors = field_problems(error.errors(), prefixes=frozenset({"body", "query", "path"}))
    status, name, title = KINDS[InvalidInput]
    detail = " ".join(str(field) for field in errors[:SAID])
    if len(errors) > SAID:
        detail += f" And {len(errors) - SAID} more."
    return _response(
        Problem(type=NAMES + name, title=title, status=status, detail=detail, errors=errors)
    )


async def _http(request: Request, error: Exception) -> Response:
    """Answer what the router itself refuses: no such path, or not with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101  (narrows for the type checker)
    title = HTTPStatus(error.status_code).phrase
    detail = f"{request.method} {request.url.path}: {title}. See /docs for what there is."
    return _response(
        Problem(type="about:blank", title=title, status=error.status_code, detail=detail),
        error.headers,
    )


async def _redis_away(request: Request, error: Exception) -> Response:
    log.warning("redis_away", path=request.url.path, error=type(error).__name__)
    return await _muster(request, RedisUnavailable("Redis does not answer. Try again soon."))


async def _unexpected(_: Request, error: Exception) -> Response:
    """Say nothing of what went wrong: the server's log has it, and the caller may be anyone."""
    log.error("unexpected_error", error=type(error).__name__)
    return _response(
        Problem(
            type=NAMES + "unexpected",
            title="The server failed",
            status=500,
            detail="The server failed in a way that it does not know. Its log says more.",
        )
    )


def _response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        problem.model_dump_json(exclude_defaults=True),
        problem.status,
        dict(headers or {}),
        MEDIA_TYPE,
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's ``responses`` for those errors of a route, and for those that all have."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({401, 403, 422, 503, *statuses})
    }
