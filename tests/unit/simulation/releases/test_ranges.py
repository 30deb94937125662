"""Parts of files, and the validators that hold them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.simulation.releases.delivery import ConnectionCut
from support.releases import write_asset

if TYPE_CHECKING:
    from conftest import Releases

pytestmark = pytest.mark.anyio


async def test_a_whole_file_tells_its_length_and_its_validators(releases: Releases) -> None:
    answer = await releases.get(releases.object)

    assert (answer.status_code, answer.content) == (200, releases.content)
    assert answer.headers["content-length"] == str(len(releases.content))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["last-modified"].endswith("GMT")


async def test_a_head_request_gets_the_same_without_the_bytes(releases: Releases) -> None:
    whole = await releases.get(releases.object)
    head = await releases.get(releases.object, method="HEAD", range="bytes=7-")

    assert (head.status_code, head.content) == (200, b"")
    assert dict(head.headers) == dict(whole.headers)


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-", 0, None),
        ("bytes=100000-", 100_000, None),
        ("bytes=10-19", 10, 20),
        ("bytes=10-10", 10, 11),
        ("bytes=204799-999999", -1, None),
        ("bytes=-5", -5, None),
        ("bytes=-999999", 0, None),
    ],
)
async def test_a_range_gets_its_part(
    releases: Releases, wanted: str, start: int, end: int | None
) -> None:
    answer = await releases.get(releases.object, range=wanted)

    expected, size = releases.content[start:end], len(releases.content)
    first = start % size
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["content-length"] == str(len(expected))
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{size}"


@pytest.mark.parametrize("wanted", ["bytes=204800-", "bytes=999999-9999999", "bytes=-0"])
async def test_a_range_beyond_the_end_is_told_so(releases: Releases, wanted: str) -> None:
    answer = await releases.get(releases.object, range=wanted)

    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{len(releases.content)}"


@pytest.mark.parametrize("wanted", ["bytes=5-3", "bytes=-", "bytes=0-1,5-6", "lines=1-2", "x"])
async def test_a_range_that_cannot_be_served_as_one_part_gets_the_whole(
    releases: Releases, wanted: str
) -> None:
    answer = await releases.get(releases.object, range=wanted)

    assert (answer.status_code, answer.content) == (200, releases.content)


@pytest.mark.parametrize("validator", ["etag", "last-modified"])
async def test_a_part_is_sent_if_the_file_is_still_the_same(
    releases: Releases, validator: str
) -> None:
    whole = await releases.get(releases.object)

    answer = await releases.get(
        releases.object, range="bytes=7-", if_range=whole.headers[validator]
    )

    assert (answer.status_code, answer.content) == (206, releases.content[7:])


@pytest.mark.parametrize("other", ['"other"', "W/{etag}", "Mon, 01 Jan 2001 00:00:00 GMT"])
async def test_the_whole_is_sent_if_it_is_another(releases: Releases, other: str) -> None:
    whole = await releases.get(releases.object)

    answer = await releases.get(
        releases.object, range="bytes=7-", if_range=other.format(etag=whole.headers["etag"])
    )

    assert (answer.status_code, answer.content) == (200, releases.content)


async def test_another_content_has_another_etag(releases: Releases) -> None:
    before = await releases.get(releases.object)
    write_asset(releases.directory, "acme/worker", "v1.2.0", "worker.tar.gz", b"rebuilt")

    after = await releases.get(releases.object, range="bytes=3-", if_range=before.headers["etag"])

    assert (after.status_code, after.content) == (200, b"rebuilt")
    assert after.headers["etag"] != before.headers["etag"]


@pytest.mark.parametrize("known", ["{etag}", "W/{etag}", '"other", {etag}', "*"])
async def test_what_the_client_has_is_not_sent_again(releases: Releases, known: str) -> None:
    etag = (await releases.get(releases.object)).headers["etag"]

    answer = await releases.get(releases.object, if_none_match=known.format(etag=etag))

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == etag


async def test_what_the_client_has_not_is_sent(releases: Releases) -> None:
    answer = await releases.get(releases.object, if_none_match='"other"')

    assert answer.content == releases.content


async def test_an_empty_file_is_served(releases: Releases) -> None:
    write_asset(releases.directory, "acme/worker", "v1.2.0", "empty", b"")
    path = "/objects/acme/worker/v1.2.0/empty"

    whole = await releases.get(path)
    part = await releases.get(path, range="bytes=0-")

    assert (whole.status_code, whole.headers["content-length"]) == (200, "0")
    assert (part.status_code, part.headers["content-range"]) == (416, "bytes */0")


async def test_a_download_that_is_cut_can_be_resumed(releases: Releases) -> None:
    releases.arm("cut=100000*1")
    with pytest.raises(ConnectionCut):
        await releases.get(releases.object)

    rest = await releases.get(releases.object, range=f"bytes={releases.log[0].sent}-")

    assert rest.content == releases.content[100_000:]
