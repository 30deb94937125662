"""The report, read as a browser's parser reads it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from muster.matrix.ledger.kept import KeptVerdict, keep
from muster.matrix.results import alerts, charts, facts, grid, page
from muster.matrix.results.charts import Level, Point
from muster.matrix.results.rulebook import Rulebook
from support.results import measured, run

if TYPE_CHECKING:
    from pathlib import Path

    from muster.matrix.results.store import Store

SYSTEM = "tests/system/fleet/test_scaling.py::test_scales"


def text_of(store: Store, folder: Path) -> str:
    """Return the page's words, without markup."""
    html = page.render(facts.gather(store, folder, folder / "pyproject.toml"))
    body = html.partition("</style>")[2]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_without_any_run_it_says_so(store: Store, tmp_path: Path) -> None:
    text = text_of(store, tmp_path)

    assert "Nothing has run yet" in text
    assert "Nothing was recorded yet" in text
    assert "No proof was made yet" in text
    assert "Not combined yet" in text


def test_all_is_well_when_all_sessions_pass(store: Store, tmp_path: Path) -> None:
    store.add(run("unit"))
    store.add(run("load", environment="production-like", measures=[measured()]))

    text = text_of(store, tmp_path)

    assert "Muster passes muster" in text
    assert "2 of 2" in text
    assert "claims 900 1/s load on production-like" in text


def test_it_shows_what_is_wrong(store: Store, tmp_path: Path) -> None:
    # Given a drop, a flaky test, a failing session, an open problem and one that is over
    for day in range(5):
        store.add(run("load", day=day, measures=[measured(goal=500)]))
    store.add(run("load", day=5, measures=[measured(value=300, goal=500)]))
    store.add(run("integration", day=5, outcomes={"a::was_here": "failed"}))
    store.add(run("integration", day=6, outcomes={"a::was_here": "passed"}))
    store.add(run("unit", outcomes={"a": "failed"}))
    alerts.remember(store, [alerts.Problem("over", "target", "It was so.")])
    alerts.remember(store, alerts.find(store, Rulebook()))

    text = text_of(store, tmp_path)

    assert "Muster does not pass muster" in text
    assert "misses its goal, 67% worse than usual" in text
    assert "1 of 2 assert 1 == 2" in text
    assert "tier fails: unit on local" in text
    assert "not told to anybody yet" in text
    assert "1 that are over" in text


def test_proofs_and_coverage_are_shown(store: Store, tmp_path: Path) -> None:
    at = datetime(2026, 11, 28, tzinfo=UTC)
    common = {"seconds": 3.2, "at": at, "revision": "abcdef1234"}
    keep(
        tmp_path / "proofs.json",
        [
            KeptVerdict(
                failure=1, fault="cache.patch", tier="unit", verdict="proved", tests=["a"], **common
            ),
            KeptVerdict(
                failure=3, fault="two.patch", tier="unit", verdict="not proved",
                reason="it stays green", **common,
            ),
        ],
    )  # fmt: skip
    (tmp_path / "coverage.json").write_text(
        json.dumps(
            {
                "totals": {"percent_covered": 93.21, "num_statements": 900, "missing_lines": 60},
                "files": {"src/muster/weak.py": {"summary": {"percent_covered": 41.5}}},
            }
        )
    )

    text = text_of(store, tmp_path)

    assert "1 of 2 faults caught" in re.sub(r"(faults caught) (1 of 2)", r"\2 \1", text)
    assert "0003 two.patch unit ✗ not proved it stays green" in text
    assert "93.2 % of lines and branches: 60 of 900 lines" in text
    assert "src/muster/weak.py 41.5 %" in text


def test_what_tests_say_cannot_change_the_page(store: Store, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    store.add(run("load", outcomes={f"a::{evil}": "failed"}, measures=[measured(evil, unit=evil)]))
    store.add(run("load", day=1, outcomes={f"a::{evil}": "passed"}))

    html = page.render(facts.gather(store, tmp_path, tmp_path / "pyproject.toml"))

    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_it_loads_nothing(store: Store, tmp_path: Path) -> None:
    store.add(run())

    html = page.render(facts.gather(store, tmp_path, tmp_path / "pyproject.toml"))

    assert re.findall(r'(?:src|href)="(?!#|data:)|url\(|@import', html) == []


def test_the_grids_show_the_newest_whole_run_of_each_place(store: Store) -> None:
    store.add(run("unit", day=0, outcomes={"a": "failed"}))
    store.add(run("unit", day=1, outcomes={"a": "passed", "b": "passed"}))
    store.add(run("stress", environment="production-like", ended=False))
    for gpus in (1, 8):
        outcome = "failed" if gpus == 8 else "passed"
        store.add(
            run(f"system-{gpus}gpu", environment="staging", outcomes={SYSTEM: outcome})  # type: ignore[dict-item]
        )
    newest = grid.newest(store.runs())

    sessions = grid.sessions(newest, ["local", "production-like"])
    counts = grid.gpu_counts(newest, ["local", "staging"])
    ((environment, each),) = grid.tests_by_gpus(newest, store.tests([r.id for r in newest]))

    words = {name: [cell.word for cell in cells] for name, cells in sessions.rows}
    assert words == {"unit": ["✓ 2", "·"], "stress": ["·", "✗ incomplete"]}
    assert counts
    assert [name for name, _ in counts.rows] == ["staging"]
    assert [cell.word for cell in counts.rows[0][1]] == ["✓ 1", *"······", "✗ 1 of 1"]
    assert environment == "staging"
    assert each.rows[0][0] == "test_scaling.py::test_scales"
    assert [cell.kind for cell in each.rows[0][1]] == ["good", *["none"] * 6, "bad"]


def test_skipped_tests_are_no_good_cells(store: Store) -> None:
    store.add(run("system-1gpu", outcomes={SYSTEM: "skipped"}))
    newest = grid.newest(store.runs())

    ((_, each),) = grid.tests_by_gpus(newest, store.tests([r.id for r in newest]))

    assert (each.rows[0][1][0].kind, each.rows[0][1][0].more) == ("none", "skipped")


def test_there_is_no_grid_of_gpus_without_a_session_of_one(store: Store) -> None:
    store.add(run("unit"))

    assert grid.gpu_counts(store.runs(), ["local"]) is None


@pytest.mark.parametrize(
    "values", [[0.0], [5.0], [1.0, 2.0], [0.0, 0.0], [-3.0, 4.0], [1e-9, 2e-9], [9e9, 1e10]]
)
def test_a_chart_s_points_lie_on_the_canvas(values: list[float]) -> None:
    drawn = charts.line(
        [Point(value, "told") for value in values], title="t", levels=[Level(values[0], "goal")]
    )

    svg = ET.fromstring(drawn)
    dots = svg.findall("circle")
    assert len(dots) == len(values)
    for dot in dots:
        assert 0 <= float(dot.get("cx", "nan")) <= charts.WIDTH
        assert 0 <= float(dot.get("cy", "nan")) <= charts.HEIGHT
    assert dots[-1].get("class") == "last"


def test_higher_values_lie_higher_and_bad_ones_are_red() -> None:
    points = [Point(1, "low"), Point(3, "high", bad=True), Point(2, "last")]

    low, high, last = ET.fromstring(charts.line(points, title="t")).findall("circle")

    assert float(high.get("cy", "")) < float(last.get("cy", "")) < float(low.get("cy", ""))
    assert [dot.get("class") for dot in (low, high, last)] == ["dot", "bad", "last"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.1234, "0.123"), (42, "42"), (812.4, "812"), (5227, "5,227"), (40123, "40.1 k"),
     (7.1e6, "7.1 M")],
)  # fmt: skip
def test_numbers_are_short(value: float, shown: str) -> None:
    assert charts.number(value) == shown
