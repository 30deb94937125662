"""Who may do what on the page, and the way in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from muster.jobs.model import JobState
from muster.server.auth import Role
from support.seat import Look, connection, picture, violations
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.monitor import FleetOfHands
    from support.monitored import MonitoredServer
    from support.seat import Seat

ACTS = ("Drain", "Restart comfyui-gpu0", "Cancel job", "Retry job", "Resume")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_one_signs_in_with_a_token(
    scheme: Any, sit_down: Callable[..., Seat], server: MonitoredServer
) -> None:
    seat = sit_down(role=None, look=Look(scheme))
    page = seat.open()
    token = page.get_by_label("Token")
    expect(token).to_be_focused()
    assert violations(page) == []
    picture(page, f"sign-in-{scheme}")

    token.fill("muster_not-a-good-one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    token.fill(server.tokens[Role.VIEW])
    page.get_by_role("button", name="Sign in").click()

    expect(connection(page)).to_have_text("live")
    assert server.tokens[Role.VIEW] not in page.content()
    assert page.evaluate("document.cookie") == "", "scripts must not see it"
    page.reload()
    expect(connection(page)).to_have_text("live")


def test_signing_out_takes_all_tabs_along(seat: Seat) -> None:
    page, other = seat.open_live(), seat.open_live()

    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_label("Token")).to_be_visible()
    expect(other.get_by_label("Token")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Token")).to_be_visible()


def test_a_token_that_is_taken_away_ends_the_view(seat: Seat, server: MonitoredServer) -> None:
    page = seat.open_live()

    server.tokens_file.remove("operate-token")

    expect(page.get_by_label("Token")).to_be_visible(timeout=30_000)


@pytest.mark.parametrize("role", [Role.VIEW, Role.SUBMIT])
def test_who_may_not_act_sees_no_actions(
    role: Role, hands: FleetOfHands, do: Callable[..., Any], sit_down: Callable[..., Seat]
) -> None:
    do(hands.add, "gpu-1")
    job = do(hands.run, "gpu-1-worker-0")
    do(hands.queue.pause)
    seat = sit_down(role)
    page = seat.open_live("/?machine=gpu-1")
    expect(page.locator("[data-sheet=machine] .programs")).to_be_visible()
    expect(page.get_by_text("The queue is paused")).to_be_visible()
    for name in ACTS:
        assert page.get_by_role("button", name=name, exact=True).count() == 0

    page.goto(f"/?job={job}")
    expect(page.locator("[data-sheet=job] .story")).to_be_visible()

    for name in ACTS:
        assert page.get_by_role("button", name=name, exact=True).count() == 0


def test_a_running_job_is_cancelled_and_tried_again(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add, "gpu-1")
    job = do(hands.run, "gpu-1-worker-0")
    page = seat.open_live(f"/?job={job}")
    sheet = page.get_by_role("dialog", name=job)

    sheet.get_by_role("button", name="Cancel job").click()
    question = page.get_by_role("dialog", name="Cancel this job?")
    question.get_by_role("button", name="Leave it").click()
    assert do(hands.queue.get, job).state is JobState.RUNNING
    sheet.get_by_role("button", name="Cancel job").click()
    page.get_by_role("dialog", name="Cancel this job?").get_by_role(
        "button", name="Cancel job"
    ).click()
    expect(sheet.locator(".tag").first).to_have_text("cancelled")
    assert do(hands.queue.get, job).state is JobState.CANCELLED

    sheet.get_by_role("button", name="Retry job").click()

    expect(sheet.locator(".tag").first).to_have_text("pending")
    assert do(hands.queue.get, job).state is JobState.PENDING


def test_what_the_server_refuses_is_told_in_its_words(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add, "gpu-1")
    page = seat.open_live("/?machine=gpu-1")
    drain = page.get_by_role("button", name="Drain", exact=True)
    expect(drain).to_be_visible()
    page.route("**/v1/machines/gpu-1/drain", lambda route: route.fulfill(
        status=409,
        content_type="application/problem+json",
        body='{"title": "no", "detail": "gpu-1 is offline.", "status": 409}',
    ))  # fmt: skip

    drain.click()
    page.get_by_role("dialog", name="Drain gpu-1?").get_by_role("button", name="Drain").click()

    expect(page.get_by_text("gpu-1 is offline.")).to_be_visible()


def test_a_machine_is_drained_and_a_program_restarted(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add, "gpu-1")
    page = seat.open_live("/?machine=gpu-1")
    sheet = page.get_by_role("dialog", name="gpu-1")

    sheet.get_by_role("button", name="Restart comfyui-gpu0").click()
    page.get_by_role("dialog", name="Restart comfyui-gpu0?").get_by_role(
        "button", name="Restart"
    ).click()
    expect(page.get_by_text("comfyui-gpu0 on gpu-1 is asked to restart.")).to_be_visible()
    sheet.get_by_role("button", name="Drain").click()
    page.get_by_role("dialog", name="Drain gpu-1?").get_by_role("button", name="Drain").click()

    expect(page.get_by_text("gpu-1 is asked to drain.")).to_be_visible()


def test_a_paused_queue_is_resumed(hands: FleetOfHands, do: Callable[..., Any], seat: Seat) -> None:
    do(hands.queue.pause)
    page = seat.open_live()

    page.get_by_role("button", name="Resume").click()

    eventually_blocking(
        lambda: do(hands.queue.paused), "the queue goes on", until=lambda paused: not paused
    )
    expect(page.get_by_text("The queue is paused")).to_be_hidden()
