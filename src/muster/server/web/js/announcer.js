// What a screen reader is told: a summary now and then, never each change.

const SUMMARY_MS = 30_000;

export class Announcer {
  /**
   * @param {HTMLElement} place a polite live region
   * @param {() => string} summary what there is to say of the fleet now
   */
  constructor(place, summary) {
    this.place = place;
    this.summary = summary;
    this.last = "";
    setInterval(() => this.summarize(), SUMMARY_MS);
  }

  /**
   * Say it at the next quiet moment.
   *
   * @param {string} words
   */
  say(words) {
    if (this.place.textContent === words) this.place.textContent = "";
    this.place.textContent = words;
  }

  /** Say the summary, if it is another than the last one. */
  summarize() {
    const words = this.summary();
    if (!words || words === this.last) return;
    this.last = words;
    this.say(words);
  }
}
