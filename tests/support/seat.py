"""One who sits before a browser and looks at the monitor."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

PICTURES = Path(__file__).parents[2] / "results" / "screenshots"
# An offline network is no fault of the page; all else that the console calls an error is.
NETWORK = "Failed to load resource: net::"

expect.set_options(timeout=30_000)


@dataclass(frozen=True)
class Look:
    """The screen, and how its owner likes it."""

    scheme: Literal["light", "dark"] = "light"
    width: int = 1440
    height: int = 900
    script: str = ""
    still: bool = False


@dataclass
class Seat:
    """A browser with cookies of its own, at the address of a server."""

    browser: Browser
    url: str
    look: Look = field(default_factory=Look)

    def __post_init__(self) -> None:
        self.complaints: list[str] = []
        self.context = self.browser.new_context(
            base_url=self.url,
            viewport={"width": self.look.width, "height": self.look.height},
            color_scheme=self.look.scheme,
            reduced_motion="reduce" if self.look.still else "no-preference",
        )
        if self.look.script:
            self.context.add_init_script(self.look.script)

    def sign_in(self, token: str) -> None:
        """Get the cookie, without the form."""
        answer = self.context.request.post(
            "/v1/session", data={"token": token}, headers={"Origin": self.url}
        )
        assert answer.ok, answer.text()

    def open(self, address: str = "/") -> Page:
        """Open a tab."""
        page = self.context.new_page()
        page.on("console", lambda said: self._note(said.type, said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(address)
        return page

    def open_live(self, address: str = "/") -> Page:
        """Open a tab, and wait until it is live."""
        page = self.open(address)
        try:
            expect(connection(page)).to_have_text("live")
        except AssertionError as error:
            loaded = page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
            error.add_note(f"The console said: {self.complaints}; it had loaded {loaded}")
            raise
        return page

    def _note(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not text.startswith(NETWORK):
            self.complaints.append(f"{kind}: {text}")


def connection(page: Page) -> Locator:
    """Where the page says how it hears of the fleet."""
    return page.locator(".connection")


def card(page: Page, machine: str) -> Locator:
    """A machine's card among the others (not the pinned ones)."""
    return page.get_by_role("region", name="Machines", exact=True).locator(
        f'[data-machine="{machine}"]'
    )


def line(page: Page, machine: str, gpu: int) -> Locator:
    """A GPU's line on a machine's card."""
    return card(page, machine).locator(".line").nth(gpu)


def counter(page: Page, name: str) -> Locator:
    """One of the numbers at the top."""
    return page.locator(f'[data-counter="{name}"] .value > span').first


def shown(page: Page) -> list[str]:
    """The machines of the page, in their order."""
    names: list[str] = page.get_by_role("region", name="Machines", exact=True).evaluate(
        "grid => [...grid.children].map(card => card.dataset.machine)"
    )
    return names


def picture(page: Page, name: str) -> None:
    """Keep a screenshot for people to look at."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def violations(page: Page) -> list[dict[str, Any]]:
    """What axe finds that keeps people out."""
    found = Axe().run(page)
    return [
        {
            "rule": rule["id"],
            "help": rule["help"],
            "where": [n["target"] for n in rule["nodes"]][:3],
        }
        for rule in found.response["violations"]
    ]
