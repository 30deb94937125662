"""A client that asks too often is refused, and told when to come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.errors import InvalidInput
from muster.simulation.releases.limits import SlidingWindow
from muster.simulation.releases.options import Rate, parse_rate

if TYPE_CHECKING:
    from conftest import Releases


@pytest.mark.parametrize(
    ("text", "rate"), [("6/10", Rate(6, 10)), ("1/0.5", Rate(1, 0.5)), ("60/3600", Rate(60, 3600))]
)
def test_a_limit_reads_as_it_is_written(text: str, rate: Rate) -> None:
    assert parse_rate("--limit", text) == rate


@pytest.mark.parametrize("text", ["", "6", "6/", "0/10", "6/0", "6/-1", "a/b"])
def test_a_limit_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"^--limit: .* is not a limit\. Use "):
        parse_rate("--limit", text)


def test_the_wait_is_that_of_the_oldest_request_in_the_window() -> None:
    times = iter([100.0, 104.5, 105.0, 109.9, 110.0, 110.1])
    window = SlidingWindow(Rate(2, 10), lambda: next(times))

    told = [window.take("me") for _ in range(6)]

    assert told == [None, None, 5, 1, None, 5]


@pytest.mark.anyio
async def test_beyond_the_limit_it_is_429_until_the_told_time(releases: Releases) -> None:
    # Given a client that used up its requests
    for _ in range(3):
        assert (await releases.get(releases.asset)).status_code == 302
        releases.clock.time += 1

    # When it asks on, it is refused each time, and that lengthens nothing
    refused = await releases.get(releases.asset)
    releases.clock.time += 3
    again = await releases.get("/files/nothing")

    # Then it is told the rest of the window
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert (again.status_code, again.headers["retry-after"]) == (429, "4")
    releases.clock.time += 4
    assert (await releases.get(releases.asset)).status_code == 302


@pytest.mark.anyio
async def test_each_client_has_its_own_limit(releases: Releases) -> None:
    for _ in range(4):
        last = await releases.get(releases.asset, client="10.0.0.1")
    other = await releases.get(releases.asset, client="10.0.0.2")

    assert (last.status_code, other.status_code) == (429, 302)


@pytest.mark.anyio
async def test_objects_and_control_do_not_count(releases: Releases) -> None:
    for path in (releases.object, "/simulation/log", "/simulation/faults") * 2:
        assert (await releases.get(path)).status_code == 200

    assert (await releases.get(releases.asset)).status_code == 302


@pytest.mark.anyio
async def test_the_api_has_a_limit_of_its_own_and_tells_the_reset(releases: Releases) -> None:
    path = "/repos/acme/worker/releases/latest"
    answers = [await releases.get(path) for _ in range(3)]
    refused = answers[-1]

    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert "API rate limit exceeded for 10.0.0.1" in refused.json()["message"]
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert "retry-after" not in refused.headers
    reset = int(refused.headers["x-ratelimit-reset"])
    assert reset == 1_700_003_601

    releases.clock.time = reset
    assert (await releases.get(path)).status_code == 200
    assert (await releases.get(releases.asset)).status_code == 302


@pytest.mark.anyio
async def test_who_is_limited_meets_no_fault(releases: Releases) -> None:
    for _ in range(3):
        await releases.get(releases.asset)
    releases.arm("status=503*1")

    assert (await releases.get(releases.asset)).status_code == 429
    assert (await releases.get(releases.asset, client="10.0.0.2")).status_code == 503
