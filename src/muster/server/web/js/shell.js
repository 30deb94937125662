// The frame of the page: the bar at the top, and the place below it.

import { link } from "./address.js";
import { el, glyph, set } from "./dom.js";

/**
 * @typedef {{ pause: () => void, theme: () => void, keys: () => void, leave: () => void }} Deeds
 */

export class Shell {
  /**
   * @param {HTMLElement} place
   * @param {import("./api.js").Session} session
   * @param {HTMLElement} connection
   * @param {HTMLElement} counters
   * @param {Deeds} deeds
   */
  constructor(place, { name, role }, connection, counters, deeds) {
    this.links = { fleet: el("a", { href: "/" }, "Fleet"), jobs: el("a", { href: "/" }, "Jobs") };
    this.pause = tool("Pause", "pause", deeds.pause);
    this.counters = counters;
    this.main = el("main", { class: "main", id: "main", tabindex: "-1" }, counters);
    const skip = el("a", { class: "button primary skip", href: "#main" }, "To the machines");
    skip.addEventListener("click", (event) => {
      event.preventDefault();
      this.main.focus();
    });
    const keys = tool("Keyboard (?)", "keys", deeds.keys);
    keys.classList.add("wide");
    place.replaceChildren(
      skip,
      el(
        "header",
        { class: "bar" },
        el(
          "a",
          { class: "brand", href: "/", "aria-label": "Muster" },
          el("img", { src: "/web/icon.svg", alt: "", width: 26, height: 26 }),
          el("b", {}, "Muster"),
        ),
        el("nav", { class: "views", "aria-label": "Views" }, this.links.fleet, this.links.jobs),
        el("span", { class: "room" }),
        connection,
        this.pause,
        tool("Light or dark (t)", "theme", deeds.theme),
        keys,
        el("span", { class: "who wide", title: `Signed in as ${name}, who may ${role}` }, name),
        tool("Sign out", "leave", deeds.leave),
      ),
      this.main,
    );
  }

  /**
   * Show a view below the counters.
   *
   * @param {"fleet" | "jobs"} name
   * @param {HTMLElement} view
   */
  show(name, view) {
    for (const [each, anchor] of Object.entries(this.links)) {
      set(anchor, "href", link({ view: each === "jobs" ? "jobs" : "fleet", job: "", machine: "" }));
      set(anchor, "aria-current", each === name ? "page" : null);
    }
    if (view.isConnected) return;
    this.counters.nextElementSibling?.remove();
    this.main.append(view);
  }

  /** @param {boolean} paused */
  hold(paused) {
    set(this.pause, "aria-pressed", String(paused));
    this.pause.replaceChildren(glyph(paused ? "play" : "pause"));
  }
}

/**
 * @param {string} label
 * @param {Parameters<typeof glyph>[0]} picture
 * @param {() => void} act
 */
const tool = (label, picture, act) =>
  el(
    "button",
    { class: "button icon plain", type: "button", "aria-label": label, title: label, onclick: act },
    glyph(picture),
  );
