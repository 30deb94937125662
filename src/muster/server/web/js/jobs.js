// Jobs in one state, a page at a time. Rows stay in their places until new ones are asked for.

import * as api from "./api.js";
import { here, link } from "./address.js";
import { el, say, set } from "./dom.js";
import { capital, count, moment, percent } from "./format.js";

const STATES = ["running", "pending", "scheduled", "completed", "failed", "cancelled"];
const EVERY_MS = 2_000;

export class JobsView {
  constructor() {
    this.chips = new Map(STATES.map((state) => [state, chip(state)]));
    this.changed = el("button", {
      class: "button changed num",
      type: "button",
      hidden: true,
      onclick: () => this.refresh(),
    });
    this.body = el("tbody", {});
    this.table = el(
      "div",
      { class: "jobs" },
      el("table", { "aria-label": "Jobs" }, head(), this.body),
    );
    this.empty = el("div", { class: "empty", hidden: true });
    this.first = el("a", { class: "button", href: "/" }, "First page");
    this.next = el("a", { class: "button", href: "/", rel: "next" }, "Next page");
    this.total = el("span", { class: "num" });
    this.pager = el(
      "nav",
      { class: "pager", "aria-label": "Pages" },
      this.first,
      this.total,
      this.next,
    );
    this.element = el(
      "section",
      { "aria-labelledby": "jobs" },
      el("h1", { id: "jobs", class: "unseen" }, "Jobs"),
      el(
        "div",
        { class: "tools" },
        el(
          "nav",
          { class: "chips", "aria-label": "States" },
          ...[...this.chips.values()].map(({ element }) => element),
        ),
        el("span", { class: "room" }),
        this.changed,
      ),
      this.table,
      this.empty,
      this.pager,
    );
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    this.shown = "";
    this.counts = "";
    this.loading = false;
    this.paused = false;
    setInterval(() => this.look(), EVERY_MS);
  }

  /** @param {import("./store.js").Store} store */
  draw(store) {
    if (!store.document) return;
    const { jobs } = store.document.fleet;
    for (const [state, { number }] of this.chips) say(number, count(jobs[state] ?? 0));
  }

  /** Have all agree with the address. */
  aim() {
    const { jobs, job } = here();
    for (const [state, { element }] of this.chips) {
      set(element, "href", link({ jobs: state, after: "", job: "", machine: "" }));
      set(element, "aria-current", state === jobs ? "true" : null);
    }
    for (const row of this.rows.values()) row.aim(job);
    if (this.shown !== this.wanted()) this.refresh();
  }

  wanted() {
    const { jobs, after } = here();
    return `${jobs} ${after}`;
  }

  /** Take the rows as they are now. */
  refresh() {
    this.shown = "";
    this.load();
  }

  look() {
    if (this.element.isConnected && !this.paused && !document.hidden) this.load();
  }

  async load() {
    if (this.loading && this.shown) return;
    const wanted = this.wanted();
    this.loading = true;
    try {
      const page = await api.jobs(here().jobs, here().after);
      if (wanted === this.wanted()) this.take(page, wanted);
    } catch {
      // The connection's words say that the server is away; rows stay until it is back.
    } finally {
      this.loading = false;
    }
  }

  /** @param {api.JobPage} page @param {string} wanted */
  take(page, wanted) {
    if (wanted === this.shown && this.rows.size) this.update(page);
    else this.replace(page);
    this.shown = wanted;
    const { jobs } = here();
    this.empty.hidden = this.rows.size > 0;
    this.table.hidden = !this.rows.size;
    if (!this.rows.size)
      this.empty.replaceChildren(
        el("h2", {}, `No ${jobs} jobs`),
        el("p", {}, "Submit one with ", el("code", {}, "muster submit"), "."),
      );
    set(this.first, "href", here().after ? link({ after: "" }) : null);
    set(this.next, "href", page.cursor ? link({ after: page.cursor }) : null);
    this.pager.hidden = !page.cursor && !here().after;
    say(this.total, `${count(page.total)} in all`);
  }

  /** @param {api.JobPage} page */
  replace({ jobs }) {
    this.rows = new Map(jobs.map((job) => [job.id, this.rows.get(job.id) ?? new Row(job.id)]));
    for (const job of jobs) this.rows.get(job.id)?.draw(job);
    for (const row of this.rows.values()) row.aim(here().job);
    this.body.replaceChildren(...[...this.rows.values()].map((row) => row.element));
    this.changed.hidden = true;
  }

  /**
   * Draw those that are still there, and count the others.
   *
   * @param {api.JobPage} page
   */
  update({ jobs }) {
    const now = new Map(jobs.map((job) => [job.id, job]));
    for (const [id, row] of this.rows) {
      const job = now.get(id);
      if (job) row.draw(job);
      else row.leave();
    }
    const changed = Math.max(
      [...this.rows.keys()].filter((id) => !now.has(id)).length,
      jobs.filter(({ id }) => !this.rows.has(id)).length,
    );
    this.changed.hidden = !changed;
    say(this.changed, `${count(changed)} changed`);
  }
}

class Row {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.name = el("a", { class: "mono", href: "/" }, id);
    this.state = el("span", {});
    this.tag = el("span", { class: "tag state" }, el("span", { class: "mark" }), this.state);
    this.service = el("td", { class: "c-service" });
    this.where = el("td", { class: "c-where soft" });
    this.fill = el("span", { class: "fill" });
    this.percent = el("span", { class: "num" });
    this.bar = el(
      "span",
      { class: "bar-cell" },
      el("span", { class: "track", "aria-hidden": "true" }, this.fill),
      this.percent,
    );
    this.words = el("span", { class: "soft" });
    this.priority = el("td", { class: "c-prio num" });
    this.attempt = el("td", { class: "c-try num" });
    this.time = el("td", { class: "c-time num soft" });
    this.element = el(
      "tr",
      { "data-job": id },
      el("td", { class: "c-job" }, this.name),
      el("td", { class: "c-state" }, this.tag),
      this.service,
      el("td", { class: "c-progress" }, this.bar, this.words),
      this.where,
      this.priority,
      this.attempt,
      this.time,
    );
  }

  /** @param {api.Job} job */
  draw(job) {
    set(this.tag, "data-state", job.state);
    say(this.state, job.state);
    say(this.service, job.service);
    say(this.where, job.worker ?? "");
    say(this.priority, job.priority);
    say(this.attempt, job.attempt || "");
    say(this.time, moment(job.finished_at ?? job.started_at ?? job.due_at ?? job.submitted_at));
    const runs = job.state === "running";
    this.bar.hidden = !runs;
    say(this.words, runs ? "" : (job.attempts.at(-1)?.error.message ?? ""));
    if (!runs) return;
    const fraction = job.progress?.fraction ?? 0;
    this.fill.style.transform = `scaleX(${fraction.toFixed(3)})`;
    say(this.percent, percent(fraction));
  }

  leave() {
    set(this.tag, "data-state", "left");
    say(this.state, `not ${here().jobs} now`);
    this.bar.hidden = true;
  }

  /** @param {string} open the job whose sheet is shown */
  aim(open) {
    set(this.name, "href", link({ job: this.id, machine: "" }));
    set(this.element, "aria-current", this.id === open ? "true" : null);
  }
}

/** @param {string} state */
function chip(state) {
  const number = el("span", { class: "num" });
  return { number, element: el("a", { class: "chip", href: "/" }, capital(state), " ", number) };
}

function head() {
  const columns = [
    ["Job", "c-job"],
    ["State", "c-state"],
    ["Service", "c-service"],
    ["Progress", "c-progress"],
    ["Worker", "c-where"],
    ["Priority", "c-prio"],
    ["Attempt", "c-try"],
    ["Time", "c-time"],
  ];
  return el(
    "thead",
    {},
    el(
      "tr",
      {},
      ...columns.map(([name, place]) =>
        el("th", { scope: "col", class: place ?? null }, name ?? ""),
      ),
    ),
  );
}
