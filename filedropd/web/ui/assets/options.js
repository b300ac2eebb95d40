/** The options of the form: what they say, and in one line for whoever leaves them closed. */

import { say } from "./words.js";

const password = document.getElementById("password");
const expires = document.getElementById("expires");
const downloads = document.getElementById("downloads");
const terms = document.getElementById("terms");
const show = document.getElementById("show");

/** Return what is chosen, or `null` where it cannot be; then the browser has told why. */
export function chosen() {
  const details = document.getElementById("options");
  if (![password, expires, downloads].every((field) => field.checkValidity())) {
    details.open = true; // a field that is not to be seen cannot be corrected
  }
  if (![password, expires, downloads].every((field) => field.reportValidity())) {
    return null;
  }
  return { password: password.value, expires: expires.value, downloads: downloads.value };
}

/** Keep the line up to date. */
export function watch() {
  const update = () => {
    const count = downloads.validity.valid && downloads.value !== "" ? downloads.valueAsNumber : 1;
    terms.textContent = [
      say("terms.downloads", { count }),
      say("terms.kept", { span: expires.selectedOptions[0].textContent }),
      say(password.value === "" ? "terms.open" : "terms.secret"),
    ].join(" · ");
  };
  for (const field of [password, expires, downloads]) {
    field.addEventListener("input", update);
  }
  show.addEventListener("change", () => {
    password.type = show.checked ? "text" : "password";
  });
  update(); // a browser that goes back has kept what was filled in
}
