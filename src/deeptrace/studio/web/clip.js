// One clip: the picture, what the detector says of it, and what a person says of that.
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { ask, may, mine, newId, passes, pause, post, session } from "./api.js";
import { confirm, keep, pending } from "./outbox.js";
import { drawn, meaningOf, paintOf } from "./kinds.js";
import { Player } from "./player.js";
import { Controls, Curves, Stage, Timeline, traceLine } from "./stage.js";
import { Link, typing } from "./shell.js";

export const DECISIONS = { generated: "AI-generated", unclear: "unclear", real: "looks real" };
const CAVEAT = "A score is evidence, not proof: detectors err on both sides, most on footage unlike what they were made from.";
const OUTCOMES = {
  undecidable: "cannot tell", decode_failed: "cannot be read", timed_out: "ran out of time", crashed: "crashed the detector",
  too_large: "too large", model_failed: "detector failed", refused: "model refused", parse_failed: "answer not understood",
};

/** In a word, what is known of a clip so far. */
export function statusOf(clip) {
  if (clip.hidden) return { word: "not shown to you", look: "waiting" };
  if (clip.decision) return { word: DECISIONS[clip.decision] || clip.decision, look: clip.decision };
  if (clip.outcome) return { word: OUTCOMES[clip.outcome] || clip.outcome, look: "failed" };
  if (clip.state === "failed") return { word: "cannot be read", look: "failed" };
  return { word: "waiting", look: "waiting" };
}
export const Badge = ({ clip }) => {
  const { word, look } = statusOf(clip);
  return html`<span class=${`badge ${look}`}>${word}</span>`;
};

const busy = (clip) => clip.state === "queued" || clip.play === "proxy" || Object.values(clip.jobs).some((job) => job.state === "queued" || job.state === "running");

/** A clip with its table of timestamps, asked for again while work on it goes on. */
export function useClip(id) {
  const [state, setState] = useState({ clip: null, player: null, error: "" });
  useEffect(() => {
    let alive = true, timer = 0, player = null, shown = "";
    setState({ clip: null, player: null, error: "" });
    const load = async () => {
      try {
        const clip = await ask(`/api/clips/${id}`);
        if (!alive) return;
        if (!player && clip.state === "ready" && (clip.play === "direct" || clip.play === "ready" || clip.play === "none")) {
          player = new Player(await ask(`/api/clips/${id}/times`), clip.media.duration_s);
          if (clip.play === "none") { player.failed = `the clip cannot be shown: ${clip.play_note}`; player.ready = true; }
        }
        const now = JSON.stringify(clip);
        if (alive && now !== shown) { shown = now; setState({ clip, player, error: "" }); }
        if (alive && busy(clip)) timer = setTimeout(load, 400);
      } catch (error) {
        if (!alive) return;
        setState((before) => ({ ...before, error: error.message }));
        if (error.status !== 404) timer = setTimeout(load, 2000);
      }
    };
    load();
    const again = () => { clearTimeout(timer); load(); };
    const heard = (event) => event.detail === id && again();
    addEventListener("clip-changed", heard);
    return () => { alive = false; clearTimeout(timer); removeEventListener("clip-changed", heard); if (player) player.pause(); };
  }, [id]);
  return state;
}
export const changed = (id) => dispatchEvent(new CustomEvent("clip-changed", { detail: id }));

// -- answers: at once on the page, kept until the server confirms them --------------------------------------------------

export async function answer(clip, says, note) {
  const body = { id: newId(), says, note };
  const number = await keep(mine("answers"), { path: `/api/clips/${clip.id}/answers`, body });
  clip.says = says === "none" ? null : says;
  clip.note = note;
  sendAnswers();
  return number;
}
let sending = null;
export function sendAnswers() {
  sending = sending || sendAll().catch((error) => setTimeout(sendAnswers, pause(error, 3000))).finally(() => { sending = null; dispatchEvent(new Event("answers-sent")); });
  return sending;
}
async function sendAll() {
  // Looked for again until there is none: an answer given while others are under way is not among those found before.
  for (let records; session.person && !session.ended && (records = await pending(mine("answers"))).length;) {
    for (const record of records) {
      try {
        await post(record.path, record.body);
      } catch (error) {
        if (passes(error)) throw error; // it stays for the next try
        if (error.status === 401) return; // until somebody has logged in
      }
      await confirm([record.number]);
    }
  }
}
addEventListener("online", sendAnswers);
addEventListener("session-changed", sendAnswers);

const SAYS = [["agree", "Agree", "A"], ["disagree", "Disagree", "D"], ["unsure", "Unsure", "U"]];

export function AnswerBar({ clip, onAnswer }) {
  const [note, setNote] = useState(clip.note || "");
  const [says, setSays] = useState(clip.says);
  useEffect(() => { setNote(clip.note || ""); setSays(clip.says); }, [clip.id, clip.note, clip.says]);
  const give = (word, text = note) => { setSays(word === "none" ? null : word); answer(clip, word, text); if (onAnswer) onAnswer(word); };
  useLayoutEffect(() => {
    const heard = (event) => {
      if (typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
      if (!may("annotator")) return;
      const found = SAYS.find(([, , key]) => key.toLowerCase() === event.key.toLowerCase());
      if (found) { event.preventDefault(); give(found[0]); }
      if (event.key === "z") give("none");
      if (event.key === "n") { event.preventDefault(); document.getElementById("note").focus(); }
    };
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  });
  if (!clip.verdict || !may("annotator")) return null;
  return html`
    <section class="answer" aria-label="Your answer">
      <div class="row" role="group" aria-label="Do you agree with the verdict?">
        ${SAYS.map(([word, name, key]) => html`
          <button type="button" key=${word} aria-pressed=${says === word} class=${says === word ? `on ${word}` : ""} title=${key}
            onClick=${() => give(says === word ? "none" : word)}>${name} <kbd>${key}</kbd></button>`)}
      </div>
      ${clip.decision === "unclear" && html`<p class="muted">An answer to “unclear” is kept but makes no label. To give one: <kbd>E</kbd>, then <kbd>G</kbd> AI-generated or <kbd>R</kbd> real.</p>`}
      <label class="wide"><span>Note <kbd>N</kbd></span>
        <input id="note" type="text" maxlength="2000" value=${note} autocomplete="off"
          onInput=${(event) => setNote(event.target.value)}
          onChange=${(event) => says && give(says, event.target.value)}
          onKeyDown=${(event) => { if (event.key === "Enter" || event.key === "Escape") event.target.blur(); }} /></label>
    </section>`;
}

// -- the verdict in words -----------------------------------------------------------------------------------------------

function Verdict({ clip }) {
  const verdict = clip.verdict;
  if (clip.hidden) return html`<p class="muted">Your task on this clip begins blank: what the detector says of it is not shown to you.</p>`;
  if (!verdict) {
    if (clip.state === "failed") return html`<p class="trouble" role="alert">${clip.error}</p>`;
    const job = clip.jobs.detect || { state: "queued" };
    const said = clip.state !== "ready" ? "reading the clip" : job.state === "running" ? "analysing" : job.state === "queued" ? `waiting${clip.ahead ? `, ${clip.ahead} before it` : ""}` : job.error || "not analysed";
    return html`<p class="working" role="status"><span class="spinner" aria-hidden="true"></span> ${said}…</p>`;
  }
  const threshold = verdict.detector && verdict.detector.settings.threshold;
  return html`
    <div class="verdict">
      <p class="decision"><${Badge} clip=${clip} /> ${verdict.p_fake !== null && html`<span class="p" title="probability that the clip is AI-generated">p ${verdict.p_fake.toFixed(2)}</span>`}
        ${typeof threshold === "number" && html`<span class="muted">threshold ${threshold.toFixed(2)}</span>`}</p>
      ${verdict.error && html`<p class="trouble">${verdict.error}</p>`}
      ${clip.decision && html`<p class="muted">${CAVEAT}</p>`}
      ${verdict.content_credentials && html`<p class="muted credentials">${verdict.content_credentials.summary}</p>`}
      ${verdict.warnings.length > 0 && html`<ul class="warnings">${verdict.warnings.map((line) => html`<li>${line}</li>`)}</ul>`}
    </div>`;
}

export function TraceList({ traces, player, selected, onPick }) {
  if (!traces.length) return null;
  return html`
    <ol class="traces">
      ${traces.map((trace, number) => html`
        <li key=${trace.id} class=${trace.weak ? "weak" : ""}>
          <button type="button" aria-pressed=${trace.id === selected} style=${{ borderLeftColor: paintOf(trace) }}
            title=${number < 9 ? String(number + 1) : ""} onClick=${() => onPick(trace)}>${traceLine(trace)}${trace.weak ? " (weak)" : ""}</button>
          ${trace.explanation ? html`<p>${trace.explanation}</p>` : (trace.kinds.length > 0 || !trace.who) && html`<p class="muted">${meaningOf(trace.kind)}</p>`}
        </li>`)}
    </ol>`;
}

const MADE = { overlay: "overlay.mp4", report: "report.html" };

function Downloads({ clip }) {
  const make = async (task) => { await post(`/api/clips/${clip.id}/jobs/${task}`); changed(clip.id); };
  if (!clip.verdict) return null;
  return html`
    <section aria-label=${`Downloads of ${clip.name}`} class="row downloads">
      <a class="button" download href=${`/api/clips/${clip.id}/verdict.json`}>JSON</a>
      ${Object.entries(MADE).map(([task, file]) => {
        const job = clip.jobs[task];
        const working = job && (job.state === "queued" || job.state === "running");
        const name = task === "overlay" ? "Overlay" : "Report";
        if (clip.made.includes(file) && !working) return html`<a class="button" key=${task} download href=${`/api/clips/${clip.id}/${file}`}>${name}</a>`;
        if (!may("annotator")) return null;
        return html`<button type="button" key=${task} disabled=${working} title=${job && job.error ? job.error : ""} onClick=${() => make(task)}>${working ? `Making ${task}…` : `Make ${task}`}</button>`;
      })}
    </section>`;
}

function Facts({ clip }) {
  const media = clip.media;
  if (!media) return null;
  return html`
    <dl class="facts">
      <dt>Picture</dt><dd>${media.width} × ${media.height}${media.fps ? `, ${media.fps.toFixed(2)} fps` : ""}, ${media.duration_s.toFixed(2)} s</dd>
      ${clip.verdict && clip.verdict.detector && html`<dt>Detector</dt><dd>${clip.verdict.detector.name} ${clip.verdict.detector.version}</dd>`}
      ${clip.sha256 && html`<dt>SHA-256</dt><dd class="hash">${clip.sha256}</dd>`}
      ${clip.path && html`<dt>File</dt><dd>${clip.path}</dd>`}
      ${clip.play === "ready" && html`<dt>Shown as</dt><dd>H.264 copy with the same timestamps: ${clip.play_note}</dd>`}
    </dl>`;
}

/** The page of one clip; `onAnswer` is called with each answer, as triage moves on. */
export function ClipView({ id, onAnswer, heading = "h1", pair = false }) {
  const { clip, player, error } = useClip(id);
  if (error && !clip) return html`<p class="trouble" role="alert">${error}</p>`;
  if (!clip) return html`<div class="clip blank" aria-busy="true"></div>`;
  return html`<${Shown} key=${id} clip=${clip} player=${player} onAnswer=${onAnswer} heading=${heading} pair=${pair} />`;
}

/** Two clips side by side, under one's hands together. */
export const Pair = ({ ids }) => html`
  <main id="main" class="pair"><h1 class="unseen">Two clips side by side</h1>
    ${ids.map((id, at) => html`<section key=${`${at}-${id}`} aria-label=${at ? "The second clip" : "The first clip"}><${ClipView} id=${id} heading="h2" pair=${true} /></section>`)}</main>`;

const BESIDE = "beside";
const kept = () => { try { return JSON.parse(sessionStorage.getItem(BESIDE)); } catch { return null; } };
const keepBeside = (clip) => { try { if (clip) sessionStorage.setItem(BESIDE, JSON.stringify({ id: clip.id, name: clip.name })); else sessionStorage.removeItem(BESIDE); } catch { /* private windows may keep nothing */ } };

/** One clip is kept in mind; on the next, both are a click away. */
function Beside({ clip }) {
  const [first, setFirst] = useState(kept);
  const toggle = () => { const next = first ? null : clip; keepBeside(next); setFirst(next); };
  if (first && first.id !== clip.id) return html`<${Link} class="button" href=${`/clip/${first.id}?beside=${clip.id}`} title=${first.name} onFollow=${() => keepBeside(null)}>Beside the other</${Link}>`;
  return html`<button type="button" aria-pressed=${Boolean(first)} class=${first ? "on" : ""} title="Keep this clip in mind; on another one, “Beside the other” shows both" onClick=${toggle}>Compare</button>`;
}

function Shown({ clip, player, onAnswer, heading, pair }) {
  const [selected, setSelected] = useState(null);
  const [boxes, setBoxes] = useState(true);
  const [heat, setHeat] = useState(null);
  const traces = useMemo(() => (clip.verdict ? clip.verdict.traces.map((trace, number) => drawn(trace, `t${number}`)) : []), [clip.verdict]);
  const started = useRef(false);
  const pick = (trace) => {
    if (!player) return;
    if (trace.id === selected && player.loop) { setSelected(null); player.setLoop(null); player.pause(); return; }
    setSelected(trace.id);
    player.setLoop(player.framesOf(trace));
    if (!player.playing) player.toggle();
  };
  const toggleHeat = async () => setHeat(heat ? null : await ask(`/api/clips/${clip.id}/heat`).catch(() => null));
  // A clip opens on what gives it away, not on its first frame.
  useEffect(() => {
    if (!player || started.current || !traces.length) return undefined;
    const show = () => {
      if (!player.ready || started.current) return;
      started.current = true;
      const [from, to] = player.framesOf(traces[0]);
      if (!player.playing && player.index === 0) player.seek(Math.min(from + 1, to));
    };
    show();
    return player.listen(show);
  }, [player, traces]);
  usePlayerKeys(player, {
    b: () => setBoxes(!boxes), // of a pair, both
    h: () => clip.has_heat && toggleHeat(),
    l: () => player.setLoop(player.loop ? null : [0, player.times.length - 1]),
    ...Object.fromEntries(traces.slice(0, 9).map((trace, number) => [String(number + 1), () => pick(trace)])),
  }, pair);
  const Heading = heading;
  return html`
    <article class="clip">
      <div class="show">
        <header class="title"><${Heading} title=${clip.name}>${clip.name}</${Heading}>
          ${pair ? html`<${Link} class="button" href=${`/clip/${clip.id}`}>Alone</${Link}>` : html`<${Beside} clip=${clip} />`}
          ${may("annotator") && !pair && html`<${Link} class="button" href=${`/annotate/${clip.id}`} title="E">Annotate</${Link}>`}</header>
        ${player ? html`
          <${Stage} clip=${clip} player=${player} traces=${traces} selected=${selected} boxes=${boxes} heat=${heat} />
          <${Controls} player=${player}>
            <button type="button" aria-pressed=${boxes} class=${boxes ? "on" : ""} title="B" onClick=${() => setBoxes(!boxes)}>Boxes</button>
            ${clip.has_heat && html`<button type="button" aria-pressed=${Boolean(heat)} class=${heat ? "on" : ""} title="H" onClick=${toggleHeat}>Heat map</button>`}
          </${Controls}>
          <${Timeline} player=${player} traces=${traces} selected=${selected} onPick=${pick} />`
        : html`<div class="stage empty" style=${clip.media ? { aspectRatio: `${clip.media.width} / ${clip.media.height}` } : { aspectRatio: "16 / 9" }}>
            <p>${clip.state === "failed" ? "This clip cannot be shown." : clip.play === "proxy" ? "Making a copy that browsers play…" : "Reading the clip…"}</p></div>`}
      </div>
      ${player && html`<${Curves} curves=${clip.curves} ranges=${clip.ranges} player=${player} of=${pair ? clip.name : ""} />`}
      <aside aria-label=${pair ? `Verdict on ${clip.name}` : "Verdict"}>
        <${Verdict} clip=${clip} />
        ${!pair && html`<${AnswerBar} clip=${clip} onAnswer=${onAnswer} />`}
        ${clip.verdict && clip.decision && html`<h2>${traces.length ? "What gives it away" : "No trace found"}</h2>`}
        <${TraceList} traces=${traces} player=${player} selected=${selected} onPick=${pick} />
        <${Downloads} clip=${clip} />
        <${Facts} clip=${clip} />
      </aside>
    </article>`;
}

/** Space, arrows and the like, unless somebody types. */
export function usePlayerKeys(player, more = {}, shared = false) {
  useLayoutEffect(() => {
    if (!player) return undefined;
    const moves = {
      " ": () => player.toggle(), ArrowLeft: (event) => player.step(event.shiftKey ? -10 : -1), ArrowRight: (event) => player.step(event.shiftKey ? 10 : 1),
      Home: () => player.seek(0), End: () => player.seek(player.times.length - 1),
      "[": () => player.setRate(Math.max(player.rate / 2, 0.125)), "]": () => player.setRate(Math.min(player.rate * 2, 4)), ...more,
    };
    const heard = (event) => {
      if (typing(event) || event.ctrlKey || event.metaKey || event.altKey || (event.defaultPrevented && !shared)) return;
      if (event.key === " " && event.target.closest("button, a, select, input")) return;
      const move = moves[event.key];
      if (move) { event.preventDefault(); move(event); }
    };
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  });
}
