// Work on the page, once per frame however often it is asked for.

/** @type {Set<() => void>} */
let waiting = new Set();
let asked = false;

/**
 * Run it before the next frame is painted; asked for twice, it runs once.
 *
 * @param {() => void} work
 */
export function beforeFrame(work) {
  waiting.add(work);
  if (asked) return;
  asked = true;
  // A hidden page gets no frames, and needs none: it draws when it is seen again.
  requestAnimationFrame(() => {
    asked = false;
    const now = waiting;
    waiting = new Set();
    for (const each of now) each();
  });
}
