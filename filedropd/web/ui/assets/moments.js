/** Moments, as the page's language writes them, in the reader's own time. */

import { locale, say } from "./words.js";

const clock = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const long_day = new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short" });
const day = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

/** Return a moment in the reader's own time: the hour alone if it is today. @param {string} moment @returns {string} */
export function time(moment) {
  const date = new Date(moment);
  return today(date) ? clock.format(date) : day.format(date);
}

/** Return a moment with its day. @param {string} moment @returns {string} */
export function date(moment) {
  return day.format(new Date(moment));
}

/** Return when something happened, as a sentence has it: "at" an hour of today, or "on" a day. @param {string} moment @returns {string} */
export function when(moment) {
  const date = new Date(moment);
  return today(date) ? say("when.today", { time: clock.format(date) }) : say("when.before", { day: long_day.format(date) });
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

/** @param {Date} date @returns {boolean} */
function today(date) {
  return date.toDateString() === new Date().toDateString();
}
