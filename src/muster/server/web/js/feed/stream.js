// One view's stream. Whatever ends it, it comes back; meanwhile it says how old the page is.

import { frozen } from "./frozen.js";
import { merge } from "./merge.js";

/**
 * @typedef {import("./types.js").Document} Document
 * @typedef {import("./types.js").Message} Message
 * @typedef {import("./types.js").Link} Link
 * @typedef {import("./types.js").LinkState} LinkState
 * @typedef {import("./types.js").Series} Series
 */

const SILENT_MS = 15_000; // the server says something every 5 s at least
const RETRY_S = { least: 1, most: 10 };
const POLL_S = 5;
const ANEW_S = 30;
const POINTS = 60;
const POLLING = "reduced: 1 update in 5 s";

export class Stream {
  /**
   * @param {string} query the view, as the stream's address has it
   * @param {(message: Message | { type: "link", link: Link }) => void} tell
   * @param {() => boolean} mayOpen whether there is room for one more connection
   */
  constructor(query, tell, mayOpen) {
    this.query = query;
    this.tell = tell;
    this.mayOpen = mayOpen;
    /** @type {Document | undefined} */
    this.document = undefined;
    /** @type {Series} */
    this.series = {};
    /** @type {Link} */
    this.link = { state: "connecting", words: "connecting", heard_at: 0 };
    this.last = "";
    this.lost_at = 0;
    this.reduced = "";
    this.first_history = true;
    /** @type {EventSource | undefined} */
    this.source = undefined;
    /** @type {Map<string, ReturnType<typeof setTimeout>>} */
    this.timers = new Map();
    this.open();
  }

  /** Connect; with the last message's id in the address, since a new one cannot send headers. */
  open() {
    this.stop();
    if (!this.mayOpen()) {
      this.poll(POLL_S, POLLING);
      return;
    }
    const last = this.last && `last=${encodeURIComponent(this.last)}`;
    const address = `/v1/stream?${[this.query, last].filter(Boolean).join("&")}`;
    const source = new EventSource(address);
    this.source = source;
    this.first_history = true;
    source.onmessage = (event) => this.heard(event);
    source.onerror = () => this.lost();
    this.watch();
  }

  /** Look anew: with the rows that filter and sort would show now. */
  refresh() {
    this.last = "";
    this.document = undefined;
    this.open();
  }

  /** End, for good. */
  close() {
    this.stop();
  }

  /** Connect now if the last try is over: the network is there again, or somebody signed in. */
  hurry() {
    if (!this.source) this.open();
  }

  stop() {
    this.source?.close();
    this.source = undefined;
    for (const timer of this.timers.values()) clearTimeout(timer);
    this.timers.clear();
  }

  /** @param {MessageEvent<string>} event */
  heard(event) {
    if (event.lastEventId) this.last = event.lastEventId;
    this.watch();
    if (this.link.state !== "away") this.link.heard_at = Date.now();
    this.take(JSON.parse(event.data));
  }

  /** @param {Message} message */
  take(message) {
    switch (message.type) {
      case "snapshot":
        this.document = message;
        this.lost_at = 0;
        this.tell(message);
        this.flowing();
        return;
      case "delta":
        if (this.document)
          merge(/** @type {Record<string, any>} */ (this.document), changes(message));
        break;
      case "history":
        this.note(message);
        message.whole = this.first_history;
        this.first_history = false;
        break;
      case "hello":
        this.reduced = "";
        break;
      case "level":
        this.reduced = message.level === "live" ? "" : message.words;
        if (message.level === "polling") this.poll(message.interval_s, message.words);
        else if (this.document) this.flowing();
        break;
      case "away":
        this.now("away", message.words ?? "waiting for Redis");
        break;
      case "busy":
        this.tell(message);
        this.again(message.retry_s ?? POLL_S);
        this.poll(POLL_S, POLLING);
        return;
      case "bye":
        this.tell(message);
        if (message.reason === "session") this.signedOut();
        else if (message.reason === "rotation") this.move(message.retry_s);
        else this.lost(message.retry_s);
        return;
    }
    this.tell(message);
  }

  flowing() {
    if (this.reduced) this.now("reduced", this.reduced);
    else this.now("live", "live");
  }

  /**
   * Keep the last points, for tabs that join later.
   *
   * @param {import("./types.js").History} message
   */
  note(message) {
    for (const [name, points] of Object.entries(message.series)) {
      const held = this.first_history ? [] : (this.series[name] ?? []);
      this.series[name] = [...held, ...points].slice(-POINTS);
    }
  }

  /**
   * Come back: soon at first, and with ever longer pauses the longer it lasts.
   *
   * @param {number} [after_s]
   */
  lost(after_s) {
    this.stop();
    this.lost_at ||= Date.now();
    if (this.link.state !== "signed-out") this.now("reconnecting", "reconnecting");
    const outage_s = (Date.now() - this.lost_at) / 1000;
    this.again(after_s ?? Math.min(RETRY_S.most, Math.max(RETRY_S.least, outage_s / 10)));
    // An EventSource does not say why it failed. Without a session there is nothing to wait for.
    fetch("/v1/session").then(
      (answer) => {
        if (answer.status === 401) this.signedOut();
      },
      () => undefined,
    );
  }

  /**
   * Come back at once: nothing is wrong, and there is nothing to say.
   *
   * @param {number} [after_s]
   */
  move(after_s) {
    this.stop();
    this.again(after_s ?? RETRY_S.least);
  }

  signedOut() {
    this.stop();
    this.document = undefined;
    this.last = "";
    this.now("signed-out", "signed out");
  }

  /** @param {number} seconds */
  again(seconds) {
    this.after("open", seconds * (0.5 + Math.random() / 2), () => this.open());
  }

  /**
   * Ask for snapshots while there is no stream.
   *
   * @param {number} every_s
   * @param {string} words
   */
  poll(every_s, words) {
    const retrying = this.timers.has("open");
    this.source?.close();
    this.source = undefined;
    this.forget("silence");
    if (!retrying) this.again(ANEW_S);
    const ask = async () => {
      this.after("poll", every_s, ask);
      const answer = await fetch(`/v1/snapshot?${this.query}`).catch(() => undefined);
      if (!this.timers.has("poll") || this.source) return;
      if (answer?.status === 401) this.signedOut();
      else if (answer?.ok) this.fetched(await answer.json(), words);
      else this.now("reconnecting", "reconnecting");
    };
    ask();
  }

  /** @param {Document} fresh @param {string} words */
  fetched(fresh, words) {
    const snapshot = {
      .../** @type {import("./types.js").Snapshot} */ (fresh),
      type: /** @type {const} */ ("snapshot"),
    };
    this.link.heard_at = Date.now();
    this.document = frozen(snapshot, this.document);
    this.tell(/** @type {Message} */ (this.document));
    this.now("reduced", words);
  }

  /** A stream that is open and silent is dead too. */
  watch() {
    this.after("silence", SILENT_MS / 1000, () => this.lost());
  }

  /** @param {LinkState} state @param {string} words */
  now(state, words) {
    this.link = { ...this.link, state, words };
    this.tell({ type: "link", link: this.link });
  }

  /** @param {string} name @param {number} seconds @param {() => void} work */
  after(name, seconds, work) {
    this.forget(name);
    this.timers.set(
      name,
      setTimeout(() => {
        this.timers.delete(name);
        work();
      }, seconds * 1000),
    );
  }

  /** @param {string} name */
  forget(name) {
    clearTimeout(this.timers.get(name));
    this.timers.delete(name);
  }
}

/**
 * Return what a delta says of the document.
 *
 * @param {import("./types.js").Delta} delta
 * @returns {Record<string, unknown>}
 */
export function changes({ type: _, at: __, ...rest }) {
  return rest;
}
