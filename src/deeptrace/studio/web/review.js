// Two rounds and a decision: one's own clips, assigning, both rounds side by side, and what a reviewer makes of them.
import { html, useEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { ask, post } from "./api.js";
import { Conflict, Done, Saved, useSheet } from "./annotate.js";
import { useClip, usePlayerKeys } from "./clip.js";
import { allKinds, drawn } from "./kinds.js";
import { Form } from "./login.js";
import { Link, go } from "./shell.js";
import { Controls, Stage, Timeline, traceLine } from "./stage.js";
import { colourOfModel, useOpening } from "./truth.js";

const DECIDED = "#3cdc78";
const LABELS = { FAKE: "AI-generated", REAL: "real" };
const labelOf = (objects) => (objects.clip ? LABELS[objects.clip.label] || "cannot tell" : "no label yet");
const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));

export function Work() {
  const [work, setWork] = useState(null), [trouble, setTrouble] = useState("");
  useEffect(() => { ask("/api/work").then(setWork, (error) => setTrouble(error.message)); }, []);
  return html`
    <main id="main" class="figures"><h1>My clips</h1>
      ${trouble && html`<p class="trouble" role="alert">${trouble}</p>`}
      ${work && !work.length && html`<p class="muted">No clip is assigned to you.</p>`}
      ${work && work.length > 0 && html`<table class="measures"><thead><tr><th scope="col">Clip</th><th scope="col">Traces</th><th scope="col" class="text">State</th></tr></thead>
        <tbody>${work.map((one) => html`<tr key=${one.id}><th scope="row"><${Link} href=${`/annotate/${one.id}`}>${one.name}</${Link}></th><td>${one.traces ?? ""}</td><td class="text">${one.done ? "✓ handed in" : one.traces === null ? "not begun" : "begun"}</td></tr>`)}</tbody></table>`}
    </main>`;
}

const STATES = { ready: "To decide", open: "Being annotated", decided: "Decided" };
const PAGE = 100;

/** How far two rounds agree, as words and numbers. */
function Agreement({ found, videos = true }) {
  const said = [
    ["kappa of the label", number(found.label_kappa), "Cohen's: AI-generated, real, cannot tell"],
    ["same label", `${found.same_label} of ${found.videos}`, ""],
    ["box IoU", number(found.box_iou), "mean over traces that both marked"],
    ["tIoU", number(found.tiou), "mean over traces that both marked"],
    ["vIoU", number(found.viou), "mean over traces that both marked"],
    ["traces of both", `${found.matched} of ${found.traces_first} and ${found.traces_second}`, "matched one to one"],
  ];
  return html`<dl class="facts agreement">${said.filter((_, at) => videos || at > 1).map(([name, value, title]) => html`<dt key=${name} title=${title}>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

const MEASURES = [
  ["seconds", "Seconds of work on a task", 1], ["known_overlap", "Honeypots: overlap with what is known"], ["known_label", "Honeypots: right labels"],
  ["decided_overlap", "Other clips: overlap with what was decided"], ["decided_label", "Other clips: labels as decided"],
  ["detector_overlap", "Overlap with the detector's traces"], ["detector_label", "Labels as the detector's"],
];
const measured = (one, digits = 2) => (one.mean === null ? "–" : `${number(one.mean, digits)}${one.interval ? ` (${number(one.interval[0], digits)} to ${number(one.interval[1], digits)})` : ""}`);

/** What beginning with the detector's traces does: time saved, and how far people are led. */
function Prefilling({ name, found }) {
  const groups = ["prefilled", "blank", "difference"];
  return html`<section><h3>Begun from the detector's, and begun blank: ${name}</h3>
    <div class="scroll" tabindex="0" role="region" aria-label=${`Pre-filling of ${name}`}><table class="measures"><thead><tr><th scope="col">Mean of the tasks that are handed in (95 %)</th><th scope="col">From the detector's: ${found.prefilled.handed_in} of ${found.prefilled.tasks}</th><th scope="col">Blank: ${found.blank.handed_in} of ${found.blank.tasks}</th><th scope="col">Difference</th></tr></thead>
      <tbody>${MEASURES.map(([measure, words, digits]) => html`<tr key=${measure}><th scope="row">${words}</th>${groups.map((group) => html`<td title=${`${found[group][measure].n} tasks`}>${measured(found[group][measure], digits)}</td>`)}</tr>`)}</tbody></table></div>
    <p class="muted">Pauses of more than a minute are left out. Traces and labels that come nearer to the detector's than those begun blank do, and not nearer to what is known, are people being led.</p></section>`;
}

/** Projects, and how far each annotator agrees with what is known of their honeypots. */
function Projects({ projects, load }) {
  const [kinds, setKinds] = useState([]), [shown, setShown] = useState(null), [found, setFound] = useState([]);
  const toggle = (id) => setKinds(kinds.includes(id) ? kinds.filter((one) => one !== id) : [...kinds, id]);
  const make = async ({ name, guidelines, percent, wording }) => {
    await post("/api/projects", { name, guidelines, kinds, prefilled_percent: Number(percent), wording: wording !== "no" });
    setKinds([]);
    await load();
    return `${name} is made.`;
  };
  const add = async ({ project, q, most }) => {
    const { added } = await post(`/api/projects/${project}/honeypots`, { q, most: Number(most) });
    await load();
    return `${added} honeypot${added === 1 ? "" : "s"} added.`;
  };
  const [effect, setEffect] = useState(null);
  const compare = async (project) => setEffect({ name: project.name, found: await ask(`/api/projects/${project.id}/prefilling`) });
  const look = async (project) => { setFound(await ask(`/api/projects/${project.id}/honeypots`)); setShown(project); };
  const part = (one) => (one ? `${one.same_label} of ${one.videos}, vIoU ${number(one.viou)}` : "–");
  return html`
    <section><h2>Projects</h2>
      ${projects.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Projects"><table class="measures"><thead><tr><th scope="col">Project</th><th scope="col">Assigned</th><th scope="col">Honeypots</th><th scope="col">Pre-filled</th></tr></thead>
        <tbody>${projects.map((one) => html`<tr key=${one.id}><th scope="row">${one.name}</th><td>${one.tasks}</td><td>${one.honeypots ? html`<button type="button" class="quiet" aria-label=${`Agreement with the honeypots of ${one.name}`} onClick=${() => look(one)}>${one.honeypots}</button>` : 0}</td><td><button type="button" class="quiet" aria-label=${`Time and agreement with and without the detector's traces in ${one.name}`} onClick=${() => compare(one)}>${one.prefilled_percent} %</button></td></tr>`)}</tbody></table></div>`}
      ${effect && html`<${Prefilling} ...${effect} />`}
      ${shown && html`<h3>Honeypots of ${shown.name}: right labels, overlap with what is known</h3>
        ${found.length ? html`<div class="scroll" tabindex="0" role="region" aria-label=${`Honeypots of ${shown.name}`}><table class="measures"><thead><tr><th scope="col">Annotator</th><th scope="col">Handed in</th><th scope="col">All</th><th scope="col">Begun from the detector's</th><th scope="col">Begun blank</th></tr></thead>
          <tbody>${found.map((one) => html`<tr key=${one.name}><th scope="row">${one.name}</th><td>${one.done} of ${one.given}</td><td>${part(one.agreement)}</td><td>${part(one.prefilled)}</td><td>${part(one.blank)}</td></tr>`)}</tbody></table></div>`
        : html`<p class="muted">Given to nobody yet.</p>`}`}
      <details class="narrowed"><summary>New project</summary><${Form} action=${make} button="Make" label="New project">
        <label class="wide"><span>Name</span><input name="name" required maxlength="200" autocomplete="off" /></label>
        <label class="wide"><span>Guidelines</span><textarea name="guidelines" rows="4" maxlength="20000"></textarea></label>
        <fieldset><legend>Kinds that may be marked; none chosen: all</legend>${allKinds().map((kind) => html`<label class="check" key=${kind.id}><input type="checkbox" checked=${kinds.includes(kind.id)} onChange=${() => toggle(kind.id)} /> ${kind.name}</label>`)}</fieldset>
        <label class="wide"><span>Tasks that begin with the detector's traces, %</span><input name="percent" type="number" min="0" max="100" value="0" required /></label>
        <label class="wide"><span>Standard wordings of explanations, where the studio has a language model</span><select name="wording"><option value="yes">proposed to reviewers</option><option value="no">not in this project</option></select></label>
      </${Form}></details>
      ${projects.length > 0 && html`<details class="narrowed"><summary>Add honeypots</summary><${Form} action=${add} button="Add" label="Add honeypots">
        <label class="wide"><span>Project</span><select name="project">${projects.map((one) => html`<option value=${one.id}>${one.name}</option>`)}</select></label>
        <div class="row"><label class="wide"><span>Name of a decided clip contains</span><input name="q" maxlength="200" autocomplete="off" /></label><label class="wide"><span>At most</span><input name="most" type="number" min="1" max="1000" value="10" required /></label></div>
      </${Form}></details>`}
    </section>`;
}

export function Review({ address }) {
  const parameters = new URLSearchParams(address.split("?")[1] || "");
  const state = STATES[parameters.get("state")] ? parameters.get("state") : "ready", offset = Number(parameters.get("from")) || 0;
  const [list, setList] = useState(null), [agreed, setAgreed] = useState(null), [people, setPeople] = useState([]), [projects, setProjects] = useState([]), [trouble, setTrouble] = useState("");
  const load = async () => {
    setList(await ask(`/api/review?state=${state}&offset=${offset}&limit=${PAGE}`));
    setProjects(await ask("/api/projects"));
    setPeople((await ask("/api/people")).filter((one) => one.active && one.role !== "viewer"));
  };
  useEffect(() => { load().catch((error) => setTrouble(error.message)); }, [state, offset]);
  // By itself: of ten thousand clips it takes seconds.
  useEffect(() => { ask("/api/review/agreement").then(setAgreed, (error) => setTrouble(error.message)); }, []);
  const assign = async ({ first, second, q, most, project, honeypots }) => {
    const given = { first, second: second || null, q, most: Number(most) };
    const { assigned } = await post("/api/assignments", project ? { ...given, project: Number(project), honeypots: Number(honeypots) } : given);
    await load();
    return `${assigned} clip${assigned === 1 ? "" : "s"} assigned.`;
  };
  const back = async (id) => { setTrouble(""); try { await ask(`/api/assignments/${id}`, { method: "DELETE" }); } catch (error) { setTrouble(error.message); } await load(); };
  const who = (name, none) => html`<select name=${name}>${none && html`<option value="">nobody</option>`}${people.map((one) => html`<option value=${one.name}>${one.name}</option>`)}</select>`;
  const page = (from) => `/review?state=${state}&from=${from}`;
  return html`
    <main id="main" class="figures"><h1>Review</h1>
      ${trouble && html`<p class="trouble" role="alert">${trouble}</p>`}
      ${agreed && agreed.videos > 0 && html`<section><h2>How far the rounds agree</h2><${Agreement} found=${agreed} /></section>`}
      <section><nav class="tabs" aria-label="State">${Object.entries(STATES).map(([name, words]) => html`<${Link} key=${name} href=${`/review?state=${name}`} aria-current=${name === state ? "page" : undefined}>${words}${list ? ` (${list.counts[name]})` : ""}</${Link}>`)}</nav>
      ${list && !list.clips.length && html`<p class="muted none">No clip.</p>`}
      ${list && list.clips.length > 0 && html`<div class="scroll"><table class="measures"><thead><tr><th scope="col">Clip</th><th scope="col" class="text">First round</th><th scope="col" class="text">Second round</th></tr></thead>
        <tbody>${list.clips.map((clip) => html`<tr key=${clip.id}><th scope="row"><${Link} href=${`/review/${clip.id}`}>${clip.name}</${Link}></th>
          ${[0, 1].map((at) => { const one = clip.rounds[at]; return html`<td class="text">${one && html`${one.done ? "✓ " : ""}${one.name} ${one.assignment !== null && !one.traces && !one.done && html`<button type="button" class="quiet" aria-label=${`Take ${clip.name} back from ${one.name}`} onClick=${() => back(one.assignment)}>×</button>`}`}</td>`; })}</tr>`)}</tbody></table></div>
        <div class="row">${offset > 0 && html`<${Link} class="button" href=${page(Math.max(offset - PAGE, 0))}>Before</${Link}>`}${offset + PAGE < list.total && html`<${Link} class="button" href=${page(offset + PAGE)}>Further</${Link}>`}</div>`}</section>
      <section class="narrowed"><h2>Assign clips that nobody has yet</h2>
        <${Form} action=${assign} button="Assign" label="Assign">
          <div class="row"><label class="wide"><span>First round</span>${who("first")}</label><label class="wide"><span>Second round, blind</span>${who("second", true)}</label></div>
          <div class="row"><label class="wide"><span>Name contains</span><input name="q" maxlength="200" autocomplete="off" /></label><label class="wide"><span>At most</span><input name="most" type="number" min="1" max="10000" value="50" required /></label></div>
          ${projects.length > 0 && html`<div class="row"><label class="wide"><span>Project</span><select name="project"><option value="">none</option>${projects.map((one) => html`<option value=${one.id}>${one.name}</option>`)}</select></label>
            <label class="wide"><span>Honeypots mixed in for each</span><input name="honeypots" type="number" min="0" max="1000" value="0" required /></label></div>`}
        </${Form}></section>
      <${Projects} projects=${projects} load=${load} />
    </main>`;
}

export function ReviewOf({ id }) {
  const { clip, player, error } = useClip(id);
  const [review, setReview] = useState(null), [trouble, setTrouble] = useState("");
  useEffect(() => { ask(`/api/review/${id}`).then(setReview, (failed) => setTrouble(failed.message)); }, [id]);
  if (trouble || (error && !clip)) return html`<main id="main" class="single"><p class="trouble waiting" role="alert">${trouble || error}</p></main>`;
  if (!clip || !player || !review) return html`<main id="main" class="single" aria-busy="true"><p class="muted waiting">${clip && clip.state === "failed" ? clip.error : "Reading the clip…"}</p></main>`;
  return html`<${Decide} clip=${clip} player=${player} review=${review} />`;
}

const tracesOf = (objects, who, more) => Object.entries(objects).filter(([, object]) => object.type === "trace").map(([id, object]) => ({ ...drawn(object, `${who}-${id}`), object: id, who, ...more }))
  .sort((a, b) => (a.onset_s ?? 0) - (b.onset_s ?? 0) || a.id.localeCompare(b.id));

function Decide({ clip, player, review }) {
  const sheet = useSheet(clip.id, "review");
  const [off, setOff] = useState([]), [selected, setSelected] = useState(null);
  const rounds = useMemo(() => review.rounds.map((one, at) => ({ ...one, found: tracesOf(one.objects, one.name, { colour: colourOfModel(at), order: at }) })), [review]);
  const decided = useMemo(() => tracesOf(sheet.objects, "decision", { colour: DECIDED, order: -1 }), [sheet.objects]);
  const groups = [{ name: "Decision", colour: DECIDED, found: decided }, ...rounds.map((one, at) => ({ name: one.name, colour: colourOfModel(at), found: one.found }))];
  const shown = groups.filter((_, at) => !off.includes(at)).flatMap((one) => one.found);
  const toggle = (at) => setOff(off.includes(at) ? off.filter((one) => one !== at) : [...off, at]);
  const pick = (trace) => {
    if (trace.id === selected && player.loop) { setSelected(null); player.setLoop(null); player.pause(); return; }
    setSelected(trace.id);
    player.setLoop(player.framesOf(trace));
    if (!player.playing) player.toggle();
  };
  useOpening(player, rounds.flatMap((one) => one.found)[0]);
  const facts = sheet.objects.clip || { type: "clip", label: null, done: false };
  const label = (value) => sheet.change("clip", { ...facts, label: value });
  const take = (round, id) => {
    sheet.change(id, round.objects[id]);
    if (!sheet.objects.clip) label("FAKE");
  };
  /** This round as it is, and nothing else. Each step can be undone. */
  const takeAll = (round) => {
    for (const one of decided) if (!round.objects[one.object]) sheet.change(one.object, null);
    if (round.objects.clip) label(round.objects.clip.label);
    for (const one of round.found) take(round, one.object);
  };
  usePlayerKeys(player, {
    l: () => player.setLoop(player.loop ? null : [0, player.times.length - 1]),
    ...Object.fromEntries(groups.map((_, at) => [String(at), () => toggle(at)])),
  });
  const line = (trace, more) => html`<li key=${trace.id}><button type="button" aria-pressed=${trace.id === selected} style=${{ borderLeftColor: trace.colour }} onClick=${() => pick(trace)}>${traceLine(trace)}</button>
    ${trace.explanation && html`<p>${trace.explanation}</p>`}${trace.standard && html`<p class="muted">Standard: ${trace.standard}</p>`}<div class="row">${more}</div></li>`;
  return html`
    <main id="main" class="single">
      <article class="clip review">
        <div class="show">
          <header class="title"><h1 title=${clip.name}>${clip.name}</h1><${Saved} sheet=${sheet} /><${Link} class="button" href="/review">All clips</${Link}></header>
          <${Stage} clip=${clip} player=${player} traces=${shown} selected=${selected} />
          <${Controls} player=${player}>
            <button type="button" disabled=${!sheet.canUndo} onClick=${() => sheet.undo()}>Undo</button>
            <button type="button" disabled=${!sheet.canRedo} onClick=${() => sheet.redo()}>Redo</button></${Controls}>
          <div class="row people" role="group" aria-label="Whose boxes">${groups.map((one, at) => html`<button type="button" key=${at} class=${`whose ${off.includes(at) ? "" : "on"}`} aria-pressed=${!off.includes(at)} title=${at} onClick=${() => toggle(at)}><i class="dot" style=${{ background: one.colour }} aria-hidden="true"></i>${one.name}</button>`)}</div>
          <${Timeline} player=${player} traces=${shown} selected=${selected} onPick=${pick} />
          ${review.agreement && html`<${Agreement} found=${review.agreement} videos=${false} />`}
          <div class="rounds">${rounds.map((round, at) => html`
            <section key=${round.name} aria-label=${`Round of ${round.name}`}>
              <header class="row"><h2><i class="dot" style=${{ background: colourOfModel(at) }} aria-hidden="true"></i>${round.name}: ${labelOf(round.objects)}${round.done ? "" : " (not handed in)"}</h2><span class="push"></span>
                <button type="button" disabled=${!sheet.ready} onClick=${() => takeAll(round)}>Take all of it</button></header>
              ${!round.found.length && html`<p class="muted">No trace.</p>`}
              <ol class="traces">${round.found.map((trace) => line(trace, html`<button type="button" disabled=${!sheet.ready || Boolean(sheet.objects[trace.object])} onClick=${() => take(round, trace.object)}>${sheet.objects[trace.object] ? "taken" : "Take"}</button>`))}</ol>
            </section>`)}</div>
        </div>
        <aside aria-label="Decision">
          <section aria-label="The decision"><h2><i class="dot" style=${{ background: DECIDED }} aria-hidden="true"></i>Decision</h2>
            <div class="row label" role="group" aria-label="The clip is">${[["FAKE", "AI-generated"], ["REAL", "real"], [null, "cannot tell"]].map(([value, name]) => html`
              <button type="button" key=${name} disabled=${!sheet.ready} aria-pressed=${facts.label === value && Boolean(sheet.objects.clip)} class=${sheet.objects.clip && facts.label === value ? "on" : ""} onClick=${() => label(value)}>${name}</button>`)}</div>
            <${Done} sheet=${sheet} deciding=${true} /></section>
          <section aria-label="Traces"><header class="row"><h2>Traces</h2><span class="push"></span><button type="button" onClick=${() => go(`/decide/${clip.id}`)}>Edit</button></header>
            ${!decided.length && html`<p class="muted">Take traces of the rounds, or mark some.</p>`}
            <ol class="traces">${decided.map((trace) => line(trace, html`<button type="button" onClick=${() => sheet.change(trace.object, null)}>Leave out</button>`))}</ol></section>
        </aside>
      </article>
      ${sheet.conflict && html`<${Conflict} sheet=${sheet} />`}
    </main>`;
}
