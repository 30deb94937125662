from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from muster.downloads import meter as meter_module
from muster.downloads.meter import LOG_EVERY_S, meter

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def shown_on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., io.StringIO]:
    """Make a console that is, or is not, a terminal; give what is written to it."""

    def make(*, terminal: bool) -> io.StringIO:
        output = io.StringIO()
        console = Console(file=output, force_terminal=terminal, width=120, _environ={})
        monkeypatch.setattr(meter_module, "Console", lambda **_: console)
        return output

    return make


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The meter's clock: a list whose one number is the time."""
    now = [100.0]
    monkeypatch.setattr(meter_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_off_a_terminal_a_line_is_logged_now_and_then(
    shown_on: Callable[..., io.StringIO], clock: list[float]
) -> None:
    output = shown_on(terminal=False)

    with capture_logs() as logs, meter("model base") as tell:
        for second in range(31):
            clock[0] = 100.5 + second
            for step in range(100):
                tell(second * 100 + step, None if second < 15 else 3000)

    assert LOG_EVERY_S == 10
    assert [(log["event"], log["what"], log["bytes"], log["of"]) for log in logs] == [
        ("downloading", "model base", 1000, None),
        ("downloading", "model base", 2100, 3000),
    ]
    assert output.getvalue() == ""


def test_a_short_download_logs_nothing(
    shown_on: Callable[..., io.StringIO], clock: list[float]
) -> None:
    shown_on(terminal=False)

    with capture_logs() as logs, meter("model base") as tell:
        clock[0] += LOG_EVERY_S
        tell(1, 1)

    assert not logs


def test_on_a_terminal_a_bar_reaches_the_total(shown_on: Callable[..., io.StringIO]) -> None:
    output = shown_on(terminal=True)

    with capture_logs() as logs, meter("model [base]") as tell:
        tell(500, None)
        tell(1000, 4000)
        tell(4000, 4000)

    assert "model [base]" in output.getvalue()
    assert "4.0/4.0 kB" in output.getvalue()
    assert "━" * 40 in output.getvalue()
    assert not logs


def test_a_bar_ends_with_its_download(shown_on: Callable[..., io.StringIO]) -> None:
    output = shown_on(terminal=True)

    def fail() -> None:
        with meter("model base") as tell:
            tell(1, 2)
            raise ConnectionError

    with pytest.raises(ConnectionError):
        fail()

    assert output.getvalue().rstrip().endswith("\x1b[2K")
