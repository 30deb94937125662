"""Jobs on the screen: which there are, and the story of one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from support.seat import Look, card, line, picture, violations

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Route

    from support.monitor import FleetOfHands
    from support.seat import Seat


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_jobs_are_listed_by_state(
    scheme: Any, hands: FleetOfHands, do: Callable[..., Any], sit_down: Callable[..., Seat]
) -> None:
    do(hands.add, "gpu-1")
    running = do(hands.run, "gpu-1-worker-0")
    do(hands.progress, running, 0.3, "step 3 of 10")
    failed = do(hands.run, "gpu-1-worker-1")
    do(hands.fail, failed, "CUDA out of memory", retryable=False)
    waiting = do(hands.submit, requirements={"models": ["rare"]}, priority=90)
    seat = sit_down(look=Look(scheme))
    page = seat.open_live("/?view=jobs")
    rows = page.get_by_role("table", name="Jobs").locator("tbody tr")

    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text(running)
    expect(rows.first).to_contain_text("30 %")
    page.get_by_role("link", name="Failed 1").click()
    expect(rows.first).to_contain_text(failed)
    expect(rows.first).to_contain_text("CUDA out of memory")
    page.get_by_role("link", name="Pending 1").click()
    expect(rows.first).to_contain_text(waiting)
    expect(rows.first).to_contain_text("90")
    assert violations(page) == []
    assert seat.complaints == []
    picture(page, f"jobs-{scheme}")
    page.get_by_role("link", name="Cancelled 0").click()
    expect(page.get_by_role("heading", name="No cancelled jobs")).to_be_visible()


def test_the_rows_of_jobs_stay_until_new_ones_are_asked_for(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add, "gpu-1")
    first = do(hands.run, "gpu-1-worker-0")
    page = seat.open_live("/?view=jobs")
    rows = page.get_by_role("table", name="Jobs").locator("tbody tr")
    expect(rows).to_have_count(1)

    second = do(hands.run, "gpu-1-worker-1")
    do(hands.complete, first)

    changed = page.get_by_role("button", name="1 changed")
    expect(changed).to_be_visible()
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("not running now")
    changed.click()
    expect(rows.first).to_contain_text(second)
    expect(changed).to_be_hidden()


def test_a_long_list_has_pages(hands: FleetOfHands, do: Callable[..., Any], seat: Seat) -> None:
    for number in range(60):
        do(hands.submit, payload={"number": number})
    page = seat.open_live("/?view=jobs&jobs=pending")
    rows = page.get_by_role("table", name="Jobs").locator("tbody tr")
    expect(rows).to_have_count(50)
    expect(page.get_by_text("60 in all")).to_be_visible()

    page.get_by_role("link", name="Next page").click()
    expect(rows).to_have_count(10)
    page.get_by_role("link", name="First page").click()

    expect(rows).to_have_count(50)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_job_tells_its_story(
    scheme: Any, hands: FleetOfHands, do: Callable[..., Any], sit_down: Callable[..., Seat]
) -> None:
    do(hands.add, "gpu-1")
    job = do(hands.run, "gpu-1-worker-0", max_failed=2, backoff_s=0)
    seat = sit_down(look=Look(scheme))
    page = seat.open_live()
    line(page, "gpu-1", 0).get_by_role("link", name=job).click()
    sheet = page.get_by_role("dialog", name=job)
    expect(sheet.locator(".tag").first).to_have_text("running")

    do(hands.progress, job, 0.5, "step 10 of 20")
    expect(sheet.locator(".progress")).to_contain_text("step 10 of 20")
    expect(sheet.locator(".progress")).to_contain_text("50 %")
    do(hands.fail, job, "CUDA out of memory", retryable=False)

    expect(sheet.locator(".tag").first).to_have_text("failed")
    story = sheet.locator(".story li")
    expect(story.nth(0)).to_contain_text("Submitted")
    expect(story.nth(1)).to_contain_text("Attempt 1 failed")
    expect(story.nth(1)).to_contain_text("gpu-1-worker-0")
    expect(story.nth(1)).to_contain_text("CUDA out of memory")
    expect(story.last).to_contain_text("Failed")
    expect(sheet.locator("pre").first).to_contain_text('"prompt": "a lighthouse"')
    assert violations(page) == []
    picture(page, f"job-{scheme}")
    sheet.get_by_role("button", name="Close").click()
    expect(sheet).to_have_count(0)


def test_a_waiting_job_says_why(hands: FleetOfHands, do: Callable[..., Any], seat: Seat) -> None:
    do(hands.add, "gpu-1")
    job = do(hands.submit, requirements={"models": ["rare-model"]})

    page = seat.open_live(f"/?view=jobs&jobs=pending&job={job}")

    expect(page.get_by_role("dialog", name=job).locator(".why")).to_contain_text("rare-model")


def test_a_job_that_is_not_there_is_said_to_be_so(seat: Seat) -> None:
    page = seat.open_live("/?job=0123456789abcdef")

    expect(page.get_by_role("dialog")).to_contain_text("There is no job")


def test_trouble_is_told_on_the_fleet_s_page(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add, "gpu-1")
    page = seat.open_live()
    expect(card(page, "gpu-1")).to_be_visible()

    job = do(hands.run, "gpu-1-worker-0")
    do(hands.fail, job, retryable=False)

    lately = page.get_by_text(re.compile("Trouble lately"))
    expect(lately).to_be_visible()
    lately.click()
    expect(page.locator(".log li").first).to_contain_text(job)


def test_an_answer_that_comes_late_does_not_hide_a_newer_one(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    # Given a sheet that still waits to hear why its job waits
    job = do(hands.submit, requirements={"models": ["rare"]})
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    seat.context.route("**/explanation", hold)
    page = seat.open_live("/?view=jobs&jobs=pending")
    with page.expect_request("**/explanation"):
        page.get_by_role("link", name=job).click()

    # When the job is cancelled, and the answer comes after that
    do(hands.queue.cancel, job)
    state = page.get_by_role("dialog", name=job).locator(".tag").first
    expect(state).to_have_text("cancelled")
    with page.expect_response("**/explanation") as late:
        held[0].fulfill(json={"summary": "It waits.", "reasons": []})
    late.value.finished()
    page.evaluate("() => new Promise((seen) => requestAnimationFrame(() => setTimeout(seen)))")

    # Then the sheet says what is so now
    expect(state).to_have_text("cancelled")
