"""Small texts, asked for anew only when they changed, and where a URL leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from muster.downloads.errors import DownloadFailed
from muster.downloads.fetching import TEXT_BYTES, Text
from muster.downloads.http import Refused

if TYPE_CHECKING:
    from conftest import Web
    from muster.downloads.fetching import Fetcher

pytestmark = pytest.mark.anyio

URL = "https://github.com/w.pyz"
SIGNED = f"{URL}?signature=hush"


async def test_a_text_is_asked_for_anew_only_if_it_changed(fetcher: Fetcher, web: Web) -> None:
    url = f"{URL}.sha256"
    first = httpx.Response(200, headers={"ETag": 'W/"1"'}, text="one")
    second = httpx.Response(200, headers={"ETag": '"2"'}, text="two")
    web.serve(url, first, httpx.Response(304), second, httpx.Response(200, text="three"))

    one = await fetcher.text(url)
    assert one == Text("one", 'W/"1"')
    assert await fetcher.text(url, one) is one
    two = await fetcher.text(url, one)
    assert two == Text("two", '"2"')
    assert await fetcher.text(url, Text("old", "")) == Text("three", "")

    sent = [asked.headers.get("if-none-match") for asked in web.asked]
    assert sent == [None, 'W/"1"', 'W/"1"', None]


async def test_a_text_that_broke_off_is_read_from_its_beginning(fetcher: Fetcher, web: Web) -> None:
    web.serve(URL, web.cut(b"half"), httpx.Response(200, text="whole"))

    assert (await fetcher.text(URL)).text == "whole"


async def test_a_text_has_a_largest_size(fetcher: Fetcher, web: Web) -> None:
    endless = web.body(*[b"x" * 1024] * 1000)
    web.serve(URL, httpx.Response(200, content=b"x" * TEXT_BYTES))
    web.serve(SIGNED, httpx.Response(200, stream=endless))

    assert len((await fetcher.text(URL)).text) == TEXT_BYTES
    with pytest.raises(Refused, match=rf"^{URL}: it is larger than 65536 bytes"):
        await fetcher.text(SIGNED)

    assert endless.sent == TEXT_BYTES + 1024


@pytest.mark.parametrize("location", ["/v1/w.pyz", "https://github.com/v1/w.pyz"])
async def test_where_a_url_leads_is_told_and_not_followed(
    location: str, fetcher: Fetcher, web: Web
) -> None:
    web.serve(URL, httpx.Response(503), httpx.Response(302, headers={"Location": location}))

    assert await fetcher.redirect(URL) == "https://github.com/v1/w.pyz"


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200),
        httpx.Response(404),
    ],
)
async def test_a_url_that_leads_nowhere_is_told_at_once(
    answer: httpx.Response, fetcher: Fetcher, web: Web
) -> None:
    web.serve(URL, answer)

    with pytest.raises(DownloadFailed, match=rf"^{URL}: (it should redirect|https:)"):
        await fetcher.redirect(URL)
