/** What the page says aloud to those who do not see it, and in its title to those who look elsewhere. */

const polite = document.getElementById("polite");
const urgent = document.getElementById("urgent");
const usual = document.title;
let pending = null;

/** Tell what happened, when whoever listens has a moment. @param {string} text */
export function tell(text) {
  put(polite, text);
}

/** Tell what went wrong, at once. @param {string} text */
export function warn(text) {
  put(urgent, text);
}

/** Show `text` in the title while something goes on, or the title as it was. @param {?string} text */
export function title(text) {
  document.title = text === null ? usual : `${text} · ${usual}`;
}

/** Show `text` in the title until somebody looks at the page, if nobody does. @param {string} text */
export function call(text) {
  if (document.hidden) {
    pending = text;
    title(text);
  }
}

/** @param {HTMLElement} region @param {string} text */
function put(region, text) {
  // The same words again are news, too: a region that does not change says nothing.
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && pending !== null) {
    pending = null;
    title(null);
  }
});
