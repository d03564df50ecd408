// Bringing clips in: dropped, picked, by a path on this machine, or by a URL.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { patiently, post, upload } from "./api.js";
import { go } from "./shell.js";

/** Send files one after another; `tell` gets what is going on. */
export async function sendFiles(files, tell) {
  const ids = [], troubles = [];
  for (const [number, file] of files.entries()) {
    const where = files.length > 1 ? `${number + 1} of ${files.length}: ${file.name}` : file.name;
    tell(`sending ${where}`, 0);
    try {
      const sent = () => upload(file, (share) => tell(`sending ${where}`, share));
      ids.push(await patiently(sent, (why) => tell(`waiting with ${where}: ${why}`, 0)));
    } catch (error) {
      troubles.push(`${file.name}: ${error.message}`);
    }
    dispatchEvent(new Event("clips-added"));
  }
  tell(troubles.join("; "), null);
  if (ids.length === 1 && files.length === 1) go(`/clip/${ids[0]}`);
  else if (ids.length) go("/triage");
}

export function AddForm({ studio, onDone }) {
  const [said, setSaid] = useState({ text: "", share: null });
  const [path, setPath] = useState(""), [url, setUrl] = useState("");
  const picker = useRef(null);
  const tell = (text, share) => setSaid({ text, share });
  const send = async (files) => { if (files.length) { await sendFiles([...files], tell); if (onDone) onDone(); } };
  const name = async (body) => {
    tell("opening", 0);
    try {
      const { id } = await patiently(() => post("/api/clips", body), (why) => tell(`waiting: ${why}`, 0));
      dispatchEvent(new Event("clips-added"));
      if (onDone) onDone();
      go(`/clip/${id}`);
    } catch (error) {
      tell(error.message, null);
    }
  };
  return html`
    <div class="add">
      <div class="drop"><p>Drop clips anywhere, or</p>
        <button type="button" class="main" onClick=${() => picker.current.click()}>Choose files</button>
        <input type="file" ref=${picker} multiple accept="video/*,.mkv,.avi,.ts,.gif,.webp" hidden onChange=${(event) => send(event.target.files)} /></div>
      <form onSubmit=${(event) => { event.preventDefault(); if (path) name({ path }); }}>
        <label class="wide"><span>A file on this machine</span><input type="text" value=${path} onInput=${(event) => setPath(event.target.value)} placeholder="/videos/clip.mp4" autocomplete="off" spellcheck=${false} /></label>
        <button>Open</button></form>
      ${studio && studio.roots.length === 0 && html`<p class="muted">No folder may be read yet: start with <code>deeptrace studio DIR</code> or <code>--root DIR</code>.</p>`}
      <form onSubmit=${(event) => { event.preventDefault(); if (url) name({ url }); }}>
        <label class="wide"><span>A URL</span><input type="url" value=${url} onInput=${(event) => setUrl(event.target.value)} placeholder="https://…" autocomplete="off" /></label>
        <button>Fetch</button></form>
      ${studio && studio.hosts.length === 0 && html`<p class="muted">No host is allowed yet: start with <code>--allow-host HOST</code>.</p>`}
      ${said.text && html`<p class=${said.share === null ? "trouble" : "muted"} role=${said.share === null ? "alert" : "status"}>${said.text}</p>`}
      ${said.share !== null && html`<progress max="1" value=${said.share} aria-label="Sent"></progress>`}
    </div>`;
}

export function AddSheet({ studio, onClose }) {
  const sheet = useRef(null);
  useEffect(() => { sheet.current.showModal(); }, []);
  return html`
    <dialog class="sheet small" ref=${sheet} onClose=${onClose} aria-labelledby="add-title">
      <form method="dialog"><h2 id="add-title">Add clips</h2><button aria-label="Close">×</button></form>
      <${AddForm} studio=${studio} onDone=${() => sheet.current && sheet.current.close()} />
    </dialog>`;
}

/** Files may be dropped anywhere in the window. */
export function useDropping() {
  const [over, setOver] = useState(false), [said, setSaid] = useState("");
  useEffect(() => {
    const files = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
    const enter = (event) => { if (files(event)) { event.preventDefault(); setOver(true); } };
    const leave = (event) => { if (!event.relatedTarget) setOver(false); };
    const drop = (event) => {
      if (!files(event)) return;
      event.preventDefault();
      setOver(false);
      sendFiles([...event.dataTransfer.files], (text, share) => setSaid(share === null ? text : `${text}: ${Math.round(100 * share)} %`));
    };
    addEventListener("dragenter", enter);
    addEventListener("dragover", enter);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    return () => { removeEventListener("dragenter", enter); removeEventListener("dragover", enter); removeEventListener("dragleave", leave); removeEventListener("drop", drop); };
  }, []);
  return { over, said };
}
