"""Waiting on conditions, with errors that say what was awaited, for how long, and what was seen."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any, TypeVar, overload

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
EVERY_S = 0.01


@overload
async def eventually(
    probe: Callable[[], Awaitable[T]],
    message: str,
    *,
    until: Callable[[T], object] = ...,
    timeout_s: float = ...,
    ignoring: tuple[type[Exception], ...] = ...,
) -> T: ...


@overload
async def eventually(
    probe: Callable[[], T],
    message: str,
    *,
    until: Callable[[T], object] = ...,
    timeout_s: float = ...,
    ignoring: tuple[type[Exception], ...] = ...,
) -> T: ...


async def eventually(
    probe: Callable[[], Any],
    message: str,
    *,
    until: Callable[[Any], object] = bool,
    timeout_s: float = 10,
    ignoring: tuple[type[Exception], ...] = (),
) -> Any:
    """Call ``probe`` (sync or async) until ``until`` of its answer is true; return that answer.

    ``message`` says what is awaited, as in "the job completes". Exceptions in ``ignoring`` count
    as "not yet". After ``timeout_s`` the test fails with the last answer.
    """
    wait = _Wait(message, timeout_s)
    while True:
        try:
            answer = probe()
            if inspect.isawaitable(answer):
                answer = await answer
        except ignoring as error:
            wait.saw(error)
        else:
            if until(answer):
                return answer
            wait.saw(answer)
        await anyio.sleep(EVERY_S)


def eventually_blocking(
    probe: Callable[[], T],
    message: str,
    *,
    until: Callable[[T], object] = bool,
    timeout_s: float = 10,
    ignoring: tuple[type[Exception], ...] = (),
    every_s: float = EVERY_S,
) -> T:
    """Do as ``eventually`` does, for tests without an event loop."""
    wait = _Wait(message, timeout_s)
    while True:
        try:
            answer = probe()
        except ignoring as error:
            wait.saw(error)
        else:
            if until(answer):
                return answer
            wait.saw(answer)
        time.sleep(every_s)


class _Wait:
    def __init__(self, message: str, timeout_s: float) -> None:
        self._message = message
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s

    def saw(self, state: object) -> None:
        """Note an answer that is not the awaited one; fail if time is up."""
        if time.monotonic() > self._deadline:
            raise AssertionError(
                f"Waited {self._timeout_s:g} s in vain for: {self._message}. Last seen: {state!r}"
            )
