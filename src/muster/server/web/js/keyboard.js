// Keys. They act when nothing is being typed, and can be turned off.

import { go } from "./address.js";
import { el } from "./dom.js";

const PLACE = "muster.keys";

/** @typedef {{ keys: string[], does: string, act: () => void }} Shortcut */

/** @returns {boolean} */
const enabled = () => localStorage.getItem(PLACE) !== "off";

/** @param {Shortcut[]} shortcuts */
export function listen(shortcuts) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    const typing =
      event.target instanceof Element && event.target.closest("input, select, textarea");
    if (event.key !== "Escape" && (typing || !enabled())) return;
    const shortcut = shortcuts.find(({ keys }) => keys.includes(event.key));
    if (!shortcut) return;
    event.preventDefault();
    shortcut.act();
  });
}

/**
 * Show what the keys do.
 *
 * @param {Shortcut[]} shortcuts
 */
export function help(shortcuts) {
  const on = el("input", {
    type: "checkbox",
    checked: enabled(),
    onchange: () => {
      localStorage.setItem(PLACE, on.checked ? "on" : "off");
    },
  });
  const rows = shortcuts.flatMap(({ keys, does }) => [
    el(
      "dt",
      {},
      ...keys.flatMap((key, index) => [index ? " " : "", el("kbd", {}, NAMES[key] ?? key)]),
    ),
    el("dd", {}, does),
  ]);
  const dialog = el(
    "dialog",
    { class: "ask", "aria-labelledby": "keys" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "keys" }, "Keyboard"),
      el("dl", {}, ...rows),
      el(
        "div",
        { class: "row" },
        el("label", { class: "check" }, on, "Keys are on"),
        el("button", { class: "button primary" }, "Close"),
      ),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** @type {Record<string, string>} */
const NAMES = {
  ArrowLeft: "←",
  ArrowRight: "→",
  ArrowUp: "↑",
  ArrowDown: "↓",
  Escape: "Esc",
};

/**
 * Move the focus among the cards, in the direction of an arrow.
 *
 * @param {"next" | "previous" | "above" | "below"} where
 */
export function step(where) {
  const cards = [...document.querySelectorAll(".card")].filter(
    (card) => card instanceof HTMLElement,
  );
  const current = document.activeElement?.closest(".card");
  const index = cards.findIndex((card) => card === current);
  if (index < 0) return focus(cards[0]);
  if (where === "next") return focus(cards[index + 1]);
  if (where === "previous") return focus(cards[index - 1]);
  const { left, top } = /** @type {HTMLElement} */ (cards[index]).getBoundingClientRect();
  const column = cards.filter((card) => Math.abs(card.getBoundingClientRect().left - left) < 2);
  const others = column.filter((card) => {
    const distance = card.getBoundingClientRect().top - top;
    return where === "below" ? distance > 2 : distance < -2;
  });
  return focus(where === "below" ? others[0] : others.at(-1));
}

/** @param {HTMLElement | undefined} card */
function focus(card) {
  card?.focus({ preventScroll: true });
  card?.scrollIntoView({ block: "nearest" });
}

const focused = () => document.activeElement?.closest(".card");

export function openFocused() {
  const machine = focused()?.getAttribute("data-machine");
  if (machine) go({ machine, job: "" });
}

export function pinFocused() {
  const pin = focused()?.querySelector(".pin");
  if (pin instanceof HTMLElement) pin.click();
}
