/**
 * What becomes of a drop, as the server tells its owner: as it happens, or asked now and then.
 *
 * A browser has six connections to a server, for all its pages together. So only a few drops are listened to at a
 * time, by pages that somebody looks at; of the others it is asked.
 */

/** Streams that a page keeps at a time. */
const MOST = 2;
/** Milliseconds between two questions, and after which a silent stream is given up (it speaks every 15 s). */
const ASK = 8000;
const HIDDEN = 20000;
const SILENCE = 40000;
const SOON = 1000;
const LATE = 30000;

let streams = 0;

/**
 * Tell what becomes of a drop until that is final.
 * @param {string} address where its status is
 * @param {string} token its owner's; it travels in a header, and never in an address
 * @param {{status: (status: Object) => void, lost: (code: number) => void, away: () => void}} to
 *   is told each status; that there will be none, since the server answered `code`; that the server is not there
 * @param {AbortSignal} signal ends it
 */
export async function follow(address, token, to, signal) {
  let wait = SOON;
  while (!signal.aborted) {
    const live = !document.hidden && streams < MOST;
    try {
      const over = await (live ? listen : ask)(address, token, to.status, signal);
      if (over) {
        return;
      }
      wait = SOON;
      await pause(live ? SOON : document.hidden ? HIDDEN : ASK, signal);
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
  told(status);
  return final(status);
}

/** Listen until the stream ends, or nobody looks at the page any more; tells whether it was final. */
async function listen(address, token, told, signal) {
  const control = new AbortController();
  const stop = () => control.abort();
  const hide = () => document.hidden && stop();
  let timer = setTimeout(stop, SILENCE);
  signal.addEventListener("abort", stop);
  document.addEventListener("visibilitychange", hide);
  streams += 1;
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
        told(status);
      }
    }
  } catch (error) {
    if (control.signal.aborted && document.hidden) {
      return over; // nobody looks: asking will do
    }
    throw error;
  } finally {
    streams -= 1;
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
