"""Failure 2: whatever happens to the stream, the page comes back by itself and says how old it is.

"Never disconnected" is meant literally: the word must not appear.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

from muster.fleet.model import WorkerState
from muster.server.auth import Role
from support.monitored import monitored
from support.seat import Look, Seat, card, connection, line, picture, shown
from support.waiting import eventually_blocking

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser

    from support.monitor import FleetOfHands
    from support.monitored import MonitoredServer
    from support.proxy import Proxy
    from support.redis import OwnRedis

RECONNECTING = re.compile(r"^reconnecting, \d+ s old$")
BACK_MS = 30_000  # of a computer that does much else; see the load tests for how fast it is
NO_WORKER = "delete window.SharedWorker"
NO_LOCKS = "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })"


def is_busy(page: Page) -> None:
    """See the worker busy, live: what changed while the page was cut off has arrived."""
    expect(line(page, "gpu-1", 0).locator(".worker")).to_have_text("busy", timeout=BACK_MS)
    expect(connection(page)).to_have_text("live", timeout=BACK_MS)


@pytest.mark.failure(2)
def test_a_cut_network_is_said_and_its_return_is_noticed(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat, network: Proxy
) -> None:
    do(hands.add, "gpu-1")
    page = seat.open_live()

    do(network.cut)

    expect(connection(page)).to_have_text(RECONNECTING)
    expect(page.locator("body")).not_to_contain_text("disconnected")
    expect(card(page, "gpu-1")).to_be_visible()
    picture(page, "reconnecting")
    do(hands.run, "gpu-1-worker-0")
    do(network.restore)
    is_busy(page)


@pytest.mark.failure(2)
def test_a_server_that_was_killed_is_found_again_when_it_is_back(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat, server: MonitoredServer
) -> None:
    do(hands.add, "gpu-1")
    page = seat.open_live()

    server.kill()

    expect(connection(page)).to_have_text(RECONNECTING)
    do(hands.run, "gpu-1-worker-0")
    server.start()
    is_busy(page)
    assert [said for said in seat.complaints if "503" not in said] == []


@pytest.mark.failure(2)
def test_one_reset_is_not_the_end(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat, network: Proxy
) -> None:
    """Incident: `net::ERR_CONNECTION_RESET`, and the page closed the stream for good."""
    do(hands.add, "gpu-1")
    page = seat.open_live()

    do(network.reset)

    do(hands.run, "gpu-1-worker-0")
    is_busy(page)
    eventually_blocking(lambda: network.streams, "one stream", until=lambda open_: open_ == 1)


@pytest.mark.failure(2)
def test_a_503_on_the_way_back_is_not_the_end(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat, network: Proxy
) -> None:
    """A browser's own reconnecting ends for good at one 503."""
    do(hands.add, "gpu-1")
    page = seat.open_live()

    do(network.refuse)

    expect(connection(page)).to_have_text(RECONNECTING)
    eventually_blocking(lambda: network.refused, "it tries twice", until=lambda n: n >= 2)
    do(hands.run, "gpu-1-worker-0")
    do(network.restore)
    is_busy(page)


def test_a_stream_that_is_open_and_silent_is_given_up(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat, network: Proxy
) -> None:
    do(hands.add, "gpu-1")
    page = seat.open_live()

    do(network.silence)  # no end, no reset: the connection hangs
    do(hands.run, "gpu-1-worker-0")

    expect(connection(page)).to_have_text(RECONNECTING, timeout=25_000)
    do(network.restore)
    is_busy(page)


@pytest.mark.failure(2)
def test_it_resumes_with_the_last_id_in_the_address(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat, network: Proxy
) -> None:
    do(hands.add, "gpu-1")
    page = seat.open_live()

    do(network.reset)

    def resumed() -> list[bytes]:
        return [asked for asked in network.asked if b"/v1/stream" in asked and b"last=" in asked]

    eventually_blocking(resumed, "it asks for what follows the last id")
    expect(connection(page)).to_have_text("live")


def test_20_tabs_share_one_connection(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat, network: Proxy
) -> None:
    do(hands.add, "gpu-1")

    pages = [seat.open_live() for _ in range(20)]

    assert network.streams == 1
    do(hands.run, "gpu-1-worker-0")
    for page in pages:
        is_busy(page)
    assert sum(b"/v1/stream" in asked for asked in network.asked) == 1
    for page in pages[:-1]:
        page.close()
    do(hands.change_worker, "gpu-1-worker-0", state=WorkerState.DRAINING)
    expect(line(pages[-1], "gpu-1", 0).locator(".worker")).to_have_text("draining")


def test_tabs_without_shared_workers_follow_one_that_leads(
    hands: FleetOfHands, do: Callable[..., Any], sit_down: Callable[..., Seat], network: Proxy
) -> None:
    do(hands.add, "gpu-1")
    seat = sit_down(look=Look(script=NO_WORKER))
    pages = [seat.open_live() for _ in range(4)]
    assert network.streams == 1

    pages.pop(0).close()  # the one that leads

    do(hands.run, "gpu-1-worker-0")
    for page in pages:
        is_busy(page)
    eventually_blocking(lambda: network.streams, "one stream", until=lambda open_: open_ == 1)


def test_a_tab_without_either_is_on_its_own(
    hands: FleetOfHands, do: Callable[..., Any], sit_down: Callable[..., Seat], network: Proxy
) -> None:
    do(hands.add, "gpu-1")
    seat = sit_down(look=Look(script=f"{NO_WORKER}; {NO_LOCKS}"))
    page = seat.open_live()

    do(network.reset)

    do(hands.run, "gpu-1-worker-0")
    is_busy(page)


def test_a_closed_tab_closes_its_stream(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat, network: Proxy
) -> None:
    do(hands.add, "gpu-1")
    keeps, leaves = seat.open_live(), seat.open_live("/?size=50")
    assert network.streams == 2

    leaves.close()

    eventually_blocking(lambda: network.streams, "one stream", until=lambda open_: open_ == 1)
    expect(connection(keeps)).to_have_text("live")


def test_pause_holds_the_page_still_and_loses_nothing(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add, "gpu-1")
    page = seat.open_live()

    page.get_by_role("button", name="Pause").click()
    expect(connection(page)).to_have_text(re.compile(r"^paused, \d+ s old$"))
    do(hands.run, "gpu-1-worker-0")
    other = seat.open_live()  # has seen it, on the same stream
    expect(line(other, "gpu-1", 0).locator(".worker")).to_have_text("busy")
    expect(line(page, "gpu-1", 0).locator(".worker")).to_have_text("idle")

    page.get_by_role("button", name="Pause").click()
    is_busy(page)


def test_a_redis_that_does_not_answer_is_said(
    own_redis: Callable[..., OwnRedis], browser: Browser, tmp_path: Path
) -> None:
    redis = own_redis()
    with monitored(tmp_path, redis.url, "default") as server:
        seat = Seat(browser, f"http://127.0.0.1:{server.port}")
        seat.sign_in(server.tokens[Role.VIEW])
        page = seat.open_live()

        with redis.frozen():
            away = re.compile(r"^Redis does not answer, ([2-9]|\d\d) s old$")
            expect(connection(page)).to_have_text(away)

        expect(connection(page)).to_have_text("live")
        seat.context.close()


def test_a_message_that_the_page_does_not_know_is_reported(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat, network: Proxy
) -> None:
    """Incident: events of unknown types were dropped, and nobody knew."""
    network.rewrite = {b'"type":"history"': b'"type":"novelty"'}
    do(hands.add, "gpu-1")

    page = seat.open_live()

    expect(page.get_by_text("The server is newer than this page. Reload it.")).to_be_visible()


def test_a_browser_with_many_views_keeps_connections_free(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat, network: Proxy
) -> None:
    do(hands.add, "gpu-1")
    live = [seat.open_live(f"/?q=gpu&sort={sort}") for sort in ("id", "state", "load", "started")]

    late = seat.open("/?size=50")

    expect(connection(late)).to_have_text("reduced: 1 update in 5 s")
    expect(card(late, "gpu-1")).to_be_visible()
    assert network.streams == 4
    do(hands.change_worker, "gpu-1-worker-0", state=WorkerState.DRAINING)
    expect(line(late, "gpu-1", 0).locator(".worker")).to_have_text("draining")
    live[0].close()
    expect(connection(late)).to_have_text("live")


def test_a_server_that_is_full_is_asked_for_snapshots_and_rows_stay(
    hands: FleetOfHands, do: Callable[..., Any], sit_down: Callable[..., Seat]
) -> None:
    do(hands.add, "gpu-2")
    seat = sit_down(look=Look(script=f"{NO_WORKER}; {NO_LOCKS}"))
    busy = '{"type":"busy","reason":"viewers","retry_s":2,"words":"The server is full."}'
    full = [True]
    seat.context.route(
        "**/v1/stream*",
        lambda route: (
            route.fulfill(content_type="text/event-stream", body=f"data: {busy}\n\n")
            if full
            else route.continue_()
        ),
    )

    page = seat.open()

    expect(connection(page)).to_have_text("reduced: 1 update in 5 s")
    do(hands.run, "gpu-2-worker-0")
    expect(line(page, "gpu-2", 0).locator(".worker")).to_have_text("busy")
    do(hands.add, "gpu-1")
    expect(page.get_by_role("button", name="1 changed")).to_be_visible()
    assert shown(page) == ["gpu-2"]
    page.get_by_role("button", name="1 changed").click()
    expect(card(page, "gpu-1")).to_be_visible()
    full.clear()
    expect(connection(page)).to_have_text("live")


def test_a_page_of_which_a_part_did_not_arrive_is_loaded_again(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add, "gpu-1")
    lost = ["**/web/js/cards.js"]
    seat.context.route(lost[0], lambda route: route.abort() if lost else route.continue_())
    page = seat.open()
    expect(connection(page)).to_have_count(0)

    lost.clear()

    expect(connection(page)).to_have_text("live")
