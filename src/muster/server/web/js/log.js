// Events of jobs, newest first, for reading.

import { link } from "./address.js";
import { el, say } from "./dom.js";
import { moment } from "./format.js";

/** @typedef {import("./feed/types.js").Events} Events */

const KEPT = 50;

export class Log {
  constructor() {
    this.list = el("ol", { class: "log" });
    this.skipped = el("p", { class: "soft", hidden: true });
    this.element = el("div", {}, this.list, this.skipped);
    this.left = 0;
    /** @type {Set<string>} */
    this.seen = new Set();
  }

  get size() {
    return this.list.childElementCount;
  }

  /** @param {Events} message */
  take({ events, skipped = 0 }) {
    const fresh = events.filter(({ id }) => !this.seen.has(id)).slice(-KEPT);
    for (const { id } of fresh) this.seen.add(id);
    this.list.prepend(...fresh.map(row).reverse());
    while (this.list.childElementCount > KEPT) this.list.lastElementChild?.remove();
    if (this.seen.size > 4 * KEPT) this.seen = new Set([...this.seen].slice(-2 * KEPT));
    this.left += skipped;
    this.skipped.hidden = !this.left;
    say(this.skipped, `${this.left} more were left out.`);
    return fresh.length;
  }
}

/** @param {import("./feed/types.js").LogEvent} event */
function row({ at, job, state, worker, attempt, detail }) {
  const failed = state === "failed" || detail === "failed" || detail === "lost";
  const what = state === "scheduled" && failed ? `attempt ${attempt ?? ""} ${detail}` : state;
  return el(
    "li",
    {},
    el("time", { class: "num", datetime: new Date(at).toISOString() }, moment(at)),
    el(
      "span",
      { class: "tag state", "data-state": failed ? "failed" : state },
      el("span", { class: "mark" }),
      what,
    ),
    el("a", { class: "mono", href: link({ job, machine: "" }) }, job),
    worker && el("span", { class: "soft" }, worker),
  );
}
