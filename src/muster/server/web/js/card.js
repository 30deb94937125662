// A machine: how it is, and its GPUs.

import { here, link } from "./address.js";
import { arrange, el, glyph, say, set } from "./dom.js";
import { moment, percent, plural } from "./format.js";
import { Line } from "./line.js";

/**
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./feed/types.js").Machine} Machine
 */

const MANY = 4; // GPUs that stand one below the other; more stand in two columns

export class Card {
  /** @param {string} id @param {(id: string) => void} onPin */
  constructor(id, onPin) {
    this.id = id;
    /** @type {Line[]} */
    this.lines = [];
    this.name = el("a", { href: link({ machine: id, job: "" }) }, id);
    this.state = el("span", {});
    this.tag = el("span", { class: "tag state" }, el("span", { class: "mark" }), this.state);
    this.pin = el(
      "button",
      {
        class: "button plain icon pin",
        type: "button",
        "aria-label": `Pin ${id}`,
        onclick: () => onPin(id),
      },
      glyph("pin"),
    );
    this.about = el("p", { class: "about" });
    this.reasons = el("p", { class: "reasons", hidden: true });
    this.list = el("ul", { class: "lines" });
    this.element = el(
      "article",
      { class: "card", tabindex: "-1", "data-machine": id, "aria-label": id },
      el("header", {}, el("h2", {}, this.name), this.tag, this.pin),
      this.about,
      this.reasons,
      this.list,
    );
  }

  /**
   * Draw the workers, and if it is `whole`, what the machine says of itself.
   *
   * @param {Store} store
   * @param {boolean} whole
   */
  draw(store, whole) {
    const machine = store.document?.machines[this.id];
    if (!machine) return;
    if (whole) this.head(machine);
    const workers = new Map(store.workers(this.id).map((worker) => [worker.gpu, worker]));
    for (const line of this.lines) line.draw(store, machine, workers.get(line.gpu));
  }

  /** @param {Machine} machine */
  head(machine) {
    set(this.tag, "data-state", machine.state);
    say(this.state, machine.state);
    set(this.element, "data-state", machine.state);
    say(this.about, about(machine));
    this.excuse(machine);
    this.fit(machine.gpus);
  }

  /** Have links and pin agree with the address. */
  aim() {
    set(this.name, "href", link({ machine: this.id, job: "" }));
    set(this.pin, "aria-pressed", String(here().pins.includes(this.id)));
    for (const line of this.lines) line.aim();
  }

  /** @param {Machine} machine */
  excuse({ reasons = [], downloads = [] }) {
    const coming = downloads.map(
      ({ name, done, size }) => `fetching ${name}: ${size ? percent(done / size) : "0 %"}`,
    );
    const text = [...reasons, ...coming].join(" · ");
    this.reasons.hidden = !text;
    say(this.reasons, text);
    set(this.reasons, "title", text || null);
  }

  /**
   * Have as many lines as there are GPUs.
   *
   * @param {number} gpus
   */
  fit(gpus) {
    if (this.lines.length === gpus) return;
    this.list.classList.toggle("many", gpus > MANY);
    this.lines.length = Math.min(gpus, this.lines.length);
    while (this.lines.length < gpus) this.lines.push(new Line(this.lines.length));
    arrange(
      this.list,
      this.lines.map((line) => line.element),
    );
  }
}

/** @param {Machine} machine */
export function about(machine) {
  const release = machine.release && `${machine.release.name} ${machine.release.version}`;
  const at = machine.seen_at ?? machine.started_at;
  const time = at && `${machine.seen_at ? "last heard" : "since"} ${moment(at)}`;
  return [plural(machine.gpus, "GPU"), release, time].filter(Boolean).join(" · ");
}
