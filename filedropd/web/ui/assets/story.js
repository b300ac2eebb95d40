/** A drop's status, told in words. It changes nothing and looks at nothing else. */

import { time, when } from "./moments.js";
import { percent, say } from "./words.js";

/**
 * @typedef {Object} Story
 * @property {"waiting"|"opened"|"asked"|"downloading"|"broken"|"unsure"|"delivered"|"gone"} stage
 * @property {"calm"|"live"|"good"|"bad"} mood how it looks
 * @property {string} headline
 * @property {?string} note what else there is to know
 * @property {?number} part how much of a download has arrived, while one runs
 */

/** Tell where a drop stands. @param {Object} status @returns {Story} */
export function told(status) {
  return { note: preview(status), part: null, ...(running(status) ?? ended(status) ?? broken(status) ?? waiting(status)) };
}

/** Tell what happened to a drop, in order. @param {Object} status @returns {{at: string, text: string}[]} */
export function events(status) {
  const happened = status.events.map(({ at, event, by, byte }) => ({
    at,
    text: say(`events.${event}`, { by, percent: percent(part(byte ?? 0, status)) }),
  }));
  return [{ at: status.created_at, text: say("events.created") }, ...happened];
}

function running(status) {
  const claims = status.claims.filter(({ transfers, state }) => transfers > 0 && ["open", "covered"].includes(state));
  if (claims.length === 0) {
    return null;
  }
  const arrived = Math.max(...claims.map(({ acknowledged }) => part(acknowledged, status)));
  const headline = arrived >= 1 ? say("status.ending") : say("status.downloading", { percent: percent(arrived) });
  return { stage: "downloading", mood: "live", headline, part: arrived };
}

function ended(status) {
  if (status.state === "gone" && status.reason !== "delivered") {
    return { stage: "gone", mood: "bad", headline: say(`status.${status.reason}`, { when: when(status.gone_at) }) };
  }
  if (status.delivered === 0) {
    return null;
  }
  const last = status.events.findLast(({ event }) => event === "delivered")?.at ?? status.gone_at;
  const values = { when: when(last), time: time(last), done: status.delivered, count: status.downloads };
  // It counts, since it may be there. That it is, nobody has said.
  if (status.claims.some(({ state, acknowledged }) => state === "presumed" && acknowledged < status.size)) {
    return { stage: "unsure", mood: "live", headline: say("status.unsure", values) };
  }
  if (status.delivered >= status.downloads) {
    return { stage: "delivered", mood: "good", headline: say("status.delivered", values) };
  }
  // Somebody else's broken download is news, too.
  return broken(status) ?? { stage: "opened", mood: "good", headline: say("status.delivered_some", values) };
}

function broken(status) {
  const claim = status.claims.findLast(({ state, handed_out: handed }) => state === "suspended" && handed > 0);
  if (claim === undefined) {
    return null;
  }
  const values = { percent: percent(part(claim.handed_out, status)), time: time(claim.until ?? status.expires_at) };
  return { stage: "broken", mood: "bad", headline: say("status.broken", values) };
}

function waiting(status) {
  if (status.claims.some(({ state }) => ["open", "suspended"].includes(state))) {
    return { stage: "asked", mood: "live", headline: say("status.asked", { when: when(status.claims.at(-1).opened_at) }) };
  }
  const opened = status.events.findLast(({ event }) => event === "opened");
  return opened === undefined
    ? { stage: "waiting", mood: "calm", headline: say("status.waiting") }
    : { stage: "opened", mood: "live", headline: say("status.opened", { when: when(opened.at) }) };
}

function preview(status) {
  const last = status.events.findLast(({ event }) => event === "previewed");
  return last === undefined ? null : say("status.previewed", { by: last.by, when: when(last.at) });
}

/** An empty file has arrived when its head has. */
function part(octets, { size }) {
  return size === 0 ? 1 : octets / size;
}
