from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muster.matrix.results import trends
from muster.matrix.results.rulebook import Rulebook
from muster.matrix.results.rules import Rules
from support.results import measured, run

if TYPE_CHECKING:
    from muster.matrix.results.store import MeasureRow, Store
    from muster.matrix.results.trends import Drop


def newest_first(
    store: Store, *pairs: tuple[float, float], higher: bool = True
) -> list[MeasureRow]:
    for day, (value, control) in enumerate(pairs):
        measure = measured("x", value, control=control, higher=higher)
        store.add(run("load", day=day, measures=[measure]))
    return store.measures()


def judged(rows: list[MeasureRow]) -> Drop | None:
    return trends.drop(rows, bound=0.2, of=5, needs=3)


def test_a_slow_computer_is_no_drop(store: Store) -> None:
    assert judged(newest_first(store, *[(900, 1000)] * 4, (450, 500))) is None


def test_slower_code_is_a_drop(store: Store) -> None:
    fallen = judged(newest_first(store, *[(900, 1000)] * 4, (600, 1000)))

    assert fallen
    assert (fallen.ratio, fallen.median) == (0.6, 0.9)
    assert fallen.by == pytest.approx(1 / 3)


def test_where_lower_is_better_more_is_a_drop(store: Store) -> None:
    rows = newest_first(store, *[(10, 10)] * 4, (13, 10), (7, 10), higher=False)

    assert judged(rows[1:])
    assert not judged(rows)


def test_one_bad_run_before_does_not_move_the_median(store: Store) -> None:
    assert judged(newest_first(store, (900, 1000), (100, 1000), (900, 1000), (600, 1000)))


def test_too_few_runs_judge_nothing(store: Store) -> None:
    assert judged(newest_first(store, (900, 1000), (900, 1000), (100, 1000))) is None


def test_without_a_control_nothing_is_judged(store: Store) -> None:
    for day in range(6):
        store.add(run("load", day=day, measures=[measured("x", 900 - 100 * day, control=None)]))

    assert judged(store.measures()) is None


def test_against_a_control_of_zero_nothing_is_judged(store: Store) -> None:
    assert judged(newest_first(store, *[(900, 1000)] * 4, (900, 0))) is None


def test_a_test_that_passes_and_fails_at_one_revision_is_flaky(store: Store) -> None:
    for day, outcome in enumerate(["passed", "failed", "passed"]):
        store.add(run(day=day, outcomes={"a": outcome, "b": "failed"}))  # type: ignore[dict-item]

    (found,) = trends.flaky(store, store.runs(), Rulebook())

    assert (found.test, found.passed, found.failed) == ("a", 2, 1)
    assert found.message == "assert 1 == 2"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"revision": "one"}, {"revision": "two"}),
        ({"dirty": True}, {"dirty": True}),
        ({"session": "unit-3.11"}, {"session": "unit-3.12"}),
        ({"environment": "local"}, {"environment": "staging"}),
    ],
)
def test_of_other_code_or_elsewhere_it_is_not(
    store: Store, first: dict[str, object], second: dict[str, object]
) -> None:
    store.add(run(day=0, outcomes={"a": "passed"}, **first))  # type: ignore[arg-type]
    store.add(run(day=1, outcomes={"a": "failed"}, **second))  # type: ignore[arg-type]

    assert trends.flaky(store, store.runs(), Rulebook()) == []


def test_old_runs_are_forgiven(store: Store) -> None:
    store.add(run(day=0, outcomes={"a": "failed"}))
    for day in range(1, 4):
        store.add(run(day=day, outcomes={"a": "passed"}))

    rules = Rules.model_validate({"flaky-within": 3})
    assert trends.flaky(store, store.runs(), Rulebook(rules)) == []


def test_nothing_is_worse_than_zero() -> None:
    assert trends.worse_by(5, 0, "lower") == 0
