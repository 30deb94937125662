"""The page itself: its address, its keys, its weight, its pace."""

from __future__ import annotations

import gzip
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

import muster.server
from support.seat import Look, card, connection, line, picture, shown, violations

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.monitor import FleetOfHands
    from support.seat import Seat

WEB = Path(muster.server.__file__).parent / "web"
KB = 1000
MOST_KB = 60


def test_the_address_holds_all_that_is_shown(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add_many, 120)
    page = seat.open_live()
    page.get_by_label("Order").select_option("state")
    page.get_by_label("Per page").select_option("50")
    page.get_by_placeholder("Search the fleet").fill("gpu")
    expect(page).to_have_url(re.compile("q=gpu"))
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_text("51 to 100 of 120")).to_be_visible()
    page.get_by_role("button", name="Ready 120").click()
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_text("51 to 100 of 120")).to_be_visible()
    card(page, shown(page)[3]).get_by_role("button", name="Pin").click()
    card(page, shown(page)[0]).get_by_role("heading").get_by_role("link").click()
    expect(page.locator("[data-sheet=machine]")).to_be_visible()
    rows, address = shown(page), page.url

    other = seat.open_live(address.removeprefix(seat.url))

    expect(card(other, rows[0])).to_be_visible()
    assert shown(other) == rows
    expect(other.get_by_label("Order")).to_have_value("state")
    expect(other.get_by_label("Per page")).to_have_value("50")
    expect(other.get_by_placeholder("Search the fleet")).to_have_value("gpu")
    expect(other.get_by_role("button", name="Ready 120")).to_have_attribute("aria-pressed", "true")
    expect(other.get_by_role("region", name="Pinned machines").locator(".card")).to_have_count(1)
    expect(other.locator("[data-sheet=machine] h2")).to_have_text(rows[0])


def test_back_and_forth_go_through_what_was_shown(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add_many, 25)
    page = seat.open_live()
    expect(card(page, "gpu-1")).to_be_visible()
    page.get_by_role("link", name="Next page").click()
    expect(card(page, "gpu-21")).to_be_visible()
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("heading", name="No running jobs")).to_be_visible()

    page.go_back()
    expect(card(page, "gpu-21")).to_be_visible()
    page.go_back()
    expect(card(page, "gpu-1")).to_be_visible()
    page.go_forward()

    expect(card(page, "gpu-21")).to_be_visible()


def test_all_is_reached_by_keys(hands: FleetOfHands, do: Callable[..., Any], seat: Seat) -> None:
    do(hands.add_many, 25)
    page = seat.open_live()
    expect(card(page, "gpu-1")).to_be_visible()
    press = page.keyboard.press

    press("ArrowRight")
    expect(card(page, "gpu-1")).to_be_focused()
    press("ArrowRight")
    expect(card(page, "gpu-2")).to_be_focused()
    press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.machine") not in {"gpu-1", "gpu-2"}
    press("ArrowUp")
    expect(card(page, "gpu-2")).to_be_focused()
    press("s")
    expect(page.get_by_role("region", name="Pinned machines")).to_be_visible()
    press("o")
    expect(page.get_by_role("dialog", name="gpu-2")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    press("]")
    expect(card(page, "gpu-21")).to_be_visible()
    press("[")
    expect(card(page, "gpu-1")).to_be_visible()
    press("p")
    expect(connection(page)).to_contain_text("paused")
    press("p")
    expect(connection(page)).to_have_text("live")
    press("j")
    expect(page.get_by_role("heading", name="No running jobs")).to_be_visible()
    press("f")
    expect(card(page, "gpu-1")).to_be_visible()
    press("/")
    expect(page.get_by_placeholder("Search the fleet")).to_be_focused()
    page.keyboard.type("pj]")  # text, and no commands
    expect(page.get_by_role("heading", name="No machine matches")).to_be_visible()
    expect(connection(page)).to_have_text("live")


def test_keys_are_explained_and_can_be_turned_off(seat: Seat) -> None:
    page = seat.open_live()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    expect(dialog).to_contain_text("next page")
    assert violations(page) == []
    picture(page, "keyboard")

    dialog.get_by_label("Keys are on").uncheck()
    dialog.get_by_role("button", name="Close").click()
    page.keyboard.press("j")
    page.keyboard.press("p")

    expect(connection(page)).to_have_text("live")
    expect(page.get_by_role("heading", name="No machines yet")).to_be_visible()


def test_light_and_dark_can_be_chosen_and_stay(sit_down: Callable[..., Seat]) -> None:
    page = sit_down(look=Look("dark")).open_live()
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)

    page.get_by_role("button", name="Light or dark").click()
    light = page.evaluate(ground)
    page.reload()

    expect(connection(page)).to_have_text("live")
    assert light != dark
    assert page.evaluate(ground) == light


def test_nothing_moves_by_itself_for_those_who_want_it_still(
    hands: FleetOfHands, do: Callable[..., Any], sit_down: Callable[..., Seat]
) -> None:
    do(hands.add, "gpu-1")
    job = do(hands.run, "gpu-1-worker-0")
    page = sit_down(look=Look(still=True)).open_live()

    do(hands.progress, job, 0.5)

    expect(line(page, "gpu-1", 0)).to_contain_text("50 %")
    assert page.evaluate("document.getAnimations().length") == 0


def test_the_page_is_light(seat: Seat) -> None:
    files = [path for path in WEB.rglob("*") if path.is_file() and path.name != "tsconfig.json"]
    sizes = {path.name: len(gzip.compress(path.read_bytes(), 6)) for path in files}
    page = seat.open_live()

    sent: dict[str, int] = page.evaluate("""
      Object.fromEntries(performance.getEntriesByType("resource").concat(
        performance.getEntriesByType("navigation"))
        .filter(({ name }) => !name.includes("/v1/"))
        .map(({ name, encodedBodySize }) => [name, encodedBodySize]))""")

    assert len(sent) > 10, f"too few to be the page: {sent}"
    assert sum(sent.values()) <= MOST_KB * KB, sent
    assert sum(sizes.values()) <= MOST_KB * KB, sizes


def test_nothing_comes_from_elsewhere(seat: Seat) -> None:
    page = seat.open_live()

    asked: list[str] = page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")

    assert [name for name in asked if not name.startswith(seat.url)] == []


def test_progress_costs_little_and_leaves_nothing_behind(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    """Incident: sliding progress bars cost nine frames of ten. Nothing may be laid out for one.

    The cost is the page's own time on a processor, so that it is the same on a busy computer.
    """
    do(hands.add_many, 20)
    jobs = [do(hands.run, f"gpu-{number}-worker-0") for number in range(1, 21)]
    page = seat.open_live()
    for job in jobs:
        do(hands.progress, job, 0.01, "step 1")
    expect(line(page, "gpu-20", 0)).to_contain_text("step 1")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def measure() -> dict[str, float]:
        devtools.send("HeapProfiler.collectGarbage")
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return {metric["name"]: metric["value"] for metric in metrics}

    before, started = measure(), time.monotonic()
    for step in range(1, 51):
        for job in jobs:
            do(hands.progress, job, step / 50, f"step {step}")
    expect(line(page, "gpu-20", 0)).to_contain_text("100 %")
    after, took_s = measure(), time.monotonic() - started

    used = {name: after[name] - before[name] for name in after}
    assert used["TaskDuration"] < 0.25 * took_s, f"of {took_s:.1f} s: {used}"
    assert used["Nodes"] < 200, used
    assert used["JSEventListeners"] < 20, used
    assert used["JSHeapUsedSize"] < 2e6, used
    assert page.evaluate("document.getAnimations().length") == 0
    styles = page.locator(".fill").evaluate_all(
        "bars => [...new Set(bars.map(bar => getComputedStyle(bar).transitionDuration))]"
    )
    assert styles == ["0s"]
