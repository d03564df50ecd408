// Asking the server. Every text that comes back is shown as text, never as markup.

/** An error that the server stated in one line. */
export class ServerError extends Error {
  constructor(status, body, wait) {
    super(body.detail || `HTTP ${status}`);
    this.status = status;
    this.body = body;
    this.wait_s = Number(wait) || 0; // when it wants to be asked again
  }
}
/** Whether the same request can be taken later: the server was not reached, or has too much to do just now. */
export const passes = (error) => !error.status || error.status >= 500 || error.status === 429 || error.status === 408;
/** Milliseconds until it is sent again: as long as the server says, or else as usual. */
export const pause = (error, usual) => Math.max(usual, 1000 * Math.min(error.wait_s || 0, 120));

/** Send what the outbox does not keep, and again while the server only asks for time; `waiting` is told so. */
export async function patiently(send, waiting) {
  for (;;) {
    try {
      return await send();
    } catch (error) {
      if (error.status !== 429) throw error;
      waiting(error.message);
      await new Promise((done) => setTimeout(done, pause(error, 2000)));
    }
  }
}

/** Who asks. Without accounts that is everybody, who may do everything; `ended` says that a session is over. */
export const session = { accounts: false, person: null, ended: false };
export const ROLES = ["viewer", "annotator", "reviewer", "admin"];
export const may = (role) => Boolean(session.person) && ROLES.indexOf(session.person.role) >= ROLES.indexOf(role);
/** A channel of the outbox that is this person's alone: what one did is never sent as another's. */
export const mine = (channel) => (session.accounts && session.person ? `${session.person.name}:${channel}` : channel);

export function newSession(said) {
  Object.assign(session, said, { ended: false });
  dispatchEvent(new Event("session-changed"));
}
function sessionOver() {
  if (session.ended || !session.accounts) return;
  session.ended = true;
  dispatchEvent(new Event("session-changed"));
}
const SESSION = "/api/session";

export async function ask(path, { method = "GET", body, signal } = {}) {
  if (session.ended && !path.startsWith(SESSION)) throw new ServerError(401, { detail: "log in first" });
  const headers = { "X-Deeptrace-Studio": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  const said = await response.json().catch(() => ({}));
  if (response.status === 401 && path !== SESSION) sessionOver();
  if (!response.ok) throw new ServerError(response.status, said, response.headers.get("Retry-After"));
  return said;
}

export const post = (path, body) => ask(path, { method: "POST", body: body === undefined ? {} : body });

/** A drawing of the server's as an element that takes the page's colours; null where there is nothing to draw. */
export function drawing(path) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("GET", path);
    request.responseType = "document";
    request.addEventListener("load", () => resolve(request.status === 200 && request.response ? document.importNode(request.response.documentElement, true) : null));
    request.addEventListener("error", () => resolve(null));
    request.send();
  });
}

/** Send a file; `onProgress` gets the share that is sent. */
export function upload(file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/uploads?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("X-Deeptrace-Studio", "1");
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    request.addEventListener("load", () => {
      const said = request.response || {};
      if (request.status === 201) resolve(said.id);
      else {
        if (request.status === 401) sessionOver();
        reject(new ServerError(request.status, said, request.getResponseHeader("Retry-After")));
      }
    });
    request.addEventListener("error", () => reject(new Error("the connection to the studio was lost")));
    request.send(file);
  });
}

/** Another tool's labels, as its file has them; what came of them. */
export async function sendLabels(tool, file) {
  const response = await fetch(`/api/import?of=${tool}`, { method: "POST", headers: { "X-Deeptrace-Studio": "1" }, body: file });
  const said = await response.json().catch(() => ({}));
  if (response.status === 401) sessionOver();
  if (!response.ok) throw new ServerError(response.status, said, response.headers.get("Retry-After"));
  return said;
}

/** Labels for another tool, saved as a zip; how many videos are in it, and how many had to be left out. */
export async function takeLabels(tool) {
  const response = await fetch(`/api/export/labels/${tool}.zip`);
  if (response.status === 401) sessionOver();
  if (!response.ok) throw new ServerError(response.status, await response.json().catch(() => ({})), response.headers.get("Retry-After"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `${tool}.zip`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000); // the browser reads it after the click
  return { videos: Number(response.headers.get("X-Deeptrace-Videos")), left_out: Number(response.headers.get("X-Deeptrace-Left-Out")) };
}

/** A new id: for edits and answers, so that one that is sent twice counts once. */
export const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
