// The queue: clips by p, with pictures; J and K walk through it, an answer moves on. Only the rows in view are made.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { may, patiently, sendLabels, takeLabels } from "./api.js";
import { allKinds } from "./kinds.js";
import { Badge, ClipView } from "./clip.js";
import { Rows, useList } from "./list.js";
import { Link, go, typing } from "./shell.js";

const ROW = 76;

export function Thumb({ clip }) {
  const [share, setShare] = useState(null);
  if (clip.state !== "ready") return html`<span class="thumb"></span>`;
  const hover = (event) => { const area = event.currentTarget.getBoundingClientRect(); setShare(Math.min(Math.max((event.clientX - area.left) / area.width, 0), 0.999)); };
  return html`
    <span class="thumb" onPointerMove=${hover} onPointerLeave=${() => setShare(null)}>
      ${share === null ? html`<img src=${`/api/clips/${clip.id}/poster.jpg`} alt="" loading="lazy" decoding="async" />`
      : html`<span class="film" style=${{ backgroundImage: `url(/api/clips/${clip.id}/strip.jpg)`, backgroundPosition: `${(Math.floor(share * 8) / 7) * 100}% 50%` }}></span>`}
    </span>`;
}

const ANSWERED = { agree: "✓ agreed", disagree: "✕ disagreed", unsure: "? unsure" };

function Row({ clip, current, onPick, at }) {
  return html`
    <a href=${`/triage?clip=${clip.id}`} class="item" aria-current=${current ? "true" : undefined} onClick=${(event) => { if (!event.ctrlKey && !event.metaKey) { event.preventDefault(); onPick(at); } }}>
      <${Thumb} clip=${clip} />
      <span class="words">
        <span class="name" title=${clip.name}>${clip.name}</span>
        <span class="line"><${Badge} clip=${clip} /> ${clip.p_fake !== null && html`<span class="p">${clip.p_fake.toFixed(2)}</span>`}</span>
        <span class="line muted">${clip.says ? ANSWERED[clip.says] : ""}${clip.traces ? `${clip.says ? " · " : ""}${clip.traces} marked` : ""}</span>
      </span>
    </a>`;
}

const FILTERS = {
  decision: ["Verdict", { "": "any verdict", generated: "AI-generated", unclear: "unclear", real: "looks real", none: "none yet" }],
  says: ["Answer", { "": "any answer", none: "no answer yet", agree: "agreed", disagree: "disagreed", unsure: "unsure" }],
};
const SORTS = { "p down": "p, highest first", "p up": "p, lowest first", "name up": "name", "added down": "newest first" };

const TOOLS = { rewarddata: "RewardData (all_data.json)", cvat: "CVAT (XML or zip)", "label-studio": "Label Studio (JSON)", labelbox: "Labelbox (NDJSON)", coco: "COCO (JSON)", fiftyone: "FiftyOne (zip)" };

/** Labels in the files of other annotation tools: taken away, and brought in as one's own annotations. */
function OtherTools({ onClose }) {
  const sheet = useRef(null), [said, setSaid] = useState({ text: "", good: true }), [tool, setTool] = useState("rewarddata");
  useEffect(() => { sheet.current.showModal(); }, []);
  const bring = async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    setSaid({ text: `reading ${file.name}`, good: true });
    try {
      const found = await patiently(() => sendLabels(tool, file), (why) => setSaid({ text: `waiting with ${file.name}: ${why}`, good: true }));
      const rest = [found.kept && `${found.kept} already annotated by you and left alone`, found.unmatched.length && `${found.unmatched.length} not here`, found.refused.length && `not brought in: ${found.refused.slice(0, 5).join("; ")}${found.refused.length > 5 ? ` and ${found.refused.length - 5} more` : ""}`, ...(found.warnings || [])].filter(Boolean);
      setSaid({ text: [`${found.imported} clip${found.imported === 1 ? "" : "s"} with ${found.traces} trace${found.traces === 1 ? "" : "s"} brought in`, ...rest].join("; "), good: true });
      dispatchEvent(new Event("answers-sent"));
    } catch (error) { setSaid({ text: error.message, good: false }); }
    event.target.value = "";
  };
  const take = async (name) => {
    const said = (text, good = true) => setSaid({ text, good });
    said(`making ${name}.zip`);
    try {
      const { videos, left_out } = await patiently(() => takeLabels(name), (why) => said(`waiting with ${name}.zip: ${why}`));
      said(`${name}.zip: ${videos} clip${videos === 1 ? "" : "s"}${left_out ? `; ${left_out} left out, notes.txt in it says which and why` : ""}`);
    } catch (error) { said(error.message, false); }
  };
  return html`
    <dialog class="sheet small" ref=${sheet} onClose=${onClose} aria-labelledby="tools-title">
      <form method="dialog"><h2 id="tools-title">Other tools</h2><button aria-label="Close">×</button></form>
      <h3>Labels for</h3><div class="row">${["cvat", "label-studio", "labelbox", "coco", "fiftyone"].map((name) => html`<button type="button" key=${name} onClick=${() => take(name)}>${TOOLS[name].split(" (")[0]}</button>`)}</div>
      <p class="muted">A zip; <code>notes.txt</code> in it says what has no place in that tool.</p>
      <h3>Labels from</h3>
      <label class="wide"><span>Tool</span><select value=${tool} onChange=${(event) => setTool(event.target.value)}>${Object.entries(TOOLS).map(([name, words]) => html`<option value=${name}>${words}</option>`)}</select></label>
      <label class="wide"><span>File</span><input type="file" onChange=${bring} /></label>
      <p class="muted">They become your own annotations of the clips that are here; what you have annotated already stays.</p>
      ${said.text && html`<p class=${said.good ? "muted" : "trouble"} role=${said.good ? "status" : "alert"}>${said.text}</p>`}
    </dialog>`;
}

export function Triage({ address, studio }) {
  const parameters = new URLSearchParams(address.split("?")[1] || "");
  const [filter, setFilter] = useState({ q: "", decision: "", says: "", kind: "", sort: "p", order: "down" });
  const [others, setOthers] = useState(false);
  const list = useList("/api/clips", "clips", filter);
  const chosen = Number(parameters.get("clip")) || null;
  const places = useMemo(() => new Map([...list.rows].map(([place, clip]) => [clip.id, place])), [list.rows]);
  const place = places.has(chosen) ? places.get(chosen) : null;
  const shown = useRef(0);
  if (place !== null) shown.current = place;
  const pick = (at) => {
    const clip = list.rows.get(Math.min(Math.max(at, 0), (list.total || 1) - 1));
    if (clip) { shown.current = places.get(clip.id); go(`/triage?clip=${clip.id}`); }
    else list.want(at, at);
  };
  // At once with the rows: later, the filter may be another and these rows no longer the list's.
  useLayoutEffect(() => { if (!chosen && list.rows.has(0) && matchMedia("(min-width: 721px)").matches) { history.replaceState(null, "", `/triage?clip=${list.rows.get(0).id}`); dispatchEvent(new Event("moved")); } }, [list.rows, chosen]);
  // Work goes on: what is in view is asked for again.
  const jobs = studio ? (studio.jobs.queued || 0) + (studio.jobs.running || 0) + studio.clips.analysed / 1e6 + studio.clips.all : 0;
  useEffect(() => { if (list.total !== null) list.want(shown.current, shown.current, true); }, [jobs]);
  const refresh = () => { list.want(shown.current, shown.current, true); };
  useEffect(() => { addEventListener("answers-sent", refresh); return () => removeEventListener("answers-sent", refresh); });
  useLayoutEffect(() => {
    const heard = (event) => {
      if (event.key === "/" && !typing(event)) { event.preventDefault(); document.getElementById("find").focus(); return; }
      if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "j") pick(shown.current + 1);
      if (event.key === "k") pick(shown.current - 1);
      if (event.key === "e" && chosen && may("annotator")) go(`/annotate/${chosen}`);
    };
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  });
  const answered = (says) => {
    const clip = list.rows.get(shown.current);
    if (clip) clip.says = says === "none" ? null : says;
    if (says !== "none") pick(shown.current + 1);
  };
  const narrow = (changes) => {
    setFilter((before) => ({ ...before, ...changes }));
    history.replaceState(null, "", "/triage"); // the list begins anew, with its first clip
    dispatchEvent(new Event("moved"));
  };
  const set = (name) => (event) => narrow({ [name]: event.target.value });
  return html`
    <main class=${`triage ${parameters.get("clip") ? "chosen" : ""}`} id="main">
      <section class="queue" aria-label="Clips">
        <div class="filters">
          <label class="wide"><span class="unseen">Search</span><input id="find" type="search" placeholder="Search names  /" value=${filter.q} onInput=${set("q")} /></label>
          ${Object.entries(FILTERS).map(([name, [title, words]]) => html`
            <label key=${name}><span class="unseen">${title}</span><select value=${filter[name]} onChange=${set(name)}>${Object.entries(words).map(([value, word]) => html`<option value=${value}>${word}</option>`)}</select></label>`)}
          <label><span class="unseen">Kind</span><select value=${filter.kind} onChange=${set("kind")}><option value="">any kind</option>${allKinds().map((kind) => html`<option value=${kind.id}>${kind.name}</option>`)}</select></label>
          <label><span class="unseen">Order</span><select value=${`${filter.sort} ${filter.order}`} onChange=${(event) => { const [sort, order] = event.target.value.split(" "); narrow({ sort, order }); }}>${Object.entries(SORTS).map(([value, word]) => html`<option value=${value}>${word}</option>`)}</select></label>
        </div>
        <${Rows} list=${list} current=${place} height=${ROW} label="Queue"
          render=${(clip, at, current) => html`<${Row} key=${clip.id} clip=${clip} at=${at} current=${current} onPick=${pick} />`} />
        <footer class="row exports"><span class="muted">${list.total === null ? "" : `${list.total} clip${list.total === 1 ? "" : "s"}`}</span>
          ${may("reviewer") && html`<a class="button" download href="/api/export/verdicts.csv">CSV</a>`}
          <a class="button" download href="/api/export/verdicts.jsonl">JSON lines</a>
          ${may("reviewer") && html`<a class="button" download href="/api/export/all_data.json" title="answers and annotations as RewardData">Labels</a><button type="button" onClick=${() => setOthers(true)}>Other tools</button>`}</footer>
        ${others && html`<${OtherTools} onClose=${() => setOthers(false)} />`}
      </section>
      <section class="pane" aria-label="The clip">
        <${Link} class="back" href="/triage">‹ all clips</${Link}>
        ${chosen ? html`<${ClipView} id=${chosen} onAnswer=${answered} />` : html`<h1 class="unseen">Clips</h1><p class="muted">${list.total === 0 ? "No clip fits." : ""}</p>`}
      </section>
    </main>`;
}
