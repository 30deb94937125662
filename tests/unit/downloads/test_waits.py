"""Laws of waiting: never earlier than asked, never longer than planned, and never in step."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from httpx import Headers
from hypothesis import assume, example, given
from hypothesis import strategies as st

from muster.downloads.waits import Schedule, is_limit, is_passing, told_wait

NOW = 1_700_000_000
SECONDS = st.integers(0, 10**7)
MOMENTS = st.integers(0, 4_000_000_000)
JITTER = st.floats(0, 1)
FAILURES = st.integers(0, 5000)
LIMITED = st.sampled_from([403, 429])


def http_date(epoch: float) -> str:
    return format_datetime(datetime.fromtimestamp(epoch, UTC), usegmt=True)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Schedules whose first waits are not above their most."""
    first, limited = draw(st.floats(0.001, 1e3)), draw(st.floats(0.001, 1e3))
    return Schedule(
        first, first * draw(st.floats(1, 1e3)), limited, limited * draw(st.floats(1, 1e3))
    )


@given(schedules(), FAILURES, JITTER)
@example(Schedule(), 0, 0.0)
@example(Schedule(), 5000, 1.0)
def test_own_waits_are_between_half_of_the_planned_and_all_of_it(
    schedule: Schedule, failures: int, jitter: float
) -> None:
    planned = schedule.after(failures, 1.0)

    wait = schedule.after(failures, jitter)

    assert planned / 2 <= wait <= planned <= schedule.most_s
    assert wait >= schedule.first_s / 2


@given(schedules(), FAILURES, JITTER)
@example(Schedule(), 0, 0.0)
def test_waits_after_a_silent_limit_are_never_less_than_planned(
    schedule: Schedule, failures: int, jitter: float
) -> None:
    planned = schedule.after_limit(failures, 0.0)

    wait = schedule.after_limit(failures, jitter)

    assert schedule.limited_s <= planned <= wait <= planned * 1.1000001
    assert planned <= schedule.limited_most_s


@pytest.mark.failure(4)
@given(schedules(), FAILURES, JITTER)
def test_waits_grow(schedule: Schedule, failures: int, jitter: float) -> None:
    assert schedule.after(failures, jitter) <= schedule.after(failures + 1, jitter)
    assert schedule.after_limit(failures, jitter) <= schedule.after_limit(failures + 1, jitter)


def test_the_schedule_of_machines() -> None:
    schedule = Schedule()

    assert [schedule.after(n, 1) for n in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [schedule.after_limit(n, 0) for n in range(6)] == [60, 120, 240, 480, 900, 900]
    assert schedule.after(0, 0) == 0.5
    assert schedule.after_limit(0, 1) == pytest.approx(66)


@pytest.mark.failure(4)
@given(st.sampled_from([403, 429, 500, 503]), SECONDS, MOMENTS, st.none() | MOMENTS)
def test_seconds_are_waited_in_full_whatever_the_clocks_say(
    status: int, seconds: int, now: int, date: int | None
) -> None:
    headers = Headers({"Retry-After": str(seconds)} | ({"Date": http_date(date)} if date else {}))

    assert told_wait(status, headers, now) == seconds


@given(st.sampled_from([403, 429, 503]), st.integers(1, 4_000_000_000), SECONDS, MOMENTS)
@example(429, NOW, 5, NOW + 3600)
@example(429, NOW, 5, NOW - 3600)
def test_a_date_is_counted_from_the_answer_s_own(
    status: int, date: int, seconds: int, now: int
) -> None:
    headers = Headers({"Date": http_date(date), "Retry-After": http_date(date + seconds)})

    assert told_wait(status, headers, now) == seconds


@given(LIMITED, st.integers(1, 4_000_000_000), st.integers(-100, 10_000), MOMENTS)
@example(403, NOW, 3600, NOW + 7200)
def test_a_reset_is_counted_from_the_answer_s_own_date(
    status: int, date: int, seconds: int, now: int
) -> None:
    headers = Headers(
        {
            "Date": http_date(date),
            "x-ratelimit-remaining": "0",
            "x-ratelimit-reset": str(max(0, date + seconds)),
        }
    )

    assert told_wait(status, headers, now) == max(0, max(0, date + seconds) - date)


@given(MOMENTS, SECONDS)
def test_without_its_date_our_clock_counts(now: int, seconds: int) -> None:
    by_date = Headers({"Retry-After": http_date(now + seconds)})
    by_reset = Headers(
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(now + seconds), "date": "today"}
    )

    assert told_wait(429, by_date, now) == seconds
    assert told_wait(403, by_reset, now) == seconds


MALFORMED = ["", " ", "soon", "-5", "1.5", "1e3", "²", "\uff15", "0x10", "inf", "nan", "9" * 400]


@pytest.mark.parametrize("value", MALFORMED)
def test_malformed_headers_count_as_silent(value: str) -> None:
    assert told_wait(429, {"retry-after": value}, NOW) is None
    reset = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": value}
    assert told_wait(429, reset, NOW) is None


@pytest.mark.parametrize("value", MALFORMED)
def test_a_reset_is_heard_beside_a_malformed_retry_after(value: str) -> None:
    headers = {
        "retry-after": value,
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(NOW + 7),
    }

    assert told_wait(403, headers, NOW) == 7


@given(LIMITED, st.text(), st.text(), st.text(), st.sampled_from(["0", "1", ""]))
@example(429, "9" * 400, "9" * 400, "Thu, 01 Jan 0001 00:00:00 +2359", "0")
@example(429, "Fri, 31 Dec 9999 23:59:59 -2359", "1", "Fri, 99 Dec 9999 23:59:59 GMT", "0")
def test_no_header_whatsoever_breaks_it(
    status: int, asked: str, reset: str, date: str, remaining: str
) -> None:
    headers = {
        "retry-after": asked,
        "x-ratelimit-reset": reset,
        "x-ratelimit-remaining": remaining,
        "date": date,
    }

    wait = told_wait(status, headers, NOW)

    assert wait is None or (wait >= 0 and math.isfinite(wait))


LIMITS = [
    (429, {}, "", True),
    (429, {"retry-after": "7"}, "", True),
    (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOW + 9}"}, "", True),
    (403, {"retry-after": "7"}, "", True),
    (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{NOW + 9}"}, "", True),
    (403, {"x-ratelimit-remaining": " 0 "}, "", True),
    (403, {}, '{"message": "You have exceeded a secondary rate limit."}', True),
    (403, {}, '{"message": "API rate limit exceeded for 192.0.2.1."}', True),
    (403, {}, "You have triggered an abuse detection mechanism.", True),
    (403, {}, "", False),
    (403, {}, '{"message": "Resource not accessible by integration"}', False),
    (403, {"x-ratelimit-remaining": "59", "x-ratelimit-reset": f"{NOW + 9}"}, "", False),
    (403, {"x-ratelimit-remaining": "00x"}, "", False),
    (404, {"retry-after": "7"}, "rate limit", False),
    (401, {}, "rate limit", False),
    (200, {"x-ratelimit-remaining": "0"}, "", False),
]


@pytest.mark.failure(4)
@pytest.mark.parametrize(("status", "headers", "body", "limit"), LIMITS)
def test_a_limit_is_told_from_a_refusal(
    status: int, headers: dict[str, str], body: str, limit: bool
) -> None:
    assert is_limit(status, headers, body) is limit
    assert is_passing(status, headers, body) is limit


@given(st.integers(400, 599))
def test_what_may_pass_is_asked_again_and_nothing_else(status: int) -> None:
    assume(status not in {408, 425, 429, 500, 502, 503, 504})

    assert not is_passing(status, {}, "")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_failures_that_pass(status: int) -> None:
    assert is_passing(status, {}, "")


def test_a_reset_is_heard_only_when_nothing_remains_and_of_a_limit() -> None:
    headers = {"x-ratelimit-remaining": "7", "x-ratelimit-reset": f"{NOW + 3600}"}

    assert told_wait(403, headers, NOW) is None
    assert told_wait(503, headers | {"x-ratelimit-remaining": "0"}, NOW) is None
