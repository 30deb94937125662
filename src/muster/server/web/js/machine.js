// One machine, whole: what it is, its programs, what came to pass on it.

import { drain, mayAct, restart, undrain } from "./actions.js";
import { about } from "./card.js";
import { el, set } from "./dom.js";
import { moment, percent } from "./format.js";
import { Line } from "./line.js";
import { Log } from "./log.js";
import { Sheet, facts, part } from "./sheet.js";

/**
 * @typedef {import("./store.js").Store} Store
 * @typedef {import("./feed/types.js").Machine} Machine
 */

export class MachineSheet {
  /** @param {string} id */
  constructor(id) {
    this.id = id;
    this.sheet = new Sheet("machine", id);
    this.element = this.sheet.element;
    this.log = new Log();
    this.drawn = "";
    /** @type {Line[]} */
    this.lines = [];
    this.top = el("div", { class: "body-part" });
    this.list = el("ul", { class: "lines" });
    this.rest = el("div", { class: "body-part" });
    this.logPart = part("Jobs here, newest first", this.log.element);
    this.logPart.hidden = true;
    this.sheet.body.append(el("p", { class: "soft" }, "Looking …"));
  }

  /** @param {Store} store */
  draw(store) {
    store.drain();
    const machine = store.document?.machines[this.id];
    if (!store.document) return;
    if (!machine) {
      this.drawn = "";
      this.sheet.be("offline");
      this.sheet.body.replaceChildren(
        el("p", { class: "soft" }, "This machine is not known here. It appears when it registers."),
      );
      return;
    }
    this.sheet.be(machine.state);
    this.frame(machine);
    const workers = new Map(store.workers(this.id).map((worker) => [worker.gpu, worker]));
    for (const line of this.lines) line.draw(store, machine, workers.get(line.gpu));
  }

  /**
   * Draw what changes seldom, if it did.
   *
   * @param {Machine} machine
   */
  frame(machine) {
    const now = JSON.stringify(machine);
    if (now === this.drawn) return;
    const first = !this.drawn;
    this.drawn = now;
    if (this.lines.length !== machine.gpus) {
      this.lines = Array.from({ length: machine.gpus }, (_, gpu) => new Line(gpu));
      this.list.replaceChildren(...this.lines.map((line) => line.element));
    }
    this.top.replaceChildren(
      el("p", { class: "soft" }, about(machine)),
      ...(machine.reasons ?? []).map((reason) => el("p", { class: "reasons" }, reason)),
      el(
        "div",
        { class: "acts" },
        machine.state === "draining" ? undrain(this.id) : drain(this.id),
      ),
    );
    this.rest.replaceChildren(
      part("Programs", programs(this.id, machine)),
      part("About it", description(machine)),
    );
    if (first) this.sheet.body.replaceChildren(this.top, this.list, this.rest, this.logPart);
  }

  /** @param {import("./feed/types.js").Events} message */
  note(message) {
    this.log.take(message);
    this.logPart.hidden = !this.log.size;
  }
}

/** @param {string} id @param {Machine} machine */
function programs(id, machine) {
  const rows = Object.entries(machine.programs ?? {}).map(([name, program]) => {
    const runs = program.state === "RUNNING";
    return el(
      "tr",
      {},
      el("th", { scope: "row", class: "mono" }, name),
      el(
        "td",
        {},
        el(
          "span",
          { class: "tag state", "data-state": runs ? "ready" : "failed" },
          el("span", { class: "mark" }),
          program.state.toLowerCase(),
        ),
      ),
      el("td", { class: "num soft" }, program.restarts ? `${program.restarts} restarts` : ""),
      mayAct() && el("td", { class: "act" }, restart(id, name)),
    );
  });
  const table = el("table", { class: "programs" }, el("tbody", {}, ...rows));
  set(table, "aria-label", "Programs");
  return rows.length ? table : el("p", { class: "soft" }, "It reports none.");
}

/** @param {Machine} machine */
const description = (machine) =>
  facts([
    ["Host", machine.host ?? ""],
    ["Muster", machine.version ?? ""],
    ["Release", machine.release ? `${machine.release.name} ${machine.release.version}` : ""],
    ["Started", machine.started_at ? moment(machine.started_at) : ""],
    ["Last heard", machine.seen_at ? moment(machine.seen_at) : ""],
    ["Models", (machine.models ?? []).join(", ")],
    [
      "On their way",
      (machine.downloads ?? [])
        .map(({ name, done, size }) => `${name} ${size ? percent(done / size) : ""}`)
        .join(", "),
    ],
  ]);
