// Light, dark, or as the system has it. What was chosen stays with this browser.

const ORDER = /** @type {const} */ (["system", "light", "dark"]);
const PLACE = "muster.theme";

/** @typedef {(typeof ORDER)[number]} Theme */

/** @returns {Theme} */
export function theme() {
  const kept = localStorage.getItem(PLACE);
  return ORDER.find((each) => each === kept) ?? "system";
}

/** @param {Theme} chosen */
export function useTheme(chosen) {
  localStorage.setItem(PLACE, chosen);
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

/** Take the next one, and return it. */
export function nextTheme() {
  const chosen = ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length] ?? "system";
  useTheme(chosen);
  return chosen;
}
