// What of the fleet is shown: search, states, order, size.

import { SIZES, go, here } from "./address.js";
import { el, glyph, say, set } from "./dom.js";
import { capital, count } from "./format.js";

/** @typedef {import("./feed/types.js").Fleet} Fleet */

const STATES = ["ready", "degraded", "starting", "draining", "offline"];
const SORTS = {
  id: "Name",
  state: "Trouble first",
  load: "Most jobs first",
  started: "Newest first",
};
const TYPED_MS = 250;

export class Toolbar {
  /** @param {() => void} onRefresh */
  constructor(onRefresh) {
    this.search = el("input", {
      class: "field",
      type: "search",
      placeholder: "Search the fleet",
      "aria-label": "Search machines, services, models, labels, jobs",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.typed(),
      onchange: () => this.find(),
    });
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.typing = undefined;
    this.chips = new Map(["", ...STATES].map((state) => [state, chip(state)]));
    this.sort = choice("Order", Object.entries(SORTS), (sort) => go({ sort, page: 1 }));
    this.size = choice(
      "Per page",
      SIZES.map((size) => [String(size), String(size)]),
      (size) => go({ size: Number(size), page: 1 }),
    );
    this.changed = el("button", {
      class: "button changed num",
      type: "button",
      hidden: true,
      title: "Rows stay in their places while you look. Show them as they would be now.",
      onclick: onRefresh,
    });
    this.element = el(
      "div",
      { class: "tools" },
      el("div", { class: "search" }, glyph("search"), this.search, el("kbd", {}, "/")),
      el(
        "div",
        { class: "chips", role: "group", "aria-label": "States" },
        ...[...this.chips.values()].map(({ element }) => element),
      ),
      el("span", { class: "room" }),
      this.changed,
      this.sort.element,
      this.size.element,
    );
  }

  /** @param {Fleet} fleet @param {number} changed rows that would be others now */
  draw({ machines }, changed) {
    for (const [state, { number }] of this.chips) {
      say(number, count(machines[state || "total"] ?? 0));
    }
    this.changed.hidden = !changed;
    say(this.changed, `${count(changed)} changed`);
  }

  /** Have the fields agree with the address. */
  aim() {
    const { q, state, sort, size } = here();
    if (!this.typing && document.activeElement !== this.search) this.search.value = q;
    for (const [each, { element }] of this.chips) {
      set(element, "aria-pressed", String(each === state));
    }
    this.sort.select.value = sort;
    this.size.select.value = String(size);
  }

  typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.find(), TYPED_MS);
  }

  /** Search for what was typed. */
  find() {
    clearTimeout(this.typing);
    this.typing = undefined;
    const q = this.search.value.trim();
    if (q !== here().q) go({ q, page: 1 }, { replace: true });
  }
}

/** @param {string} state */
function chip(state) {
  const number = el("span", { class: "num" });
  const element = el(
    "button",
    {
      class: "chip",
      type: "button",
      onclick: () => go({ state: here().state === state ? "" : state, page: 1 }),
    },
    capital(state || "all"),
    " ",
    number,
  );
  return { element, number };
}

/**
 * @param {string} label
 * @param {[string, string][]} options
 * @param {(value: string) => void} choose
 */
function choice(label, options, choose) {
  const select = el(
    "select",
    { class: "field", "aria-label": label, onchange: () => choose(select.value) },
    ...options.map(([value, text]) => el("option", { value }, text)),
  );
  return { select, element: el("label", {}, el("span", { class: "wide" }, label), select) };
}
