"""What stands before every route of the API: first who calls, then what is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog
from fastapi import Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic_core import from_json

from muster.errors import InvalidInput
from muster.server.problems import NotAllowed, NotAuthenticated, TokensUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Response

    from muster.server.auth import Role, TokenEntry, TokensFile

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="A token made by `muster token add`. Roles: view, submit, operate; each may do "
    "what those before it may.",
)
"""Tells OpenAPI how to authenticate. The guard does the work, before a body is read."""

COOKIE = "muster_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
SAFE = frozenset({"GET", "HEAD"})
SMALL_BYTES = 4096

log = structlog.get_logger()


def guarded(role: Role) -> type[APIRoute]:
    """Return a class of routes that are open to tokens of that role.

    FastAPI reads and parses a body before it runs dependencies; nobody without a token may make
    the server do that. So this is a class of routes, and not a dependency.
    """

    class Guarded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def guard(request: Request) -> Response:
                caller = authenticate(request)
                if not caller.role.includes(role):
                    raise NotAllowed(
                        f"Token {caller.name!r} has the role {caller.role}; this needs {role}."
                    )
                if self.body_field is not None:
                    limit = request.app.state.settings.body_bytes
                    request = await _with_body(request, limit)
                return await handle(request)

            return guard

    return Guarded


def open_to_all() -> type[APIRoute]:
    """Return a class of routes that need no token; bodies are small JSON documents."""

    class Open(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def read(request: Request) -> Response:
                return await handle(await _with_body(request, SMALL_BYTES))

            return read

    return Open


def authenticate(request: Request) -> TokenEntry:
    """Return whose token a request shows: as a bearer, or in the cookie of a browser.

    Raises ``NotAuthenticated``, or ``NotAllowed`` for what another site's page has a browser do.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        token = request.cookies.get(SECURE_COOKIE) or request.cookies.get(COOKIE, "")
        if token and request.method not in SAFE and not _from_own_page(request):
            raise NotAllowed(
                "A browser's session is good for this server's own page only. "
                "Programs send `Authorization: Bearer TOKEN`."
            )
    elif scheme.lower() != "bearer":
        token = ""
    if not token:
        raise NotAuthenticated
    caller = find_token(request, token.strip())
    if caller is None:
        raise NotAuthenticated("The token is not known here. Ask the server's operator for one.")
    request.scope["caller"] = caller.name
    request.scope["token"] = caller
    return caller


def find_token(request: Request, token: str) -> TokenEntry | None:
    """Return the token's entry, or none. Raises ``TokensUnreadable``."""
    tokens: TokensFile = request.app.state.tokens
    try:
        return tokens.find(token)
    except InvalidInput as error:
        log.error("tokens_file_unusable", error=str(error))  # noqa: TRY400  (no fault of ours)
        raise TokensUnreadable from None


def _from_own_page(request: Request) -> bool:
    """Tell whether a browser sends this for a page of this very server.

    A cookie goes along whoever's page it is; scripts can set neither of these headers.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(request.headers.get("Origin", ""))
    return bool(origin.netloc) and origin.netloc == request.headers.get("Host")


class _ReadRequest(Request):
    """A request whose body was read and parsed already."""

    def __init__(self, request: Request, content: bytes, value: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._content = content
        self._value = value

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        return self._value


async def _with_body(request: Request, limit: int) -> _ReadRequest:
    """Read a JSON body, no further than it may go. Raises ``InvalidInput``."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise InvalidInput(
            "Content-Type",
            "is not application/json",
            "Send JSON with the header Content-Type: application/json (`curl --json` does).",
            value=request.headers.get("Content-Type", ""),
        )
    content = await _read(request, limit)
    try:
        value = from_json(content, allow_inf_nan=False)
        json.dumps(value, allow_nan=False)  # a number beyond a double's range has become infinite
    except ValueError as error:
        raise InvalidInput("body", f"is not JSON: {error}", "Send a JSON document.") from None
    return _ReadRequest(request, content, value)


async def _read(request: Request, limit: int) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise InvalidInput(
                "body",
                f"is too large: more than {limit} bytes",
                "Submit fewer jobs at a time; put large inputs in object storage and submit their "
                "URLs.",
            )
    return bytes(content)
