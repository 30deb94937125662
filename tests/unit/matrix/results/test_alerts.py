from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from muster.matrix.results import alerts
from muster.matrix.results.rulebook import Rulebook
from muster.matrix.results.rules import Rules
from muster.matrix.results.store import Store
from support.results import measured, run

if TYPE_CHECKING:
    from muster.matrix.results.alerts import Known
    from muster.matrix.results.model import Outcome


class Receiver:
    """Takes messages, or fails to."""

    def __init__(self) -> None:
        self.took: list[tuple[str, bool]] = []
        self.broken = False

    def __call__(self, problem: Known) -> None:
        if self.broken:
            raise ConnectionError
        self.took.append((problem.key, problem.cleared is not None))


def keys(store: Store, rules: Rules | None = None) -> list[str]:
    return [problem.key for problem in alerts.find(store, Rulebook(rules or Rules()))]


def judge(store: Store, receiver: Receiver) -> int:
    alerts.remember(store, alerts.find(store, Rulebook()))
    return alerts.announce(store, receiver)


def test_a_tier_that_fails_is_a_problem_until_it_passes(store: Store) -> None:
    store.add(run(day=0))
    assert keys(store) == []

    store.add(run(day=1, outcomes={"a": "failed"}))
    assert keys(store) == ["tier fails: unit on local"]

    store.add(run(day=2, revision="mended", outcomes={"a": "passed"}))
    assert keys(store) == []


def test_a_run_that_was_killed_did_not_pass(store: Store) -> None:
    store.add(run(ended=False))

    (problem,) = alerts.find(store, Rulebook())
    assert "is incomplete" in problem.told


@pytest.mark.parametrize("left_out", [{"dirty": True}, {"part": True}])
def test_parts_and_changed_trees_are_their_author_s_business(
    store: Store, left_out: dict[str, bool]
) -> None:
    store.add(run(outcomes={"a": "failed"}, **left_out))  # type: ignore[arg-type]

    assert keys(store) == []


def test_changed_trees_are_judged_where_the_rules_say_so(store: Store) -> None:
    store.add(run(outcomes={"a": "failed"}, dirty=True))

    assert keys(store, Rules(dirty=True)) == ["tier fails: unit on local"]


def test_a_flaky_test_a_drop_and_a_missed_target_are_problems(store: Store) -> None:
    for day in range(5):
        store.add(run("load", day=day, outcomes={"a": "passed"}, measures=[measured(goal=500)]))
    store.add(run("load", day=5, outcomes={"a": "failed"}))
    store.add(
        run("load", day=6, outcomes={"a": "passed"}, measures=[measured(value=400, goal=500)])
    )

    told = {problem.kind: problem.told for problem in alerts.find(store, Rulebook())}

    assert told.keys() == {"flaky", "drop", "target"}
    assert "a passed 6 and failed 1 times" in told["flaky"]
    assert "claims in load on local is 56% worse than usual" in told["drop"]
    assert "it is to be at least 500" in told["target"]


def test_each_benchmark_may_have_its_own_bound(store: Store) -> None:
    for day in range(5):
        store.add(run("load", day=day, measures=[measured()]))
    store.add(run("load", day=6, measures=[measured(value=700)]))

    assert keys(store) == ["drop: claims in load on local"]
    assert keys(store, Rules(bounds={"claims": 0.5})) == []


def test_rules_can_be_turned_off(store: Store) -> None:
    store.add(run("load", outcomes={"a": "failed"}, measures=[measured(value=1, goal=500)]))

    assert keys(store, Rules.model_validate({"tier-fails": False, "targets": False})) == []


def test_each_environment_may_have_its_own_rules(store: Store) -> None:
    lenient = Rules.model_validate({"tier-fails": False, "targets": False, "drop": 0.5})
    book = Rulebook(environments={"staging": lenient})
    for environment in ("local", "staging"):
        for day in range(5):
            store.add(run("load", day=day, environment=environment, measures=[measured()]))
        slow = measured(value=700, goal=800)
        failed: dict[str, Outcome] = {"a": "failed"}
        store.add(run("load", day=6, environment=environment, outcomes=failed, measures=[slow]))

    assert [problem.key for problem in alerts.find(store, book)] == [
        "drop: claims in load on local",
        "target: claims in load on local",
        "tier fails: load on local",
    ]


@pytest.mark.parametrize(
    ("rules", "found"), [({"flaky-within": 2}, []), ({}, ["flaky: a in unit on local"])]
)
def test_an_environment_may_forgive_flaky_tests_earlier(
    store: Store, rules: dict[str, int], found: list[str]
) -> None:
    store.add(run(day=0, outcomes={"a": "failed"}))
    for day in range(1, 3):
        store.add(run(day=day, outcomes={"a": "passed"}))
    book = Rulebook(environments={"local": Rules.model_validate(rules)})

    assert [problem.key for problem in alerts.find(store, book)] == found


def test_changed_trees_are_judged_in_environments_that_say_so(store: Store) -> None:
    for environment in ("local", "staging"):
        store.add(run(outcomes={"a": "failed"}, dirty=True, environment=environment))
    book = Rulebook(environments={"staging": Rules(dirty=True)})

    assert [problem.key for problem in alerts.find(store, book)] == ["tier fails: unit on staging"]


def test_a_problem_is_told_once_and_again_when_it_is_over(store: Store) -> None:
    receiver = Receiver()
    key = "tier fails: unit on local"

    # When it comes, and stays
    for day in range(3):
        store.add(run(day=day, outcomes={"a": "failed"}))
        judge(store, receiver)
    assert receiver.took == [(key, False)]

    # And goes
    for day in range(3, 5):
        store.add(run(day=day, revision="mended", outcomes={"a": "passed"}))
        judge(store, receiver)
    assert receiver.took == [(key, False), (key, True)]
    assert alerts.known(store) == []

    # And comes again
    store.add(run(day=6, revision="broken", outcomes={"a": "failed"}))
    judge(store, receiver)
    assert receiver.took[2:] == [(key, False)]


def test_what_could_not_be_told_is_told_the_next_time(store: Store) -> None:
    receiver = Receiver()
    receiver.broken = True
    store.add(run(outcomes={"a": "failed"}))
    with pytest.raises(ConnectionError):
        judge(store, receiver)

    receiver.broken = False
    assert judge(store, receiver) == 1
    assert judge(store, receiver) == 0


def test_two_that_announce_at_once_tell_it_once(store: Store) -> None:
    receiver = Receiver()
    store.add(run(outcomes={"a": "failed"}))
    alerts.remember(store, alerts.find(store, Rulebook()))

    # When another announces while the one sends
    def announce_too() -> None:
        with Store(store.where) as other:
            alerts.announce(other, receiver)

    meanwhile = threading.Thread(target=announce_too)

    def send(problem: Known) -> None:
        meanwhile.start()
        meanwhile.join(0.5)  # it is to wait for this one, which cannot be seen
        receiver(problem)

    alerts.announce(store, send)
    meanwhile.join()

    assert receiver.took == [("tier fails: unit on local", False)]


def test_what_nobody_was_told_of_is_not_said_to_be_over(store: Store) -> None:
    store.add(run(day=0, outcomes={"a": "failed"}))
    alerts.remember(store, alerts.find(store, Rulebook()))
    store.add(run(day=1, revision="mended", outcomes={"a": "passed"}))

    assert judge(store, Receiver()) == 0
    (past,) = alerts.known(store, open_only=False)
    assert past.cleared
