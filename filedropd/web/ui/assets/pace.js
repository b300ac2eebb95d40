/** How fast something goes, and how long it will take: smoothed, so that it can be read. */

/** Seconds over which it is smoothed. */
const MEMORY = 4;

/** Measures something that goes on. Times are in milliseconds. */
export class Pace {
  /** @param {number} total when it is done @param {number} now */
  constructor(total, now) {
    this.total = total;
    this.done = 0;
    this.began = now;
    this.at = now;
    /** Units a second. */
    this.rate = 0;
  }

  /** Note that `done` are done. @param {number} done @param {number} now */
  note(done, now) {
    const seconds = (now - this.at) / 1000;
    if (seconds < 0.2 && done < this.total) {
      return;
    }
    const rate = (done - this.done) / Math.max(seconds, 0.001);
    const weight = this.rate === 0 ? 1 : 1 - Math.exp(-seconds / MEMORY);
    this.rate += weight * (rate - this.rate);
    this.done = done;
    this.at = now;
  }

  /** Seconds that are left, or `null` where it is too early to say. @returns {?number} */
  get left() {
    return this.rate > 0 && this.at - this.began > 1000 ? (this.total - this.done) / this.rate : null;
  }
}
