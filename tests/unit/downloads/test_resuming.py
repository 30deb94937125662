"""Downloads that go on where they broke off, and those that must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from muster.downloads.http import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Clock, Progress, Web
    from muster.downloads.content import Content
    from muster.downloads.fetching import Fetcher
    from muster.downloads.partial import Partial

    ContentOf = Callable[[bytes], Content]

pytestmark = pytest.mark.anyio

URL = "https://github.com/w.pyz"
FILE = bytes(range(256)) * 12
DATED = "Tue, 14 Nov 2023 22:13:20 GMT"


class Download:
    """The download of ``FILE``."""

    def __init__(self, fetcher: Fetcher, part: Partial, content: Content, told: Progress) -> None:
        self.fetcher = fetcher
        self.part = part
        self.content = content
        self.told = told

    async def finish(self) -> None:
        await self.fetcher.file(URL, self.part, self.content, self.told)
        assert self.part.file.read_bytes() == FILE

    async def has(self, data: bytes, validator: str) -> None:
        """Let that have arrived before."""
        self.part.restart(validator)
        await self.part.append(data)
        await self.part.flush()


@pytest.fixture
def download(
    fetcher: Fetcher, part: Partial, progress: Progress, content_of: ContentOf
) -> Download:
    return Download(fetcher, part, content_of(FILE), progress)


def wanted(web: Web) -> list[tuple[str | None, str | None]]:
    """Return the Range and If-Range of each request."""
    return [(ask.headers.get("range"), ask.headers.get("if-range")) for ask in web.asked]


@pytest.mark.parametrize("cut", [1, 1000, 3071])
async def test_only_what_is_missing_is_asked_for(cut: int, download: Download, web: Web) -> None:
    web.serve(URL, web.cut(FILE[:cut], ETag='"1"'), web.file(FILE, '"1"'))

    await download.finish()

    assert wanted(web) == [(None, None), (f"bytes={cut}-", '"1"')]
    assert download.told.told == [(cut, 3072), (3072, 3072)]


async def test_it_goes_on_through_any_number_of_breaks(download: Download, web: Web) -> None:
    def some(request: httpx.Request) -> httpx.Response:
        answer = whole(request)
        cut = web.body(answer.content[:300], httpx.ReadError("cut"))
        return httpx.Response(answer.status_code, headers=answer.headers, stream=cut)

    whole = web.file(FILE, '"1"')
    web.serve(URL, *[some] * 5, whole)

    await download.finish()

    assert [span for span, _ in wanted(web)[1:]] == [f"bytes={300 * n}-" for n in range(1, 6)]


async def test_a_download_of_an_earlier_process_is_gone_on_with(
    download: Download, web: Web
) -> None:
    await download.has(FILE[:2000], '"1"')
    web.serve(URL, web.file(FILE, '"1"'))

    await download.finish()

    assert wanted(web) == [("bytes=2000-", '"1"')]


async def test_the_range_is_asked_for_behind_redirects_too(download: Download, web: Web) -> None:
    await download.has(FILE[:2000], '"1"')
    away = "https://objects.example/1"
    web.serve(URL, httpx.Response(302, headers={"Location": away}))
    web.serve(away, web.file(FILE, '"1"'))

    await download.finish()

    assert wanted(web)[1] == ("bytes=2000-", '"1"')


@pytest.mark.parametrize(
    ("headers", "if_range"),
    [
        ({"ETag": '"1"', "Last-Modified": DATED}, '"1"'),
        ({"Last-Modified": DATED}, DATED),
        ({"ETag": 'W/"1"', "Last-Modified": DATED}, DATED),
    ],
)
async def test_a_version_is_known_by_its_strong_etag_or_its_date(
    headers: dict[str, str], if_range: str, download: Download, web: Web
) -> None:
    web.serve(URL, web.cut(FILE[:7], **headers), web.file(FILE, if_range))

    await download.finish()

    assert wanted(web)[1] == ("bytes=7-", if_range)


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"1"'}])
async def test_without_a_validator_it_starts_anew(
    headers: dict[str, str], download: Download, web: Web
) -> None:
    web.serve(URL, web.cut(FILE[:7], **headers), web.file(FILE, '"1"'))

    await download.finish()

    assert wanted(web)[1] == (None, None)


async def test_another_version_is_fetched_from_its_beginning(download: Download, web: Web) -> None:
    await download.has(b"old" * 300, '"old"')
    web.serve(URL, web.cut(FILE[:7], ETag='"new"'), web.file(FILE, '"new"'))

    await download.finish()

    assert wanted(web) == [("bytes=900-", '"old"'), ("bytes=7-", '"new"')]
    assert [done for done, _ in download.told.told] == [7, 3072]


@pytest.mark.parametrize(
    "said",
    [
        "bytes 0-3071/3072",
        "bytes 999-3071/3072",
        "bytes */3072",
        "items 1000-3071/3072",
        "",
        "bytes",
    ],
)
async def test_another_part_than_was_asked_for_is_not_taken(
    said: str, download: Download, web: Web, clock: Clock
) -> None:
    await download.has(FILE[:1000], '"1"')
    other = httpx.Response(206, headers={"Content-Range": said}, content=FILE[1000:])
    web.serve(URL, other, web.file(FILE, '"1"'))

    await download.finish()

    assert wanted(web)[1] == (None, None)
    assert len(clock.slept) == 1


async def test_a_part_of_unknown_whole_is_taken(download: Download, web: Web) -> None:
    await download.has(FILE[:1000], '"1"')
    span = {"Content-Range": "bytes 1000-3071/*"}
    web.serve(URL, httpx.Response(206, headers=span, content=FILE[1000:]))

    await download.finish()

    assert download.told.told == [(3072, 3072)]


async def test_a_part_of_another_file_is_found_out(download: Download, web: Web) -> None:
    # The server does not honour If-Range.
    await download.has(b"x" * 1000, '"1"')
    span = {"Content-Range": "bytes 1000-3071/3072"}
    rest = httpx.Response(206, headers=span, content=FILE[1000:])
    web.serve(URL, rest, web.file(FILE, '"2"'))

    await download.finish()

    assert wanted(web)[1] == (None, None)


async def test_all_was_there_already(download: Download, web: Web) -> None:
    await download.has(FILE, '"1"')
    web.serve(URL, web.file(FILE, '"1"'))

    await download.finish()

    assert wanted(web) == [("bytes=3072-", '"1"')]
    assert download.told.told == []


@pytest.mark.parametrize("said", ["bytes */3072", "bytes */*", ""])
async def test_what_goes_beyond_the_file_is_of_another(
    said: str, download: Download, web: Web
) -> None:
    await download.has(FILE + b"x", '"1"')
    beyond = httpx.Response(416, headers={"Content-Range": said})
    web.serve(URL, beyond, web.file(FILE, '"1"'))

    await download.finish()

    assert wanted(web) == [("bytes=3073-", '"1"'), (None, None)]


async def test_who_answers_416_to_everything_is_not_asked_for_ever(
    download: Download, web: Web
) -> None:
    await download.has(FILE[:7], '"1"')
    web.serve(URL, httpx.Response(416), httpx.Response(416))

    with pytest.raises(Refused, match="answers 416"):
        await download.finish()


async def test_a_failure_keeps_what_arrived(download: Download, web: Web) -> None:
    web.serve(URL, web.cut(FILE[:1000], ETag='"1"'), httpx.Response(404))
    with pytest.raises(Refused, match="answers 404"):
        await download.finish()
    assert download.part.size == 1000

    web.serve(URL, web.file(FILE, '"1"'))
    await download.finish()

    assert wanted(web)[2] == ("bytes=1000-", '"1"')
