// The models side by side by the benchmark's metrics, and what the dataset consists of.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ask, drawing } from "./api.js";
import { nameOf } from "./kinds.js";
import { queryOf } from "./list.js";
import { Link } from "./shell.js";
import { ModelName } from "./truth.js";

const AT_ONCE = 1000; // videos of which intervals are measured without being asked for

/** What the server says of a filter; what it said of another one is not shown. */
function useSaid(path) {
  const [said, setSaid] = useState({ path: "", value: null, error: "" });
  useEffect(() => {
    if (!path) return undefined;
    const control = new AbortController();
    ask(path, { signal: control.signal }).then((value) => setSaid({ path, value, error: "" })).catch((error) => control.signal.aborted || setSaid({ path, value: null, error: error.message }));
    return () => control.abort();
  }, [path]);
  return said.path === path ? said : { value: null, error: "" };
}

export function Models({ about, filter, where }) {
  const query = queryOf({ ...filter, sort: "", order: "" });
  const quick = useSaid(`/api/explore/measures?${query}`);
  const [asked, setAsked] = useState("");
  const whole = quick.value && (quick.value.videos <= AT_ONCE || asked === query);
  const full = useSaid(whole && quick.value.videos ? `/api/explore/measures?${queryOf({ ...filter, sort: "", order: "", full: "true" })}` : "");
  const counts = useSaid(`/api/explore/counts?${query}`);
  if (!about.models.length) return html`<p class="muted none">No model has answered: name files or runs with --predictions.</p>`;
  const error = quick.error || full.error;
  const found = full.value || quick.value;
  if (error) return html`<p class="trouble none" role="alert">${error}</p>`;
  if (!found) return html`<p class="working none" role="status"><span class="spinner" aria-hidden="true"></span> measuring…</p>`;
  return html`
    <div class="figures" data-full=${Boolean(full.value)}>
      <h1 class="unseen">The models side by side</h1>
      <p class="muted">Measured over ${found.videos} video${found.videos === 1 ? "" : "s"}${found.without ? `; ${found.without} without any answer are left out` : ""}. A failed or missing answer counts as wrong.
        ${found.by_answers ? " These videos were chosen by how models answered: the figures say nothing of the others." : ""}</p>
      ${found.videos > 0 && html`
        ${whole ? (full.value ? html`<p class="muted">Below each figure: its 95 % interval, from ${about.resamples} resamples of the videos.</p>` : html`<p class="working" role="status"><span class="spinner" aria-hidden="true"></span> measuring intervals and explanations…</p>`)
        : html`<p><button type="button" onClick=${() => setAsked(query)}>Measure intervals and explanations, too</button> <span class="muted">${found.videos} videos: this may take minutes</span></p>`}
        <${Outcomes} about=${about} found=${found} counts=${counts.value} where=${where} />
        ${found.tables.map((table) => html`<${Measures} key=${table.title} table=${table} />`)}
        ${about.models.length > 1 && html`<${Differences} key=${query} about=${about} query=${query} />`}
        <${Parts} found=${found} where=${where} />
        <section><h2>Are the probabilities to be taken at their word?</h2>
          <p class="muted">On the diagonal, a stated 0.7 is right in seven of ten videos; a circle's area is its videos.</p>
          <div class="plots">${about.models.map((model, at) => html`<${Plot} key=${`${at}?${query}`} at=${at} title=${model.title} query=${query} />`)}</div></section>`}
    </div>`;
}

const Scroll = ({ label, children }) => html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>${children}</div>`;

/** How the answers ended; each count leads to its videos, the most confident errors first. */
function Outcomes({ about, found, counts, where }) {
  return html`
    <section><h2>Where they fail</h2><${Scroll} label="Where they fail"><table class="measures">
      <thead><tr><th scope="col">Model</th>${Object.entries(about.groups).map(([name, words]) => html`<th scope="col" key=${name}>${words}</th>`)}<th scope="col">Answers</th></tr></thead>
      <tbody>${about.models.map((model, at) => html`<tr key=${at}><th scope="row"><${ModelName} at=${at} title=${model.title} /></th>
        ${Object.keys(about.groups).map((name) => html`<td key=${name}>${counts && (counts.groups[at][name] ? html`<${Link} href=${where({ view: "", model: String(at), result: name, sort: "worst", order: "up" })}>${counts.groups[at][name]}</${Link}>` : "0")}</td>`)}
        <td class="text">${found.outcomes[at]}${model.unmatched ? `; ${model.unmatched} belong to no video` : ""}</td></tr>`)}</tbody>
    </table></${Scroll}></section>`;
}

/** One of the benchmark's tables; the best of each column stands out. */
function Measures({ table }) {
  const best = table.heads.map((head, column) => {
    const values = table.rows.map((row) => Number.parseFloat(row.cells[column].text)).filter((value) => !Number.isNaN(value));
    return values.length > 1 ? Math[head.arrow === "↑" ? "max" : "min"](...values) : NaN;
  });
  return html`
    <section><h2>${table.title}</h2><p class="muted">${table.unit}</p><${Scroll} label=${table.title}><table class="measures">
      <thead><tr><th scope="col">Model</th>${table.heads.map((head) => html`<th scope="col" key=${head.title} title=${head.meaning}>${head.title} ${head.arrow}</th>`)}</tr></thead>
      <tbody>${table.rows.map((row, at) => html`<tr key=${at}><th scope="row"><${ModelName} at=${at} title=${row.title} /></th>
        ${row.cells.map((cell, column) => html`<td key=${column} class=${Number.parseFloat(cell.text) === best[column] ? "best" : ""} title=${cell.support ? `over ${cell.support}` : ""}>${cell.text}${cell.interval && html`<small>${cell.interval}</small>`}</td>`)}</tr>`)}</tbody>
    </table></${Scroll}></section>`;
}

/** One model against another: what `deeptrace compare` says of the videos that the filter lets through. */
function Differences({ about, query }) {
  const [pair, setPair] = useState([0, 1]), [asked, setAsked] = useState("");
  const path = `/api/explore/differences?${query ? `${query}&` : ""}against=${pair[0]}&of=${pair[1]}`;
  const { value: found, error } = useSaid(asked === path ? path : "");
  const choice = (at, label) => html`<label class="number"><span>${label}</span><select value=${pair[at]} onChange=${(event) => setPair(pair.map((one, place) => (place === at ? Number(event.target.value) : one)))}>${about.models.map((model, number) => html`<option value=${number}>${model.title}</option>`)}</select></label>`;
  return html`
    <section aria-label="Differences"><h2>Is one of them better?</h2>
      <div class="row">${choice(0, "Reference")}${choice(1, "Against it")}<button type="button" disabled=${pair[0] === pair[1]} onClick=${() => setAsked(path)}>Compare</button></div>
      ${error && html`<p class="trouble" role="alert">${error}</p>`}
      ${asked === path && !found && !error && html`<p class="working" role="status"><span class="spinner" aria-hidden="true"></span> resampling…</p>`}
      ${found && html`<p class="muted">Over ${found.videos} videos: 95 % interval by paired resampling, two-sided p by paired swaps (${about.resamples} of each). A p-value is of one metric on its own: of twenty equal ones, one is below 0.05.</p>
        ${found.tables.map((table) => html`<${Scroll} key=${table.title} label=${`Differences: ${table.title}`}><table class="measures"><thead><tr><th scope="col">${table.title}</th><th scope="col">${found.models[0]}</th><th scope="col">${found.models[1]}</th><th scope="col">Difference</th><th scope="col">95 %</th><th scope="col">p</th></tr></thead>
          <tbody>${table.rows.map((row) => html`<tr key=${row.name}><th scope="row">${row.metric}</th><td>${row.values[0]}</td><td>${row.values[1]}</td><td class=${row.p_value < 0.05 && row.better ? "best" : ""}>${row.difference}</td><td>${row.interval.length ? row.interval.join(" to ") : "–"}</td><td>${row.p_value.toFixed(4)}</td></tr>`)}</tbody></table></${Scroll}>`)}`}</section>`;
}

const PARTS = { by_category: "By kind of trace", by_box_size: "By size of the box", by_trace_length: "By length of the trace" };
const SIZES = { small: "small: under 5 % of the frame", medium: "medium", large: "large: 25 % and more", short: "short: under a third of the video", long: "long: two thirds and more" };
const shownValue = (value, digits) => (value === null ? "–" : value.toFixed(digits));

/** Accuracy by source and vIoU by kind, size and length: where a model is weak. */
function Parts({ found, where }) {
  const table = (title, unit, first, rows) => rows.length > 0 && html`
    <section key=${title}><h2>${title}</h2><p class="muted">${unit}</p><${Scroll} label=${title}><table class="measures">
      <thead><tr><th scope="col">${first}</th><th scope="col">Number</th>${found.models.map((model, at) => html`<th scope="col" key=${at}><${ModelName} at=${at} title=${model} /></th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${row.name}><th scope="row">${row.head}</th><td>${row.count}</td>${row.values.map((value, at) => html`<td key=${at}>${value}</td>`)}</tr>`)}</tbody></table></${Scroll}></section>`;
  const sources = found.sources.map((row) => ({
    name: row.name, count: row.videos, values: row.accuracy.map((value) => shownValue(value, 1)),
    head: row.name === "macro" ? "mean of the generators" : html`<${Link} href=${where({ source: row.name })}>${row.name}</${Link}>`,
  }));
  return html`${table("By source", "right labels by video, 0 to 100", "Source", sources)}
    ${Object.entries(PARTS).map(([part, title]) => table(title, "vIoU, 0 to 1: overlap in space and time, missed traces 0", "Traces", found.parts[part].map((row) => ({
      name: row.name, count: row.traces, values: row.viou.map((value) => shownValue(value, 3)),
      head: row.name === "macro" ? "mean of the kinds" : part === "by_category" ? html`<${Link} href=${where({ kind: row.name })}>${nameOf(row.name)}</${Link}>` : SIZES[row.name] || row.name,
    }))))}`;
}

function Plot({ at, title, query }) {
  const holder = useRef(null);
  const [empty, setEmpty] = useState(false);
  useEffect(() => {
    let alive = true;
    drawing(`/api/explore/reliability.svg?${query ? `${query}&` : ""}of=${at}`).then((drawn) => { if (alive && drawn) holder.current.replaceChildren(drawn); else if (alive) setEmpty(true); });
    return () => { alive = false; };
  }, [query, at]);
  return html`<figure><figcaption><${ModelName} at=${at} title=${title} /></figcaption>${empty ? html`<p class="muted">It states no probability.</p>` : html`<div ref=${holder}></div>`}</figure>`;
}

// -- what there is -------------------------------------------------------------------------------------------------------

export function Counts({ about, filter, where }) {
  const { value: said, error } = useSaid(`/api/explore/counts?${queryOf({ ...filter, sort: "", order: "" })}`);
  if (error) return html`<p class="trouble none" role="alert">${error}</p>`;
  if (!said) return html`<p class="working none" role="status"><span class="spinner" aria-hidden="true"></span> counting…</p>`;
  const videos = (row) => [row.FAKE && `${row.FAKE} generated`, row.REAL && `${row.REAL} real`, row.none && `${row.none} without a label`].filter(Boolean).join(", ");
  const named = (rows, key) => rows.map((row) => ({ head: html`<${Link} href=${where({ [key]: row.name })}>${row.name}</${Link}>`, count: row.FAKE + row.REAL + row.none, words: videos(row) }));
  const bins = (rows, unit) => rows.map((bin) => ({ head: bin.to === null ? `${bin.from} ${unit} and more` : `${bin.from}–${bin.to} ${unit}`, count: bin.count, words: String(bin.count) }));
  const kinds = said.kinds.filter((kind) => kind.traces).map((kind) => ({ head: html`<${Link} href=${where({ kind: kind.id })}>${nameOf(kind.id)}</${Link}>`, count: kind.traces, words: `${kind.traces} in ${kind.videos} video${kind.videos === 1 ? "" : "s"}` }));
  if (said.no_kind) kinds.push({ head: "no kind", count: said.no_kind, words: String(said.no_kind) });
  return html`
    <div class="figures">
      <h1>${about.name}: ${said.videos} video${said.videos === 1 ? "" : "s"}, ${said.traces} trace${said.traces === 1 ? "" : "s"}</h1>
      <p class="muted">${videos(said.labels)}</p>
      <div class="charts">
        <${Bars} title="Sources" rows=${named(said.sources, "source")} />
        <${Bars} title="Splits" rows=${named(said.splits, "split")} />
        <${Bars} title="Traces by kind" rows=${kinds} />
        <${Bars} title="Length of the videos" rows=${bins(said.length_s, "s")} />
        <${Bars} title="Share of the frame that boxes cover" rows=${bins(said.box_percent, "%")} />
        <${Bars} title="Length of the traces" rows=${bins(said.trace_s, "s")} />
        <${Bars} title="Onset of the traces" rows=${bins(said.onset_s, "s")} />
      </div>
    </div>`;
}

function Bars({ title, rows }) {
  const most = Math.max(...rows.map((row) => row.count), 1);
  if (!rows.some((row) => row.count)) return null;
  return html`
    <section><h2>${title}</h2><table class="bars"><tbody>${rows.map((row, at) => html`
      <tr key=${at}><th scope="row">${row.head}</th><td><span class="part"><i style=${{ width: `${(100 * row.count) / most}%` }}></i></span> ${row.words}</td></tr>`)}</tbody></table></section>`;
}

/** The leaderboard: a table a data set and split, sorted by what one clicks. What was not measured comes last. */
export function Leaderboard() {
  const { value: boards, error } = useSaid("/api/leaderboard");
  return html`
    <main id="main" class="figures"><h1>Leaderboard</h1>
      <p class="muted">A dash was not measured; it is not a zero. Below each figure, where it is known: its 95 % interval.
        A figure of a run that this studio explores leads to the videos behind it, the worst first.</p>
      ${error && html`<p class="trouble" role="alert">${error}</p>`}
      ${boards && boards.map((board) => html`<${Board} key=${`${board.data} ${board.split}`} board=${board} />`)}
    </main>`;
}

const WRONG = { result: "wrong", sort: "worst", order: "up" }, MISPLACED = { label: "FAKE", sort: "viou", order: "up" };
/** What a figure is about, the worst videos first: where the box lies, or what the verdict is. */
const behind = (metric) => (/bbox_iou|time_distance|^traces|^grounded/.test(metric) ? MISPLACED : WRONG);
const BEHIND = new Map([[WRONG, "the wrong verdicts, the most confident first"], [MISPLACED, "the generated videos, the least overlap with the truth first"]]);

/** A figure, as the way to the videos behind it where the studio has them. */
function Figure({ row, filter, title, children }) {
  if (!row.explore) return children;
  return html`<${Link} href=${`/explore?${queryOf({ ...row.explore, ...filter })}`} title=${title}>${children}</${Link}>`;
}

function Board({ board }) {
  const [by, setBy] = useState({ at: null, down: true });
  // The first click puts the best on top.
  const sort = (at) => setBy(by.at === at ? { at, down: !by.down } : { at, down: board.columns[at].better === "up" });
  const value = (row) => row.cells[by.at].value;
  const rows = by.at === null ? board.rows : [...board.rows].sort((a, b) => (value(a) === null) - (value(b) === null) || (by.down ? -1 : 1) * (value(a) - value(b)));
  const name = `${board.data}, ${board.split}`;
  return html`
    <section><h2>${name}</h2><p class="muted">${board.videos} video${board.videos === 1 ? "" : "s"}, ground truth ${board.sha256.slice(0, 12)}</p>
      <${Scroll} label=${name}><table class="measures">
        <thead><tr><th scope="col">Method</th>${board.columns.map((column, at) => html`<th scope="col" key=${at} aria-sort=${by.at === at ? (by.down ? "descending" : "ascending") : undefined}>
          <button type="button" class="quiet" onClick=${() => sort(at)}>${column.title} ${column.better === "up" ? "↑" : "↓"}</button></th>`)}
          <th scope="col">Failed</th><th scope="col" class="text">Judge</th><th scope="col" class="text">By</th><th scope="col">Made</th></tr></thead>
        <tbody>${rows.map((row) => html`<tr key=${`${row.name} ${row.made}`}><th scope="row" title=${row.notes}>${row.url ? html`<a href=${row.url} rel="noreferrer noopener" target="_blank">${row.name}</a>` : row.name}</th>
          ${row.cells.map((cell, at) => html`<td key=${at}><${Figure} row=${row} filter=${behind(board.columns[at].metric)} title=${BEHIND.get(behind(board.columns[at].metric))}>${cell.text}</${Figure}>${cell.interval && html`<small>${cell.interval}</small>`}</td>`)}
          <td><${Figure} row=${row} filter=${{ result: "failed" }} title="the failed answers">${row.failed}</${Figure}></td><td class="text">${row.judge || "–"}</td><td class="text">${row.by}</td><td>${row.made}</td></tr>`)}</tbody></table></${Scroll}></section>`;
}
