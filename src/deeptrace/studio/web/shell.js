// What all pages share: addresses without loading, the bar at the top, the sheet of keys.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ask, may, session } from "./api.js";

/** Whether keys go to a field or to an open sheet, not to the page. */
export const typing = (event) => Boolean(document.querySelector("dialog[open]") || (event.target.closest && event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]")));

export function go(address) {
  if (address !== location.pathname + location.search) {
    history.pushState(null, "", address);
    dispatchEvent(new Event("moved"));
  }
}
export function useAddress() {
  const [address, setAddress] = useState(location.pathname + location.search);
  useEffect(() => {
    const heard = () => setAddress(location.pathname + location.search);
    addEventListener("moved", heard);
    addEventListener("popstate", heard);
    return () => { removeEventListener("moved", heard); removeEventListener("popstate", heard); };
  }, []);
  return address;
}
export function Link({ href, children, onFollow, ...rest }) {
  const follow = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    if (onFollow) onFollow();
    go(href);
  };
  return html`<a href=${href} onClick=${follow} ...${rest}>${children}</a>`;
}

/** What the studio is, asked for again while work goes on, and why it is not known yet. */
export function useStudio() {
  const [studio, setStudio] = useState(null), [trouble, setTrouble] = useState("");
  useEffect(() => {
    let timer = 0, alive = true;
    const load = async () => {
      const said = await ask("/api/studio").catch((error) => { setTrouble(error.message); return null; });
      if (!alive) return;
      if (said) setStudio(said);
      const working = said && (said.jobs.queued || said.jobs.running);
      timer = setTimeout(load, working ? 1000 : 5000);
    };
    load();
    const heard = () => { clearTimeout(timer); load(); };
    const names = ["clip-changed", "clips-added", "answers-sent", "session-changed"];
    for (const name of names) addEventListener(name, heard);
    return () => { alive = false; clearTimeout(timer); for (const name of names) removeEventListener(name, heard); };
  }, []);
  return [studio, trouble];
}

const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };

function useTheme() {
  const [theme, setTheme] = useState(stored() || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem("theme", theme); } catch { /* private windows may keep nothing */ }
  }, [theme]);
  return [theme, setTheme];
}

export function Bar({ studio, page, onAdd, onHelp, onAccount }) {
  const [theme, setTheme] = useTheme();
  const counts = studio ? studio.clips : { all: 0, analysed: 0, answered: 0 };
  const jobs = studio ? (studio.jobs.queued || 0) + (studio.jobs.running || 0) : 0;
  return html`
    <header class="bar">
      <${Link} class="brand" href="/triage">deeptrace <span>studio</span></${Link}>
      <nav aria-label="Pages">
        <${Link} href="/triage" aria-current=${page === "triage" ? "page" : undefined}>Clips</${Link}>
        ${studio && studio.explore && html`<${Link} href="/explore" aria-current=${page === "explore" ? "page" : undefined}>Explore</${Link}>`}
        ${studio && studio.leaderboard && html`<${Link} href="/leaderboard" aria-current=${page === "leaderboard" ? "page" : undefined}>Leaderboard</${Link}>`}
        ${studio && studio.work !== null && html`<${Link} href="/work" aria-current=${page === "work" ? "page" : undefined}>My clips${studio.work ? ` (${studio.work})` : ""}</${Link}>`}
        ${may("reviewer") && session.accounts && html`<${Link} href="/review" aria-current=${page === "review" ? "page" : undefined}>Review</${Link}>`}
        ${may("admin") && session.accounts && html`<${Link} href="/people" aria-current=${page === "people" ? "page" : undefined}>People</${Link}>`}
        ${may("annotator") && html`<button type="button" onClick=${onAdd}>Add clips</button>`}
      </nav>
      <p class="progress" role="status">${counts.all > 0 && html`${jobs > 0 ? html`<span class="spinner" aria-hidden="true"></span> ` : ""}${counts.analysed} of ${counts.all} analysed · ${counts.answered} answered`}</p>
      ${session.accounts && html`<button type="button" class="quiet who" onClick=${onAccount} title=${`logged in as ${session.person.role}`}>${session.person.name}</button>`}
      <button type="button" class="quiet" onClick=${onHelp} title="?">Keys</button>
      <button type="button" class="quiet" onClick=${() => setTheme(theme === "dark" ? "light" : "dark")}>${theme === "dark" ? "Light" : "Dark"}</button>
    </header>`;
}

const KEYS = [
  ["Everywhere", [["Space", "play or pause"], ["← →", "one frame back, forward (Shift: ten)"], ["Home End", "first, last frame"], ["[ ]", "slower, faster"], ["?", "this sheet"]]],
  ["The list", [["J K", "next, previous clip"], ["/", "search"], ["E", "annotate the clip"]]],
  ["Explore", [["J K", "next, previous video of the list"], ["Esc", "back to the list"], ["0", "the truth's boxes on or off"], ["1 … 9", "a model's boxes on or off"], ["/", "search"]]],
  ["A clip", [["1 … 9", "loop that trace"], ["L", "loop the whole clip, or stop looping"], ["B", "boxes on or off"], ["H", "heat map on or off"], ["A D U", "agree, disagree, unsure"], ["Z", "take the answer back"], ["N", "write a note"]]],
  ["Annotate", [["T", "new trace at this frame"], ["I O", "onset, offset at this frame"], ["1 … 9, 0", "kind; 0 for none of the above"], ["W A S D", "move the box (Shift: its lower right corner)"], ["F", "keyframe at this frame, or remove it"], ["H", "the box is off from this frame to the next keyframe, or on again"], ["V", "let the box follow what is in it, from here to the end"], [", .", "previous, next trace"], ["+ −", "a larger, smaller picture"], ["X", "write the explanation (Esc ends it)"], ["Del", "remove the trace"], ["Ctrl Z", "undo (Shift: redo)"], ["P", "loop the trace"], ["G R C", "the clip is generated, real, cannot tell"]]],
];

export function Help({ onClose }) {
  const sheet = useRef(null);
  useEffect(() => { sheet.current.showModal(); }, []);
  return html`
    <dialog class="sheet" ref=${sheet} onClose=${onClose} aria-labelledby="keys-title">
      <form method="dialog"><h2 id="keys-title">Keys</h2><button aria-label="Close">×</button></form>
      <div class="columns">${KEYS.map(([title, keys]) => html`
        <section key=${title}><h3>${title}</h3><dl>${keys.map(([key, what]) => html`<dt><kbd>${key}</kbd></dt><dd>${what}</dd>`)}</dl></section>`)}</div>
    </dialog>`;
}
