// The cards of a view, by machine. Only what has changed is drawn anew.

import { Card } from "./card.js";
import { arrange, el } from "./dom.js";

/** @typedef {import("./store.js").Store} Store */

export class Cards {
  /** @param {string} label @param {(id: string) => void} onPin */
  constructor(label, onPin) {
    this.onPin = onPin;
    /** @type {Map<string, Card>} */
    this.held = new Map();
    /** @type {Store | undefined} */
    this.store = undefined;
    this.element = el("div", { class: "cards", role: "region", "aria-label": label });
  }

  /** @param {Store} store */
  draw(store) {
    const { document } = store;
    if (!document) return; // the rows before stay until there are others
    const { changed, whole, reordered } = store.drain();
    if (reordered || store !== this.store) {
      this.store = store;
      const shown = document.order.filter((id) => document.machines[id]);
      this.lay(shown);
      for (const id of shown) {
        changed.add(id);
        whole.add(id);
      }
    }
    for (const id of changed) this.held.get(id)?.draw(store, whole.has(id));
  }

  /** @param {string[]} shown */
  lay(shown) {
    const before = this.held;
    this.held = new Map(shown.map((id) => [id, before.get(id) ?? new Card(id, this.onPin)]));
    for (const card of this.held.values()) card.aim();
    arrange(
      this.element,
      [...this.held.values()].map((card) => card.element),
    );
  }

  /** Have links and pins agree with the address. */
  aim() {
    for (const card of this.held.values()) card.aim();
  }
}
