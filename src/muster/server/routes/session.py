"""Signing in with a browser: a token becomes a cookie, which scripts cannot read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from muster.server.auth import Role
from muster.server.guard import (
    COOKIE,
    SECURE_COOKIE,
    bearer,
    find_token,
    guarded,
    open_to_all,
)
from muster.server.problems import NotAuthenticated, documented

MAX_AGE_S = 30 * 24 * 3600

opening = APIRouter(prefix="/v1/session", tags=["session"], route_class=open_to_all())
viewing = APIRouter(
    prefix="/v1/session",
    tags=["session"],
    route_class=guarded(Role.VIEW),
    dependencies=[Security(bearer)],
)


class SignIn(BaseModel):
    """What a browser signs in with."""

    model_config = ConfigDict(extra="forbid")

    token: SecretStr = Field(min_length=1, max_length=256)


class Session(BaseModel):
    """Who is signed in: the token's name, and what it may do."""

    name: str
    role: Role


@opening.post("", responses=documented())
async def sign_in(
    request: Request, response: Response, given: Annotated[SignIn, Body()]
) -> Session:
    """Sign in: the answer sets a cookie that stands for the token."""
    token = given.token.get_secret_value().strip()
    entry = find_token(request, token)
    if entry is None:
        raise NotAuthenticated("The token is not known here. Ask the server's operator for one.")
    secure = _by_https(request)
    response.set_cookie(
        SECURE_COOKIE if secure else COOKIE,
        token,
        max_age=MAX_AGE_S,
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    response.headers["Cache-Control"] = "no-store"
    return Session(name=entry.name, role=entry.role)


@viewing.get("", responses=documented())
async def session(request: Request, response: Response) -> Session:
    """Tell who is signed in."""
    response.headers["Cache-Control"] = "no-store"
    entry = request.scope["token"]
    return Session(name=entry.name, role=entry.role)


@viewing.delete("", status_code=204, responses=documented())
async def sign_out(response: Response) -> None:
    """Sign out: the cookie is removed."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    response.delete_cookie(SECURE_COOKIE, secure=True, httponly=True, samesite="strict")


def _by_https(request: Request) -> bool:
    """Tell whether the page came by https; behind a proxy, the browser's Origin knows."""
    origin = request.headers.get("Origin", "")
    return request.url.scheme == "https" or origin.startswith("https://")
