// All streams of a browser, each shared by the tabs that show its view.

import { Stream } from "./stream.js";

/**
 * @typedef {{ query: string, message: import("./types.js").Message | { type: "link",
 *   link: import("./types.js").Link } }} ToTab
 * @typedef {{ type: "views", queries: string[] } | { type: "refresh", query: string } |
 *   { type: "hurry" } | { type: "sign-out" } | { type: "leave" }} ToPool
 */

const GRACE_MS = 250; // a tab that turns a page may come right back
// A browser has six connections to a server; two are left for single requests.
const MOST_STREAMS = 4;

export class Pool {
  constructor() {
    /** @type {Map<string, Stream>} */
    this.streams = new Map();
    /** @type {Map<string, { queries: Set<string>, send: (message: ToTab) => void }>} */
    this.tabs = new Map();
    addEventListener("online", () => this.hurry());
  }

  /**
   * Take what a tab says.
   *
   * @param {string} tab
   * @param {ToPool} message
   * @param {(message: ToTab) => void} send
   */
  take(tab, message, send) {
    if (message.type === "views") this.show(tab, message.queries, send);
    else if (message.type === "refresh") this.streams.get(message.query)?.refresh();
    else if (message.type === "hurry") this.hurry();
    else if (message.type === "sign-out")
      for (const each of this.streams.values()) each.signedOut();
    else this.leave(tab);
  }

  /** @param {string} tab @param {string[]} queries @param {(message: ToTab) => void} send */
  show(tab, queries, send) {
    const before = this.tabs.get(tab)?.queries ?? new Set();
    this.tabs.set(tab, { queries: new Set(queries), send });
    for (const query of queries) if (!before.has(query)) this.join(query, send);
    setTimeout(() => this.closeUnseen(), GRACE_MS);
  }

  /** @param {string} tab */
  leave(tab) {
    this.tabs.delete(tab);
    this.closeUnseen();
  }

  hurry() {
    for (const stream of this.streams.values()) stream.hurry();
  }

  /**
   * Open a stream, or show a tab what one has told so far.
   *
   * @param {string} query
   * @param {(message: ToTab) => void} send
   */
  join(query, send) {
    const stream = this.streams.get(query);
    if (!stream) {
      const tell = (/** @type {ToTab["message"]} */ message) => this.tell(query, message);
      const opened = new Stream(query, tell, () => this.hasRoom());
      this.streams.set(query, opened);
      return;
    }
    if (stream.document) {
      const snapshot = /** @type {import("./types.js").Snapshot} */ ({
        ...stream.document,
        type: "snapshot",
      });
      send({ query, message: snapshot });
      send({ query, message: { type: "history", series: stream.series, whole: true } });
    }
    if (stream.link.state === "signed-out") stream.hurry();
    else send({ query, message: { type: "link", link: stream.link } });
  }

  hasRoom() {
    return [...this.streams.values()].filter(({ source }) => source).length < MOST_STREAMS;
  }

  /** @param {string} query @param {ToTab["message"]} message */
  tell(query, message) {
    for (const { queries, send } of this.tabs.values())
      if (queries.has(query)) send({ query, message });
  }

  closeUnseen() {
    const seen = new Set([...this.tabs.values()].flatMap((tab) => [...tab.queries]));
    for (const [query, stream] of this.streams) {
      if (seen.has(query)) continue;
      stream.close();
      this.streams.delete(query);
      this.hurry(); // those that had no room
    }
  }
}
