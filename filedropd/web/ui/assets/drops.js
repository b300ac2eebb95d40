/** The drops that were left from this browser: kept here, and nowhere else, with the tokens of their owner. */

const KEY = "filedrop.drops";

/**
 * @typedef {Object} Drop
 * @property {string} id
 * @property {string} url the link
 * @property {string} owner_token
 * @property {string} name
 * @property {number} size in bytes
 * @property {number} downloads
 * @property {boolean} secret it has a password
 * @property {string} expires_at
 * @property {Place} [place] where it stands in the list
 * @property {?Object} [last] its status, once that is final
 */

/** Where a file stands: among those that came with it, below those that came later. @typedef {{batch: number, number: number}} Place */

/** What there is where a browser keeps nothing, as some do in private windows. @type {?Drop[]} */
let unkept = null;

/** Tell whether they are there when the page is opened again. @returns {boolean} */
export function lasting() {
  return unkept === null;
}

/** Compare two places, for a sort. @param {Place} [one] @param {Place} [other] @returns {number} */
export function above(one, other) {
  return (other?.batch ?? 0) - (one?.batch ?? 0) || (one?.number ?? 0) - (other?.number ?? 0);
}

/** Return them as they stand in the list. @returns {Drop[]} */
export function all() {
  if (unkept !== null) {
    return unkept;
  }
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((drop) => typeof drop?.id === "string") : [];
  } catch {
    return [];
  }
}

/** Keep one more. @param {Drop} drop */
export function add(drop) {
  keep([drop, ...all().filter(({ id }) => id !== drop.id)].sort((one, other) => above(one.place, other.place)));
}

/** Keep what has changed of one that is kept. @param {string} id @param {Partial<Drop>} news */
export function change(id, news) {
  keep(all().map((drop) => (drop.id === id ? { ...drop, ...news } : drop)));
}

/** Keep one no longer. @param {string} id */
export function forget(id) {
  keep(all().filter((drop) => drop.id !== id));
}

/** Call `changed` whenever another page of this browser has changed them. @param {() => void} changed */
export function onChange(changed) {
  addEventListener("storage", (event) => {
    if (event.key === KEY || event.key === null) {
      changed();
    }
  });
}

/** @param {Drop[]} drops */
function keep(drops) {
  try {
    localStorage.setItem(KEY, JSON.stringify(drops));
    unkept = null;
  } catch {
    unkept = drops; // as long as the page lives
  }
}
