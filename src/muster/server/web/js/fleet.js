// The fleet: pinned machines, a page of the others, what went wrong lately.

import { go, here, link } from "./address.js";
import { resumeQueue } from "./actions.js";
import { Cards } from "./cards.js";
import { el, glyph, say, set } from "./dom.js";
import { count } from "./format.js";
import { Log } from "./log.js";
import { Toolbar } from "./toolbar.js";

/**
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./feed/types.js").Document} Document
 */

export class FleetView {
  /** @param {() => void} onRefresh */
  constructor(onRefresh) {
    this.toolbar = new Toolbar(onRefresh);
    this.pinned = new Cards("Pinned machines", togglePin);
    this.missing = el("p", { class: "missing" });
    this.pinnedPart = el(
      "section",
      { class: "pinned", hidden: true },
      el("h2", { class: "over" }, "Pinned"),
      this.pinned.element,
      this.missing,
    );
    this.cards = new Cards("Machines", togglePin);
    this.empty = el("div", { class: "empty", hidden: true });
    this.emptied = "";
    this.back = pageLink("Page before", "back");
    this.next = pageLink("Next page", "next");
    this.where = el("span", { class: "num" });
    this.pager = el(
      "nav",
      { class: "pager", "aria-label": "Pages", hidden: true },
      this.back,
      this.where,
      this.next,
    );
    this.log = new Log();
    this.logCount = el("span", { class: "num" });
    this.logPart = el(
      "details",
      { class: "lately", hidden: true },
      el("summary", {}, "Trouble lately ", this.logCount),
      this.log.element,
    );
    this.paused = el(
      "div",
      { class: "notice state", "data-state": "paused", hidden: true },
      el("span", {}, "The queue is paused: running jobs go on, no others are handed out."),
      resumeQueue(),
    );
    this.element = el(
      "section",
      { "aria-labelledby": "fleet" },
      el("h1", { id: "fleet", class: "unseen" }, "Fleet"),
      this.toolbar.element,
      this.paused,
      this.logPart,
      this.pinnedPart,
      this.cards.element,
      this.empty,
      this.pager,
    );
  }

  /** @param {Store} store @param {Store | undefined} pins */
  draw(store, pins) {
    const { document } = store;
    if (pins) {
      this.pinned.draw(pins);
      this.miss(pins.document?.missing ?? []);
    }
    this.cards.draw(store);
    if (!document) return;
    this.toolbar.draw(document.fleet, document.page?.changed ?? 0);
    this.paused.hidden = !document.fleet.paused;
    this.page(document);
    this.explain(document);
  }

  /**
   * Name the pinned machines that are not there, and let go of them.
   *
   * @param {string[]} ids
   */
  miss(ids) {
    const key = ids.join();
    if (this.missing.dataset.ids === key) return;
    this.missing.dataset.ids = key;
    const buttons = ids.map((id) =>
      el(
        "button",
        { class: "button", type: "button", onclick: () => togglePin(id) },
        `Unpin ${id}`,
      ),
    );
    this.missing.replaceChildren(ids.length ? "Not there now: " : "", ...buttons);
  }

  /** Have all agree with the address. */
  aim() {
    this.toolbar.aim();
    this.pinnedPart.hidden = !here().pins.length;
    this.cards.aim();
    this.pinned.aim();
    for (const turning of [this.back, this.next]) turn(turning, 0, false); // it is not there yet
  }

  /** @param {import("./feed/types.js").Events} message */
  note(message) {
    const fresh = this.log.take(message);
    this.logPart.hidden = !this.log.size;
    say(this.logCount, count(this.log.size));
    return fresh;
  }

  /** @param {Document} document */
  page({ page, order }) {
    if (!page) return;
    this.pager.hidden = page.matched <= order.length && page.pages <= 1;
    const first = (page.page - 1) * page.size;
    say(
      this.where,
      `${count(first + 1)} to ${count(first + order.length)} of ${count(page.matched)}`,
    );
    turn(this.back, page.page - 1, page.page > 1);
    turn(this.next, page.page + 1, page.page < page.pages);
  }

  /**
   * Say why there is nothing to see.
   *
   * @param {Document} document
   */
  explain({ fleet, order }) {
    this.empty.hidden = order.length > 0;
    const why = order.length ? "" : fleet.machines.total ? "filter" : "none";
    if (why === this.emptied) return;
    this.emptied = why;
    if (why === "none") {
      this.empty.replaceChildren(
        el("h2", {}, "No machines yet"),
        el(
          "p",
          {},
          "A machine appears here as soon as it registers. Start one with ",
          el("code", {}, "muster machine"),
          ", or a fleet on this computer with ",
          el("code", {}, "muster up"),
          ".",
        ),
      );
    } else {
      this.empty.replaceChildren(
        el("h2", {}, "No machine matches"),
        el("p", {}, "Nothing in the fleet fits this search and these states."),
        el(
          "a",
          { class: "button", href: link({ q: "", state: "", page: 1 }) },
          "Show all machines",
        ),
      );
    }
  }
}

/** @param {string} id */
function togglePin(id) {
  const { pins } = here();
  const others = pins.filter((pin) => pin !== id);
  go({ pins: others.length === pins.length ? [...pins, id] : others });
}

/** @param {string} label @param {"back" | "next"} picture */
const pageLink = (label, picture) =>
  el(
    "a",
    {
      class: "button icon",
      href: "/",
      rel: picture === "back" ? "prev" : "next",
      "aria-label": label,
    },
    glyph(picture),
  );

/** @param {HTMLAnchorElement} anchor @param {number} page @param {boolean} there */
function turn(anchor, page, there) {
  set(anchor, "href", there ? link({ page }) : null);
  set(anchor, "aria-disabled", there ? null : "true");
}
