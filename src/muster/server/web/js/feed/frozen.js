// Rows do not jump: a snapshot that was fetched keeps the order of the one that is shown.

/** @typedef {import("./types.js").Document} Document */

/**
 * Return a fresh document with the rows of the one that is shown, and how many would change.
 *
 * @template {Document} D
 * @param {D} fresh
 * @param {Document | undefined} shown
 * @returns {D}
 */
export function frozen(fresh, shown) {
  if (!shown?.page || !fresh.page) return fresh;
  const held = new Set(shown.order);
  const now = new Set(fresh.order);
  const gone = shown.order.filter((id) => !now.has(id));
  const came = fresh.order.filter((id) => !held.has(id));
  const machines = { ...fresh.machines };
  for (const id of came) delete machines[id];
  for (const id of gone) if (shown.machines[id]) machines[id] = shown.machines[id];
  const moved = shown.order.filter((id, place) => now.has(id) && fresh.order[place] !== id);
  const changed = Math.max(gone.length, came.length) || moved.length;
  return { ...fresh, machines, order: shown.order, page: { ...fresh.page, changed } };
}
