"""Finds problems by the rules, remembers them, and tells of each once when it comes and goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from muster.matrix.results import trends
from muster.matrix.results.model import RunState
from muster.matrix.results.schema import problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from muster.matrix.results.rulebook import Rulebook
    from muster.matrix.results.store import MeasureRow, RunRow, Store

Kind = Literal["tier fails", "flaky", "drop", "target"]


@dataclass(frozen=True)
class Problem:
    """Something that somebody should know. Its key stays the same as long as it lasts."""

    key: str
    kind: Kind
    told: str


@dataclass(frozen=True)
class Known:
    """A problem that the store remembers. ``cleared`` is when it was no longer found."""

    key: str
    kind: str
    told: str
    since: datetime
    cleared: datetime | None
    announced: datetime | None


def find(store: Store, rules: Rulebook) -> list[Problem]:
    """Find what is wrong by the newest runs of each session in each environment."""
    whole = trends.whole(store.runs())
    judged = [run for run in whole if rules.of(run.environment).dirty or not run.dirty]
    ids = {run.id for run in judged}
    measured = [row for row in store.measures() if row.run.id in ids]
    found = [
        *_failing_tiers(run for run in judged if rules.of(run.environment).tier_fails),
        *_flaky_tests(store, judged, rules),
        *_benchmarks(measured, rules),
    ]
    return sorted(found, key=lambda problem: problem.key)


def remember(store: Store, found: list[Problem]) -> None:
    """Let the store know which problems there are now, and since when others are not."""
    now = datetime.now(UTC).timestamp()
    with store.begin() as connection:
        known = {row.key: row for row in connection.execute(sa.select(problems))}
        for problem in found:
            values = {"kind": problem.kind, "told": problem.told}
            this = problems.c.key == problem.key
            if problem.key not in known:
                connection.execute(problems.insert().values(key=problem.key, since=now, **values))
            elif known[problem.key].cleared is None:
                connection.execute(problems.update().where(this).values(**values))
            else:
                again = {"since": now, "cleared": None, "announced": None, "closed": None}
                connection.execute(problems.update().where(this).values(**values, **again))
        gone = problems.c.key.not_in([problem.key for problem in found])
        still_open = problems.c.cleared.is_(None)
        connection.execute(problems.update().where(gone, still_open).values(cleared=now))


def announce(store: Store, send: Callable[[Known], None]) -> int:
    """Send what nobody was told yet; return how many messages that were.

    Each is noted when it is sent, so that one that fails is sent by the next call. Who announces at
    the same time waits meanwhile, and does not send it again. A problem that went before anybody
    was told of it is passed over.
    """
    sent = 0
    for problem in _untold(store):
        column = problems.c.announced if problem.cleared is None else problems.c.closed
        now = datetime.now(UTC).timestamp()
        untold = problems.update().where(problems.c.key == problem.key, column.is_(None))
        with store.begin() as connection:
            if connection.execute(untold.values({column: now})).rowcount:
                send(problem)
                sent += 1
    return sent


def known(store: Store, *, open_only: bool = True) -> list[Known]:
    """Return the problems that the store knows, the newest first."""
    query = sa.select(problems).order_by(problems.c.since.desc(), problems.c.key)
    if open_only:
        query = query.where(problems.c.cleared.is_(None))
    with store.begin() as connection:
        return [_known(row) for row in connection.execute(query)]


def _untold(store: Store) -> list[Known]:
    new = problems.c.cleared.is_(None) & problems.c.announced.is_(None)
    over = (
        problems.c.cleared.is_not(None)
        & problems.c.announced.is_not(None)
        & problems.c.closed.is_(None)
    )
    query = sa.select(problems).where(new | over).order_by(problems.c.since, problems.c.key)
    with store.begin() as connection:
        return [_known(row) for row in connection.execute(query)]


def _known(row: sa.Row[tuple[object, ...]]) -> Known:
    def moment(seconds: float | None) -> datetime | None:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    return Known(
        key=row.key,
        kind=row.kind,
        told=row.told,
        since=datetime.fromtimestamp(row.since, UTC),
        cleared=moment(row.cleared),
        announced=moment(row.announced),
    )


def _failing_tiers(runs: Iterable[RunRow]) -> Iterator[Problem]:
    for (session, environment), newest_first in trends.by_place(runs).items():
        newest = newest_first[0]
        if newest.state is not RunState.PASSED:
            yield Problem(
                f"tier fails: {session} on {environment}",
                "tier fails",
                f"{session} on {environment} did not pass: run {newest.id} of revision "
                f"{newest.revision[:10]} is {newest.state}, {newest.failed} of {newest.tests} "
                "tests failed.",
            )


def _flaky_tests(store: Store, runs: list[RunRow], rules: Rulebook) -> Iterator[Problem]:
    for test in trends.flaky(store, runs, rules):
        session, environment = test.place
        yield Problem(
            f"flaky: {test.test} in {session} on {environment}",
            "flaky",
            f"{test.test} passed {test.passed} and failed {test.failed} times at revision "
            f"{test.revision[:10]}, in {session} on {environment}. It said: {test.message}",
        )


def _benchmarks(rows: list[MeasureRow], rulebook: Rulebook) -> Iterator[Problem]:
    for ((session, environment), name), newest_first in trends.series(rows).items():
        rules = rulebook.of(environment)
        measure, run = newest_first[0].measure, newest_first[0].run
        where = f"{name} in {session} on {environment}"
        fallen = trends.drop(newest_first, rules.bound(name), rules.median_of, rules.median_needs)
        if fallen:
            yield Problem(
                f"drop: {where}",
                "drop",
                f"{where} is {fallen.by:.0%} worse than usual: {measure.value:.4g} {measure.unit} "
                f"in run {run.id}, revision {run.revision[:10]}. Against the control of the same "
                f"run that is {fallen.ratio:.4g}, and the median was {fallen.median:.4g}.",
            )
        if rules.targets and measure.missed:
            least = "at most" if measure.better == "lower" else "at least"
            yield Problem(
                f"target: {where}",
                "target",
                f"{where} misses its target: {measure.value:.4g} {measure.unit}, and it is to be "
                f"{least} {measure.goal:.4g}; run {run.id}, revision {run.revision[:10]}.",
            )
