/**
 * What becomes of a drop, as the server tells its owner: as it happens, or asked now and then.
 *
 * A browser has six connections to a server, for all its pages together. So only a few drops are listened to at a
 * time, by pages that somebody looks at; of the others it is asked.
 */

/** Streams that a page keeps at a time. */
const MOST = 2;
/** Drops that are asked for as often as that. */
const FEW = 8;
/** Milliseconds between two questions where few drops are asked for, and after which a silent stream is given up (it speaks every 15 s). */
const ASK = 5000;
const HIDDEN = 20000;
const SILENCE = 40000;
const SOON = 1000;
const LATE = 30000;

/** What stops each stream, the oldest first. @type {Set<() => void>} */
const streams = new Set();
let followed = 0;

/**
 * Tell what becomes of a drop until that is final.
 * @param {string} address where its status is
 * @param {string} token its owner's; it travels in a header, and never in an address
 * @param {{status: (status: Object, over: boolean) => void, lost: (code: number) => void, away: () => void}} to
 *   is told each status, and whether it is the last; that there will be none, since the server answered `code`; that the server is not there
 * @param {AbortSignal} signal ends it
 * @param {boolean} first it is to be listened to, in the place of another
 */
export async function follow(address, token, to, signal, first = false) {
  followed += 1;
  try {
    await attend(address, token, to, signal, first);
  } finally {
    followed -= 1;
  }
}

async function attend(address, token, to, signal, first) {
  let wait = SOON;
  while (!signal.aborted) {
    if (first && streams.size >= MOST) {
      [...streams][0]();
    }
    const live = !document.hidden && (first || streams.size < MOST);
    first = false;
    try {
      const over = await (live ? listen : ask)(address, token, to.status, signal);
      if (over) {
        return;
      }
      wait = SOON;
      await pause(live ? SOON : (document.hidden ? HIDDEN : ASK) * Math.max(1, followed / FEW), signal);
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      if (error instanceof Refused && [401, 404].includes(error.code)) {
        to.lost(error.code);
        return;
      }
      to.away();
      await pause(wait, signal);
      wait = Math.min(2 * wait, LATE);
    }
  }
}

/** Whether nothing more will become of it: each who may come for its bytes has come to an end. */
function final(status) {
  const waits = ["open", "covered", "suspended", "presumed"];
  return status.state === "gone" && (status.reason === "revoked" || !status.claims.some(({ state }) => waits.includes(state)));
}

class Refused extends Error {
  constructor(code) {
    super(`${code}`);
    this.code = code;
  }
}

/** Ask once; tells whether it was final. */
async function ask(address, token, told, signal) {
  const response = await request(address, token, "application/json", signal);
  const status = await response.json();
  const over = final(status);
  told(status, over);
  return over;
}

/** Listen until the stream ends, or gives way to another or to nobody who looks at the page; tells whether it was final. */
async function listen(address, token, told, signal) {
  const control = new AbortController();
  const stop = () => control.abort();
  let yields = false;
  const give_way = () => {
    yields = true;
    streams.delete(give_way);
    stop();
  };
  const hide = () => document.hidden && give_way();
  let timer = setTimeout(stop, SILENCE);
  signal.addEventListener("abort", stop);
  document.addEventListener("visibilitychange", hide);
  streams.add(give_way);
  let over = false;
  try {
    const response = await request(address, token, "text/event-stream", control.signal);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return over;
      }
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE);
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const data of events.map(dataOf).filter((each) => each !== "")) {
        const status = JSON.parse(data);
        over = final(status);
        told(status, over);
      }
    }
  } catch (error) {
    if (yields) {
      return over; // asking will do
    }
    throw error;
  } finally {
    streams.delete(give_way);
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    document.removeEventListener("visibilitychange", hide);
  }
}

/** The data of an event of a stream (HTML, 9.2.6). @param {string} event */
function dataOf(event) {
  return event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
}

async function request(address, token, accept, signal) {
  const response = await fetch(address, {
    headers: { Accept: accept, Authorization: `Bearer ${token}` },
    cache: "no-store",
    credentials: "omit",
    signal,
  });
  if (!response.ok) {
    throw new Refused(response.status);
  }
  return response;
}

/** Wait, until somebody looks at the page again or it is online again. @param {number} milliseconds */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", look);
      removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const look = () => document.hidden || done();
    const timer = setTimeout(done, milliseconds);
    document.addEventListener("visibilitychange", look);
    addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}
