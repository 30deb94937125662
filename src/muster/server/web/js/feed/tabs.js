// Which tabs are there. Each holds a lock of its name for as long as it lives.

const NAME = "muster.tab.";

/** @returns {boolean} whether this browser lends locks: it does for https and for localhost */
export const hasLocks = () => Boolean(navigator.locks);

/** Take a name for this tab, and hold its lock. */
export async function thisTab() {
  const tab = crypto.getRandomValues(new Uint32Array(3)).join("-");
  if (hasLocks()) {
    await new Promise((held) => {
      navigator.locks.request(NAME + tab, () => {
        held(undefined);
        return new Promise(() => undefined);
      });
    });
  }
  return tab;
}

/**
 * Do something when a tab has gone, however it went.
 *
 * @param {string} tab
 * @param {() => void} work
 */
export function whenGone(tab, work) {
  if (hasLocks()) navigator.locks.request(NAME + tab, work);
}
