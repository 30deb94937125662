// A small line of the last minutes: where a number comes from, at a glance.

import { svg } from "./dom.js";

const KEPT = 60;
const FEWEST = 4; // points that make a line
const WIDTH = 84;
const HEIGHT = 28;

export class Sparkline {
  constructor() {
    /** @type {number[]} */
    this.values = [];
    this.line = svg("path", {});
    this.area = svg("path", { class: "area" });
    this.element = svg("svg", {
      class: "spark",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    this.element.append(this.area, this.line);
  }

  /** The last value, if there is one. */
  get newest() {
    return this.values.at(-1) ?? 0;
  }

  /**
   * Take points, oldest first: `whole` says that there are no earlier ones.
   *
   * @param {number[]} points
   * @param {boolean} whole
   */
  take(points, whole) {
    this.values = [...(whole ? [] : this.values), ...points].slice(-KEPT);
    this.draw();
  }

  draw() {
    if (this.values.length < FEWEST) return;
    const high = Math.max(...this.values, 1e-9);
    const step = WIDTH / (KEPT - 1);
    const first = WIDTH - step * (this.values.length - 1);
    const points = this.values.map((value, index) => {
      const height = (value / high) * (HEIGHT - 4);
      return `${(first + index * step).toFixed(1)} ${(HEIGHT - 2 - height).toFixed(1)}`;
    });
    const path = `M${points.join("L")}`;
    this.line.setAttribute("d", path);
    this.area.setAttribute("d", `${path}L${WIDTH} ${HEIGHT}L${first.toFixed(1)} ${HEIGHT}Z`);
  }
}
