from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from muster.fleet import nameplate
from muster.server.app import create_app
from muster.server.auth import Role
from muster.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from muster.server.auth import TokensFile
    from support.redis import OwnRedis


@pytest.mark.anyio
async def test_the_server_says_what_its_redis_says_at_once(
    own_redis: Callable[..., OwnRedis], tokens: dict[Role, str], tokens_file: TokensFile
) -> None:
    url = own_redis(appendonly=False).url
    app = create_app(ServerSettings.load(redis_url=url, tokens_file=tokens_file.path))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://muster",
            headers={"Authorization": f"Bearer {tokens[Role.VIEW]}"},
        ) as http,
    ):
        before = await http.get("/v1/nameplate")
        await nameplate.write(app.state.redis, "staging")
        after = await http.get("/v1/nameplate")

    assert before.status_code == 404
    assert "has no nameplate" in before.json()["detail"]
    assert after.json()["environment"] == "staging"
