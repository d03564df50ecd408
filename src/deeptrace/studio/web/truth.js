// One video: what is true of it and what each model said, in one picture, on one timeline, and in words.
import { html, useEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { ask, post } from "./api.js";
import { Badge, TraceList, useClip, usePlayerKeys } from "./clip.js";
import { drawn } from "./kinds.js";
import { Player } from "./player.js";
import { Controls, Stage, Timeline } from "./stage.js";
import { Link } from "./shell.js";

export const TRUTH = "#3cdc78";
const COLOURS = ["#56b4e9", "#e69f00", "#cc79a7", "#f0e442", "#ff7a45", "#b07cff", "#9fb4c7", "#e5a3a3"];
export const colourOfModel = (at) => COLOURS[at % COLOURS.length];

export const ModelName = ({ at, title }) => html`<span class="model" title=${title}><i class="dot" style=${{ background: colourOfModel(at) }} aria-hidden="true"></i>${title}</span>`;
export const Truth = ({ video }) => html`<span class=${`badge ${video.label === "FAKE" ? "generated" : video.label === "REAL" ? "real" : "waiting"}`}>${video.label === "FAKE" ? "generated" : video.label === "REAL" ? "real" : "no label"}</span>`;

const MARK = { true: "✓", false: "✕", null: "·" };
const RIGHT = { true: "right", false: "wrong", null: "" };

/** What a model said, in a few characters; its title says it in words. */
export function Said({ answer, at, title }) {
  const word = answer.outcome === "missing" ? "no answer" : answer.label === null ? "failed" : answer.label === "FAKE" ? "AI" : "real";
  const p = answer.p_fake === null ? "" : ` ${answer.p_fake.toFixed(2)}`;
  const right = answer.outcome === "missing" ? null : answer.right;
  return html`<span class=${`said ${RIGHT[right]}`} title=${`${title}: ${word}${p}${RIGHT[right] ? `, ${RIGHT[right]}` : ""}${answer.viou === null ? "" : `, vIoU ${answer.viou.toFixed(2)}`}`}>
    <i class="dot" style=${{ background: colourOfModel(at) }} aria-hidden="true"></i>${MARK[right]}<span class="unseen"> ${title} ${RIGHT[right]}: </span> ${word}${p}</span>`;
}

export function VideoView({ id, about }) {
  const [video, setVideo] = useState(null), [clip, setClip] = useState(null), [trouble, setTrouble] = useState("");
  useEffect(() => {
    let alive = true;
    (async () => {
      try {
        const said = await ask(`/api/explore/video?id=${encodeURIComponent(id)}`);
        if (!alive) return;
        setVideo(said);
        if (said.place !== "here") return;
        const made = await post("/api/explore/clips", { videos: [said.at] });
        if (alive) setClip(made[said.at]);
      } catch (error) {
        if (alive) setTrouble(error.message);
      }
    })();
    return () => { alive = false; };
  }, [id]);
  if (trouble) return html`<p class="trouble none" role="alert">${trouble}</p>`;
  if (!video) return html`<div class="clip blank" aria-busy="true"></div>`;
  if (video.place === "here") return clip ? html`<${WithClip} key=${clip.id} video=${video} id=${clip.id} about=${about} />` : html`<${Compared} video=${video} clip=${null} player=${null} about=${about} />`;
  return html`<${WithoutFile} video=${video} about=${about} />`;
}

function WithClip({ video, id, about }) {
  const { clip, player, error } = useClip(id);
  if (error && !clip) return html`<p class="trouble" role="alert">${error}</p>`;
  if (clip && clip.state === "failed") return html`<${WithoutFile} video=${video} why=${clip.error} about=${about} />`;
  return html`<${Compared} video=${video} clip=${clip} player=${player} about=${about} />`;
}

/** Where the file is not here there are no frames; boxes are shown on an empty ground, 25 times a second. */
function WithoutFile({ video, why, about }) {
  const player = useMemo(() => {
    const said = [...video.truth, ...video.answers.flatMap((answer) => (answer.verdict ? answer.verdict.traces : []))];
    const length = video.duration_s || Math.max(1, ...said.map((trace) => trace.offset_s || trace.onset_s || 0));
    const made = new Player(Array.from({ length: Math.min(Math.ceil(length * 25), 15000) }, (_, at) => at / 25), length);
    made.failed = why || (video.place === "address" ? "It is at an address, and not fetched." : "The file is not here.");
    made.ready = true;
    return made;
  }, [video]);
  return html`<${Compared} video=${video} clip=${{ media: video.media }} player=${player} about=${about} />`;
}

/** The traces of everybody, as the player draws them. A REAL answer's are below its threshold: weak. */
function everybodys(video) {
  const of = (traces, who, more) => traces.map((trace, number) => ({ ...drawn(trace, `${who}-${number}`), who, ...more }));
  const truth = of(video.truth, "truth", { colour: TRUTH, order: -1 });
  const models = video.answers.map((answer, at) => (answer.verdict ? of(answer.verdict.traces, answer.title, { colour: colourOfModel(at), order: at }) : []));
  video.answers.forEach((answer, at) => { if (answer.label === "REAL") for (const trace of models[at]) trace.weak = true; });
  return [truth, ...models];
}

/** A page opens where there is something to see: in the middle of this trace. */
export function useOpening(player, first) {
  useEffect(() => {
    if (!player || !first) return undefined;
    let started = false;
    const show = () => {
      if (started || !player.ready) return;
      started = true;
      const [from, to] = player.framesOf(first);
      player.seek(Math.round((from + to) / 2));
    };
    show();
    return player.listen(show);
  }, [player, first && first.id]);
}

function Compared({ video, clip, player, about }) {
  const groups = useMemo(() => everybodys(video), [video]);
  const [off, setOff] = useState([]), [selected, setSelected] = useState(null);
  const shown = groups.filter((_, at) => !off.includes(at)).flat();
  const toggle = (at) => setOff(off.includes(at) ? off.filter((one) => one !== at) : [...off, at]);
  const pick = (trace) => {
    if (!player) return;
    if (trace.id === selected && player.loop) { setSelected(null); player.setLoop(null); player.pause(); return; }
    setSelected(trace.id);
    player.setLoop(player.framesOf(trace));
    if (player.failed) player.seek(player.framesOf(trace)[0]);
    else if (!player.playing) player.toggle();
  };
  useOpening(player, groups.flat()[0]); // the truth's before the models'
  usePlayerKeys(player, {
    l: () => player.setLoop(player.loop ? null : [0, player.times.length - 1]),
    ...Object.fromEntries(groups.slice(0, 10).map((_, at) => [String(at), () => toggle(at)])),
  });
  const whose = (at) => html`<button type="button" key=${at} class=${`whose ${off.includes(at) ? "" : "on"}`} aria-pressed=${!off.includes(at)} title=${at < 10 ? String(at) : ""} onClick=${() => toggle(at)}>
    <i class="dot" style=${{ background: at ? colourOfModel(at - 1) : TRUTH }} aria-hidden="true"></i>${at ? video.answers[at - 1].title : "Truth"}</button>`;
  return html`
    <article class="clip compared">
      <div class="show">
        <header class="title"><h1 title=${video.path}>${video.id}</h1>
          ${clip && clip.id && html`<${Link} class="button" href=${`/clip/${clip.id}`}>Clip</${Link}>`}</header>
        ${player ? html`
          <${Stage} clip=${clip} player=${player} traces=${shown} selected=${selected} />
          <${Controls} player=${player} />
          <div class="row people" role="group" aria-label="Whose boxes">${groups.map((_, at) => whose(at))}</div>
          <${Timeline} player=${player} traces=${shown} selected=${selected} onPick=${pick} />`
        : html`<div class="stage empty" style=${{ aspectRatio: video.media ? `${video.media.width} / ${video.media.height}` : "16 / 9" }}><p>Reading the clip…</p></div>`}
      </div>
      <aside aria-label="Truth and answers">
        <section aria-label="Truth"><h2><i class="dot" style=${{ background: TRUTH }} aria-hidden="true"></i>Truth <${Truth} video=${video} /></h2>
          <p class="muted">${[video.source, video.split, video.duration_s === null ? "" : `${video.duration_s.toFixed(2)} s`].filter(Boolean).join(" · ")}</p>
          ${video.prompt && html`<p class="prompt">${video.prompt}</p>`}
          <${TraceList} traces=${groups[0]} player=${player} selected=${selected} onPick=${pick} />
          ${video.label === "FAKE" && !groups[0].length && html`<p class="muted">No trace is annotated.</p>`}</section>
        ${video.answers.map((answer, at) => html`<${Answer} key=${at} at=${at} answer=${answer} traces=${groups[at + 1]} groups=${about.groups} player=${player} selected=${selected} onPick=${pick} />`)}
        <dl class="facts"><dt>File</dt><dd>${video.path}</dd></dl>
      </aside>
    </article>`;
}

function Answer({ at, answer, traces, groups, player, selected, onPick }) {
  const verdict = answer.verdict;
  const measured = [["vIoU", answer.viou, "mean overlap of the true traces in space and time, missed ones 0"], ["box IoU", answer.box_iou, "the paper's: the first box against each row"]];
  return html`
    <section class="told" aria-label=${answer.title}>
      <h2><${ModelName} at=${at} title=${answer.title} /></h2>
      ${!verdict ? html`<p class="muted">No answer.</p>` : html`
        <p class="row"><${Badge} clip=${{ decision: verdict.decision, outcome: verdict.outcome }} />
          ${verdict.p_fake !== null && html`<span class="p" title="probability that the video is AI-generated">p ${verdict.p_fake.toFixed(2)}</span>`}
          ${answer.right !== null && html`<span class=${`said ${RIGHT[answer.right]}`}>${MARK[answer.right]} ${RIGHT[answer.right]}</span>`}
          ${answer.viou !== null && measured.map(([name, value, words]) => value !== null && html`<span class="muted" key=${name} title=${words}>${name} ${value.toFixed(2)}</span>`)}</p>
        ${answer.group && answer.group !== "failed" && html`<p class="muted">${groups[answer.group]}</p>`}
        ${verdict.error && html`<p class="trouble">${verdict.error}</p>`}
        <${TraceList} traces=${traces} player=${player} selected=${selected} onPick=${onPick} />
        ${verdict.warnings.length > 0 && html`<ul class="warnings">${verdict.warnings.map((line) => html`<li>${line}</li>`)}</ul>`}
        ${verdict.raw && html`<details><summary>The answer as it was written</summary><pre>${verdict.raw}</pre></details>`}`}
    </section>`;
}
