"""Requests and answers: limits, refusals, failures that pass, and where redirects may lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from muster.downloads.errors import DownloadFailed
from muster.downloads.fetching import Fetcher
from muster.downloads.http import Refused, TryLater

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Clock, Web
    from muster.downloads.http import Http

pytestmark = pytest.mark.anyio

URL = "https://github.com/acme/muster/releases/download/v1/w.pyz"
AWAY = "https://objects.example/1?signature=hush"
GOOD = httpx.Response(200, text="good")
RESET = str(1_700_000_000 + 1800)
SECONDARY = '{"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}'


def to(url: str, status: int = 302) -> httpx.Response:
    return httpx.Response(status, headers={"Location": url})


def limit(status: int, body: str = "", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, text=body)


@pytest.mark.failure(4)
@pytest.mark.parametrize(
    ("answer", "least", "most"),
    [
        (limit(429, retry_after="7"), 7, 8),
        (limit(403, retry_after="7"), 7, 8),
        (limit(503, retry_after="7"), 7, 8),
        (limit(429, retry_after="Tue, 14 Nov 2023 22:14:20 GMT"), 60, 61),
        (limit(403, x_ratelimit_remaining="0", x_ratelimit_reset=RESET), 1800, 1801),
        (limit(429, x_ratelimit_remaining="0", x_ratelimit_reset=RESET), 1800, 1801),
        (limit(429, retry_after="7", x_ratelimit_remaining="0", x_ratelimit_reset=RESET), 7, 8),
        (limit(403, x_ratelimit_remaining="0"), 60, 66),
        (limit(403, SECONDARY), 60, 66),
        (limit(429), 60, 66),
        (limit(429, retry_after="soon"), 60, 66),
        (limit(429, retry_after="0"), 0.5, 1),
        (limit(500), 0.5, 1),
        (limit(502, "<html>"), 0.5, 1),
        (limit(503), 0.5, 1),
        (limit(504), 0.5, 1),
        (limit(408), 0.5, 1),
        (httpx.ConnectError("refused"), 0.5, 1),
        (httpx.ReadTimeout(""), 0.5, 1),
        (httpx.RemoteProtocolError("cut"), 0.5, 1),
    ],
    ids=str,
)
async def test_it_is_asked_again_but_not_sooner_than_told(
    answer: httpx.Response | Exception,
    least: float,
    most: float,
    make_http: Callable[..., Http],
    web: Web,
) -> None:
    web.serve(URL, answer, GOOD)

    assert (await Fetcher(make_http(), patience_s=3600).text(URL)).text == "good"

    first, second = web.asked
    assert least <= second.at - first.at <= most


@pytest.mark.failure(4)
@pytest.mark.parametrize(
    "answer",
    [
        limit(403),
        limit(403, '{"message": "Resource not accessible by integration"}'),
        limit(403, x_ratelimit_remaining="59", x_ratelimit_reset=RESET),
        limit(401),
        limit(404),
        limit(410),
        limit(400),
        limit(501),
        httpx.Response(302),
        httpx.Response(304),
        httpx.Response(416),
    ],
    ids=str,
)
async def test_a_refusal_is_told_at_once(
    answer: httpx.Response, fetcher: Fetcher, web: Web
) -> None:
    web.serve(URL, answer)

    told = rf"^{URL}: https://github\.com answers {answer.status_code} .*\. Check .*\.$"
    with pytest.raises(Refused, match=told):
        await fetcher.text(URL)

    assert len(web.asked) == 1


async def test_a_refusal_whose_reason_cannot_be_read_is_one(fetcher: Fetcher, web: Web) -> None:
    headers = {"Content-Encoding": "gzip"}
    web.serve(URL, httpx.Response(403, headers=headers, stream=web.body(b"not gzip")))

    with pytest.raises(Refused, match="answers 403"):
        await fetcher.text(URL)


@pytest.mark.failure(4)
@pytest.mark.parametrize(
    ("answer", "least"), [(limit(429), [60, 120, 240]), (limit(503), [0.5, 1, 2])], ids=str
)
async def test_silent_answers_are_waited_for_longer_each_time(
    answer: httpx.Response, least: list[float], fetcher: Fetcher, web: Web, clock: Clock
) -> None:
    web.serve(URL, answer, answer, answer, GOOD)

    await fetcher.text(URL)

    assert all(low <= slept <= 2 * low for low, slept in zip(least, clock.slept, strict=True))


@pytest.mark.parametrize(
    "answer",
    [
        limit(429, retry_after="0"),
        limit(403, x_ratelimit_remaining="0", x_ratelimit_reset="1"),
        limit(503, retry_after="Mon, 13 Nov 2023 00:00:00 GMT"),
    ],
    ids=str,
)
async def test_who_is_told_to_wait_for_nothing_waits_longer_each_time_all_the_same(
    answer: httpx.Response, fetcher: Fetcher, web: Web, clock: Clock
) -> None:
    web.serve(URL, *[answer] * 5, GOOD)

    await fetcher.text(URL)

    assert all(n / 2 <= slept <= n for n, slept in zip([1, 2, 4, 8, 16], clock.slept, strict=True))


@pytest.mark.failure(4)
async def test_all_on_a_machine_leave_a_host_alone_that_asked_for_it(
    make_http: Callable[..., Http], web: Web, clock: Clock
) -> None:
    one, other = (Fetcher(make_http(), patience_s=patience) for patience in (1, 900))
    web.serve(URL, limit(429, retry_after="60"), GOOD)
    with pytest.raises(TryLater):
        await one.text(URL)
    clock.now += 20

    with pytest.raises(TryLater, match=r"github\.com asked for quiet, and asks for 40 s of quiet"):
        await one.text(URL)
    assert len(web.asked) == 1
    assert (await other.text(URL)).text == "good"

    assert 60 <= web.asked[1].at - web.asked[0].at <= 61


async def test_who_waits_makes_no_other_wait_longer(
    make_http: Callable[..., Http], web: Web, clock: Clock, tmp_path: Path
) -> None:
    hasty = Fetcher(make_http(), patience_s=1)
    web.serve(URL, limit(429, retry_after="60"), GOOD)
    clock.tick = 0.001
    with pytest.raises(TryLater):
        await hasty.text(URL)
    (note,) = (tmp_path / "pauses").iterdir()
    noted = note.read_bytes()

    for _ in range(20):
        with pytest.raises(TryLater):
            await hasty.text(URL)

    assert note.read_bytes() == noted
    clock.now += 60
    assert (await hasty.text(URL)).text == "good"


async def test_a_limit_of_one_host_leaves_others_free(fetcher: Fetcher, web: Web) -> None:
    web.serve(AWAY, limit(429, retry_after="60"), GOOD)
    web.serve(URL, GOOD)
    with pytest.raises(TryLater):
        await Fetcher(fetcher._http, patience_s=1).text(AWAY)

    await fetcher.text(URL)

    assert web.asked[0].at == web.asked[1].at


async def test_when_patience_is_over_the_error_says_so(fetcher: Fetcher, web: Web) -> None:
    web.serve(URL, limit(503), last_for_ever=True)

    over = rf"^{URL}: .* answers 503 .*\. Asked again until DOWNLOAD_PATIENCE_S was over\.$"
    with pytest.raises(TryLater, match=over):
        await fetcher.text(URL)

    assert 900 - 60 <= web.asked[-1].at - web.asked[0].at <= 900


async def test_a_wait_that_patience_does_not_cover_is_not_begun(
    fetcher: Fetcher, web: Web, clock: Clock
) -> None:
    web.serve(URL, limit(429, retry_after="901"))

    with pytest.raises(TryLater, match="asks for 901 s of quiet"):
        await fetcher.text(URL)

    assert clock.slept == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_to_hosts_that_are_allowed(
    status: int, fetcher: Fetcher, web: Web
) -> None:
    web.serve(URL, to("/other?x=%2F", status))
    web.serve("https://github.com/other?x=%2F", to(AWAY, status))
    web.serve(AWAY, GOOD)

    assert (await fetcher.text(URL)).text == "good"


async def test_redirects_are_followed_five_times(fetcher: Fetcher, web: Web) -> None:
    for n in range(5):
        web.serve(f"https://github.com/{n}", to(f"/{n + 1}"), last_for_ever=True)
    web.serve("https://github.com/5", GOOD, to("/6"))

    assert (await fetcher.text("https://github.com/0")).text == "good"
    with pytest.raises(Refused, match=r"it redirects more than 5 times\. Check the URL\."):
        await fetcher.text("https://github.com/0")


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example/?signature=hush",
        "http://github.com/",
        "//github.com:8443/",
        "https://u:hush@objects.example/",
        "https://github.com@evil.example/",
        "file:///etc/passwd",
        "http://[",
    ],
)
async def test_redirects_elsewhere_are_not_followed(
    location: str, fetcher: Fetcher, web: Web
) -> None:
    web.serve(URL, to(location))

    with pytest.raises(Refused, match="it may not be fetched") as refused:
        await fetcher.text(URL)

    assert "hush" not in str(refused.value)
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    "answer", [limit(404), limit(403), limit(429, retry_after="901"), httpx.ConnectError("away")]
)
async def test_no_message_shows_a_query(
    answer: httpx.Response | Exception, make_http: Callable[..., Http], web: Web
) -> None:
    web.serve(AWAY, answer, last_for_ever=True)

    with pytest.raises(DownloadFailed, match=r"^https://objects\.example/1: ") as failed:
        await Fetcher(make_http(), patience_s=1).text(AWAY)

    assert "hush" not in str(failed.value)
    assert failed.value.url == "https://objects.example/1"


async def test_bytes_are_asked_for_as_they_are_stored(fetcher: Fetcher, web: Web) -> None:
    web.serve(URL, GOOD)

    await fetcher.text(URL)

    assert web.asked[0].headers["accept-encoding"] == "identity"
    assert web.asked[0].headers["user-agent"].startswith("muster/")
