/** One entry of the list of drops: what it shows. What is behind it is elsewhere. */

import { percent, say, visible } from "./words.js";

const template = document.getElementById("drop");

/** Shows one drop, or one that is to be. */
export class Card {
  /** @param {string} name of the file; it is shown as text and trusted in nothing */
  constructor(name) {
    /** @type {HTMLElement} */
    this.node = template.content.firstElementChild.cloneNode(true);
    this.name(name);
  }

  /** Return an element of the entry by its name in the template. @param {string} name @returns {HTMLElement} */
  part(name) {
    return this.node.querySelector(`[data-part="${name}"]`);
  }

  /** Call the file `name`. @param {string} name */
  name(name) {
    this.part("name").textContent = visible(name);
    const values = { name: visible(name) };
    this.part("bar").setAttribute("aria-label", say("drops.bar", values));
    this.part("link").setAttribute("aria-label", say("drops.link", values));
    this.part("ask").setAttribute("aria-label", say("drops.actions", values));
    for (const act of ["copy", "share", "code", "retry", "cancel", "revoke", "forget"]) {
      // Said after its own words, it tells apart the buttons of several drops.
      this.part(act).setAttribute("aria-description", visible(name));
    }
  }

  /** Say what there is to know of the file beside its name. @param {string[]} facts */
  facts(...facts) {
    this.part("facts").textContent = facts.join(" · ");
  }

  /**
   * Show where it stands.
   * @param {{mood: string, headline: string, note?: ?string, part?: ?number}} story
   */
  show({ mood, headline, note = null, part = null }) {
    this.node.dataset.mood = mood;
    put(this.part("headline"), headline);
    put(this.part("note"), note ?? "");
    this.part("note").hidden = note === null;
    const bar = this.part("bar");
    bar.hidden = part === null;
    if (part !== null) {
      bar.value = part;
      bar.textContent = percent(part);
    }
  }

  /** Offer these buttons, and no others of those below. @param {...string} names */
  offer(...names) {
    for (const name of ["retry", "cancel", "revoke", "forget"]) {
      this.part(name).hidden = !names.includes(name);
    }
  }

  /** Call `act` when the button `name` is pressed. @param {string} name @param {(event: Event) => void} act */
  on(name, act) {
    this.part(name).addEventListener("click", act);
  }

  /** Show what happened. @param {{at: string, text: string}[]} events @param {(moment: string) => string} written */
  history(events, written) {
    const list = this.part("events");
    // What is there stays: whoever reads or hears it is not disturbed. But the hours of yesterday need their day.
    for (const time of list.querySelectorAll("time")) {
      put(time, written(time.dateTime));
    }
    for (const { at, text } of events.slice(list.children.length)) {
      const [item, time, words] = ["li", "time", "span"].map((tag) => document.createElement(tag));
      time.dateTime = at;
      time.textContent = written(at);
      words.textContent = text;
      item.append(time, words);
      list.append(item);
    }
    this.part("history").hidden = events.length === 0;
  }
}

/** Change a text only where it is another: selections and screen readers stay where they are. */
function put(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}
