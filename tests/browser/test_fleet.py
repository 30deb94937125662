"""What the monitor shows of the fleet, and that rows stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from muster.fleet.model import Download, MachineState, Program, WorkerState
from support.monitor import DISGUISED
from support.seat import Look, card, counter, line, picture, shown, violations

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.monitor import FleetOfHands
    from support.proxy import Proxy
    from support.seat import Seat


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("machines", [0, 1, 20, 100])
def test_machines_are_shown_to_all_who_look(
    machines: int,
    scheme: Any,
    hands: FleetOfHands,
    do: Callable[..., Any],
    sit_down: Callable[..., Seat],
) -> None:
    do(hands.add_many, machines)
    for number in range(1, machines + 1, 3):
        job = do(hands.run, f"gpu-{number}-worker-1")
        do(hands.progress, job, 0.42, "step 21 of 50")
    if machines > 1:
        do(hands.change_machine, "gpu-2", state=MachineState.DEGRADED, reasons=["too hot"])
        do(hands.leave, "gpu-3")
    seat = sit_down(look=Look(scheme))

    page = seat.open_live("/?size=100")

    expect(page.locator(".card")).to_have_count(machines)
    expect(counter(page, "Machines")).to_have_text(str(machines - (machines > 1)))
    if machines == 0:
        expect(page.get_by_role("heading", name="No machines yet")).to_be_visible()
    else:
        expect(line(page, "gpu-1", 1)).to_contain_text("step 21 of 50")
    assert violations(page) == []
    assert seat.complaints == []
    picture(page, f"fleet-{machines}-{scheme}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(
    scheme: Any, hands: FleetOfHands, do: Callable[..., Any], sit_down: Callable[..., Seat]
) -> None:
    do(hands.add, "gpu-1")
    do(hands.add, "gpu-2", 8)
    do(hands.run, "gpu-1-worker-0")
    seat = sit_down(look=Look(scheme, width=360, height=780))

    page = seat.open_live()

    expect(page.locator(".card")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360, "it scrolls sideways"
    assert violations(page) == []
    picture(page, f"phone-{scheme}")


def test_every_gpu_has_its_line_and_all_states_their_words(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add, "gpu-1", 8)
    page = seat.open_live()
    expect(card(page, "gpu-1").locator(".line")).to_have_count(8)

    for gpu, state in enumerate(WorkerState):
        do(hands.change_worker, f"gpu-1-worker-{gpu}", state=state)

    for gpu, state in enumerate(WorkerState):
        expect(line(page, "gpu-1", gpu).locator(".worker")).to_have_text(state)


def test_progress_is_shown(hands: FleetOfHands, do: Callable[..., Any], seat: Seat) -> None:
    do(hands.add, "gpu-1")
    page = seat.open_live()
    job = do(hands.run, "gpu-1-worker-2")
    row = line(page, "gpu-1", 2)
    expect(row.get_by_role("link")).to_have_text(job)

    do(hands.progress, job, 0.25, "step 5 of 20")
    expect(row).to_contain_text("25 %")
    do(hands.progress, job, 0.75, "step 15 of 20")

    expect(row).to_contain_text("75 %")
    expect(row).to_contain_text("step 15 of 20")
    bar, track = row.locator(".fill").bounding_box(), row.locator(".track").bounding_box()
    assert bar
    assert track
    assert bar["width"] == pytest.approx(0.75 * track["width"], abs=1)

    do(hands.complete, job)
    expect(row).not_to_contain_text(job)
    expect(row.locator(".worker")).to_have_text("idle")
    expect(counter(page, "Completed")).to_have_text("1")


def test_a_machine_says_what_is_wrong_with_it(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add, "gpu-1", 2)
    page = seat.open_live()

    programs = [
        Program(name="comfyui-gpu0", kind="service", gpu=0, state="FATAL", restarts=5),
        Program(name="worker-gpu0", kind="worker", gpu=0, state="RUNNING", pid=7),
    ]
    do(
        hands.change_machine,
        "gpu-1",
        state=MachineState.DEGRADED,
        reasons=["comfyui-gpu0 is FATAL"],
        programs=programs,
        downloads=[Download(name="flux", done=25, size=100)],
    )

    expect(card(page, "gpu-1").locator(".tag")).to_have_text("degraded")
    expect(card(page, "gpu-1").locator(".reasons")).to_have_text(
        "comfyui-gpu0 is FATAL · fetching flux: 25 %"
    )
    expect(line(page, "gpu-1", 0)).to_contain_text("comfyui-gpu0 is fatal")


def test_a_state_that_the_page_does_not_know_is_shown_by_its_word(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat, network: Proxy
) -> None:
    """Incident: worker states without a word of their own were shown as "disconnected"."""
    network.rewrite = {b'"idle"': b'"warm"'}  # what a later server may say
    do(hands.add, "gpu-1")

    page = seat.open_live()

    expect(line(page, "gpu-1", 0).locator(".worker")).to_have_text("warm")
    expect(page.locator("body")).not_to_contain_text("disconnected")


def test_what_machines_say_is_text_and_nothing_else(
    hands: FleetOfHands, do: Callable[..., Any], sit_down: Callable[..., Seat]
) -> None:
    evil = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
    seat = sit_down(look=Look(script="window.taken = false"))
    do(hands.add, DISGUISED, 1, host=evil, reasons=[evil], state=MachineState.DEGRADED)
    job = do(hands.run, f"{DISGUISED}-worker-0", payload={"prompt": evil})
    do(hands.progress, job, 0.5, evil)

    page = seat.open_live()
    expect(card(page, DISGUISED).get_by_role("heading")).to_have_text(DISGUISED)
    expect(card(page, DISGUISED).locator(".reasons")).to_have_text(evil)
    expect(line(page, DISGUISED, 0)).to_contain_text(evil)
    card(page, DISGUISED).get_by_role("heading").get_by_role("link").click()
    expect(page.locator("[data-sheet=machine]")).to_contain_text(evil)
    page.goto(f"/?job={job}")
    expect(page.locator("[data-sheet=job] pre").first).to_contain_text("<script>")

    assert "taken" not in page.title()
    assert page.locator("#page script, #page img:not([src='/web/icon.svg'])").count() == 0


def test_paging_does_not_erase_live_states(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    """Incident: turning a page fetched a snapshot that knew nothing of what workers were doing."""
    do(hands.add_many, 45)
    job = do(hands.run, "gpu-1-worker-0")
    do(hands.progress, job, 0.5, "half")
    page = seat.open_live()
    expect(line(page, "gpu-1", 0)).to_contain_text("50 %")
    states = "lines => [...new Set([...lines].map(l => l.querySelector('.worker').innerText))]"

    page.get_by_role("link", name="Next page").click()
    expect(card(page, "gpu-21")).to_be_visible()
    assert shown(page) == [f"gpu-{n}" for n in range(21, 41)]
    assert page.locator(".line").evaluate_all(states) == ["idle"]
    do(hands.progress, job, 0.6, "on")
    page.get_by_role("link", name="Page before").click()

    expect(card(page, "gpu-1")).to_be_visible()
    expect(line(page, "gpu-1", 0)).to_contain_text("60 %")
    expect(line(page, "gpu-1", 0).locator(".worker")).to_have_text("busy")
    assert sorted(page.locator(".line").evaluate_all(states)) == ["busy", "idle"]
    do(hands.complete, job)
    expect(line(page, "gpu-1", 0).locator(".worker")).to_have_text("idle")


def test_rows_do_not_move_until_they_are_asked_to(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    for name in ("b-1", "c-1", "d-1"):
        do(hands.add, name)
    page = seat.open_live()
    expect(page.locator(".card")).to_have_count(3)
    changed = page.get_by_role("button", name="changed")
    expect(changed).to_be_hidden()

    do(hands.add, "a-1")

    expect(changed).to_be_visible()
    assert shown(page) == ["b-1", "c-1", "d-1"]
    do(hands.change_machine, "d-1", state=MachineState.DEGRADED)
    expect(card(page, "d-1").locator(".tag")).to_have_text("degraded")
    changed.click()
    expect(card(page, "a-1")).to_be_visible()
    assert shown(page) == ["a-1", "b-1", "c-1", "d-1"]
    expect(changed).to_be_hidden()


def test_pinned_machines_stay_in_sight(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add_many, 25)
    page = seat.open_live()
    card(page, "gpu-3").get_by_role("button", name="Pin gpu-3").click()
    pinned = page.get_by_role("region", name="Pinned machines")
    expect(pinned.locator(".card")).to_have_count(1)

    page.get_by_role("link", name="Next page").click()
    expect(card(page, "gpu-21")).to_be_visible()
    do(hands.run, "gpu-3-worker-1")

    expect(pinned.locator(".line").nth(1)).to_contain_text("busy")
    pinned.get_by_role("button", name="Pin gpu-3").click()
    expect(pinned).to_be_hidden()


def test_search_and_states_choose_what_is_shown(
    hands: FleetOfHands, do: Callable[..., Any], seat: Seat
) -> None:
    do(hands.add_many, 12)
    do(hands.change_machine, "gpu-5", state=MachineState.DEGRADED)
    page = seat.open_live()

    page.get_by_role("button", name="Degraded 1").click()
    expect(page.locator(".card")).to_have_count(1)
    expect(card(page, "gpu-5")).to_be_visible()
    page.get_by_role("button", name="All 12").click()
    expect(page.locator(".card")).to_have_count(12)
    page.get_by_placeholder("Search the fleet").fill("gpu-11")
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_placeholder("Search the fleet").fill("nothing like it")

    expect(page.get_by_role("heading", name="No machine matches")).to_be_visible()
    page.get_by_role("link", name="Show all machines").click()
    expect(page.locator(".card")).to_have_count(12)


def test_a_screen_reader_gets_a_summary_and_not_a_flood(
    hands: FleetOfHands, do: Callable[..., Any], sit_down: Callable[..., Seat]
) -> None:
    count = """
      addEventListener("DOMContentLoaded", () => {
        window.said = [];
        new MutationObserver(() => said.push(announcer.textContent))
          .observe(document.getElementById("announcer"), { childList: true });
      });"""
    seat = sit_down(look=Look(script=count))
    seat.context.clock.install()
    do(hands.add_many, 3)
    page = seat.open_live()
    job = do(hands.run, "gpu-1-worker-0")
    for step in range(1, 20):
        do(hands.progress, job, step / 20, f"step {step}")
    expect(line(page, "gpu-1", 0)).to_contain_text("95 %")
    live = page.locator("[aria-live], [role=status], [role=alert], [role=log]")

    assert live.count() == 1, "each live region is read out when it changes"
    assert page.evaluate("said") == []
    page.clock.run_for(31_000)

    assert page.evaluate("said") == [
        "3 machines, 0 of them degraded or offline. 1 worker busy, 0 jobs waiting."
    ]
