// One GPU of a machine: its worker, the job that it runs, how far that is.

import { link } from "./address.js";
import { el, say, set } from "./dom.js";
import { percent } from "./format.js";

/**
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./store.js").WorkerRow} WorkerRow
 * @typedef {import("./feed/types.js").Machine} Machine
 */

export class Line {
  /** @param {number} gpu */
  constructor(gpu) {
    this.gpu = gpu;
    this.state = el("span", {});
    this.worker = el("span", { class: "worker state" }, el("span", { class: "mark" }), this.state);
    this.job = el("a", { href: "/" });
    this.said = el("span", {});
    this.fill = el("span", { class: "fill" });
    this.track = el("span", { class: "track", "aria-hidden": "true" }, this.fill);
    this.done = el("span", { class: "done num" });
    this.element = el(
      "li",
      { class: "line" },
      el("span", { class: "gpu num" }, `GPU ${gpu}`),
      this.worker,
      el("span", { class: "work" }, el("span", { class: "what" }, this.job, this.said), this.track),
      this.done,
    );
    this.shown = { job: "?", fraction: NaN };
  }

  /** @param {Store} store @param {Machine} machine @param {WorkerRow | undefined} worker */
  draw(store, machine, worker) {
    const state = worker?.state ?? "no worker";
    set(this.worker, "data-state", state);
    set(this.worker, "title", worker?.reason || null);
    say(this.state, state);
    const [job, ...others] = worker ? store.jobs(worker.id) : [];
    this.name(job?.id ?? "");
    const trouble = job ? "" : troubleOf(machine, this.gpu);
    set(this.said, "class", trouble ? "trouble" : null);
    const more = others.length ? `and ${others.length} more ` : "";
    say(
      this.said,
      job ? more + (job.message ?? "") : trouble || worker?.reason || worker?.service || "",
    );
    this.progress(job ? (job.fraction ?? 0) : -1);
  }

  /** @param {string} job */
  name(job) {
    if (job === this.shown.job) return;
    this.shown.job = job;
    this.job.hidden = !job;
    say(this.job, job);
    set(this.job, "data-job", job);
    this.aim();
  }

  /**
   * Grow the bar by a transform: the page is not laid out anew for it.
   *
   * @param {number} fraction of the whole, or below 0 for no job
   */
  progress(fraction) {
    if (fraction === this.shown.fraction) return;
    this.shown.fraction = fraction;
    this.track.hidden = fraction < 0;
    if (fraction >= 0) this.fill.style.transform = `scaleX(${fraction.toFixed(3)})`;
    say(this.done, fraction < 0 ? "" : percent(fraction));
  }

  /** Have the link lead to the job from where the page is now. */
  aim() {
    if (!this.job.hidden) set(this.job, "href", link({ job: this.shown.job, machine: "" }));
  }
}

/**
 * Say which program of a GPU does not run, if one does not.
 *
 * @param {Machine} machine
 * @param {number} gpu
 */
function troubleOf(machine, gpu) {
  if (machine.state === "offline") return "";
  for (const [name, program] of Object.entries(machine.programs ?? {})) {
    if (program.gpu === gpu && program.state !== "RUNNING") {
      return `${name} is ${program.state.toLowerCase()}`;
    }
  }
  return "";
}
