// The page: what is shown, fed by streams, drawn once a frame.

import * as api from "./api.js";
import { actAs } from "./actions.js";
import { fleetQuery, go, here, onMove, pinsQuery, sheetQuery } from "./address.js";
import { Announcer } from "./announcer.js";
import { Connection } from "./connection.js";
import { Counters } from "./counters.js";
import { toast } from "./dialogs.js";
import { Feed } from "./feed/feed.js";
import { FleetView } from "./fleet.js";
import { capital, plural } from "./format.js";
import { beforeFrame } from "./frames.js";
import { JobSheet } from "./job.js";
import { JobsView } from "./jobs.js";
import { help, listen, openFocused, pinFocused, step } from "./keyboard.js";
import { MachineSheet } from "./machine.js";
import { closeSheet } from "./sheet.js";
import { Shell } from "./shell.js";
import { Store } from "./store.js";
import { nextTheme } from "./theme.js";

const NEWER = "The server is newer than this page. Reload it.";
const PROTOCOL = 1;

export class App {
  /** @param {HTMLElement} place @param {HTMLElement} announcements @param {api.Session} session */
  constructor(place, announcements, session) {
    actAs(session);
    this.place = place;
    this.queries = { main: "", pins: "", sheet: "" };
    /** @type {Map<string, Store>} */
    this.stores = new Map();
    this.connection = new Connection();
    this.counters = new Counters();
    this.fleet = new FleetView(() => this.refresh());
    this.jobs = new JobsView();
    /** @type {JobSheet | MachineSheet | undefined} */
    this.sheet = undefined;
    this.announcer = new Announcer(announcements, () => this.summary());
    this.trouble = 0;
    this.draw = this.draw.bind(this);
    this.feed = new Feed((heard) => this.hear(heard));
    this.shortcuts = this.keys();
    this.shell = new Shell(place, session, this.connection.element, this.counters.element, {
      pause: () => this.pause(),
      theme: () => this.turnTheme(),
      keys: () => help(this.shortcuts),
      leave: () => this.signOut(),
    });
    listen(this.shortcuts);
    onMove(() => this.move());
    this.move();
    this.feed.start();
  }

  /** Follow the address. */
  move() {
    const address = here();
    const { view, job, machine, pins } = address;
    this.shell.show(view, view === "jobs" ? this.jobs.element : this.fleet.element);
    if (view === "jobs") this.jobs.aim();
    else this.fleet.aim();
    this.openSheet(job, machine);
    document.title = [job || machine || capital(view), "Muster"].join(" · ");
    this.queries = { main: fleetQuery(address), pins: pinsQuery(pins), sheet: sheetQuery(address) };
    const wanted = Object.values(this.queries).filter(Boolean);
    const before = this.stores;
    this.stores = new Map(wanted.map((query) => [query, before.get(query) ?? new Store()]));
    this.feed.show(wanted);
    beforeFrame(this.draw);
  }

  /** @param {string} job @param {string} machine */
  openSheet(job, machine) {
    const id = job || machine;
    if (this.sheet?.id === id) return;
    this.sheet?.element.remove();
    this.sheet = job ? new JobSheet(job) : machine ? new MachineSheet(machine) : undefined;
    if (!this.sheet) return;
    this.place.append(this.sheet.element);
    this.sheet.sheet.title.focus({ preventScroll: true });
  }

  /** @param {import("./feed/pool.js").ToTab} heard */
  hear({ query, message }) {
    const store = this.stores.get(query);
    if (!store) return;
    const main = query === this.queries.main;
    switch (message.type) {
      case "link":
        if (main) this.connection.take(message.link);
        if (message.link.state === "signed-out") location.reload();
        return;
      case "snapshot":
      case "delta":
        store.take(message);
        break;
      case "history":
        if (main && !this.connection.paused_at) this.counters.take(message);
        break;
      case "events":
        if (main) this.trouble += this.fleet.note(message);
        else if (this.sheet instanceof MachineSheet) this.sheet.note(message);
        break;
      case "hello":
        if (message.protocol > PROTOCOL) toast(NEWER);
        break;
      case "level":
      case "busy":
      case "bye":
      case "away":
        break; // the link says what they mean
      default:
        toast(NEWER);
    }
    if (main) this.connection.heard();
    beforeFrame(this.draw);
  }

  draw() {
    const store = this.mainStore();
    if (!store || this.connection.paused_at) return;
    if (here().view === "jobs") this.jobs.draw(store);
    else this.fleet.draw(store, this.stores.get(this.queries.pins));
    if (store.document) this.counters.draw(store.document.fleet);
    const sheet = this.stores.get(this.queries.sheet);
    if (sheet) this.sheet?.draw(sheet);
  }

  mainStore() {
    return this.stores.get(this.queries.main);
  }

  /** Hold the page still, or let it go on. What comes meanwhile is kept. */
  pause() {
    const paused = !this.connection.paused_at;
    this.connection.paused_at = paused ? Date.now() : 0;
    this.connection.draw();
    this.jobs.paused = paused;
    this.shell.hold(paused);
    this.announcer.say(paused ? "Paused." : "Live again.");
    beforeFrame(this.draw);
  }

  /** Take the rows that filter and sort would show now. */
  refresh() {
    if (here().view === "jobs") this.jobs.refresh();
    else this.feed.refresh(this.queries.main);
  }

  turnTheme() {
    const theme = nextTheme();
    toast(`Colours: ${theme === "system" ? "as the system has them" : theme}`);
  }

  async signOut() {
    await api.signOut().catch(() => undefined);
    this.feed.signOut();
    location.reload();
  }

  /** What there is to say of the fleet now, or nothing. */
  summary() {
    const fleet = this.mainStore()?.document?.fleet;
    if (!fleet || this.connection.paused_at) return "";
    const { machines, workers, jobs } = fleet;
    const bad = (machines.degraded ?? 0) + (machines.offline ?? 0);
    const trouble = this.trouble ? `, ${plural(this.trouble, "attempt")} failed lately` : "";
    this.trouble = 0;
    return (
      `${plural(machines.total, "machine")}, ${bad} of them degraded or offline. ` +
      `${plural(workers.busy ?? 0, "worker")} busy, ` +
      `${plural(jobs.pending ?? 0, "job")} waiting${trouble}.`
    );
  }

  /** @param {number} by */
  turnPage(by) {
    const page = this.mainStore()?.document?.page;
    const target = (page?.page ?? 1) + by;
    if (page && target >= 1 && target <= page.pages) go({ page: target });
  }

  search() {
    go({ view: "fleet" });
    this.fleet.toolbar.search.focus();
  }

  /** @returns {import("./keyboard.js").Shortcut[]} */
  keys() {
    return [
      { keys: ["/"], does: "search", act: () => this.search() },
      { keys: ["f"], does: "the fleet", act: () => go({ view: "fleet", job: "", machine: "" }) },
      { keys: ["j"], does: "the jobs", act: () => go({ view: "jobs", job: "", machine: "" }) },
      { keys: ["ArrowRight"], does: "next machine", act: () => step("next") },
      { keys: ["ArrowLeft"], does: "machine before", act: () => step("previous") },
      { keys: ["ArrowDown"], does: "machine below", act: () => step("below") },
      { keys: ["ArrowUp"], does: "machine above", act: () => step("above") },
      { keys: ["o"], does: "open the machine", act: openFocused },
      { keys: ["s"], does: "pin the machine", act: pinFocused },
      { keys: ["]"], does: "next page", act: () => this.turnPage(1) },
      { keys: ["["], does: "page before", act: () => this.turnPage(-1) },
      { keys: ["r"], does: "take what has changed", act: () => this.refresh() },
      { keys: ["p"], does: "pause, and go on", act: () => this.pause() },
      { keys: ["t"], does: "light or dark", act: () => this.turnTheme() },
      { keys: ["Escape"], does: "close", act: closeSheet },
      { keys: ["?"], does: "these keys", act: () => help(this.shortcuts) },
    ];
  }
}
