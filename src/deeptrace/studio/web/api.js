// Asking the server. Every text that comes back is shown as text, never as markup.

/** An error that the server stated in one line. */
export class ServerError extends Error {
  constructor(status, body) {
    super(body.detail || `HTTP ${status}`);
    this.status = status;
    this.body = body;
  }
}

export async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = { "X-Deeptrace-Studio": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new ServerError(response.status, said);
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
      else reject(new ServerError(request.status, said));
    });
    request.addEventListener("error", () => reject(new Error("the connection to the studio was lost")));
    request.send(file);
  });
}

/** A new id: for edits and answers, so that one that is sent twice counts once. */
export const newId = () => crypto.randomUUID().replaceAll("-", "");
