/** A drop that is left: its link to hand on, what becomes of it, and taking it back. */

import { Card } from "./card.js";
import * as drops from "./drops.js";
import { date, onNewDay, time } from "./moments.js";
import { taken_back } from "./sending.js";
import { follow } from "./status.js";
import { events, told } from "./story.js";
import { call, tell, warn } from "./voice.js";
import { apart, say, size } from "./words.js";

/** Milliseconds for which a button says what it did. */
const NOTICE = 2500;

/** Events that are kept of a drop that is over. */
const MOST_EVENTS = 30;

/** @type {Set<Keeping>} all that are on the page */
const shown = new Set();

onNewDay(() => shown.forEach((keeping) => keeping.retell()));

/** One drop in the list. */
export class Keeping {
  #control = new AbortController();
  #stage = "";
  #code = "";
  /** What the card shows, where that is a status. */
  #shown = null;

  /**
   * @param {drops.Drop} drop
   * @param {string} api where drops live
   * @param {(keeping: Keeping) => void} forgotten is told that its entry is to go
   * @param {boolean} [fresh] it was left just now: somebody waits for what becomes of it
   */
  constructor(drop, api, forgotten, fresh = false) {
    const card = new Card(drop.name);
    this.drop = drop;
    this.card = card;
    this.fresh = fresh;
    this.forgotten = forgotten;
    this.address = `${api}/${drop.id}`;
    this.over = false;
    shown.add(this);
    card.facts(...[
      size(drop.size),
      say("terms.downloads", { count: drop.downloads }),
      say("drops.kept", { moment: date(drop.expires_at) }),
      ...(drop.secret ? [say("terms.secret")] : []),
    ]);
    const link = card.part("link");
    link.value = drop.url;
    link.addEventListener("focus", () => link.select());
    card.on("copy", () => this.#copy());
    card.on("share", () => navigator.share({ url: drop.url, title: drop.name }).catch(() => {}));
    card.on("code", () => this.#square());
    card.on("revoke", () => this.#ask(true));
    card.on("no", () => this.#ask(false));
    card.on("yes", () => this.#revoke());
    card.on("forget", () => this.#forget());
    card.part("share").hidden = typeof navigator.share !== "function";
    this.#offer(true);
    card.show({ mood: "calm", headline: say("status.connecting") });
    if (drop.last) {
      this.#status(drop.last, true);
    } else {
      this.#follow();
    }
  }

  /** Do nothing more for it on this page. */
  stop() {
    shown.delete(this);
    this.#control.abort();
  }

  /** Say it anew: a new day has begun. */
  retell() {
    if (this.#shown !== null) {
      this.card.show(told(this.#shown));
      this.card.history(events(this.#shown), time);
    }
  }

  #follow() {
    const lost = (code) => {
      this.#shown = null;
      this.over = true;
      this.card.show({ mood: "calm", headline: say(code === 404 ? "status.forgotten" : "status.refused") });
      this.#offer(false);
    };
    const away = () => {
      this.#shown = null;
      this.card.show({ mood: "calm", headline: say("status.away") });
    };
    const to = { status: (status, over) => this.#status(status, over), lost, away };
    follow(`${this.address}/status`, this.drop.owner_token, to, this.#control.signal, this.fresh);
  }

  /** @param {Object} status @param {boolean} last nothing will change any more */
  #status(status, last) {
    const story = told(status);
    this.#shown = status;
    this.card.name(status.name);
    this.retell();
    const gone = status.state === "gone";
    this.#offer(!gone);
    if (gone && !this.over) {
      this.over = true;
      document.dispatchEvent(new Event("drop-over"));
    }
    if (last && !this.drop.last) {
      drops.change(this.drop.id, { last: { ...status, events: status.events.slice(-MOST_EVENTS) } });
    }
    if (story.stage !== this.#stage) {
      if (this.#stage !== "") {
        this.#announce(story, status.name);
      }
      this.#stage = story.stage;
    }
  }

  #announce(story, name) {
    const key = { delivered: "said_delivered", opened: "said_opened", downloading: "said_downloading", broken: "said_broken", gone: "said_gone" }[story.stage];
    if (key !== undefined) {
      const text = say(`status.${key}`, { name: apart(name), headline: story.headline });
      tell(text);
      if (story.stage === "delivered") {
        call(text);
      }
    }
  }

  /** @param {boolean} works whether the link does */
  #offer(works) {
    this.card.part("give").hidden = !works;
    if (!works) {
      this.card.part("square").hidden = true;
      this.card.part("ask").hidden = true;
    }
    this.card.offer(works ? "revoke" : "forget");
    if (!this.card.part("ask").hidden) {
      this.card.offer();
    }
  }

  async #copy() {
    const button = this.card.part("copy");
    const link = this.card.part("link");
    let copied = true;
    try {
      await navigator.clipboard.writeText(this.drop.url);
    } catch {
      // Without TLS a browser has no clipboard for pages; this way is old, and still there.
      link.select();
      copied = document.execCommand("copy");
      button.focus();
    }
    if (!copied) {
      link.focus();
    }
    const words = say(copied ? "drops.copied" : "drops.copy_failed");
    button.textContent = words;
    tell(words);
    setTimeout(() => {
      button.textContent = say("drops.copy");
    }, NOTICE);
  }

  async #square() {
    const place = this.card.part("square");
    const button = this.card.part("code");
    if (!place.hidden) {
      place.hidden = true;
      button.setAttribute("aria-expanded", "false");
      return;
    }
    try {
      if (this.#code === "") {
        const response = await fetch(`${this.address}/code`, { headers: { Authorization: `Bearer ${this.drop.owner_token}` }, credentials: "omit" });
        if (!response.ok) {
          throw new Error(`${response.status}`);
        }
        this.#code = URL.createObjectURL(await response.blob());
        const image = document.createElement("img");
        image.src = this.#code;
        image.alt = say("drops.code_alt", { name: apart(this.drop.name) });
        place.append(image);
      }
      place.hidden = false;
      button.setAttribute("aria-expanded", "true");
      this.#complain();
    } catch {
      this.#complain(say("faults.code"));
    }
  }

  /** @param {boolean} sure_wanted ask whether it is to be taken back, or do not */
  #ask(sure_wanted) {
    this.#complain();
    this.card.part("ask").hidden = !sure_wanted;
    this.card.offer(...(sure_wanted ? [] : ["revoke"]));
    this.card.part(sure_wanted ? "no" : "revoke").focus();
  }

  async #revoke() {
    this.#complain();
    if (!(await taken_back(this.address, this.drop.owner_token))) {
      // The question stays: the file is still there.
      this.#complain(say("faults.revoke", { name: apart(this.drop.name) }));
      return;
    }
    this.card.part("ask").hidden = true;
    this.#offer(false);
    this.card.part("forget").focus();
    // What became of it, the server says: it may have been delivered meanwhile.
    this.#control.abort();
    this.#control = new AbortController();
    this.#follow();
  }

  /** @param {string} [words] what went wrong; nothing any more where there are none */
  #complain(words = "") {
    this.card.part("fault").textContent = words;
    this.card.part("fault").hidden = words === "";
    if (words !== "") {
      warn(words);
    }
  }

  #forget() {
    this.stop();
    drops.forget(this.drop.id);
    if (this.#code !== "") {
      URL.revokeObjectURL(this.#code);
    }
    this.forgotten(this);
  }
}
