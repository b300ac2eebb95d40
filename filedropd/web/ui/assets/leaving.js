/** Files on their way: a few at a time, the others wait. Each has its entry in the list, with its own progress. */

import { Card } from "./card.js";
import { Pace } from "./pace.js";
import { Fault, send, taken_back } from "./sending.js";
import { tell, title, warn } from "./voice.js";
import { apart, percent, say, size, span } from "./words.js";

/** Files that are sent at the same time. More are not faster. */
const AT_ONCE = 2;

/** @type {Set<Leaving>} all that have not ended */
const under_way = new Set();
/** Bytes of those that are left, while others are under way. */
let done = 0;
/** @type {Leaving[]} */
const waiting = [];
let busy = 0;

addEventListener("beforeunload", (event) => {
  if (under_way.size > 0) {
    event.preventDefault();
  }
});

/** Tell whether files are on their way, or wait for that. @returns {boolean} */
export function pending() {
  return under_way.size > 0;
}

/** One file that is being left. */
export class Leaving {
  /**
   * @param {File} file
   * @param {import("./drops.js").Place} place where its entry stands
   * @param {{password: string, expires: string, downloads: string}} options
   * @param {{api: string, most: number}} server where to, and how much it takes
   * @param {{kept: (leaving: Leaving, receipt: Object) => void, dropped: (leaving: Leaving) => void}} to
   *   is told that it is left, or that its entry is to go
   */
  constructor(file, place, options, server, to) {
    this.file = file;
    this.place = place;
    this.options = options;
    this.card = new Card(file.name);
    this.card.facts(size(file.size));
    this.card.on("cancel", () => this.#cancel());
    this.card.on("retry", () => this.begin());
    this.card.on("forget", () => to.dropped(this));
    this.server = server;
    this.to = to;
    this.sent = 0;
  }

  /** Begin, when it is its turn; say so at once where it is too large. */
  begin() {
    if (this.file.size > this.server.most) {
      this.#failed(say("faults.too_large", { size: size(this.file.size), limit: size(this.server.most) }), false);
      return;
    }
    this.control = new AbortController();
    this.unwanted = false;
    this.sent = 0;
    this.card.show({ mood: "calm", headline: say("drops.waiting_to_send"), part: 0 });
    this.card.offer("cancel");
    under_way.add(this);
    waiting.push(this);
    next();
  }

  /** Send it. It is its turn. */
  async send() {
    const pace = new Pace(this.file.size, performance.now());
    this.#progress(pace);
    tell(say("drops.begun", { name: apart(this.file.name) }));
    try {
      const receipt = await send(this.server.api, this.file, this.options, (sent, total) => {
        // The form around the file counts, too.
        this.sent = Math.min(this.file.size, total > 0 ? (sent / total) * this.file.size : sent);
        pace.note(this.sent, performance.now());
        this.#progress(pace);
      }, this.control.signal);
      this.#end(this.file.size);
      if (this.unwanted && (await taken_back(`${this.server.api}/${receipt.id}`, receipt.owner_token))) {
        this.#dropped();
      } else {
        tell(say("drops.ready", { name: apart(this.file.name) }));
        this.to.kept(this, receipt);
      }
    } catch (error) {
      this.#end();
      if (this.control.signal.aborted) {
        this.#dropped();
      } else if (error instanceof Fault) {
        this.#failed(words(error), ![400, 413].includes(error.status));
      } else {
        throw error;
      }
    } finally {
      show_title();
    }
  }

  #progress(pace) {
    const part = this.file.size === 0 ? 1 : this.sent / this.file.size;
    const headline = part < 1 ? say("drops.sending", { percent: percent(part) }) : say("drops.finishing");
    const left = pace.left;
    const note = part < 1 && left !== null ? say("drops.sending_pace", { rate: size(Math.round(pace.rate)), left: span(left) }) : null;
    this.card.show({ mood: "live", headline, note, part });
    show_title();
  }

  #cancel() {
    const place = waiting.indexOf(this);
    if (place < 0 && this.sent >= this.file.size) {
      // The server may have all of it: only with its answer can it be taken back.
      this.unwanted = true;
      this.card.offer();
      return;
    }
    this.control.abort();
    if (place >= 0) {
      waiting.splice(place, 1);
      this.#end();
      this.to.dropped(this);
    }
  }

  #dropped() {
    tell(say("drops.cancelled", { name: apart(this.file.name) }));
    this.to.dropped(this);
  }

  /** @param {number} [left] bytes that are with the server now */
  #end(left = 0) {
    under_way.delete(this);
    done = under_way.size === 0 ? 0 : done + left;
  }

  #failed(why, again) {
    this.card.show({ mood: "bad", headline: why });
    this.card.offer("forget", ...(again ? ["retry"] : []));
    warn(`${apart(this.file.name)}: ${why}`);
  }
}

function next() {
  while (busy < AT_ONCE && waiting.length > 0) {
    busy += 1;
    waiting.shift().send().finally(() => {
      busy -= 1;
      next();
    });
  }
}

/** How far all of them together are. */
function show_title() {
  const total = [...under_way].reduce((sum, { file }) => sum + file.size, done);
  const sent = [...under_way].reduce((sum, each) => sum + each.sent, done);
  title(under_way.size === 0 ? null : percent(total === 0 ? 0 : sent / total));
}

/** @param {Fault} fault @returns {string} */
function words(fault) {
  if (fault.kind !== "answer") {
    return say(`faults.${fault.kind}`);
  }
  switch (fault.status) {
    case 429:
      return say("faults.too_often", { left: span(fault.wait) });
    case 400:
      return say("faults.options");
    case 413:
      return say("faults.refused");
    case 507:
      return say("faults.no_room");
    case 503:
      return say("faults.busy");
    default:
      return say("faults.other", { detail: fault.detail });
  }
}
