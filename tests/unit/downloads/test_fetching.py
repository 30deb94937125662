"""Files that are fetched: verified, and given up when nothing comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from muster.downloads import fetching
from muster.downloads.content import Content
from muster.downloads.errors import ContentMismatch
from muster.downloads.fetching import (
    PROGRESS_BYTES,
    Fetcher,
    open_fetcher,
)
from muster.downloads.http import Refused, TryLater

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Clock, Progress, Web
    from muster.downloads.partial import Partial
    from muster.downloads.settings import DownloadSettings

    ContentOf = Callable[[bytes], Content]

pytestmark = pytest.mark.anyio

URL = "https://github.com/w.pyz"
SIGNED = f"{URL}?signature=hush"
FILE = bytes(range(256)) * 12
BIG = FILE * (3 * PROGRESS_BYTES // len(FILE) + 1)


async def test_a_file_is_fetched_and_told_of(
    fetcher: Fetcher, part: Partial, web: Web, progress: Progress, content_of: ContentOf
) -> None:
    body = web.body(FILE[:100], FILE[100:])
    web.serve(URL, httpx.Response(200, headers={"Content-Length": "3072"}, stream=body))

    await fetcher.file(URL, part, Content(content_of(FILE).sha256), progress)

    assert part.file.read_bytes() == FILE
    assert progress.told == [(100, 3072), (3072, 3072)]
    assert "range" not in web.asked[0].headers


async def test_of_a_file_whose_size_nobody_knows_only_what_is_there_is_told(
    fetcher: Fetcher, part: Partial, web: Web, progress: Progress, content_of: ContentOf
) -> None:
    web.serve(URL, httpx.Response(200, stream=web.body(FILE)))

    await fetcher.file(URL, part, Content(content_of(FILE).sha256), progress)

    assert progress.told == [(3072, None)]


async def test_an_empty_file_is_a_file(
    fetcher: Fetcher, part: Partial, web: Web, progress: Progress, content_of: ContentOf
) -> None:
    web.serve(URL, httpx.Response(200, content=b""))

    await fetcher.file(URL, part, content_of(b""), progress)

    assert part.file.read_bytes() == b""


async def test_wrong_bytes_are_fetched_again_once(
    fetcher: Fetcher, part: Partial, web: Web, progress: Progress, content_of: ContentOf
) -> None:
    web.serve(URL, httpx.Response(200, content=b"x" * 3072), web.file(FILE, '"1"'))

    await fetcher.file(URL, part, content_of(FILE), progress)

    assert part.file.read_bytes() == FILE
    assert "range" not in web.asked[1].headers


@pytest.mark.failure(4)
async def test_bytes_that_are_wrong_twice_are_refused_with_what_was_expected_and_found(
    fetcher: Fetcher, part: Partial, web: Web, progress: Progress, content_of: ContentOf
) -> None:
    wrong = httpx.Response(200, headers={"ETag": '"1"'}, content=b"x" * 3072)
    web.serve(SIGNED, wrong, wrong)

    with pytest.raises(ContentMismatch) as refused:
        await fetcher.file(SIGNED, part, content_of(FILE), progress)

    expected, found = content_of(FILE).sha256, content_of(b"x" * 3072).sha256
    assert str(refused.value) == (
        f"{URL} is refused: its SHA-256 should be {expected}, but is {found}."
    )
    assert (part.size, part.file.read_bytes(), part.validator) == (0, b"", "")


@pytest.mark.parametrize("size", [3071, 3073, 0])
async def test_a_wrong_size_is_refused(
    size: int,
    fetcher: Fetcher,
    part: Partial,
    web: Web,
    progress: Progress,
    content_of: ContentOf,
) -> None:
    wrong = httpx.Response(200, content=(FILE + b"x")[:size])
    web.serve(URL, wrong, wrong)

    with pytest.raises(ContentMismatch, match=f"size should be 3072 bytes, but is {size} bytes"):
        await fetcher.file(URL, part, content_of(FILE), progress)

    assert part.file.read_bytes() == b""


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "3072000"}])
async def test_what_is_larger_than_it_should_be_is_not_fetched_to_its_end(
    headers: dict[str, str],
    fetcher: Fetcher,
    part: Partial,
    web: Web,
    progress: Progress,
    content_of: ContentOf,
) -> None:
    bodies = [web.body(*[FILE] * 1000) for _ in range(2)]
    web.serve(URL, *(httpx.Response(200, headers=headers, stream=body) for body in bodies))

    with pytest.raises(ContentMismatch, match="size should be 3072 bytes"):
        await fetcher.file(URL, part, content_of(FILE), progress)

    assert [body.sent for body in bodies] == [2 * 3072, 2 * 3072]


async def test_what_is_sent_encoded_is_refused(
    fetcher: Fetcher, part: Partial, web: Web, progress: Progress, content_of: ContentOf
) -> None:
    headers = {"Content-Encoding": "gzip"}
    web.serve(URL, httpx.Response(200, headers=headers, stream=web.body(FILE)))

    with pytest.raises(Refused, match="it is sent encoded although that was not asked for"):
        await fetcher.file(URL, part, content_of(FILE), progress)

    assert part.size == 0


async def test_a_connection_that_brought_much_is_taken_up_at_once(
    fetcher: Fetcher,
    part: Partial,
    web: Web,
    progress: Progress,
    content_of: ContentOf,
    clock: Clock,
) -> None:
    whole = web.file(BIG, '"1"')

    def much(request: httpx.Request) -> httpx.Response:
        answer = whole(request)
        cut = web.body(answer.content[:PROGRESS_BYTES], httpx.ReadError("cut"))
        return httpx.Response(answer.status_code, headers=answer.headers, stream=cut)

    web.serve(URL, much, much, much, whole)

    await Fetcher(fetcher._http, patience_s=0.001).file(URL, part, content_of(BIG), progress)

    assert part.file.read_bytes() == BIG
    assert clock.slept == []
    starts = [asked.headers.get("range") for asked in web.asked]
    assert starts == [None, *(f"bytes={n * PROGRESS_BYTES}-" for n in (1, 2, 3))]


async def test_a_connection_that_brought_little_is_a_failure(
    fetcher: Fetcher,
    part: Partial,
    web: Web,
    progress: Progress,
    content_of: ContentOf,
    clock: Clock,
) -> None:
    web.serve(URL, web.cut(BIG[: PROGRESS_BYTES - 1], ETag='"1"'), web.file(BIG, '"1"'))

    await fetcher.file(URL, part, content_of(BIG), progress)

    assert len(clock.slept) == 1


async def test_patience_begins_anew_when_something_arrived(
    fetcher: Fetcher, part: Partial, web: Web, progress: Progress, content_of: ContentOf
) -> None:
    away = [httpx.Response(429, headers={"Retry-After": "500"})]
    web.serve(URL, *away, web.cut(BIG[:PROGRESS_BYTES], ETag='"1"'), *away, web.file(BIG, '"1"'))

    await fetcher.file(URL, part, content_of(BIG), progress)

    assert part.file.read_bytes() == BIG


async def test_a_trickle_is_given_up(
    fetcher: Fetcher, part: Partial, web: Web, progress: Progress, content_of: ContentOf
) -> None:
    slow = web.body(*[b"x", 0.9 * fetching.SLOW_S] * 3)
    whole = web.file(FILE, '"1"')
    web.serve(URL, httpx.Response(200, headers={"ETag": '"0"'}, stream=slow), whole)

    await fetcher.file(URL, part, content_of(FILE), progress)

    assert slow.sent == 3
    assert part.file.read_bytes() == FILE


async def test_the_error_of_a_trickle_says_so(
    fetcher: Fetcher, part: Partial, web: Web, progress: Progress, content_of: ContentOf
) -> None:
    body = web.body(b"x", 31.0, b"x")
    web.serve(SIGNED, httpx.Response(200, stream=body))

    slow = rf"^{URL}: it brings less than 16384 bytes in 30 s\. Asked again until"
    with pytest.raises(TryLater, match=slow):
        await Fetcher(fetcher._http, patience_s=0.001).file(
            SIGNED, part, content_of(FILE), progress
        )


async def test_slow_is_not_a_trickle(
    fetcher: Fetcher, part: Partial, web: Web, progress: Progress, content_of: ContentOf
) -> None:
    pieces = [FILE * 6, 29.0] * 20
    web.serve(URL, httpx.Response(200, stream=web.body(*pieces)))

    await fetcher.file(URL, part, content_of(FILE * 120), progress)


def test_what_a_file_is_checked_for() -> None:
    Content("d").check("f", size=1, sha256="d")
    Content("d", 1).check("f", size=1, sha256="d")

    with pytest.raises(ContentMismatch, match="size should be 2 bytes, but is 1 bytes"):
        Content("d", 2).check("f", size=1, sha256="d")
    with pytest.raises(ContentMismatch, match="SHA-256 should be d, but is e"):
        Content("d", 1).check("f", size=1, sha256="e")


async def test_settings_say_where_fetchers_go_and_what_they_remember(
    load: Callable[..., DownloadSettings], web: Web, tmp_path: Path
) -> None:
    settings = load(MUSTER_STORE_DIR=str(tmp_path), RELEASE_TOKEN="hush", DOWNLOAD_PATIENCE_S="1")
    web.serve(URL, httpx.Response(429, headers={"Retry-After": "60"}))

    async with open_fetcher(settings) as opened:
        with pytest.raises(TryLater):
            await opened.text(URL)
        with pytest.raises(Refused, match="not among the hosts that are allowed"):
            await opened.text("https://objects.example/")
    async with open_fetcher(settings) as opened:
        with pytest.raises(TryLater, match="asked for quiet"):
            await opened.text(URL)

    assert [asked.headers["authorization"] for asked in web.asked] == ["Bearer hush"]
    assert list((tmp_path / "pauses").iterdir())
