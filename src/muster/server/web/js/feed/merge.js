// JSON merge patches (RFC 7396): what has changed, laid over what is held.

/** @typedef {Record<string, unknown>} Json */

/**
 * Lay a patch over a value, in place: objects merge, null removes, all else replaces.
 *
 * @param {Json} target
 * @param {Json} patch
 */
export function merge(target, patch) {
  for (const [key, value] of Object.entries(patch)) {
    const held = target[key];
    if (value === null) delete target[key];
    else if (isObject(value) && isObject(held)) merge(held, value);
    else if (isObject(value)) merge(/** @type {Json} */ (target[key] = {}), value);
    else target[key] = value;
  }
}

/**
 * @param {unknown} value
 * @returns {value is Json}
 */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
