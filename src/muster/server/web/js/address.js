// What is shown, as the page's address: reload it, send it to somebody, go back and forth in it.

/**
 * @typedef {{
 *   view: "fleet" | "jobs", q: string, state: string, sort: string, page: number, size: number,
 *   pins: string[], jobs: string, after: string, job: string, machine: string,
 * }} Address
 */

export const SIZES = [20, 50, 100];

/** @type {Readonly<Address>} */
const PLAIN = {
  view: "fleet",
  q: "",
  state: "",
  sort: "id",
  page: 1,
  size: 20,
  pins: [],
  jobs: "running",
  after: "",
  job: "",
  machine: "",
};

/** @param {string} search @returns {Address} */
export function parse(search) {
  const query = new URLSearchParams(search);
  const text = (/** @type {string} */ key, /** @type {string} */ plain) => query.get(key) ?? plain;
  const size = Number(query.get("size"));
  return {
    view: query.get("view") === "jobs" ? "jobs" : "fleet",
    q: text("q", PLAIN.q),
    state: text("state", PLAIN.state),
    sort: text("sort", PLAIN.sort),
    page: Math.max(1, Math.trunc(Number(query.get("page"))) || 1),
    size: SIZES.includes(size) ? size : PLAIN.size,
    pins: text("pins", "").split(",").filter(Boolean),
    jobs: text("jobs", PLAIN.jobs),
    after: text("after", PLAIN.after),
    job: text("job", PLAIN.job),
    machine: text("machine", PLAIN.machine),
  };
}

/**
 * Return the address as a link: what is as usual is left out.
 *
 * @param {Address} address
 */
export function format(address) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(address)) {
    const text = String(value);
    if (text !== String(PLAIN[/** @type {keyof Address} */ (key)])) query.set(key, text);
  }
  const text = query.toString().replaceAll("%2C", ",");
  return text ? `?${text}` : "/";
}

/** @type {Address} */
let now = parse(location.search);
/** @type {(address: Address) => void} */
let follow = () => undefined;

/** @returns {Readonly<Address>} */
export const here = () => now;

/**
 * Return a link to here with something changed.
 *
 * @param {Partial<Address>} change
 */
export const link = (change) => format({ ...now, ...change });

/**
 * Go there; `replace` leaves no step to go back to.
 *
 * @param {Partial<Address>} change
 * @param {{ replace?: boolean }} [how]
 */
export function go(change, { replace = false } = {}) {
  const target = link(change);
  if (target === format(now)) return;
  history[replace ? "replaceState" : "pushState"](null, "", target);
  arrive();
}

/**
 * Call whenever what is shown changes.
 *
 * @param {(address: Address) => void} listener
 */
export function onMove(listener) {
  follow = listener;
  addEventListener("popstate", arrive);
  document.addEventListener("click", (event) => {
    const anchor = event.target instanceof Element && event.target.closest("a[href]");
    const other = event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0;
    if (!(anchor instanceof HTMLAnchorElement) || other || event.defaultPrevented) return;
    if (anchor.origin !== location.origin || anchor.pathname !== "/") return;
    event.preventDefault();
    history.pushState(null, "", anchor.href);
    arrive();
  });
}

function arrive() {
  now = parse(location.search);
  follow(now);
}

/**
 * The stream's view of a page of the fleet.
 *
 * @param {Address} address
 */
export function fleetQuery({ q, state, sort, page, size }) {
  const query = new URLSearchParams({ sort, page: String(page), size: String(size) });
  if (q) query.set("q", q);
  if (state) query.set("state", state);
  return query.toString();
}

/**
 * The view of the pinned machines, or nothing.
 *
 * @param {string[]} pins
 */
export const pinsQuery = (pins) =>
  pins.length ? `machines=${pins.map(encodeURIComponent).join(",")}` : "";

/**
 * The view of the job or machine whose sheet is open, or nothing.
 *
 * @param {Address} address
 */
export function sheetQuery({ job, machine }) {
  if (job) return `job=${encodeURIComponent(job)}`;
  return machine ? `machine=${encodeURIComponent(machine)}` : "";
}
