// How the page hears of the fleet, in words: never less than how old it is.

import { el, say, set } from "./dom.js";
import { span } from "./format.js";

/** @typedef {import("./feed/types.js").Link} Link */

const SAY_AGE = new Set(["reconnecting", "away", "paused"]);

/**
 * Return a state and its words. `paused_at` is when the user paused, or 0.
 *
 * @param {Link} link
 * @param {number} paused_at
 * @param {number} now
 */
export function words(link, paused_at, now) {
  const state = paused_at ? "paused" : link.state;
  const text = paused_at ? "paused" : link.words.replace(/[.;].*$/, "");
  const from = paused_at || link.heard_at;
  const age = SAY_AGE.has(state) && from ? `, ${span((now - from) / 1000)} old` : "";
  return { state, text: text + age };
}

export class Connection {
  constructor() {
    this.text = el("span", {}, "connecting");
    this.element = el(
      "span",
      { class: "connection tag state num", "data-state": "connecting" },
      el("span", { class: "mark" }),
      this.text,
    );
    /** @type {Link} */
    this.link = { state: "connecting", words: "connecting", heard_at: 0 };
    this.paused_at = 0;
    setInterval(() => this.draw(), 1_000);
  }

  /** @param {Link} link */
  take(link) {
    this.link = { ...link };
    this.draw();
  }

  heard() {
    if (this.link.state !== "away") this.link.heard_at = Date.now();
  }

  draw() {
    const { state, text } = words(this.link, this.paused_at, Date.now());
    set(this.element, "data-state", state);
    set(this.element, "title", this.link.words);
    say(this.text, text);
  }
}
