// Marking traces: one object is an interval and a box over time; everything by mouse and everything by keyboard.
import { html, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "./vendor/htm-preact.js";
import { ask, newId, post, session } from "./api.js";
import { changed, useClip, usePlayerKeys } from "./clip.js";
import { allKinds, boxAt, colourOf, drawn, gapsOf, interpolated, isOff, nameOf } from "./kinds.js";
import { Sheet } from "./sheet.js";
import { Link, typing } from "./shell.js";
import { Controls, Stage, Timeline, traceLine, useFrame } from "./stage.js";

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const round = (value, digits) => Number(value.toFixed(digits));
const LEAST = 0.004;
const EMPTY = { type: "clip", label: null, done: false };
const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];

/** A box inside the picture with a size that can be seen. */
function tidy(box) {
  const [x0, x1] = [Math.min(box[0], box[2]), Math.max(box[0], box[2])], [y0, y1] = [Math.min(box[1], box[3]), Math.max(box[1], box[3])];
  const left = clamp(x0, 0, 1 - LEAST), top = clamp(y0, 0, 1 - LEAST);
  return [left, top, clamp(x1, left + LEAST, 1), clamp(y1, top + LEAST, 1)].map((side) => round(side, 6));
}
function moved(box, dx, dy) {
  const x = clamp(dx, -box[0], 1 - box[2]), y = clamp(dy, -box[1], 1 - box[3]);
  return tidy([box[0] + x, box[1] + y, box[2] + x, box[3] + y]);
}

export function Annotate({ id, of = "clips" }) {
  const { clip, player, error } = useClip(id);
  const task = useTask(id, of);
  if (error && !clip) return html`<main id="main" class="single"><p class="trouble" role="alert">${error}</p></main>`;
  if (!clip || !player || task === undefined) return html`<main id="main" class="single" aria-busy="true"><p class="muted waiting">${clip && clip.state === "failed" ? clip.error : "Reading the clip…"}</p></main>`;
  return html`<${Desk} clip=${clip} player=${player} of=${of} task=${task} />`;
}

/** What the project of one's own clip asks for; null without one, undefined until that is known. */
function useTask(id, of) {
  const own = of === "clips" && session.accounts;
  const [task, setTask] = useState(own ? undefined : null);
  useEffect(() => {
    if (!own) return undefined;
    let timer = 0, alive = true;
    const load = () => ask(`/api/clips/${id}/task`).then((said) => alive && setTask(said), () => { if (alive) timer = setTimeout(load, 1500); });
    load();
    return () => { alive = false; clearTimeout(timer); };
  }, [id, of]);
  return task;
}

export function useSheet(id, of) {
  const [, again] = useReducer((count) => count + 1, 0);
  const [sheet] = useState(() => new Sheet(id, of));
  useEffect(() => {
    const stop = sheet.listen(again);
    const load = () => sheet.load().catch(() => { sheet.state = "offline"; again(); setTimeout(load, 1500); });
    load();
    const online = () => sheet._flush();
    for (const name of ["online", "session-changed"]) addEventListener(name, online);
    return () => { stop(); sheet.close(); for (const name of ["online", "session-changed"]) removeEventListener(name, online); changed(id); };
  }, [sheet]);
  return sheet;
}

function Desk({ clip, player, of, task }) {
  const sheet = useSheet(clip.id, of), deciding = of === "review";
  const [selected, setSelected] = useState(null), [draft, setDraft] = useState(null), [moving, setMoving] = useState({});
  useFrame(player);
  const objects = draft ? { ...sheet.objects, [draft.id]: draft.object } : sheet.objects;
  const traces = useMemo(() => Object.entries(objects).filter(([, object]) => object.type === "trace").map(([id, object]) => drawn(object, id))
    .sort((a, b) => (a.onset_s ?? 0) - (b.onset_s ?? 0) || a.id.localeCompare(b.id)), [objects]);
  const facts = objects.clip || EMPTY, trace = selected && objects[selected] ? objects[selected] : null;
  const ready = sheet.ready, kinds = allKinds().filter((one) => !task || task.kinds.includes(one.id));

  const set = (changes) => trace && sheet.change(selected, { ...sheet.objects[selected], ...changes });
  const say = (changes) => sheet.change("clip", { ...facts, ...changes });
  const isMoving = (id) => Boolean(moving[id]) || (objects[id] ? objects[id].keys.length > 1 && !standsStill(objects[id].keys) : false);
  /** The trace with its box somewhere else at this frame: a keyframe if the box moves, else the whole box. */
  const withBox = (object, id, box) => {
    if (!isMoving(id)) return { ...object, keys: object.keys.length ? object.keys.map((key) => ({ ...key, box })) : [{ time_s: object.onset_s ?? 0, box }] };
    return { ...object, keys: withKey(object.keys, { time_s: player.time_s, box, ...(offAt(object.keys, player.time_s) ? { off: true } : {}) }) };
  };
  const fresh = (box) => {
    const onset = player.time_s, last = player.frameAt(Math.min(onset + 1, player.end_s - 1e-4));
    return { type: "trace", kinds: [], onset_s: onset, offset_s: round(player.endOf(Math.max(last, player.index)), 6), keys: [{ time_s: onset, box: tidy(box) }], explanation: "", by: "person" };
  };
  const add = (box = [0.35, 0.35, 0.65, 0.65]) => {
    const id = newId();
    sheet.change(id, fresh(box));
    setSelected(id);
    if (facts.label === null) say({ label: "FAKE" });
  };
  const boxNow = trace && trace.keys.length ? interpolated(trace.keys, player.time_s).map((side) => round(side, 6)) : null;
  const nudge = (dx, dy, corner) => {
    if (!boxNow) return trace && set({ keys: withBox(trace, selected, [0.35, 0.35, 0.65, 0.65]).keys });
    const box = corner ? tidy([boxNow[0], boxNow[1], Math.max(boxNow[2] + dx, boxNow[0] + LEAST), Math.max(boxNow[3] + dy, boxNow[1] + LEAST)]) : moved(boxNow, dx, dy);
    return set({ keys: withBox(trace, selected, box).keys });
  };
  const onset = (index = player.index) => trace && set(edges(trace, player, "onset_s", index));
  const offset = (index = player.index) => trace && set(edges(trace, player, "offset_s", index));
  const keyframe = () => {
    if (!boxNow) return;
    const there = trace.keys.some((key) => key.time_s === player.time_s);
    if (there && trace.keys.length > 1) set({ keys: trace.keys.filter((key) => key.time_s !== player.time_s) });
    else if (!there) {
      setMoving({ ...moving, [selected]: true });
      set({ keys: withKey(trace.keys, { time_s: player.time_s, box: boxNow, ...(offNow ? { off: true } : {}) }) });
    }
  };
  /** Off from this frame to the next keyframe at which it is on, or on again; what lies between two keyframes stays where it is. */
  const offNow = Boolean(trace) && offAt(trace.keys, player.time_s);
  const turn = () => {
    if (!boxNow) return;
    const here = trace.keys.find((key) => key.time_s === player.time_s);
    if (!offNow) set({ keys: withKey(trace.keys, { time_s: player.time_s, box: boxNow, off: true }) });
    else if (here && trace.keys.length > 1 && !offAt(trace.keys, player.time_s - 1e-3) && sameBox(interpolated(trace.keys.filter((key) => key !== here), player.time_s), boxNow)) set({ keys: trace.keys.filter((key) => key !== here) });
    else set({ keys: withKey(trace.keys, { time_s: player.time_s, box: boxNow }) });
  };
  const [zoom, setZoom] = useState(1), frame = useRef(null);
  const larger = (steps) => setZoom(ZOOMS[clamp(ZOOMS.indexOf(zoom) + steps, 0, ZOOMS.length - 1)]);
  // What one looks at stays in the middle: the selected box, else the middle of the picture.
  useLayoutEffect(() => {
    const area = frame.current, [x0, y0, x1, y1] = boxNow || [0, 0, 1, 1];
    if (!area || zoom === 1) return;
    area.scrollLeft = ((x0 + x1) / 2) * area.scrollWidth - area.clientWidth / 2;
    area.scrollTop = ((y0 + y1) / 2) * area.scrollHeight - area.clientHeight / 2;
  }, [zoom]);
  const [following, setFollowing] = useState("");
  /** The box goes with what is in it, from this frame to the trace's end; keyframes in between are made anew. */
  const follow = async () => {
    if (!boxNow || following === "…") return;
    if (offNow) { setFollowing("the box is off here: switch it on first"); return; }
    const id = selected, since_s = player.time_s, ends = trace.keys.find((key) => key.off && key.time_s > since_s);
    const until_s = Math.min(trace.offset_s ?? player.end_s, ends ? ends.time_s : Infinity);
    if (until_s <= since_s) return;
    setFollowing("…");
    try {
      const found = await post(`/api/clips/${clip.id}/track`, { key: { time_s: since_s, box: boxNow }, until_s });
      const now = sheet.objects[id];
      if (!now || found.keys.length < 2) { setFollowing("nothing in the box can be followed"); return; }
      const rest = now.keys.filter((key) => key.off || key.time_s < since_s - 1e-6 || key.time_s > found.until_s + 1e-6);
      setMoving((before) => ({ ...before, [id]: true }));
      sheet.change(id, { ...now, keys: [...rest, ...found.keys].sort((a, b) => a.time_s - b.time_s) });
      setFollowing(found.until_s < player.times[player.frameAt(until_s - 1e-4)] - 1e-6 ? `followed to ${found.until_s.toFixed(2)} s, then lost` : `followed to ${found.until_s.toFixed(2)} s`);
    } catch (error) { setFollowing(error.message); }
  };
  const still = (on) => {
    setMoving({ ...moving, [selected]: on });
    if (!on && boxNow && trace.keys.length > 1) {
      const turns = trace.keys.filter((key, at) => (at ? Boolean(key.off) !== Boolean(trace.keys[at - 1].off) : true)).map((key) => ({ ...key, box: boxNow }));
      set({ keys: turns.length > 1 ? turns : [{ time_s: trace.onset_s ?? 0, box: boxNow, ...(turns[0].off ? { off: true } : {}) }] });
    }
  };
  const kind = (id) => trace && set({ kinds: id === null ? [] : trace.kinds.includes(id) ? trace.kinds.filter((one) => one !== id) : [...trace.kinds, id] });
  const remove = () => { if (trace) { sheet.change(selected, null); setSelected(null); player.setLoop(null); } };
  const choose = (id) => {
    setSelected(id);
    setFollowing("");
    const found = traces.find((one) => one.id === id);
    if (found && !(player.index >= player.framesOf(found)[0] && player.index <= player.framesOf(found)[1])) player.seek(player.framesOf(found)[0]);
  };
  const next = (step) => {
    if (!traces.length) return;
    const at = traces.findIndex((one) => one.id === selected);
    choose(traces[(at + step + traces.length) % traces.length].id);
  };
  const loop = () => { const found = traces.find((one) => one.id === selected); player.setLoop(player.loop || !found ? null : player.framesOf(found)); };
  const edge = (one, name, seconds, done) => {
    const index = name === "onset_s" ? player.frameAt(seconds) : Math.max(player.frameAt(seconds - 1e-6), 0);
    const object = { ...sheet.objects[one.id], ...edges(sheet.objects[one.id], player, name, index) };
    setDraft(done ? null : { id: one.id, object });
    if (done) sheet.change(one.id, object);
  };
  const takeOver = () => {
    for (const found of clip.verdict.traces) {
      const one = drawn(found, "");
      sheet.change(newId(), { type: "trace", kinds: one.kinds.filter((id) => kinds.some((kind) => kind.id === id)), onset_s: one.onset_s ?? null, offset_s: one.offset_s ?? null, keys: one.keys, explanation: one.explanation, by: "detector" });
    }
    if (facts.label === null) say({ label: "FAKE" });
  };
  const offered = clip.verdict ? clip.verdict.traces.length : 0;
  // Once, on what nobody has touched yet; who undoes it has said so.
  const untouched = ready && sheet.version === 0 && sheet.waiting === 0;
  useEffect(() => { if (task && task.prefilled && untouched && offered) takeOver(); }, [untouched, offered]);

  useLayoutEffect(() => {
    const heard = (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || (typing(event) && event.target.tagName !== "SELECT")) return;
      event.preventDefault();
      if (event.shiftKey) sheet.redo();
      else sheet.undo();
    };
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  });
  const STEP = 0.01;
  usePlayerKeys(ready ? player : null, {
    t: () => add(), v: follow, "+": () => larger(1), "=": () => larger(1), "-": () => larger(-1), i: () => onset(), o: () => offset(), f: keyframe, h: turn, p: loop, ",": () => next(-1), ".": () => next(1), Delete: remove, Backspace: remove,
    x: () => { const field = document.getElementById("explanation"); if (field) field.focus(); },
    w: () => nudge(0, -STEP), a: () => nudge(-STEP, 0), s: () => nudge(0, STEP), d: () => nudge(STEP, 0),
    W: () => nudge(0, -STEP, true), A: () => nudge(-STEP, 0, true), S: () => nudge(0, STEP, true), D: () => nudge(STEP, 0, true),
    g: () => say({ label: "FAKE" }), r: () => say({ label: "REAL" }), c: () => say({ label: null }), Escape: () => setSelected(null),
    0: () => kind(null), ...Object.fromEntries(kinds.map((one, number) => [String(number + 1), () => kind(one.id)])),
  });

  return html`
    <main id="main" class="single">
      <article class="clip">
        <div class="show">
          <header class="title"><h1 title=${clip.name}>${deciding ? `Decision: ${clip.name}` : clip.name}</h1><${Saved} sheet=${sheet} />
            ${deciding ? html`<${Link} class="button" href=${`/review/${clip.id}`}>Both rounds</${Link}>` : !task && html`<${Link} class="button" href=${`/clip/${clip.id}`}>Verdict</${Link}>`}</header>
          <div class=${zoom > 1 ? "zoom in" : "zoom"} ref=${frame} style=${{ "--zoom": zoom }}><${Stage} clip=${clip} player=${player} traces=${traces} selected=${selected} still=${true}>
            ${ready && html`<${Editor} player=${player} traces=${traces} selected=${selected} onChoose=${choose} onNew=${(box) => (trace && !trace.keys.length ? set({ keys: withBox(trace, selected, tidy(box)).keys }) : add(box))}
              onDraft=${(box) => setDraft(box && { id: selected, object: withBox(sheet.objects[selected], selected, box) })}
              onBox=${(box) => { setDraft(null); set({ keys: withBox(sheet.objects[selected], selected, box).keys }); }} />`}
          </${Stage}></div>
          <${Controls} player=${player}>
            <label class="speed"><span class="unseen">Zoom</span><select value=${zoom} title="+ −" onChange=${(event) => setZoom(Number(event.target.value))}>${ZOOMS.map((one) => html`<option value=${one}>zoom ${one}</option>`)}</select></label>
            <button type="button" disabled=${!sheet.canUndo} title="Ctrl Z" onClick=${() => sheet.undo()}>Undo</button>
            <button type="button" disabled=${!sheet.canRedo} title="Ctrl Shift Z" onClick=${() => sheet.redo()}>Redo</button>
          </${Controls}>
          <${Timeline} player=${player} traces=${traces} selected=${selected} onPick=${(one) => choose(one.id)} onEdge=${edge} />
        </div>
        <aside aria-label="Annotation">
          ${task && html`<section aria-label="Guidelines"><details><summary>${task.project}: guidelines</summary><p class="guidelines">${task.guidelines || "None are written."}</p></details></section>`}
          <section aria-label="The clip">
            <div class="row label" role="group" aria-label="The clip is">
              ${[["FAKE", "AI-generated", "G"], ["REAL", "real", "R"], [null, "cannot tell", "C"]].map(([value, name, key]) => html`
                <button type="button" key=${key} disabled=${!ready} aria-pressed=${facts.label === value && Boolean(objects.clip)} class=${objects.clip && facts.label === value ? "on" : ""} onClick=${() => say({ label: value })}>${name} <kbd>${key}</kbd></button>`)}
            </div>
            ${session.accounts && html`<${Done} sheet=${sheet} deciding=${deciding} />`}
          </section>
          <section aria-label="Traces">
            <header class="row"><h2>Traces</h2><span class="push"></span>
              ${offered > 0 && !traces.length && (!task || task.prefilled) && html`<button type="button" disabled=${!ready} onClick=${takeOver}>Start from the detector's</button>`}
              <button type="button" class="main" disabled=${!ready} onClick=${() => add()}>New trace <kbd>T</kbd></button></header>
            ${traces.length === 0 && html`<p class="muted">Draw a box on the picture where a trace is, or press T.</p>`}
            <ol class="traces">${traces.map((one) => html`
              <li key=${one.id}><button type="button" aria-pressed=${one.id === selected} style=${{ borderLeftColor: colourOf(one.kind) }} onClick=${() => choose(one.id)}>${traceLine(one)}${objects[one.id].by === "detector" ? " (detector)" : ""}</button></li>`)}</ol>
          </section>
          ${trace && html`<${Details} key=${selected} trace=${trace} player=${player} media=${clip.media} kinds=${kinds} moves=${isMoving(selected)} boxNow=${boxNow}
            set=${set} onKind=${kind} onOnset=${onset} onOffset=${offset} onStill=${still} onKeyframe=${keyframe} offNow=${offNow} onTurn=${turn} onFollow=${follow} following=${following} onLoop=${loop} onRemove=${remove}
            standing=${deciding ? clip.id : null} onBox=${(box) => set({ keys: withBox(trace, selected, tidy(box)).keys })} />`}
        </aside>
      </article>
      ${sheet.conflict && html`<${Conflict} sheet=${sheet} />`}
    </main>`;
}

/** Whether it is handed in, or decided: others go on with it from then. */
export function Done({ sheet, deciding }) {
  const facts = sheet.objects.clip || EMPTY;
  const word = deciding ? "decided" : "handed in";
  return html`<div class="row done">
    <button type="button" class=${facts.done ? "on" : ""} aria-pressed=${facts.done} disabled=${!sheet.ready} onClick=${() => sheet.change("clip", { ...facts, done: !facts.done })}>${facts.done ? `✓ ${word}` : deciding ? "Decide" : "Hand in"}</button>
    <span class="muted">${facts.done ? "" : deciding ? "Exports leave the clip out until it is decided." : "When you are finished with the clip."}</span>
    ${!deciding && facts.done && html`<${Link} class="button" href="/work">My clips</${Link}>`}</div>`;
}

const withKey = (keys, key) => [...keys.filter((one) => one.time_s !== key.time_s), key].sort((a, b) => a.time_s - b.time_s);
const offAt = (keys, seconds) => isOff({ gaps: gapsOf(keys) }, seconds);
const sameBox = (a, b) => a.every((side, at) => Math.abs(side - b[at]) < 2e-6);
/** Whether a box only comes and goes, and never moves. */
const standsStill = (keys) => keys.some((key) => key.off) && keys.every((key) => sameBox(key.box, keys[0].box));

/** Onset or offset at a frame; the other one gives way where they would cross. */
function edges(trace, player, name, index) {
  const from = player.times[index], to = round(player.endOf(index), 6);
  if (name === "onset_s") return { onset_s: from, offset_s: trace.offset_s === null || trace.offset_s > from ? trace.offset_s : to };
  return { offset_s: to, onset_s: trace.onset_s === null || trace.onset_s < to ? trace.onset_s : from };
}

const WORDS = { loading: "loading…", saving: "saving…", offline: "not connected", conflict: "changed elsewhere", refused: "not saved" };

export function Saved({ sheet }) {
  const kept = sheet.kept ? `, ${sheet.kept} change${sheet.kept === 1 ? "" : "s"} kept in this browser` : "";
  const word = sheet.state === "saved" ? (sheet.version ? `saved, version ${sheet.version}` : "nothing marked yet") : sheet.state === "offline" ? `${sheet.trouble || WORDS.offline}${kept}` : WORDS[sheet.state];
  return html`<span class=${`saved ${sheet.state}`} role="status" data-version=${sheet.version} data-state=${sheet.state}>${word}
    ${sheet.state === "refused" && html` (${sheet.trouble}) <button type="button" onClick=${() => sheet.takeTheirs()}>Drop it</button>`}</span>`;
}

function Details({ trace, player, media, kinds, moves, boxNow, set, onKind, onOnset, onOffset, onStill, onKeyframe, offNow, onTurn, onFollow, following, onLoop, onRemove, onBox, standing }) {
  const [words, setWords] = useState(trace.explanation);
  const timer = useRef(0), written = useRef(trace.explanation);
  useEffect(() => { if (trace.explanation !== written.current) { setWords(trace.explanation); written.current = trace.explanation; } }, [trace.explanation]);
  const write = (text, at_once) => {
    setWords(text);
    clearTimeout(timer.current);
    const now = () => { if (written.current !== text) { written.current = text; set({ explanation: text }); } };
    if (at_once) now();
    else timer.current = setTimeout(now, 500);
  };
  const seconds = (value) => (value === null || value === undefined ? "" : String(round(value, 4)));
  const pixels = boxNow ? [boxNow[0] * media.width, boxNow[1] * media.height, (boxNow[2] - boxNow[0]) * media.width, (boxNow[3] - boxNow[1]) * media.height] : null;
  const side = (number, value) => {
    const all = pixels.map((one, index) => (index === number ? Number(value) : one));
    onBox([all[0] / media.width, all[1] / media.height, (all[0] + all[2]) / media.width, (all[1] + all[3]) / media.height]);
  };
  const key = trace.keys.some((one) => one.time_s === player.time_s);
  return html`
    <section class="details" aria-label="The selected trace">
      <fieldset><legend>Kind</legend><div class="kinds">
        ${kinds.map((one, number) => html`<button type="button" key=${one.id} title=${one.meaning} aria-pressed=${trace.kinds.includes(one.id)} class=${trace.kinds.includes(one.id) ? "on" : ""} style=${{ borderLeftColor: colourOf(one.id) }} onClick=${() => onKind(one.id)}><kbd>${number + 1}</kbd> ${one.name}</button>`)}
        <button type="button" aria-pressed=${!trace.kinds.length} class=${trace.kinds.length ? "" : "on"} style=${{ borderLeftColor: colourOf("none") }} onClick=${() => onKind(null)}><kbd>0</kbd> ${nameOf("none")}</button></div></fieldset>
      <div class="row">
        <label class="number"><span>Onset, s <kbd>I</kbd></span><input type="number" step="0.001" min="0" value=${seconds(trace.onset_s)} onChange=${(event) => onOnset(player.frameAt(Number(event.target.value) + 1e-4))} /></label>
        <label class="number"><span>Offset, s <kbd>O</kbd></span><input type="number" step="0.001" min="0" value=${seconds(trace.offset_s)} onChange=${(event) => onOffset(player.frameAt(Math.max(Number(event.target.value) - 1e-3, 0)))} /></label>
        <button type="button" class="low" title="P" aria-pressed=${Boolean(player.loop)} onClick=${onLoop}>Loop</button>
      </div>
      ${pixels ? html`
        <div class="row box">
          ${["left", "top", "width", "height"].map((name, number) => html`<label class="number" key=${name}><span>${name}, px</span><input type="number" step="1" value=${Math.round(pixels[number])} onChange=${(event) => side(number, event.target.value)} /></label>`)}
        </div>
        <div class="row">
          <label class="check"><input type="checkbox" checked=${moves} onChange=${(event) => onStill(event.target.checked)} /> The box moves</label>
          <button type="button" title="F" onClick=${onKeyframe}>${key && trace.keys.length > 1 ? "Remove keyframe" : "Keyframe here"} <kbd>F</kbd></button>
          <button type="button" title="H" aria-pressed=${offNow} class=${offNow ? "on" : ""} onClick=${onTurn}>${offNow ? "Off: on from here" : "Off from here"} <kbd>H</kbd></button>
          <button type="button" title="V" disabled=${following === "…"} onClick=${onFollow}>Follow <kbd>V</kbd></button>
          <span class="muted" role="status">${following || (trace.keys.length > 1 ? `${trace.keys.length} keyframes` : "")}</span>
        </div>` : html`<p class="muted">No place yet: draw a box, or leave it where the place cannot be told.</p>`}
      <label class="wide"><span>Explanation <kbd>X</kbd></span>
        <textarea id="explanation" rows="3" maxlength="5000" value=${words} onInput=${(event) => write(event.target.value)} onBlur=${(event) => write(event.target.value, true)}
          onKeyDown=${(event) => { if (event.key === "Escape") event.target.blur(); }}></textarea></label>
      ${standing && html`<${Standard} clipId=${standing} trace=${trace} set=${set} />`}
      <div class="row"><button type="button" title="Del" onClick=${onRemove}>Remove trace</button></div>
    </section>`;
}

/** A standard wording beside the annotator's words, which a language model proposes and a reviewer may change or leave out. */
function Standard({ clipId, trace, set }) {
  const [about, setAbout] = useState(null), [said, setSaid] = useState("");
  useEffect(() => { ask(`/api/review/${clipId}/wording`).then(setAbout, () => {}); }, [clipId]);
  const propose = async () => {
    setSaid("asking…");
    try {
      const found = await post(`/api/review/${clipId}/wording`, { explanation: trace.explanation, kinds: trace.kinds });
      set({ standard: found.standard });
      setSaid("proposed; the annotator's words stay as they are");
    } catch (error) { setSaid(error.message); }
  };
  if (!trace.standard && !(about && about.offered)) return null;
  return html`<label class="wide"><span>Standard wording, beside the explanation</span>
      <textarea id="standard" rows="2" maxlength="5000" value=${trace.standard || ""} onChange=${(event) => set({ standard: event.target.value })}></textarea></label>
    <div class="row">${about && about.offered && html`<button type="button" disabled=${!trace.explanation.trim() || said === "asking…"} onClick=${propose}>Propose by ${about.model}</button>`}<span class="muted" role="status">${said}</span></div>`;
}

const HANDLES = [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 1], [0, 1], [0, 0.5]];
const percent = (value) => `${(100 * value).toFixed(4)}%`;

/** The layer over the picture that boxes are drawn, moved and resized on. */
function Editor({ player, traces, selected, onChoose, onNew, onDraft, onBox }) {
  const layer = useRef(null), held = useRef(null);
  const [rubber, setRubber] = useState(null);
  const mine = traces.find((one) => one.id === selected), box = mine ? boxAt(mine, player.time_s) : null;
  const at = (event) => {
    const area = layer.current.getBoundingClientRect();
    return [clamp((event.clientX - area.left) / area.width, 0, 1), clamp((event.clientY - area.top) / area.height, 0, 1)];
  };
  const inside = (one, [x, y]) => one && x >= one[0] && x <= one[2] && y >= one[1] && y <= one[3];
  const down = (event) => {
    if (event.button) return;
    const from = at(event), handle = event.target.dataset.handle;
    layer.current.setPointerCapture(event.pointerId);
    player.pause();
    held.current = { from, box, handle: handle === undefined ? null : HANDLES[Number(handle)], moved: false, onBox: inside(box, from) };
  };
  const now = (point) => {
    const { from, box: was, handle } = held.current, dx = point[0] - from[0], dy = point[1] - from[1];
    if (!handle) return moved(was, dx, dy);
    const next = [...was];
    if (handle[0] !== 0.5) next[handle[0] ? 2 : 0] += dx;
    if (handle[1] !== 0.5) next[handle[1] ? 3 : 1] += dy;
    return tidy(next);
  };
  const move = (event) => {
    const grip = held.current;
    if (!grip) return;
    const point = at(event);
    grip.moved = grip.moved || Math.hypot(point[0] - grip.from[0], point[1] - grip.from[1]) > 0.004;
    if (!grip.moved) return;
    if (grip.handle || grip.onBox) onDraft(now(point));
    else setRubber(tidy([...grip.from, ...point]));
  };
  const up = (event) => {
    const grip = held.current;
    held.current = null;
    setRubber(null);
    if (!grip) return;
    const point = at(event);
    if (!grip.moved) {
      const under = traces.filter((one) => inside(boxAt(one, player.time_s), point));
      const others = under.filter((one) => one.id !== selected);
      onChoose(others.length ? others[0].id : under.length ? selected : null);
    } else if (grip.handle || grip.onBox) { held.current = grip; const done = now(point); held.current = null; onBox(done); }
    else onNew([...grip.from, ...point]);
  };
  const cancel = () => { held.current = null; setRubber(null); onDraft(null); };
  return html`
    <div class="editor" ref=${layer} onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${cancel}>
      ${rubber && html`<span class="rubber" style=${{ left: percent(rubber[0]), top: percent(rubber[1]), width: percent(rubber[2] - rubber[0]), height: percent(rubber[3] - rubber[1]) }}></span>`}
      ${box && HANDLES.map(([x, y], number) => html`<span class="handle" key=${number} data-handle=${number} style=${{ left: percent(box[0] + x * (box[2] - box[0])), top: percent(box[1] + y * (box[3] - box[1])) }}></span>`)}
    </div>`;
}

const sentence = (object) => {
  if (!object) return "removed";
  if (object.type === "clip") return `the clip is ${{ FAKE: "AI-generated", REAL: "real" }[object.label] || "undecided"}`;
  return `${traceLine(drawn(object, ""))}${object.explanation ? `: ${object.explanation}` : ""}`;
};

export function Conflict({ sheet }) {
  const box = useRef(null);
  useEffect(() => { box.current.showModal(); }, []);
  const { current, yours } = sheet.conflict;
  const differing = [...new Set([...Object.keys(current.objects), ...Object.keys(yours)])].filter((id) => JSON.stringify(current.objects[id]) !== JSON.stringify(yours[id]));
  return html`
    <dialog class="sheet" ref=${box} aria-labelledby="conflict-title" onCancel=${(event) => event.preventDefault()}>
      <h2 id="conflict-title">This annotation was changed elsewhere</h2>
      <p class="muted">Another tab or person saved version ${current.version} in the meantime. Nothing is lost yet: choose what stands.</p>
      <table class="versions"><thead><tr><th scope="col">Saved there</th><th scope="col">Yours</th></tr></thead>
        <tbody>${differing.map((id) => html`<tr key=${id}><td>${sentence(current.objects[id])}</td><td>${sentence(yours[id])}</td></tr>`)}</tbody></table>
      <div class="row"><button type="button" onClick=${() => sheet.takeTheirs()}>Take what is saved there</button>
        <button type="button" class="main" onClick=${() => sheet.keepMine()}>Put mine on top</button></div>
    </dialog>`;
}
