"""Addresses lead where GitHub's lead."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from support.releases import write_asset, write_file

if TYPE_CHECKING:
    from conftest import Releases

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_latest_release_redirects_to_its_page(releases: Releases, method: str) -> None:
    answer = await releases.get("/acme/worker/releases/latest", method=method)
    page = await releases.get(answer.headers["location"])

    assert answer.status_code == 302
    assert answer.headers["location"] == "http://releases/acme/worker/releases/tag/v1.2.0"
    assert page.status_code == 200


async def test_an_asset_of_the_latest_release_takes_three_answers(releases: Releases) -> None:
    first = await releases.get("/acme/worker/releases/latest/download/worker.tar.gz")
    second = await releases.get(first.headers["location"])
    third = await releases.get(second.headers["location"])

    assert (first.status_code, second.status_code, third.status_code) == (302, 302, 200)
    assert first.headers["location"] == f"http://releases{releases.asset}"
    assert second.headers["location"].startswith(f"http://objects.test{releases.object}?signature=")
    assert third.content == releases.content


async def test_the_address_of_the_bytes_is_another_one_each_time(releases: Releases) -> None:
    places = {(await releases.get(releases.asset)).headers["location"] for _ in range(2)}

    assert len(places) == 2


async def test_what_is_published_later_is_served_and_is_the_latest(releases: Releases) -> None:
    write_asset(releases.directory, "acme/worker", "nightly/2", "worker.tar.gz", b"newer")

    first = await releases.get("/acme/worker/releases/latest/download/worker.tar.gz")
    second = await releases.get(first.headers["location"])

    assert "/releases/download/nightly/2/worker.tar.gz" in first.headers["location"]
    assert (await releases.get(second.headers["location"])).content == b"newer"


async def test_a_tag_with_signs_of_its_own_is_found(releases: Releases) -> None:
    write_asset(releases.directory, "acme/worker", "v2 #1+é%20", "a.zip", b"odd", latest=False)

    answer = await releases.get("/acme/worker/releases/download/v2%20%231+%C3%A9%2520/a.zip")

    assert (await releases.get(answer.headers["location"])).content == b"odd"


async def test_files_are_served_without_a_redirect(releases: Releases) -> None:
    write_file(releases.directory / "files/models/sd.safetensors", b"weights")

    answer = await releases.get("/files/models/sd.safetensors")

    assert (answer.status_code, answer.content) == (200, b"weights")


@pytest.mark.parametrize(
    "path",
    [
        "/acme/other/releases/latest",
        "/acme/other/releases/latest/download/worker.tar.gz",
        "/acme/worker/releases/tag/v9",
        "/acme/worker/releases/download/v9/worker.tar.gz",
        "/acme/worker/releases/download/v1.2.0/other.tar.gz",
        "/objects/acme/worker/v1.2.0/other.tar.gz",
        "/files/nothing",
        "/files/..%2Facme/worker/latest/..%2Flatest%00",
        "/files/..%2F..%2Flog",
        f"/files/{'long' * 100}",
        "/nowhere",
    ],
)
async def test_what_there_is_not_is_not_found(releases: Releases, path: str) -> None:
    assert (await releases.get(path)).status_code == 404


async def test_the_api_describes_the_latest_release(releases: Releases) -> None:
    answer = await releases.get("/repos/acme/worker/releases/latest")

    asset = answer.json()["assets"][0]
    assert answer.json()["tag_name"] == "v1.2.0"
    assert asset["browser_download_url"] == f"http://releases{releases.asset}"
    assert asset["size"] == len(releases.content)
    assert asset["digest"] == f"sha256:{hashlib.sha256(releases.content).hexdigest()}"
    assert answer.headers["x-ratelimit-remaining"] == "1"


async def test_the_api_tells_what_there_is_not_in_json(releases: Releases) -> None:
    answer = await releases.get("/repos/acme/other/releases/latest")

    assert (answer.status_code, answer.json()["message"]) == (404, "Not Found")
