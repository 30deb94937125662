"""Each fault does what it says, as often as it says, and where it says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from muster.errors import InvalidInput
from muster.simulation.releases.__main__ import main
from muster.simulation.releases.delivery import ConnectionCut
from muster.simulation.releases.faults import Faults, Kind, parse
from support.waiting import eventually

if TYPE_CHECKING:
    from conftest import Releases
    from support.releases import Request


@pytest.mark.parametrize(
    "text",
    [
        *("cut=65536*2", "cut=0", "wrong", "truncate=10@worker*1", "slow=1000", "stall*1"),
        *("status=503@/objects/", "forbidden", "secondary*3", "primary=30", "retry-after=2*1"),
        *("no-validator", "changed@worker.tar.gz*1"),
    ],
)
def test_a_fault_reads_as_it_is_written(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "explode", "cut", "cut=", "cut=-1", "cut=many", "wrong=1", "slow=0", "status=200"),
        *("status=600", "primary", "retry-after=soon", "cut=1*0", "cut=1@", "no_validator"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^fault: .* Use "):
        parse(text)


def test_a_fault_fires_as_often_as_it_was_armed_for_and_where() -> None:
    faults = Faults()
    faults.arm(parse("stall@/objects/*2"))
    faults.arm(parse("stall@/objects/*2"))

    assert not faults.take(Kind.STALL, path="/files/a")
    assert not faults.take(Kind.WRONG, path="/objects/a")
    fired = [faults.take(Kind.STALL, path="/objects/a") is not None for _ in range(5)]
    assert fired == [True, True, True, True, False]


def test_a_bad_option_ends_the_server_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--directory", "here", "--fault", "explode"]) == 2
    assert main(["--directory", "here", "--limit", "often"]) == 2

    told = capsys.readouterr().err
    assert "fault: 'explode' is not a fault. Use KIND[=VALUE][@SUBSTRING-OF-PATH][*TIMES]" in told
    assert "--limit: 'often' is not a limit. Use" in told


def test_help_lists_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    told = capsys.readouterr().out
    assert all(f"  {kind}" in told for kind in Kind)


@pytest.mark.anyio
async def test_a_cut_closes_the_connection_after_so_many_bytes(releases: Releases) -> None:
    releases.arm("cut=70000*1")

    with pytest.raises(ConnectionCut):
        await releases.get(releases.object)

    assert (releases.log[0].status, releases.log[0].sent) == (200, 70_000)
    assert (await releases.get(releases.object)).content == releases.content


@pytest.mark.anyio
async def test_a_cut_waits_for_a_body_that_is_longer(releases: Releases) -> None:
    releases.arm("cut=100*1")

    assert (await releases.get(releases.object, method="HEAD")).status_code == 200
    assert (await releases.get(releases.object, range="bytes=-100")).status_code == 206
    with pytest.raises(ConnectionCut):
        await releases.get(releases.object, range="bytes=-101")


@pytest.mark.anyio
@pytest.mark.parametrize("wanted", ["bytes=0-", "bytes=5-5"])
async def test_wrong_bytes_come_in_the_right_number(releases: Releases, wanted: str) -> None:
    right = await releases.get(releases.object, range=wanted)
    releases.arm("wrong*1")

    wrong = await releases.get(releases.object, range=wanted)

    assert dict(wrong.headers) == dict(right.headers)
    assert len(wrong.content) == len(right.content)
    assert wrong.content != right.content


@pytest.mark.anyio
async def test_a_truncated_file_looks_complete(releases: Releases) -> None:
    releases.arm("truncate=1000")

    whole = await releases.get(releases.object)
    part = await releases.get(releases.object, range="bytes=990-")

    assert (whole.status_code, whole.content) == (200, releases.content[:1000])
    assert whole.headers["content-length"] == "1000"
    assert part.headers["content-range"] == "bytes 990-999/1000"


@pytest.mark.anyio
async def test_a_slow_body_comes_whole_but_late(releases: Releases) -> None:
    releases.arm("slow=1000")
    started = time.monotonic()

    answer = await releases.get(releases.object, range="bytes=0-99")

    assert answer.content == releases.content[:100]
    assert time.monotonic() - started >= 0.1


@pytest.mark.anyio
async def test_a_stalled_body_stops_until_the_client_goes_away(releases: Releases) -> None:
    def stalled() -> Request | None:
        return next((request for request in releases.log if request.sent), None)

    releases.arm("stall")

    # When a client waits for a body that stalls
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(releases.get, releases.object)
        seen = await eventually(stalled, "some bytes are sent")
        # Then the log tells what it has so far
        assert seen
        assert (seen.status, seen.sent, seen.ended) == (200, 65_536, False)
        # And when it goes away, that it ended
        tasks.cancel_scope.cancel()
    assert (seen.sent, seen.ended) == (65_536, True)


@pytest.mark.anyio
async def test_a_status_is_answered_where_it_is_armed_for(releases: Releases) -> None:
    releases.arm("status=502@/objects/*1")

    assert (await releases.get(releases.asset)).status_code == 302
    assert (await releases.get(releases.object)).status_code == 502
    assert (await releases.get(releases.object)).status_code == 200


@pytest.mark.anyio
async def test_a_plain_403_is_a_page_without_a_word_of_limits(releases: Releases) -> None:
    releases.arm("forbidden")

    answer = await releases.get(releases.asset)

    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert "rate limit" not in answer.text
    assert not [name for name in answer.headers if "ratelimit" in name or name == "retry-after"]


@pytest.mark.anyio
async def test_a_secondary_limit_tells_no_time(releases: Releases) -> None:
    releases.arm("secondary")

    answer = await releases.get(releases.asset)

    assert answer.status_code == 403
    assert "You have exceeded a secondary rate limit" in answer.text
    assert not [name for name in answer.headers if "ratelimit" in name or name == "retry-after"]


@pytest.mark.anyio
async def test_a_primary_limit_tells_when_it_resets(releases: Releases) -> None:
    releases.arm("primary=30")

    answer = await releases.get(releases.asset)

    assert answer.status_code == 403
    assert answer.headers["x-ratelimit-remaining"] == "0"
    assert answer.headers["x-ratelimit-reset"] == "1700000031"
    assert "retry-after" not in answer.headers


@pytest.mark.anyio
async def test_retry_after_is_told(releases: Releases) -> None:
    releases.arm("retry-after=17*1")

    answer = await releases.get(releases.object)

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "17")
    assert releases.log[0].retry_after == 17
    assert releases.log[0].refused


@pytest.mark.anyio
async def test_without_validators_no_part_is_sure(releases: Releases) -> None:
    etag = (await releases.get(releases.object)).headers["etag"]
    releases.arm("no-validator")

    answer = await releases.get(releases.object, range="bytes=7-", if_range=etag)
    known = await releases.get(releases.object, if_none_match=etag)
    plain = await releases.get(releases.object, range="bytes=7-")

    assert (answer.status_code, known.status_code, plain.status_code) == (200, 200, 206)
    assert not {"etag", "last-modified"} & set(answer.headers)


@pytest.mark.anyio
async def test_a_changed_file_has_other_validators_that_stay(releases: Releases) -> None:
    before = await releases.get(releases.object)
    releases.arm("changed")

    for validator in ("etag", "last-modified"):
        changed = await releases.get(
            releases.object, range="bytes=7-", if_range=before.headers[validator]
        )
        resumed = await releases.get(
            releases.object, range="bytes=7-", if_range=changed.headers[validator]
        )
        assert changed.headers[validator] != before.headers[validator]
        assert (changed.status_code, resumed.status_code) == (200, 206)


@pytest.mark.anyio
async def test_faults_are_armed_and_disarmed_over_http(releases: Releases) -> None:
    transport = httpx.ASGITransport(releases.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://releases") as http:
        path = "/simulation/faults"

        armed = await http.post(path, json={"fault": "cut=65536*2"})
        refused = await http.post(path, json={"fault": "explode"})
        shown = await http.get(path)
        disarmed = await http.delete(path)

    assert armed.json() == shown.json() == {"faults": ["cut=65536*2"]}
    assert refused.status_code == 422
    assert "'explode' is not a fault" in refused.json()["error"]
    assert disarmed.json() == {"faults": []}
    assert releases.log == []
