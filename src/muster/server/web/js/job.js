// One job, whole: where it stands, why, and the story of its attempts.

import * as api from "./api.js";
import { cancel, retry } from "./actions.js";
import { el, say } from "./dom.js";
import { capital, moment, percent, span } from "./format.js";
import { Sheet, facts, part } from "./sheet.js";

/** @typedef {import("./store.js").Store} Store */

const OVER = new Set(["completed", "failed", "cancelled"]);
const AGAIN_MS = 2_000;

export class JobSheet {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.sheet = new Sheet("job", id);
    this.element = this.sheet.element;
    this.seen = "";
    this.asked = 0;
    this.fill = el("span", { class: "fill" });
    this.said = el("span", {});
    this.done = el("span", { class: "num" });
    this.progress = el(
      "div",
      { class: "progress", hidden: true },
      el("span", { class: "track", "aria-hidden": "true" }, this.fill),
      el("p", { class: "words" }, this.said, this.done),
    );
    this.sheet.body.append(el("p", { class: "soft" }, "Looking …"));
  }

  /** @param {Store} store */
  draw(store) {
    store.drain();
    const running = store.document?.jobs[this.id];
    if (!store.document) return;
    if (store.document.missing?.includes(this.id)) return this.miss();
    const seen = running ? `${running.changes} ${running.state}` : "none";
    if (seen !== this.seen) {
      this.seen = seen;
      this.load();
    }
    this.advance(running?.state === "running" ? running : undefined);
  }

  miss() {
    this.seen = "";
    const words = "There is no job of this name, or no longer: finished ones are kept for a time.";
    this.sheet.body.replaceChildren(el("p", { class: "soft" }, words));
  }

  /** @param {import("./feed/types.js").RunningJob | undefined} running */
  advance(running) {
    this.progress.hidden = !running;
    if (!running) return;
    const fraction = running.fraction ?? 0;
    this.fill.style.transform = `scaleX(${fraction.toFixed(3)})`;
    say(this.said, running.message || "running");
    say(this.done, percent(fraction));
  }

  /** Ask for the job; what comes after the answer to a later question is old. */
  async load() {
    const asked = ++this.asked;
    try {
      const job = await api.job(this.id);
      const waits = job.state === "pending" || job.state === "scheduled";
      const why = waits ? await api.explanation(this.id).catch(() => undefined) : undefined;
      if (asked === this.asked) this.show(job, why);
    } catch (problem) {
      if (asked !== this.asked) return;
      setTimeout(() => {
        this.seen = "";
      }, AGAIN_MS); // the next thing heard has it asked anew
      this.sheet.body.replaceChildren(
        el("p", { class: "soft" }, problem instanceof Error ? problem.message : String(problem)),
      );
    }
  }

  /** @param {api.Job} job @param {api.Explanation | undefined} why */
  show(job, why) {
    this.sheet.be(job.state);
    const again = () => this.load();
    this.sheet.body.replaceChildren(
      ...present([
        this.progress,
        why &&
          el(
            "div",
            { class: "why" },
            el("b", {}, why.summary),
            el("ul", {}, ...why.reasons.map((reason) => el("li", {}, reason))),
          ),
        facts(factsOf(job)),
        el(
          "div",
          { class: "acts" },
          OVER.has(job.state)
            ? job.state !== "completed" && retry(this.id, again)
            : cancel(this.id, again),
        ),
        part("Its story", el("ol", { class: "story" }, ...story(job))),
        json("Payload", job.payload),
        json("Result", job.result),
      ]),
    );
  }
}

/** @param {api.Job} job @returns {[string, string][]} */
function factsOf(job) {
  const { models, vram_mib, labels } = job.requirements;
  const until = job.finished_at ? Date.parse(job.finished_at) : Date.now();
  return [
    ["Service", job.service],
    ["Priority", String(job.priority)],
    ["Worker", job.worker ?? ""],
    ["Attempt", job.attempt ? String(job.attempt) : ""],
    ["Failed attempts", `${job.failed_attempts} of ${job.max_failed}`],
    ["Lost attempts", `${job.lost_attempts} of ${job.max_lost}`],
    ["Ran for", job.started_at ? span((until - Date.parse(job.started_at)) / 1000) : ""],
    ["May run for", span(job.timeout_s)],
    [
      "Needs",
      [
        ...models,
        vram_mib ? `${vram_mib} MiB` : "",
        ...Object.entries(labels).map(([name, value]) => `${name}=${value}`),
      ]
        .filter(Boolean)
        .join(", "),
    ],
  ];
}

/**
 * Tell what became of a job, from its submission to now.
 *
 * @param {api.Job} job
 */
function story(job) {
  const ended = job.attempts.map((attempt) =>
    chapter(
      attempt.outcome,
      `Attempt ${attempt.number} ${attempt.outcome}`,
      attempt.ended_at,
      `on ${attempt.worker}, after ${lasted(attempt.started_at, attempt.ended_at)}`,
      attempt.error,
    ),
  );
  const chapters = [chapter("scheduled", "Submitted", job.submitted_at, ""), ...ended];
  if (job.state === "running" && job.started_at) {
    chapters.push(
      chapter(
        "running",
        `Attempt ${job.attempt} runs`,
        job.started_at,
        `on ${job.worker ?? "a worker"}`,
      ),
    );
  } else if (job.state === "scheduled" && job.due_at) {
    chapters.push(chapter("scheduled", "Due", job.due_at, ""));
  } else if (job.state === "pending") {
    chapters.push(chapter("pending", "Waits for a worker", "", ""));
  } else if (job.finished_at) {
    const where = job.state === "completed" && job.worker ? `on ${job.worker}` : "";
    chapters.push(chapter(job.state, capital(job.state), job.finished_at, where));
  }
  return chapters;
}

/**
 * @param {string} state
 * @param {string} title
 * @param {string} at
 * @param {string} where
 * @param {api.JobError} [error]
 */
const chapter = (state, title, at, where, error) =>
  el(
    "li",
    { class: "state", "data-state": state },
    el("span", { class: "mark" }),
    el(
      "p",
      { class: "head" },
      el("b", {}, title),
      at && el("time", { datetime: at }, moment(at)),
      where && el("span", {}, where),
    ),
    error &&
      el("p", { class: "said" }, el("span", { class: "kind" }, error.kind), " ", error.message),
  );

/** @param {string} start @param {string} end */
const lasted = (start, end) => span((Date.parse(end) - Date.parse(start)) / 1000);

/** @param {string} title @param {unknown} value */
const json = (title, value) =>
  value !== null &&
  value !== undefined &&
  part(title, el("pre", { tabindex: "0", "aria-label": title }, JSON.stringify(value, null, 2)));

/** @param {(Node | undefined | false)[]} parts @returns {Node[]} */
const present = (parts) => parts.filter((each) => each instanceof Node);
