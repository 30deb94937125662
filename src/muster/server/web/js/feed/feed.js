// The tab's end of the feed: by a shared worker, by a tab that leads the others, or alone.

import { Pool } from "./pool.js";
import { hasLocks, thisTab, whenGone } from "./tabs.js";

/**
 * @typedef {import("./pool.js").ToPool} ToPool
 * @typedef {import("./pool.js").ToTab} ToTab
 */

const CHANNEL = "muster.feed";
const LEADER = "muster.leader";

export class Feed {
  /** @param {(message: ToTab) => void} heard */
  constructor(heard) {
    this.heard = heard;
    /** @type {string[]} */
    this.queries = [];
    /** @type {(message: ToPool) => void} */
    this.send = () => undefined;
  }

  async start() {
    const tab = await thisTab();
    if (window.SharedWorker) this.send = byWorker(tab, this.heard);
    else if (hasLocks()) this.send = byLeader(tab, this.heard, () => this.show(this.queries));
    else this.send = alone(tab, this.heard);
    addEventListener("pagehide", () => this.send({ type: "leave" }));
    addEventListener("pageshow", () => this.show(this.queries));
    this.show(this.queries);
  }

  /**
   * Show these views from now on.
   *
   * @param {string[]} queries
   */
  show(queries) {
    this.queries = queries;
    this.send({ type: "views", queries });
  }

  /**
   * Take the rows of a view anew.
   *
   * @param {string} query
   */
  refresh(query) {
    this.send({ type: "refresh", query });
  }

  /** Connect now, without waiting for the next try. */
  hurry() {
    this.send({ type: "hurry" });
  }

  signOut() {
    this.send({ type: "sign-out" });
  }
}

/**
 * @param {string} tab
 * @param {(message: ToTab) => void} heard
 * @returns {(message: ToPool) => void}
 */
function byWorker(tab, heard) {
  const { port } = new SharedWorker(workerAddress(), { type: "module", name: "muster" });
  port.onmessage = ({ data }) => heard(data);
  port.postMessage({ tab, message: { type: "hello" } });
  return (message) => port.postMessage({ tab, message });
}

/** The page's policy lets no text become a script but by a named exception: this one. */
function workerAddress() {
  const { href } = new URL("./shared-worker.js", import.meta.url);
  const { trustedTypes } = /** @type {any} */ (window);
  if (!trustedTypes) return href;
  return trustedTypes.createPolicy("muster", { createScriptURL: () => href }).createScriptURL("");
}

/**
 * The tab that gets the lock leads: it holds the streams. When it goes, the next one does, and all
 * say again what they show.
 *
 * @param {string} tab
 * @param {(message: ToTab) => void} heard
 * @param {() => void} again
 * @returns {(message: ToPool) => void}
 */
function byLeader(tab, heard, again) {
  const channel = new BroadcastChannel(CHANNEL);
  /** @type {Pool | undefined} */
  let pool;
  /** @type {Set<string>} */
  const known = new Set();
  channel.onmessage = ({ data }) => {
    if (data.to === tab) heard(data.message);
    else if (data.to === "all") again();
    else if (data.to === "leader" && pool) {
      const from = data.from;
      if (!known.has(from)) {
        known.add(from);
        whenGone(from, () => pool?.leave(from));
      }
      pool.take(from, data.message, (message) => channel.postMessage({ to: from, message }));
    }
  };
  navigator.locks.request(LEADER, () => {
    pool = new Pool();
    again();
    channel.postMessage({ to: "all" });
    return new Promise(() => undefined);
  });
  return (message) => {
    if (pool) pool.take(tab, message, heard);
    else channel.postMessage({ to: "leader", from: tab, message });
  };
}

/**
 * @param {string} tab
 * @param {(message: ToTab) => void} heard
 * @returns {(message: ToPool) => void}
 */
function alone(tab, heard) {
  const pool = new Pool();
  return (message) => pool.take(tab, message, heard);
}
