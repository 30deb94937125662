"""A server in this process, on the tier's Redis, spoken to without a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from muster.server.app import create_app
from muster.server.auth import Role, TokensFile, new_token
from muster.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from fastapi import FastAPI


@pytest.fixture
def tokens_file(tmp_path: Path) -> TokensFile:
    return TokensFile(tmp_path / "tokens.toml")


@pytest.fixture
def tokens(tokens_file: TokensFile) -> dict[Role, str]:
    """One token of each role."""
    made = {}
    for role in Role:
        made[role], entry = new_token(f"{role}-token", role)
        tokens_file.add(entry)
    return made


@pytest.fixture
def settings(
    redis_url: str, queue_name: str, tokens: dict[Role, str], tokens_file: TokensFile
) -> ServerSettings:
    return ServerSettings.load(
        redis_url=redis_url,
        queue=queue_name,
        tokens_file=tokens_file.path,
        body_bytes=64 * 1024,
        payload_bytes=4 * 1024,
    )


@pytest.fixture
async def app(settings: ServerSettings) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://muster") as client:
        yield client


@pytest.fixture
async def http(app: FastAPI, tokens: dict[Role, str]) -> AsyncIterator[httpx.AsyncClient]:
    """An operator's client."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://muster",
        headers={"Authorization": f"Bearer {tokens[Role.OPERATE]}"},
    ) as client:
        yield client
