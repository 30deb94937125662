"""The page's files: compressed, unchanged ones not sent again, nothing else let in."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from muster.server.routes.page import read_web_files

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from fastapi import FastAPI

pytestmark = pytest.mark.anyio

SCRIPT = "export const answer = 42;\n" * 50


@pytest.fixture(autouse=True)
def _files(app: FastAPI, tmp_path: Path) -> None:
    web = tmp_path / "web"
    (web / "js").mkdir(parents=True)
    (web / "index.html").write_text("<!doctype html>")
    (web / "js" / "main.js").write_text(SCRIPT)
    app.state.web_files = read_web_files(web)


async def test_the_page_needs_no_token_and_trusts_only_its_own_files(
    anonymous: httpx.AsyncClient,
) -> None:
    answer = await anonymous.get("/")

    assert answer.status_code == 200
    assert answer.text == "<!doctype html>"
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_files_are_compressed_for_those_that_can_read_it(
    anonymous: httpx.AsyncClient,
) -> None:
    packed = await anonymous.get("/web/js/main.js", headers={"Accept-Encoding": "gzip"})
    plain = await anonymous.get("/web/js/main.js", headers={"Accept-Encoding": "identity"})

    assert packed.text == plain.text == SCRIPT
    assert int(packed.headers["Content-Length"]) == len(gzip.compress(SCRIPT.encode(), mtime=0))
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert packed.headers["Vary"] == "Accept-Encoding"


async def test_an_unchanged_file_is_not_sent_again(anonymous: httpx.AsyncClient) -> None:
    etag = (await anonymous.get("/web/js/main.js")).headers["ETag"]

    answer = await anonymous.get("/web/js/main.js", headers={"If-None-Match": f"W/{etag}"})

    assert answer.status_code == 304
    assert not answer.content


@pytest.mark.parametrize("path", ["/web/none.js", "/web/../tokens.toml", "/web/%2e%2e/tokens.toml"])
async def test_there_is_nothing_but_these_files(anonymous: httpx.AsyncClient, path: str) -> None:
    assert (await anonymous.get(path)).status_code == 404
