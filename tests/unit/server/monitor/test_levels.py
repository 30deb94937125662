"""When less is sent, when more again; how many may watch; what the sparklines show."""

from __future__ import annotations

import pytest

from muster.server.monitor.history import EVERY_S, POINTS, History
from muster.server.monitor.levels import LEVELS, LIVE, POLLING, SLOWER, TOTALS, Levels
from muster.server.monitor.limits import Admission, ViewerLimits

STEP_S = 0.1


def after(levels: Levels, lag_s: float, seconds: float, start: float = 0) -> list[str]:
    """Return the levels that were changed to."""
    return [
        levels.level.name
        for number in range(round(seconds / STEP_S))
        if levels.observe(lag_s, start + number * STEP_S)
    ]


def test_begins_live() -> None:
    assert Levels().level is LIVE


def test_a_server_that_stays_late_goes_down_step_by_step_and_no_further() -> None:
    assert after(Levels(), 1, 60) == [SLOWER.name, TOTALS.name, POLLING.name]


def test_one_late_step_changes_nothing() -> None:
    levels = Levels()

    for second in range(60):
        late = levels.observe(3, second)
        punctual = levels.observe(0, second + 0.5)
        assert not late
        assert not punctual


def test_a_starved_server_goes_down_though_it_catches_up_whenever_it_runs() -> None:
    levels = Levels()

    for number in range(8):
        levels.observe(0.45, number * 0.5)
        levels.observe(0.01, number * 0.5 + 0.04)

    assert levels.level is SLOWER


def test_a_server_that_is_on_time_again_comes_up_by_itself() -> None:
    levels = Levels()
    after(levels, 1, 60)

    assert after(levels, 0, 60, start=100) == [TOTALS.name, SLOWER.name, LIVE.name]


def test_a_server_that_is_a_little_late_stays_where_it_is() -> None:
    levels = Levels()
    after(levels, 1, 3)

    assert after(levels, 0.15, 120, start=100) == []
    assert levels.level is SLOWER


def test_each_level_tells_people_in_words() -> None:
    for level in LEVELS:
        assert level.message()["words"]
        assert "disconnected" not in level.message()["words"]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ViewerLimits(1, 9, 9), "viewers"),
        (ViewerLimits(9, 1, 9), "user"),
        (ViewerLimits(9, 9, 1), "address"),
    ],
)
def test_says_which_limit_is_reached_and_counts_down_again(
    limits: ViewerLimits, reason: str
) -> None:
    admission = Admission(limits)

    with admission.admitted("anna", "10.0.0.1"):
        assert admission.refusal("anna", "10.0.0.1") == reason

    assert admission.refusal("anna", "10.0.0.1") is None


def test_one_users_streams_do_not_count_for_another() -> None:
    admission = Admission(ViewerLimits(9, 1, 1))

    with admission.admitted("anna", "10.0.0.1"):
        assert admission.refusal("bert", "10.0.0.2") is None


def test_history_keeps_five_minutes_of_levels_and_rates() -> None:
    history = History()
    for number in range(POINTS + 10):
        for _ in range(number):
            history.entered("completed")
        history.add_point({"pending": number, "running": 1}, at=number)

    series = history.message()["series"]

    assert len(series["pending"]) == POINTS
    assert series["pending"][-1] == POINTS + 9
    assert series["completed"][-1] == round((POINTS + 9) / EVERY_S, 2)
    assert history.message(points=1)["series"]["running"] == [1]
