/** The page of a link: what becomes of the download that its button began. */

import { date, onNewDay, time, when } from "./moments.js";
import { tell, title } from "./voice.js";
import { apart, percent, say } from "./words.js";

/** Milliseconds between two questions: at first, and when it takes long. */
const FIRST = 700;
const OFTEN = 1000;
const SELDOM = 4000;
/** Milliseconds before a press within which a download that ended may be the one that it began: clocks tell seconds. */
const BEFORE = 2000;
/** How often a claim may not be there before it is given up: it was released, or the browser asked nothing. */
const PATIENCE = 20;

const form = document.getElementById("take");
const heading = document.getElementById("heading");
const bar = document.getElementById("bar");
const lead = document.getElementById("left");
const name = document.getElementById("name").textContent;
const first = { mood: document.body.dataset.mood, headline: heading.textContent, words: lead.textContent };
/** Which press of the button is asked for; an earlier one is not asked for any more. */
let asking = 0;
/** When that was, in milliseconds since the page was opened. */
let pressed = 0;
/** What the page shows, "" before anything is known. */
let stage = "";
/** Whether the page was opened again by whoever had pressed the button; it is asked at once what became of that. */
let reopened = false;
/** What was heard last of the claim. */
let latest = null;

form.addEventListener("submit", () => {
  // The form goes its own way. Its answer is a download, and this page stays; or another page, and this one is over.
  asking += 1;
  pressed = performance.now();
  reopened = false;
  put("preparing", "live", say("fetching.preparing"), "", { part: 0 });
  setTimeout(ask, FIRST, asking, 0, 0);
});

/** Ask what became of the claim, until it has come to an end. The browser shows its token by itself. */
async function ask(turn, times, missing) {
  if (turn !== asking) {
    return;
  }
  let over = false;
  try {
    const response = await fetch(form.dataset.claim, { cache: "no-store", referrerPolicy: "no-referrer" });
    const claim = response.ok ? await response.json() : null;
    if (claim !== null && !earlier(claim, response)) {
      missing = 0;
      over = show(claim);
    } else if ((missing += 1) >= PATIENCE) {
      offer();
      return;
    }
  } catch {
    // The server is away for a moment, and the download with it: what it says then tells.
    if (stage !== "") {
      put("away", "calm", say("fetching.away"), say("fetching.away_note"));
    }
  }
  if (!over) {
    setTimeout(ask, times < 60 ? OFTEN : SELDOM, turn, times + 1, missing);
  }
}

/** Offer what the page offered at first: nothing came of the press. */
function offer() {
  put("", first.mood, first.headline, first.words, { offers: true });
}

/** Tell whether a claim had ended before the button was pressed: the server has yet to see the press. */
function earlier(claim, response) {
  const now = Date.parse(response.headers.get("Date") ?? "");
  return claim.state === "delivered" && now - Date.parse(claim.ended_at) > performance.now() - pressed + BEFORE;
}

/** Show where a claim stands; tells whether it has come to an end. */
function show(claim) {
  latest = claim;
  const part = claim.size === 0 ? 1 : claim.acknowledged / claim.size;
  const whole = claim.acknowledged >= claim.size;
  if (claim.state === "delivered" || (claim.state === "presumed" && whole)) {
    const more = say(claim.gone ? "fetching.have_gone" : "fetching.have_more");
    const arrived = say("fetching.have_note", { name: apart(name), when: when(claim.ended_at) });
    return put("have", "good", say("fetching.have"), `${arrived} ${more}`, { end: true });
  }
  if (claim.gone && claim.reason === "revoked") {
    return put("over", "bad", say("fetching.revoked"), "", { end: true });
  }
  if (claim.transfers > 0) {
    const headline = part >= 1 ? say("fetching.ending") : say("fetching.running", { percent: percent(part) });
    return put("running", "live", headline, say("fetching.running_note"), { part });
  }
  if (claim.state === "presumed") {
    offerAgain();
    return put("unsure", "bad", say("fetching.unsure"), say("fetching.unsure_note"), { offers: true });
  }
  if (claim.state === "suspended" && claim.handed_out > 0) {
    const words = say("fetching.broken_note", { time: time(claim.until) });
    offerAgain();
    return put("broken", "bad", say("fetching.broken"), words, { offers: true });
  }
  if (claim.state === "lapsed" && reopened) {
    offer();
    return true;
  }
  if (claim.state === "lapsed") {
    return put("over", "bad", say("fetching.over"), say("fetching.over_note"), { end: true });
  }
  return put("preparing", "live", say("fetching.preparing"), "", { part: 0 });
}

/** Put it on the page. What it was before, and is no more, is taken away. */
function put(now, mood, headline, words, { part = null, offers = false, end = false } = {}) {
  document.body.dataset.mood = mood;
  heading.textContent = headline;
  lead.textContent = words;
  bar.hidden = part === null;
  if (part !== null) {
    bar.value = part;
  }
  title(now === "running" ? percent(part) : null);
  document.getElementById("terminal").hidden = true;
  document.getElementById("resume-note").hidden = true;
  const left = !offers && form.contains(document.activeElement);
  form.hidden = !offers;
  if (left) {
    // Else the keyboard is nowhere.
    heading.focus();
  }
  if (end) {
    document.getElementById("kept").hidden = true;
  }
  if (now !== stage) {
    stage = now;
    tell(`${headline}. ${words}`);
    if (end) {
      heading.focus();
    }
  }
  return end;
}

/** Who has the claim needs no password any more. */
function offerAgain() {
  document.getElementById("secret")?.remove();
  document.getElementById("submit").textContent = say("fetching.again");
}

addEventListener("pageshow", ({ persisted }) => {
  // Back from another page, which was the answer to the press.
  if (persisted && stage === "preparing") {
    asking += 1;
    offer();
  }
});

if (form.dataset.begun !== undefined) {
  reopened = true;
  pressed = -Infinity; // none of what the claim may have come to is too early
  ask(asking, 0, 0);
}

onNewDay(() => stage === "have" && show(latest));

for (const each of document.querySelectorAll("time")) {
  each.textContent = date(each.dateTime);
}
