"""Browsers sign in: a token becomes a cookie that only this server's own page can use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.server.auth import Role

if TYPE_CHECKING:
    import httpx

    from muster.server.auth import TokensFile

pytestmark = pytest.mark.anyio

OWN = {"Sec-Fetch-Site": "same-origin"}


async def sign_in(
    browser: httpx.AsyncClient, token: str, headers: dict[str, str] | None = None
) -> httpx.Response:
    return await browser.post("/v1/session", json={"token": token}, headers=headers)


async def test_a_token_becomes_a_cookie_that_scripts_cannot_read(
    anonymous: httpx.AsyncClient, tokens: dict[Role, str]
) -> None:
    answer = await sign_in(anonymous, tokens[Role.VIEW])

    assert answer.json() == {"name": "view-token", "role": "view"}
    cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert answer.headers["Cache-Control"] == "no-store"
    session = await anonymous.get("/v1/session")
    assert session.json() == {"name": "view-token", "role": "view"}


@pytest.mark.parametrize(("headers", "secure"), [({"Origin": "https://muster"}, True), ({}, False)])
async def test_the_cookie_stays_on_https_once_it_was_there(
    anonymous: httpx.AsyncClient, tokens: dict[Role, str], headers: dict[str, str], secure: bool
) -> None:
    answer = await sign_in(anonymous, tokens[Role.VIEW], headers)

    cookie = answer.headers["Set-Cookie"]
    assert ("Secure" in cookie) is secure
    assert cookie.startswith("__Host-") is secure


async def test_an_unknown_token_signs_nobody_in(anonymous: httpx.AsyncClient) -> None:
    answer = await sign_in(anonymous, "muster_wrong")

    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert "muster_wrong" not in answer.text


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"token": ""}', b'{"token": 1}', b"{"])
async def test_what_is_no_sign_in_is_refused(anonymous: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    answer = await anonymous.post("/v1/session", content=body, headers=headers)

    assert answer.status_code == 422


async def test_nobody_makes_the_server_read_much_before_signing_in(
    anonymous: httpx.AsyncClient,
) -> None:
    answer = await sign_in(anonymous, "x" * 10_000)

    assert answer.status_code == 422
    assert "too large" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers", [OWN, {"Origin": "http://muster"}], ids=["Sec-Fetch-Site", "Origin"]
)
async def test_the_own_page_acts_with_the_cookie(
    anonymous: httpx.AsyncClient, tokens: dict[Role, str], headers: dict[str, str]
) -> None:
    await sign_in(anonymous, tokens[Role.OPERATE])

    answer = await anonymous.post("/v1/queue/pause", headers=headers)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://muster"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_another_page_cannot_act_with_the_cookie(
    anonymous: httpx.AsyncClient, tokens: dict[Role, str], headers: dict[str, str]
) -> None:
    await sign_in(anonymous, tokens[Role.OPERATE])

    answer = await anonymous.post("/v1/queue/pause", headers=headers)

    assert answer.status_code == 403
    assert not (await anonymous.get("/v1/queue")).json()["paused"]


async def test_a_bearer_token_needs_no_page(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/queue/pause")).status_code == 200


async def test_a_cookie_has_its_tokens_role_and_no_more(
    anonymous: httpx.AsyncClient, tokens: dict[Role, str]
) -> None:
    await sign_in(anonymous, tokens[Role.VIEW])

    assert (await anonymous.post("/v1/queue/pause", headers=OWN)).status_code == 403


async def test_a_removed_token_ends_the_session(
    anonymous: httpx.AsyncClient, tokens: dict[Role, str], tokens_file: TokensFile
) -> None:
    await sign_in(anonymous, tokens[Role.VIEW])

    tokens_file.remove("view-token")

    assert (await anonymous.get("/v1/session")).status_code == 401


async def test_signing_out_takes_the_cookie_away(
    anonymous: httpx.AsyncClient, tokens: dict[Role, str]
) -> None:
    await sign_in(anonymous, tokens[Role.VIEW])

    answer = await anonymous.delete("/v1/session", headers=OWN)

    assert answer.status_code == 204
    assert not anonymous.cookies
    assert (await anonymous.get("/v1/session")).status_code == 401


async def test_a_wrong_bearer_is_not_excused_by_a_cookie(
    anonymous: httpx.AsyncClient, tokens: dict[Role, str]
) -> None:
    await sign_in(anonymous, tokens[Role.OPERATE])

    answer = await anonymous.get("/v1/queue", headers={"Authorization": "Bearer wrong"})

    assert answer.status_code == 401
