// The fleet in six numbers, and where they come from.

import { el, say } from "./dom.js";
import { count } from "./format.js";
import { Sparkline } from "./sparkline.js";

/** @typedef {import("./feed/types.js").Fleet} Fleet */

/** @typedef {{ text: string, tone?: "worry" | "alarm" | "" }} Note */
/** @typedef {{ value: number, of?: string, notes: Note[], bar?: [string, number][] }} Reading */

/** @type {{ name: string, series?: string, read: (fleet: Fleet, rate: number) => Reading }[]} */
const COUNTERS = [
  {
    name: "Machines",
    read: ({ machines, gpus }) => ({
      value: machines.total - at(machines, "offline"),
      of: `of ${count(machines.total)}`,
      notes: [note(gpus, "GPUs"), ...troubles(machines)],
      bar: parts(machines, ["ready", "starting", "degraded", "draining", "offline"]),
    }),
  },
  {
    name: "Workers busy",
    read: ({ workers }) => ({
      value: at(workers, "busy"),
      of: `of ${count(workers.total - at(workers, "offline"))}`,
      notes: [note(at(workers, "idle"), "idle"), ...troubles(workers)],
      bar: parts(workers, ["busy", "idle", "starting", "draining", "offline"]),
    }),
  },
  {
    name: "Jobs running",
    series: "running",
    read: ({ jobs }) => ({ value: at(jobs, "running"), notes: [] }),
  },
  {
    name: "Jobs waiting",
    series: "pending",
    read: ({ jobs }) => ({
      value: at(jobs, "pending"),
      notes: [note(at(jobs, "scheduled"), "scheduled")],
    }),
  },
  {
    name: "Completed",
    series: "completed",
    read: ({ jobs }, rate) => ({ value: at(jobs, "completed"), notes: [perSecond(rate)] }),
  },
  {
    name: "Failed",
    series: "failed",
    read: ({ jobs }, rate) => ({
      value: at(jobs, "failed"),
      notes: [rate ? { ...perSecond(rate), tone: "alarm" } : perSecond(0)],
    }),
  },
];

export class Counters {
  constructor() {
    this.parts = COUNTERS.map((counter) => new Counter(counter));
    this.element = el(
      "dl",
      { class: "counters", "aria-label": "The fleet" },
      ...this.parts.map((part) => part.element),
    );
  }

  /** @param {Fleet} fleet */
  draw(fleet) {
    for (const part of this.parts) part.draw(fleet);
  }

  /** @param {import("./feed/types.js").History} history */
  take({ series, whole }) {
    for (const part of this.parts) {
      const points = part.series && series[part.series];
      if (points) part.spark?.take(points, Boolean(whole));
    }
  }
}

class Counter {
  /** @param {(typeof COUNTERS)[number]} counter */
  constructor({ name, series, read }) {
    this.read = read;
    this.series = series;
    this.value = el("span", {}, "–");
    this.of = el("span", { class: "of" });
    this.note = el("span", { class: "note num" });
    this.bar = el("span", { class: "segments", "aria-hidden": "true" });
    this.spark = series ? new Sparkline() : undefined;
    this.noted = "";
    this.element = el(
      "div",
      { class: "counter", "data-counter": name },
      el("dt", {}, name),
      el("dd", { class: "value num" }, this.value, this.of),
      el("dd", { class: "note num" }, this.note),
      this.spark
        ? el("dd", { class: "spark-place", "aria-hidden": "true" })
        : el("dd", {}, this.bar),
    );
    if (this.spark) this.element.lastElementChild?.append(this.spark.element);
  }

  /** @param {Fleet} fleet */
  draw(fleet) {
    const { value, of = "", notes, bar } = this.read(fleet, this.spark?.newest ?? 0);
    say(this.value, count(value));
    say(this.of, of);
    const noted = JSON.stringify([notes, bar]);
    if (noted === this.noted) return;
    this.noted = noted;
    this.note.replaceChildren(
      ...notes.flatMap(({ text, tone }, index) => [
        index ? " · " : "",
        el("span", { class: tone || null }, text),
      ]),
    );
    this.bar.replaceChildren(
      ...(bar ?? [])
        .filter(([, size]) => size)
        .map(([state, size]) => {
          const part = el("i", { class: "state", "data-state": state });
          part.style.flexGrow = String(size);
          return part;
        }),
    );
  }
}

/** @param {Record<string, number>} counts @param {string} state */
const at = (counts, state) => counts[state] ?? 0;

/** @param {number} value @param {string} what @returns {Note} */
const note = (value, what) => ({ text: `${count(value)} ${what}` });

/** @param {number} rate @returns {Note} */
const perSecond = (rate) => ({
  text: `${rate < 10 ? rate.toFixed(1) : count(Math.round(rate))} / s`,
});

/** @param {Record<string, number>} counts @returns {Note[]} */
function troubles(counts) {
  const tones = /** @type {const} */ ([
    ["degraded", "worry"],
    ["offline", "worry"],
  ]);
  return tones
    .filter(([state]) => at(counts, state))
    .map(([state, tone]) => ({ ...note(at(counts, state), state), tone }));
}

/** @param {Record<string, number>} counts @param {string[]} states @returns {[string, number][]} */
const parts = (counts, states) => states.map((state) => [state, at(counts, state)]);
