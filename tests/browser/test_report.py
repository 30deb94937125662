"""The report of the results, looked at: it fits, it reads, it loads nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe

from muster.matrix.results import alerts, facts, page
from muster.matrix.results.rulebook import Rulebook
from muster.matrix.results.store import Store
from support.results import measured, run

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

SYSTEM = {"tests/system/fleet/test_scaling.py::test_scales_from_1_to_8_gpus_correctly": "passed"}


@pytest.fixture
def report(tmp_path: Path) -> str:
    """The address of a report with something in each of its sections."""
    with Store(f"sqlite:///{tmp_path / 'results.db'}") as store:
        for day in range(24):
            rate = measured("jobs claimed", 5000 if day == 23 else 8000, control=40000, goal=6000)
            store.add(run("unit", day=day, seconds=40 + day % 5))
            store.add(run("load", day=day, environment="production-like", measures=[rate]))
        for gpus in range(1, 9):
            store.add(
                run(f"system-{gpus}gpu", environment="staging", outcomes=SYSTEM)  # type: ignore[arg-type]
            )
        store.add(run("integration", day=1, outcomes={"a::b": "failed"}))
        alerts.remember(store, alerts.find(store, Rulebook()))
        gathered = facts.gather(store, tmp_path, tmp_path / "pyproject.toml")
    path = tmp_path / "report.html"
    path.write_text(page.render(gathered), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_accessible_and_fits_any_screen(
    browser: Browser, report: str, scheme: str, width: int
) -> None:
    with browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        java_script_enabled=True,  # for the checks; the page has none
    ) as context:
        seen = context.new_page()
        asked: list[str] = []
        seen.on("request", lambda request: asked.append(request.url))
        seen.goto(report)

        found = Axe().run(seen)

        assert found.violations_count == 0, found.generate_report()
        assert seen.evaluate("document.documentElement.scrollWidth") <= width
        assert [url for url in asked if not url.startswith("data:")] == [report]


def test_a_drop_is_seen(browser: Browser, report: str) -> None:
    with browser.new_context() as context:
        seen = context.new_page()
        seen.goto(report)

        card = seen.locator("#benchmarks .card.bad")

        assert card.locator("h3").inner_text() == "jobs claimed"
        assert "38% worse than usual" in card.inner_text()
        assert card.locator("svg").count() == 2
        assert card.locator("circle.bad").count() == 2
        assert seen.locator("#alerts .alert").count() == 3
        assert seen.locator(".cell.bad").count() == 1
