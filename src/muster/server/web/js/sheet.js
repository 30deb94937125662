// A sheet at the side: one thing, whole.

import { go } from "./address.js";
import { el, glyph, say, set } from "./dom.js";

export class Sheet {
  /** @param {string} what @param {string} id */
  constructor(what, id) {
    this.state = el("span", {});
    this.tag = el(
      "span",
      { class: "tag state", hidden: true },
      el("span", { class: "mark" }),
      this.state,
    );
    this.body = el("div", { class: "body" });
    this.title = el("h2", { id: "sheet-title", tabindex: "-1" }, id);
    this.element = el(
      "section",
      { class: "sheet", role: "dialog", "aria-labelledby": "sheet-title", "data-sheet": what },
      el(
        "div",
        { class: "sheet-head" },
        this.title,
        this.tag,
        el(
          "button",
          {
            class: "button plain icon",
            type: "button",
            "aria-label": "Close",
            onclick: closeSheet,
          },
          glyph("close"),
        ),
      ),
      this.body,
    );
  }

  /** @param {string} state */
  be(state) {
    this.tag.hidden = false;
    set(this.tag, "data-state", state);
    say(this.state, state);
  }
}

export function closeSheet() {
  go({ job: "", machine: "" });
}

/**
 * @param {string} title
 * @param {...import("./dom.js").Child} content
 */
export const part = (title, ...content) => el("section", {}, el("h3", {}, title), ...content);

/** @param {[string, import("./dom.js").Child][]} pairs */
export const facts = (pairs) =>
  el(
    "dl",
    { class: "facts" },
    ...pairs
      .filter(([, value]) => value !== "" && value !== undefined)
      .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
