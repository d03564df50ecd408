// A dataset beside what several models said of it: a gallery and a list, the models side by side, what there is.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { ask, post } from "./api.js";
import { Thumb } from "./triage.js";
import { allKinds, nameOf } from "./kinds.js";
import { Rows, queryOf, useList } from "./list.js";
import { Counts, Models } from "./figures.js";
import { Link, go, typing } from "./shell.js";
import { ModelName, Said, Truth, VideoView } from "./truth.js";

const NOTHING = { q: "", label: "", source: "", split: "", kind: "", model: "", result: "", agree: "", low: "", high: "", sort: "", order: "" };
const VIEWS = { "": "Gallery", list: "List", models: "Models", counts: "What there is" };
const LABELS = { "": "any label", FAKE: "generated", REAL: "real", none: "no label" };
const AGREE = { "": "agree or not", same: "all say the same", differ: "they differ", all_right: "all are right", all_wrong: "all are wrong" };
const SORTS = { "": "as in the data", "name up": "name", "worst up": "worst errors first", "p down": "p, highest first", "p up": "p, lowest first", "viou up": "vIoU, lowest first", "viou down": "vIoU, highest first" };

const addressOf = (state) => { const query = queryOf(state); return query ? `/explore?${query}` : "/explore"; };

/** The dataset, its models, and what the address says of them. */
export function Explore({ address, studio }) {
  const [about, setAbout] = useState(null), [trouble, setTrouble] = useState("");
  useEffect(() => { ask("/api/explore").then(setAbout).catch((error) => setTrouble(error.message)); }, []);
  const parameters = Object.fromEntries(new URLSearchParams(address.split("?")[1] || ""));
  if (trouble) return html`<main id="main" class="welcome"><h1>Nothing to explore</h1><p>${trouble}</p></main>`;
  if (!about) return html`<main id="main" class="explore" aria-busy="true"></main>`;
  return html`<${Dataset} about=${about} studio=${studio} parameters=${parameters} />`;
}

function Dataset({ about, studio, parameters }) {
  const filter = Object.fromEntries(Object.keys(NOTHING).map((name) => [name, parameters[name] || ""]));
  const view = parameters.view || "", chosen = parameters.video || "";
  const list = useList("/api/explore/videos", "videos", filter);
  const place = useMemo(() => { for (const [at, video] of list.rows) if (video.id === chosen) return at; return null; }, [list.rows, chosen]);
  const shown = useRef(null);
  if (place !== null) shown.current = place;
  const where = (changes) => addressOf({ ...parameters, ...changes });
  // While one types, the address follows without a new step in the browser's history.
  const narrow = (changes) => { shown.current = null; history.replaceState(null, "", where({ ...changes, video: "" })); dispatchEvent(new Event("moved")); };
  const open = (at) => {
    const video = list.rows.get(Math.min(Math.max(at, 0), (list.total || 1) - 1));
    if (video) go(where({ video: video.id }));
    else if (at >= 0 && list.total) list.want(at, at);
  };
  useEffect(() => { if (chosen && shown.current !== null && list.total) list.want(shown.current, Math.min(shown.current + 1, list.total - 1)); }, [chosen, list.total]);
  useLayoutEffect(() => {
    const heard = (event) => {
      if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/") { const find = document.getElementById("find"); if (find) { event.preventDefault(); find.focus(); } }
      if (!chosen) return;
      if (event.key === "Escape") go(where({ video: "" }));
      if (event.key === "j" && shown.current !== null) open(shown.current + 1);
      if (event.key === "k" && shown.current !== null) open(shown.current - 1);
    };
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  });
  if (chosen) {
    return html`
      <main id="main" class="explore">
        <header class="row where">
          <${Link} class="button" href=${where({ video: "" })} title="Esc">‹ ${list.total === null ? "" : `${list.total} `}videos</${Link}>
          ${place !== null && html`
            <button type="button" title="K" disabled=${place === 0} onClick=${() => open(place - 1)}>Previous</button>
            <button type="button" title="J" disabled=${place + 1 >= list.total} onClick=${() => open(place + 1)}>Next</button>
            <span class="muted">${place + 1} of ${list.total}</span>`}
        </header>
        <${VideoView} key=${chosen} id=${chosen} about=${about} />
      </main>`;
  }
  return html`
    <main id="main" class=${`explore ${view === "" || view === "list" ? "fixed" : ""}`}>
      <${Filters} about=${about} filter=${filter} narrow=${narrow} />
      <div class="row where">
        <nav aria-label="Views" class="tabs">${Object.entries(VIEWS).map(([name, words]) => html`
          <${Link} key=${name} href=${where({ view: name })} aria-current=${view === name ? "page" : undefined}>${words}</${Link}>`)}</nav>
        <span class="total" role="status">${list.total === null ? "" : `${list.total} of ${about.videos} videos`}</span>
        <a class="button" download href=${`/api/explore/videos.csv?${queryOf(filter)}`}>CSV</a>
      </div>
      ${view === "" && html`<h1 class="unseen">${about.name}</h1><${Legend} about=${about} /><${Gallery} list=${list} about=${about} current=${shown.current} open=${open} where=${where} />`}
      ${view === "list" && html`<h1 class="unseen">${about.name}</h1><${Table} list=${list} about=${about} current=${shown.current} open=${open} where=${where} />`}
      ${view === "models" && html`<${Models} about=${about} filter=${filter} where=${where} />`}
      ${view === "counts" && html`<${Counts} about=${about} filter=${filter} where=${where} />`}
    </main>`;
}

const Choice = ({ title, value, words, onChange }) => html`
  <label><span class="unseen">${title}</span><select value=${value} class=${value ? "set" : ""} onChange=${(event) => onChange(event.target.value)}>
    ${words.map(([name, word]) => html`<option key=${name} value=${name}>${word}</option>`)}</select></label>`;

function Filters({ about, filter, narrow }) {
  const set = (name) => (value) => narrow({ [name]: value });
  const models = about.models, several = models.length > 1;
  const count = Object.entries(filter).filter(([name, value]) => value && !["q", "sort", "order"].includes(name)).length;
  const wide = useRef(matchMedia("(min-width: 721px)").matches);
  const whose = filter.model === "" ? (several ? "any model" : "the model") : models[Number(filter.model)] ? models[Number(filter.model)].title : "";
  const results = { "": "right or wrong", right: "right", wrong: "wrong", ...Object.fromEntries(Object.entries(about.groups).map(([name, words]) => [name, words])) };
  return html`
    <div class="narrow">
      <label class="wide"><span class="unseen">Search</span><input id="find" type="search" placeholder="Search names and prompts  /" value=${filter.q} onInput=${(event) => narrow({ q: event.target.value })} /></label>
      <details open=${wide.current}><summary>Filters${count ? ` (${count})` : ""}</summary><div class="choices">
        <${Choice} title="Label" value=${filter.label} words=${Object.entries(LABELS)} onChange=${set("label")} />
        <${Choice} title="Source" value=${filter.source} words=${[["", "any source"], ...about.sources.map((name) => [name, name])]} onChange=${set("source")} />
        <${Choice} title="Split" value=${filter.split} words=${[["", "any split"], ...about.splits.map((name) => [name, name])]} onChange=${set("split")} />
        <${Choice} title="Kind" value=${filter.kind} words=${[["", "any kind"], ...allKinds().map((kind) => [kind.id, kind.name])]} onChange=${set("kind")} />
        ${several && html`<${Choice} title="Model" value=${filter.model} words=${[["", "any model"], ...models.map((model, at) => [String(at), model.title])]} onChange=${set("model")} />`}
        ${models.length > 0 && html`
          <${Choice} title=${`Result of ${whose}`} value=${filter.result} words=${Object.entries(results)} onChange=${set("result")} />
          ${several && html`<${Choice} title="Agreement" value=${filter.agree} words=${Object.entries(AGREE)} onChange=${set("agree")} />`}
          <span class="range"><span title="Mean overlap of a video's true traces in space and time, missed ones 0">vIoU</span>
            ${[["low", "from", "0"], ["high", "to", "1"]].map(([name, words, empty]) => html`
              <label key=${name}><span class="unseen">vIoU ${words}</span><input type="number" min="0" max="1" step="0.05" placeholder=${empty} value=${filter[name]}
                onChange=${(event) => narrow({ [name]: event.target.value === "" ? "" : String(Math.min(Math.max(Number(event.target.value) || 0, 0), 1)) })} /></label>`)}</span>`}
        <${Choice} title="Order" value=${filter.sort ? `${filter.sort} ${filter.order || "up"}` : ""} words=${Object.entries(SORTS).filter(([name]) => models.length || !/worst|p |viou/.test(name))}
          onChange=${(value) => { const [sort = "", order = ""] = value.split(" "); narrow({ sort, order }); }} />
        ${(count > 0 || filter.q) && html`<button type="button" onClick=${() => narrow(NOTHING)}>Clear</button>`}
      </div></details>
    </div>`;
}

const Legend = ({ about }) => about.models.length > 0 && html`
  <p class="legend muted">${about.models.map((model, at) => html`<${ModelName} key=${at} at=${at} title=${model.title} />`)}</p>`;

// -- pictures: made on the server when a video has stood on the screen for a moment ---------------------------------------

const SETTLED = new Set(["ready", "failed", "missing"]);

function usePictures() {
  const [clips, setClips] = useState(new Map());
  const known = useRef(clips), timer = useRef(0), seen = useRef([]);
  known.current = clips;
  useEffect(() => () => clearTimeout(timer.current), []);
  const stateOf = (video) => known.current.get(video.at) || video.clip;
  const make = () => {
    const open = seen.current.filter((video) => { const clip = stateOf(video); return !clip || !SETTLED.has(clip.state); }).slice(0, 60);
    if (!open.length) return;
    post("/api/explore/clips", { videos: open.map((video) => video.at) }).then((said) => {
      setClips((before) => { const after = new Map(before); for (const [at, clip] of Object.entries(said)) after.set(Number(at), clip || { state: "missing" }); return after; });
      if (Object.values(said).some((clip) => clip && !SETTLED.has(clip.state))) wait(500);
    }).catch(() => wait(3000));
  };
  const wait = (pause) => { clearTimeout(timer.current); timer.current = setTimeout(make, pause); };
  const onView = (videos) => { seen.current = videos; wait(150); };
  return { onView, clipOf: (video) => clips.get(video.at) || video.clip };
}

function Picture({ clip }) {
  if (clip && clip.state === "ready") return html`<${Thumb} clip=${clip} />`;
  const word = !clip ? "" : clip.state === "missing" ? "not here" : clip.state === "failed" ? "cannot be read" : "";
  return html`<span class="thumb empty">${word}</span>`;
}

const follow = (at, open) => (event) => { if (!event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); open(at); } };

function Gallery({ list, about, current, open, where }) {
  const pictures = usePictures();
  const tall = 196 + 22 * Math.ceil(about.models.length / 3);
  if (list.total === 0) return html`<p class="muted none">No video fits.</p>`;
  return html`<${Rows} list=${list} current=${current} height=${tall} least=${220} label="Gallery" onView=${pictures.onView}
    render=${(video, at, current) => html`
      <a class="card" href=${where({ video: video.id })} aria-current=${current ? "true" : undefined} onClick=${follow(at, open)}>
        <${Picture} clip=${pictures.clipOf(video)} />
        <span class="name" title=${video.id}>${video.id}</span>
        <span class="line"><${Truth} video=${video} /> <span class="muted">${[video.source, video.traces ? `${video.traces} trace${video.traces > 1 ? "s" : ""}` : ""].filter(Boolean).join(" · ")}</span></span>
        <span class="answers">${video.answers.map((answer, model) => html`<${Said} key=${model} answer=${answer} at=${model} title=${about.models[model].title} />`)}</span>
      </a>`} />`;
}

const ROW = 40;

function Table({ list, about, current, open, where }) {
  const columns = { gridTemplateColumns: `minmax(120px, 2fr) 90px minmax(70px, 1fr) minmax(80px, 1.2fr) repeat(${Math.max(about.models.length, 1)}, minmax(96px, 1fr))` };
  if (list.total === 0) return html`<p class="muted none">No video fits.</p>`;
  return html`
    <div class="scroll tall" style=${{ "--models": about.models.length }}><div class="grid">
      <div class="lines heads muted" style=${columns} aria-hidden="true"><span>Video</span><span>Truth</span><span>Source</span><span>Kinds</span>${about.models.map((model, at) => html`<${ModelName} key=${at} at=${at} title=${model.title} />`)}</div>
      <${Rows} list=${list} current=${current} height=${ROW} label="List" render=${(video, at, current) => html`
        <a class="lines" style=${columns} href=${where({ video: video.id })} aria-current=${current ? "true" : undefined} onClick=${follow(at, open)}>
          <span class="name" title=${video.id}>${video.id}</span><${Truth} video=${video} /><span class="line">${video.source || "–"}</span>
          <span class="line" title=${video.kinds.map(nameOf).join(", ")}>${video.kinds.map(nameOf).join(", ") || "–"}</span>
          ${video.answers.map((answer, model) => html`<${Said} key=${model} answer=${answer} at=${model} title=${about.models[model].title} />`)}
        </a>`} />
    </div></div>`;
}
