// What is known of one view, and which rows have changed since they were drawn.

import { changes } from "./feed/stream.js";
import { merge } from "./feed/merge.js";

/**
 * @typedef {import("./feed/types.js").Document} Document
 * @typedef {import("./feed/types.js").Message} Message
 * @typedef {{ id: string } & import("./feed/types.js").Worker} WorkerRow
 * @typedef {{ id: string } & import("./feed/types.js").RunningJob} JobRow
 */

export class Store {
  constructor() {
    /** @type {Document | undefined} */
    this.document = undefined;
    /** Machines of which something is to be drawn anew. @type {Set<string>} */
    this.changed = new Set();
    /** Those that are to be drawn anew whole, and not just their workers. @type {Set<string>} */
    this.whole = new Set();
    /** Whether the rows themselves are others. */
    this.reordered = false;
    /** @type {Map<string, Set<string>>} */
    this.workersOf = new Map();
    /** @type {Map<string, Set<string>>} */
    this.jobsOf = new Map();
  }

  /** @param {Message} message */
  take(message) {
    if (message.type === "snapshot") this.replace(message);
    else if (message.type === "delta" && this.document) this.update(changes(message));
  }

  /** @param {Document} document */
  replace(document) {
    this.document = structuredClone(document);
    this.index();
    this.reordered = true;
    for (const id of Object.keys(document.machines)) this.note(id);
  }

  /** @param {Record<string, unknown>} patch */
  update(patch) {
    const document = /** @type {Document} */ (this.document);
    const known = Object.keys(document.machines).length;
    this.touch(patch); // those whose rows it leaves
    merge(/** @type {Record<string, any>} */ (document), patch);
    if (moves(patch)) this.index();
    this.touch(patch); // and those whose rows it enters
    if (patch.order || Object.keys(document.machines).length !== known) this.reordered = true;
  }

  /**
   * Note the machines that a patch is about.
   *
   * @param {Record<string, any>} patch
   */
  touch(patch) {
    const document = /** @type {Document} */ (this.document);
    for (const id of Object.keys(patch.machines ?? {})) this.note(id);
    for (const id of Object.keys(patch.workers ?? {})) {
      const machine = document.workers[id]?.machine;
      if (machine) this.changed.add(machine);
    }
    for (const id of Object.keys(patch.jobs ?? {})) {
      const worker = document.jobs[id]?.worker;
      const machine = worker && document.workers[worker]?.machine;
      if (machine) this.changed.add(machine);
    }
  }

  /** @param {string} machine */
  note(machine) {
    this.changed.add(machine);
    this.whole.add(machine);
  }

  index() {
    const { workers, jobs } = /** @type {Document} */ (this.document);
    this.workersOf = group(Object.entries(workers).map(([id, worker]) => [worker.machine, id]));
    this.jobsOf = group(Object.entries(jobs).map(([id, job]) => [job.worker ?? "", id]));
  }

  /**
   * The workers of a machine, by their GPUs.
   *
   * @param {string} machine
   * @returns {WorkerRow[]}
   */
  workers(machine) {
    const all = this.document?.workers ?? {};
    const rows = [];
    for (const id of this.workersOf.get(machine) ?? []) {
      const worker = all[id];
      if (worker) rows.push({ id, ...worker });
    }
    return rows.sort((one, other) => one.gpu - other.gpu);
  }

  /**
   * The jobs that a worker runs.
   *
   * @param {string} worker
   * @returns {JobRow[]}
   */
  jobs(worker) {
    const all = this.document?.jobs ?? {};
    const rows = [];
    for (const id of this.jobsOf.get(worker) ?? []) {
      const job = all[id];
      if (job) rows.push({ id, ...job });
    }
    return rows;
  }

  /** Take the notes of what is to be drawn anew. */
  drain() {
    const notes = { changed: this.changed, whole: this.whole, reordered: this.reordered };
    this.changed = new Set();
    this.whole = new Set();
    this.reordered = false;
    return notes;
  }
}

/**
 * Whether a patch moves a worker or a job, or adds or removes one: progress does not.
 *
 * @param {Record<string, any>} patch
 */
function moves(patch) {
  const entries = [...Object.values(patch.workers ?? {}), ...Object.values(patch.jobs ?? {})];
  return entries.some((each) => each === null || each.machine || each.worker);
}

/** @param {[string, string][]} pairs */
function group(pairs) {
  /** @type {Map<string, Set<string>>} */
  const groups = new Map();
  for (const [key, value] of pairs) {
    const held = groups.get(key);
    if (held) held.add(value);
    else groups.set(key, new Set([value]));
  }
  return groups;
}
