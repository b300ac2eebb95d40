/** The page's words, in its language, and how that language writes numbers. */

/** @type {Object<string, any>} */
const catalogue = JSON.parse(document.getElementById("words").textContent);
const language = document.documentElement.lang;
/** The same language as the reader writes it: with the clock of Britain, or that of America. */
export const locale = navigator.languages.find((each) => each.split("-")[0] === language.split("-")[0]) ?? language;
const forms = new Intl.PluralRules(language);
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });

const SIZES = [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];
const SPANS = [["days", 86400], ["hours", 3600], ["minutes", 60], ["seconds", 1]];

/**
 * Return a text of the catalogue with its values filled in.
 * @param {string} key its place, with dots
 * @param {Object<string, any>} [values] what stands for `{name}`; `count` also chooses the form
 * @returns {string}
 */
export function say(key, values = {}) {
  let found = key.split(".").reduce((words, name) => words[name], catalogue);
  if (typeof found === "object") {
    found = found[forms.select(values.count)] ?? found.other;
  }
  return found.replace(/\{(\w+)\}/g, (_, name) => (name === "count" ? whole.format(values.count) : values[name]));
}

/** Return a number of bytes as people read it. @param {number} octets @returns {string} */
export function size(octets) {
  for (const [unit, value] of SIZES) {
    if (octets >= value) {
      return upright(`${tenths.format(octets / value)}\u00a0${unit}`);
    }
  }
  return say("units.bytes", { count: octets });
}

/** Return a text of numbers and Latin letters so that it stays in order where others run from the right. */
function upright(text) {
  return document.documentElement.dir === "rtl" ? `\u2066${text}\u2069` : text;
}

/** Return a part of a whole as people read it; never all of it before it is. @param {number} part @returns {string} */
export function percent(part) {
  return share.format(Math.floor(Math.min(1, Math.max(0, part)) * 100) / 100);
}

/** Return a span in one unit, never too short. @param {number} seconds @returns {string} */
export function span(seconds) {
  const [unit, value] = SPANS.find(([, each]) => seconds >= 2 * each) ?? SPANS.at(-1);
  return say(`units.${unit}`, { count: Math.max(1, Math.ceil(seconds / value)) });
}

/** Return a name so that its letters cannot reorder the text that it stands in. @param {string} name @returns {string} */
export function apart(name) {
  return `\u2068${visible(name)}\u2069`;
}

/** What is part of a word: a joiner after a letter that joins, a mark, or an emoji. The server stores fewer. */
const JOINED = /[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Mongolian}\p{M}\p{Extended_Pictographic}\p{Emoji_Modifier}][\u200c\u200d]/u;
const UNSEEN = new RegExp(`${JOINED.source}|[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}]`, "gu");

/** Return a name with a mark for what cannot be seen or would reorder the rest. @param {string} name @returns {string} */
export function visible(name) {
  return name.replace(UNSEEN, (found) => (JOINED.test(found) ? found : "\ufffd"));
}
