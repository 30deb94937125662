from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.waiting import eventually, eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.anyio
async def test_it_returns_the_first_answer_that_satisfies() -> None:
    numbers = iter(range(10))

    async def probe() -> int:
        return next(numbers)

    assert await eventually(probe, "the number is three", until=lambda number: number == 3) == 3


@pytest.mark.anyio
async def test_a_wait_in_vain_says_for_what_how_long_and_what_was_seen() -> None:
    with pytest.raises(AssertionError, match=r"0\.01 s in vain for: the light.*'red'"):
        await eventually(
            lambda: "red", "the light is green", until=lambda seen: seen == "green", timeout_s=0.01
        )


def test_an_expected_exception_counts_as_not_yet() -> None:
    answers: Iterator[Exception | str] = iter([ConnectionError("not up"), "up"])

    def probe() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert eventually_blocking(probe, "it is up", ignoring=(ConnectionError,)) == "up"


def test_an_unexpected_exception_ends_the_wait_at_once() -> None:
    def probe() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        eventually_blocking(probe, "it is up", ignoring=(ConnectionError,))
