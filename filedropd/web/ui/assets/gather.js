/** Files come to a page in three ways: picked, dropped anywhere on it, or pasted. */

import { say } from "./words.js";

/** Where a paste is for the field, and not for the page. */
const FIELDS = "input:not([type=file]):not([readonly]), textarea, [contenteditable]";

/**
 * Call `take` with files whenever some come.
 * @param {HTMLInputElement} picker
 * @param {HTMLElement} veil is shown while files hang over the page
 * @param {(files: File[], folders: number) => void} take
 */
export function gather(picker, veil, take) {
  picker.addEventListener("change", () => {
    const files = [...picker.files];
    picker.value = ""; // the same file can be picked again
    take(files, 0);
  });
  onDrop(veil, take);
  document.addEventListener("paste", (event) => {
    if (event.target instanceof Element && event.target.closest(FIELDS)) {
      return;
    }
    const files = pasted(event.clipboardData);
    if (files.length > 0) {
      event.preventDefault();
      take(files, 0);
    }
  });
}

/** @param {HTMLElement} veil @param {(files: File[], folders: number) => void} take */
function onDrop(veil, take) {
  let depth = 0; // each element that is entered is left again
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (carries(event)) {
      depth += 1;
      veil.hidden = false;
    }
  });
  document.addEventListener("dragleave", (event) => {
    if (carries(event)) {
      depth -= 1;
      veil.hidden = depth > 0 ? false : true;
    }
  });
  document.addEventListener("dragover", (event) => {
    if (carries(event)) {
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
    }
  });
  document.addEventListener("drop", (event) => {
    depth = 0;
    veil.hidden = true;
    if (!carries(event)) {
      return;
    }
    event.preventDefault();
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const folders = items.filter((item) => item.webkitGetAsEntry?.()?.isDirectory).length;
    const files = folders === 0
      ? [...event.dataTransfer.files]
      : items.filter((item) => !item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.getAsFile());
    take(files.filter((file) => file !== null), folders);
  });
}

/** Return what a paste brings: its files, or its text as one. @param {?DataTransfer} data @returns {File[]} */
function pasted(data) {
  const files = [...(data?.files ?? [])];
  const text = data?.getData("text/plain") ?? "";
  if (files.length > 0 && !(files.every(unnamed) && worded(text, data.getData("text/html")))) {
    return files.map(named);
  }
  return text === "" ? [] : [new File([text], say("drops.pasted_text"), { type: "text/plain;charset=utf-8" })];
}

/** Tell a picture that comes from no file; browsers call every one `image.png`. @param {File} file */
function unnamed(file) {
  return /^image\.\w+$/.test(file.name);
}

/** Tell a text that Office copies with a picture of it from a picture with its address, of a page without words. */
function worded(text, page) {
  return text.trim() !== "" && (page === "" || page.replace(/<[^>]*>/g, "").trim() !== "");
}

/** Return a pasted picture with a name that says when. @param {File} file */
function named(file) {
  if (!unnamed(file)) {
    return file;
  }
  const now = new Date();
  const moment = new Date(now - now.getTimezoneOffset() * 60000).toISOString().slice(0, 19).replace("T", " ").replaceAll(":", ".");
  return new File([file], `${say("drops.pasted_image")} ${moment}.${file.name.split(".").at(-1)}`, { type: file.type });
}
