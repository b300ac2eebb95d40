/** One file on its way to the server, and how it is taken back. */

/** What went wrong: nothing of the file was kept. */
export class Fault extends Error {
  /**
   * @param {"connection"|"unreadable"|"answer"} kind
   * @param {{status?: number, detail?: string, wait?: number}} [answer] what the server said
   */
  constructor(kind, { status = 0, detail = "", wait = 0 } = {}) {
    super(detail || kind);
    this.kind = kind;
    this.status = status;
    this.detail = detail;
    /** Seconds after which it makes sense to try again, or 0. */
    this.wait = wait;
  }
}

/**
 * Send a file with the options of the form.
 * @param {string} address
 * @param {File} file
 * @param {{password: string, expires: string, downloads: string}} options
 * @param {(sent: number, total: number) => void} progress
 * @param {AbortSignal} signal breaks it off; the promise is then rejected with its reason
 * @returns {Promise<Object>} what the server answered
 */
export function send(address, file, options, progress, signal) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(options)) {
      if (value !== "") {
        form.append(name, value);
      }
    }
    form.append("file", file, file.name);
    // fetch does not tell how much was sent.
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "text";
    request.upload.addEventListener("progress", (event) => progress(event.loaded, event.total));
    request.addEventListener("load", () => {
      const told = parsed(request.responseText);
      if (request.status === 201 && told !== null) {
        resolve(told);
      } else {
        const wait = Number.parseInt(request.getResponseHeader("Retry-After") ?? "0", 10) || 0;
        reject(new Fault("answer", { status: request.status, detail: told?.detail ?? "", wait }));
      }
    });
    request.addEventListener("error", async () => {
      // A file that can no longer be read breaks the request off just as a lost connection does.
      reject(new Fault((await readable(file)) ? "connection" : "unreadable"));
    });
    request.addEventListener("abort", () => reject(signal.reason));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/**
 * Take a drop back; tells whether that worked.
 * @param {string} address
 * @param {string} owner_token
 * @returns {Promise<boolean>}
 */
export async function taken_back(address, owner_token) {
  try {
    const headers = { Authorization: `Bearer ${owner_token}` };
    const response = await fetch(address, { method: "DELETE", headers, credentials: "omit" });
    // Where it is gone already there is nothing to take back.
    return response.ok || [404, 410].includes(response.status);
  } catch {
    return false;
  }
}

/** @param {File} file @returns {Promise<boolean>} */
async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** @param {string} text @returns {?Object} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
