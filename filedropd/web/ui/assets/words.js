/** The page's words, in its language, and how that language writes numbers and times. */

/** @type {Object<string, any>} */
const catalogue = JSON.parse(document.getElementById("words").textContent);
const language = document.documentElement.lang;
/** The same language as the reader writes it: with the clock of Britain, or that of America. */
const locale = navigator.languages.find((each) => each.split("-")[0] === language.split("-")[0]) ?? language;
const forms = new Intl.PluralRules(language);
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const long_day = new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short" });
const day = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

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

/** Return a span that is a whole number of some unit. @param {number} seconds @returns {string} */
export function exactly(seconds) {
  const [unit, value] = SPANS.find(([, each]) => seconds >= each && seconds % each === 0) ?? SPANS.at(-1);
  return say(`units.${unit}`, { count: Math.floor(seconds / value) });
}

/** Return a moment in the reader's own time: the hour alone if it is today. @param {string} moment @returns {string} */
export function time(moment) {
  const date = new Date(moment);
  return today(date) ? clock.format(date) : day.format(date);
}

/** Return when something happened, as a sentence has it: "at" an hour of today, or "on" a day. @param {string} moment @returns {string} */
export function when(moment) {
  const date = new Date(moment);
  return today(date) ? say("when.today", { time: clock.format(date) }) : say("when.before", { day: long_day.format(date) });
}

/** @param {Date} date @returns {boolean} */
function today(date) {
  return date.toDateString() === new Date().toDateString();
}

/** Call `act` when a new day has begun: what was said of today is to be said anew. @param {() => void} act */
export function onNewDay(act) {
  let said = new Date();
  const look = () => {
    if (!today(said)) {
      said = new Date();
      act();
    }
  };
  setInterval(look, 60_000);
  document.addEventListener("visibilitychange", look); // a machine that slept
}

/** Return a moment with its day. @param {string} moment @returns {string} */
export function date(moment) {
  return day.format(new Date(moment));
}

/** Return a name so that its letters cannot reorder the text that it stands in. @param {string} name @returns {string} */
export function apart(name) {
  return `\u2068${visible(name)}\u2069`;
}

/**
 * What is part of a word: a joiner after a letter that joins, a mark, or an emoji. The server knows more exactly which
 * belong there, and stores no others.
 */
const JOINED = /[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Mongolian}\p{M}\p{Extended_Pictographic}\p{Emoji_Modifier}][\u200c\u200d]/u;
const UNSEEN = new RegExp(`${JOINED.source}|[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Zl}\\p{Zp}]`, "gu");

/** Return a name with a mark for what cannot be seen or would reorder the rest. @param {string} name @returns {string} */
export function visible(name) {
  return name.replace(UNSEEN, (found) => (JOINED.test(found) ? found : "\ufffd"));
}
