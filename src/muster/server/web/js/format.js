// Numbers and times as people read them.

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });
const CLOCK = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });
const DATE = new Intl.DateTimeFormat("en", {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});

/** @param {number} value */
export const count = (value) => (value < 1e6 ? NUMBER : SHORT).format(value);

/**
 * Say how long, in the two units that matter most: "3 h 20 min".
 *
 * @param {number} seconds
 */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return join(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 86_400) {
    return join(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  }
  return join(Math.floor(whole / 86_400), "d", Math.floor((whole % 86_400) / 3600), "h");
}

/**
 * @param {number} big
 * @param {string} bigUnit
 * @param {number} small
 * @param {string} smallUnit
 */
const join = (big, bigUnit, small, smallUnit) =>
  small ? `${big} ${bigUnit} ${small} ${smallUnit}` : `${big} ${bigUnit}`;

/**
 * Say a time of today by its clock, another with its date.
 *
 * @param {string | number} time ISO 8601, or milliseconds since 1970
 */
export function moment(time) {
  const at = new Date(time);
  return at.toDateString() === new Date().toDateString() ? CLOCK.format(at) : DATE.format(at);
}

/** @param {number} fraction */
export const percent = (fraction) => `${Math.floor(fraction * 100)} %`;

/**
 * @param {number} number
 * @param {string} one
 * @param {string} [many]
 */
export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;

/** @param {string} word */
export const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);
