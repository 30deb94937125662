"""The simulated release server answers as GitHub's documentation says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from muster.simulation.releases.app import create_app
from muster.simulation.releases.faults import parse
from muster.simulation.releases.options import Options, Rate
from support.recorded import differences, recorded
from support.releases import write_asset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio
REAL = recorded("github", "2022-11-28")
LATEST = "/repos/acme/worker/releases/latest"
ASSET = "/acme/worker/releases/download/v1/worker.pyz"


@pytest.fixture
async def github(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that lets it ask once an hour."""
    write_asset(tmp_path / "served", "acme/worker", "v1", "worker.pyz", b"code")
    options = Options(
        tmp_path / "served",
        objects_host="objects.test",
        limit=Rate(1, 3600),
        api_limit=Rate(1, 3600),
        log_file=tmp_path / "log",
    )
    transport = httpx.ASGITransport(create_app(options))
    async with httpx.AsyncClient(transport=transport, base_url="http://releases") as client:
        yield client


async def test_the_latest_release_has_the_documented_fields(github: httpx.AsyncClient) -> None:
    release = (await github.get(LATEST)).json()

    shape = f"GET {LATEST.replace('acme/worker', 'OWNER/REPO')} 200"
    assert differences(release, REAL["answers"][shape]) == []
    assert differences(release["assets"][0], REAL["answers"][f"{shape} asset"]) == []


async def test_the_used_up_api_tells_when_to_come_back(github: httpx.AsyncClient) -> None:
    await github.get(LATEST)

    refused = await github.get(LATEST)

    assert refused.status_code in REAL["statuses"]["primary"]
    assert refused.headers.keys() >= set(REAL["headers"]["primary"])
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert differences(refused.json(), REAL["answers"]["rate limit"]) == []


async def test_a_secondary_limit_may_tell_no_time(tmp_path: Path) -> None:
    app = create_app(Options(tmp_path))
    app.state.faults.arm(parse("secondary"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://releases") as client:
        refused = await client.get(LATEST)

    assert refused.status_code in REAL["statuses"]["secondary"]
    assert differences(refused.json(), REAL["answers"]["rate limit"]) == []


async def test_an_asset_redirects_and_its_pages_tell_how_long_to_wait(
    github: httpx.AsyncClient,
) -> None:
    led = await github.get(ASSET)
    refused = await github.get(ASSET)

    assert led.status_code in REAL["statuses"]["asset"]
    assert refused.status_code in REAL["statuses"]["too many"]
    assert refused.headers.keys() >= set(REAL["headers"]["too many"])
