"""The report: one page that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from muster.matrix.results import charts, trends
from muster.matrix.results.charts import Level, Point, number
from muster.matrix.results.facts import SHOWN
from muster.matrix.results.grid import short
from muster.matrix.results.model import RunState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muster.matrix.results.facts import Facts
    from muster.matrix.results.rules import Rules
    from muster.matrix.results.store import MeasureRow, RunRow


@dataclass(frozen=True)
class Plot:
    """A card with plots: what it is, the newest number, a word on it, whether to look at it.

    ``judged`` tells whether it is compared with a control.
    """

    name: str
    where: str
    now: str
    note: str
    bad: bool
    charts: list[tuple[str, str]]
    judged: bool = False


def render(facts: Facts) -> str:
    """Return the page."""
    environment = Environment(
        loader=PackageLoader("muster.matrix.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(short=short, number=number)
    plots = _benchmarks(facts)
    return environment.get_template("report.html").render(
        facts=facts,
        verdict=_verdict(facts),
        tiles=_tiles(facts),
        benchmarks=[plot for plot in plots if plot.bad or plot.judged],
        only_goals=[plot for plot in plots if not plot.bad and not plot.judged],
        durations=[_duration(*place, runs) for place, runs in facts.durations.items()],
    )


def _verdict(facts: Facts) -> str:
    if not facts.newest:
        return "Nothing has run yet"
    passes = not facts.problems and all(run.state is RunState.PASSED for run in facts.newest)
    return "Muster passes muster" if passes else "Muster does not pass muster"


def _tiles(facts: Facts) -> list[tuple[str, str, str]]:
    """Return what is to be seen first: name, number, whether it is good."""
    passed = sum(run.state is RunState.PASSED for run in facts.newest)
    proved = sum(proof.verdict == "proved" for proof in facts.proofs)
    tiles = [
        _tile("sessions pass", f"{passed} of {len(facts.newest)}", passed == len(facts.newest)),
        _tile("open alerts", str(len(facts.problems)), not facts.problems),
        _tile("flaky tests", str(len(facts.flaky)), not facts.flaky),
    ]
    if facts.proofs:
        all_proved = proved == len(facts.proofs)
        tiles.append(_tile("faults caught", f"{proved} of {len(facts.proofs)}", all_proved))
    if facts.coverage:
        tiles.append(("covered", f"{facts.coverage.percent:.1f} %", "plain"))
    return [*tiles, ("runs kept", f"{len(facts.runs):,}", "plain")]


def _tile(name: str, shown: str, good: bool) -> tuple[str, str, str]:
    return (name, shown, "good" if good else "bad")


def _benchmarks(facts: Facts) -> list[Plot]:
    plots = [
        _benchmark(place, name, rows, facts.rules.of(place[1]))
        for (place, name), rows in sorted(facts.benchmarks.items())
    ]
    return sorted(plots, key=lambda plot: not plot.bad)


def _benchmark(
    place: tuple[str, str], name: str, newest_first: Sequence[MeasureRow], rules: Rules
) -> Plot:
    newest = newest_first[0].measure
    fallen = [
        trends.drop(newest_first[i:], rules.bound(name), rules.median_of, rules.median_needs)
        for i in range(len(newest_first[:SHOWN]))
    ]
    shown = list(enumerate(newest_first[:SHOWN]))[::-1]
    goal = [] if newest.goal is None else [Level(newest.goal, "goal")]
    values = charts.line(
        [Point(r.measure.value, _told(r), bad=_bad(r, fallen[i])) for i, r in shown],
        title=f"{name}, {newest.unit}, over {len(shown)} runs",
        levels=goal,
    )
    drawn = [(newest.unit, values)]
    ratios = [(i, row, row.measure.ratio) for i, row in shown if row.measure.ratio is not None]
    if ratios:
        usual = median(ratio for *_, ratio in ratios)
        points = [Point(ratio, _told(r), bad=fallen[i] is not None) for i, r, ratio in ratios]
        title = f"{name} against its control, over {len(ratios)} runs"
        drawn.append(
            ("times its control", charts.line(points, title=title, levels=[Level(usual, "median")]))
        )
    bad = newest.missed or fallen[0] is not None
    return Plot(
        name=name,
        where=" on ".join(place),
        now=f"{number(newest.value)} {newest.unit}",
        note=_note(newest_first[0], fallen[0]),
        bad=bad,
        charts=drawn,
        judged=bool(ratios),
    )


def _bad(row: MeasureRow, fallen: trends.Drop | None) -> bool:
    return row.measure.missed or fallen is not None


def _note(row: MeasureRow, fallen: trends.Drop | None) -> str:
    notes = [f"{row.measure.better} is better"]
    if row.measure.missed:
        notes.append("misses its goal")
    if fallen:
        notes.append(f"{fallen.by:.0%} worse than usual")
    return ", ".join(notes)


def _told(row: MeasureRow) -> str:
    measure = row.measure
    ratio = "" if measure.ratio is None else f", {measure.ratio:.3g} times its control"
    return f"{measure.value:.4g} {measure.unit}{ratio}\n{_run(row.run)}"


def _duration(session: str, environment: str, newest_first: Sequence[RunRow]) -> Plot:
    newest = newest_first[0]
    points = [
        Point(
            run.duration_s or 0,
            f"{run.duration_s:.1f} s, {run.state}\n{_run(run)}",
            bad=run.state is not RunState.PASSED,
        )
        for run in reversed(newest_first)
    ]
    return Plot(
        name=session,
        where=environment,
        now=_seconds(newest.duration_s or 0),
        note=f"{len(points)} runs",
        bad=newest.state is not RunState.PASSED,
        charts=[("s", charts.line(points, title=f"seconds of {session} on {environment}"))],
    )


def _run(run: RunRow) -> str:
    return f"{run.started:%d %b %Y %H:%M} UTC, {run.revision[:10]}, run {run.id}"


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
