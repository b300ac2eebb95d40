/** The page on which files are left: what comes in begins to be sent, what was left is looked after. */

import * as drops from "./drops.js";
import { gather } from "./gather.js";
import { Leaving, pending } from "./leaving.js";
import { chosen, watch } from "./options.js";
import { tell, warn } from "./voice.js";
import { say } from "./words.js";

const form = document.getElementById("leave");
const picker = document.getElementById("file");
const section = document.getElementById("drops");
const list = document.getElementById("list");
const refused = document.getElementById("refused");
const clear = document.getElementById("clear");
const note = document.getElementById("list-note");
const server = { api: form.dataset.api, most: Number(form.dataset.most) };

/** @type {Map<string, import("./keeping.js").Keeping>} */
const kept = new Map();

/** @type {WeakMap<Element, drops.Place>} of each entry */
const places = new WeakMap();
/** The place of the file that came last. */
let latest = { batch: 0, number: 0 };

addEventListener("beforeunload", (event) => {
  // What this browser does not keep is lost with the page.
  if (!drops.lasting() && drops.all().some(({ last }) => !last)) {
    event.preventDefault();
  }
});

/** What looks after drops is loaded when there is one, or is to be one: most pages are opened without. */
const keeper = () => import("./keeping.js");

function take(files, folders) {
  refused.hidden = folders === 0;
  if (folders > 0) {
    refused.textContent = say("faults.folder");
    warn(refused.textContent);
    bring(refused);
  }
  const options = files.length > 0 ? chosen() : null;
  if (options === null) {
    return;
  }
  keeper().catch(() => {}); // by the time it is needed it is there
  if (!pending()) {
    latest = { batch: Math.max(Date.now(), latest.batch + 1), number: 0 };
  }
  const entries = files.map((file) => {
    // What comes while others are under way stands below them, as it is sent after them.
    latest = { ...latest, number: latest.number + 1 };
    const leaving = new Leaving(file, latest, options, server, { kept: left, dropped: remove });
    put(leaving.card.node, latest);
    leaving.begin();
    return leaving.card.node;
  });
  show();
  bring(entries[0]);
}

/** Bring something into view, where it is not. @param {Element} node */
function bring(node) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  node.scrollIntoView({ block: "nearest", behavior: still ? "instant" : "smooth" });
}

/** Show an entry where it belongs. @param {Element} node @param {drops.Place} [place] */
function put(node, place) {
  places.set(node, place);
  list.insertBefore(node, [...list.children].find((each) => drops.above(place, places.get(each)) < 0) ?? null);
}

/** A file was left: its entry becomes that of a drop. */
async function left(leaving, receipt) {
  const drop = {
    id: receipt.id,
    url: receipt.url,
    owner_token: receipt.owner_token,
    name: leaving.file.name,
    size: receipt.size,
    downloads: receipt.downloads,
    secret: leaving.options.password !== "",
    expires_at: receipt.expires_at,
    place: leaving.place,
  };
  drops.add(drop);
  if (!drops.lasting()) {
    note.textContent = say("faults.unkept");
    note.classList.add("wrong");
    warn(note.textContent);
  }
  let keeping;
  try {
    keeping = new (await keeper()).Keeping(drop, server.api, gone, true);
  } catch (error) {
    location.reload(); // the server was given other pages since this one was opened; the drop is in the list
    throw error;
  }
  if (kept.has(drop.id)) {
    return remove(leaving); // another page has told of it meanwhile
  }
  const held = leaving.card.node.contains(document.activeElement);
  const free = held || [document.body, picker].includes(document.activeElement);
  leaving.card.node.replaceWith(keeping.card.node);
  places.set(keeping.card.node, leaving.place);
  kept.set(drop.id, keeping);
  // The next thing to do, unless somebody is busy elsewhere.
  if (free) {
    keeping.card.part("copy").focus({ preventScroll: true });
  }
}

/** An entry that is no drop goes. */
function remove(leaving) {
  settle(leaving.card.node);
}

function gone(keeping) {
  kept.delete(keeping.drop.id);
  settle(keeping.card.node);
}

/** Take an entry away; who was in it goes on with its neighbour. */
function settle(node) {
  const held = node.contains(document.activeElement);
  const neighbour = node.nextElementSibling ?? node.previousElementSibling;
  node.remove();
  show();
  if (held) {
    (neighbour?.querySelector("button:not([hidden])") ?? picker).focus();
  }
}

function show() {
  section.hidden = list.children.length === 0;
  clear.hidden = [...kept.values()].filter(({ over }) => over).length < 2;
}

/** The list as this browser keeps it: other pages of it may have changed it. */
async function read() {
  const now = drops.all();
  for (const [id, keeping] of kept) {
    if (!now.some((drop) => drop.id === id)) {
      keeping.stop();
      gone(keeping);
    }
  }
  if (now.some((drop) => !kept.has(drop.id))) {
    const { Keeping } = await keeper();
    for (const drop of now.filter(({ id }) => !kept.has(id))) {
      const keeping = new Keeping(drop, server.api, gone);
      kept.set(drop.id, keeping);
      put(keeping.card.node, drop.place);
    }
  }
  show();
}

document.documentElement.dataset.scripted = "";
picker.multiple = true;
picker.required = false;
form.addEventListener("submit", (event) => {
  event.preventDefault();
  picker.click(); // Enter, in one of the options: what is left is a file
});
clear.addEventListener("click", () => {
  for (const keeping of [...kept.values()].filter(({ over }) => over)) {
    keeping.stop();
    drops.forget(keeping.drop.id);
    gone(keeping);
  }
  document.getElementById("drops-heading").focus();
  tell(document.getElementById("drops-heading").textContent);
});
document.addEventListener("drop-over", show);
drops.onChange(read);
watch();
gather(picker, document.getElementById("veil"), take);
read();
