"""The log tells every request but those of control, in order, and what was really sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Releases

pytestmark = pytest.mark.anyio


async def test_requests_are_told_in_order_with_their_answers(releases: Releases) -> None:
    await releases.get(releases.asset, user_agent="muster/1")
    releases.clock.time += 1
    await releases.get(releases.object, range="bytes=5-", if_range='"other"', if_none_match='"o"')
    await releases.get(releases.object, client="10.0.0.2", range="bytes=5-8")
    await releases.get(releases.object, method="HEAD")
    await releases.get("/nowhere")

    told = (await releases.get("/simulation/log")).json()

    assert [request["number"] for request in told] == [1, 2, 3, 4, 5]
    assert [request["status"] for request in told] == [302, 200, 206, 200, 404]
    assert [request["sent"] for request in told[:4]] == [0, len(releases.content), 4, 0]
    assert [request["time"] - told[0]["time"] for request in told] == [0, 1, 1, 1, 1]
    assert [request["client"] for request in told[1:3]] == ["10.0.0.1", "10.0.0.2"]
    assert (told[0]["user_agent"], told[0]["range"]) == ("muster/1", None)
    assert (told[1]["range"], told[1]["if_range"]) == ("bytes=5-", '"other"')
    assert told[1]["if_none_match"] == '"o"'
    assert (told[3]["method"], told[3]["path"]) == ("HEAD", releases.object)
    assert all(request["ended"] for request in told)


async def test_a_request_that_was_refused_is_told_with_its_wait(releases: Releases) -> None:
    for _ in range(4):
        await releases.get(releases.asset)

    assert [request.status for request in releases.log] == [302, 302, 302, 429]
    assert [request.retry_after for request in releases.log] == [None, None, None, 10]
    assert [request.refused for request in releases.log] == [False, False, False, True]


async def test_of_a_credential_only_its_presence_is_told(
    releases: Releases, tmp_path: Path
) -> None:
    await releases.get(releases.asset, authorization="Bearer very-secret")
    await releases.get(releases.asset)

    told = await releases.get("/simulation/log")

    assert [request["authorization"] for request in told.json()] == [True, False]
    assert "very-secret" not in told.text + (tmp_path / "log").read_text()


async def test_it_can_be_cleared_and_its_numbers_go_on(releases: Releases) -> None:
    await releases.get("/files/one")
    cleared = await releases.get("/simulation/log", method="DELETE")
    await releases.get("/files/two")

    assert cleared.json() == []
    assert [(request.number, request.path) for request in releases.log] == [(2, "/files/two")]


async def test_each_request_that_is_over_is_a_line_of_the_file(
    releases: Releases, tmp_path: Path
) -> None:
    await releases.get(releases.object, range="bytes=5-8")
    await releases.get("/files/nothing")

    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines == (await releases.get("/simulation/log")).json()
