// What shows a clip: the picture with its boxes (SVG), the timeline of traces by kind (canvas), the evidence over time.
import { html, useEffect, useLayoutEffect, useReducer, useRef, useState } from "./vendor/htm-preact.js";
import { alive, boxAt, isOff, nameOf, paintOf, segmentsOf, span, tagOf } from "./kinds.js";

/** Draw again whenever the frame changes. */
export function useFrame(player) {
  const [, again] = useReducer((count) => count + 1, 0);
  useEffect(() => player.listen(again), [player]);
  return player.index;
}

const percent = (value) => `${(100 * value).toFixed(4)}%`;

export function Stage({ clip, player, traces, selected, boxes = true, heat = null, children, still = false }) {
  const video = useRef(null);
  useEffect(() => player.attach(video.current), [player]);
  useFrame(player);
  const media = clip.media || { width: 16, height: 9 };
  const shape = { aspectRatio: `${media.width} / ${media.height}`, maxWidth: `min(100%, calc(var(--stage-height) * ${media.width / media.height}))` };
  const shown = boxes && player.ready ? traces.map((trace) => ({ trace, box: boxAt(trace, player.time_s) })).filter((item) => item.box) : [];
  return html`
    <div class="stage" style=${shape}>
      ${clip.id && html`<video ref=${video} src=${`/api/clips/${clip.id}/media`} muted playsinline preload="auto" tabindex="-1" onClick=${() => still || player.toggle()}></video>`}
      ${heat && html`<${Heat} heat=${heat} player=${player} />`}
      <svg class="boxes" aria-hidden="true">
        ${shown.map(({ trace, box }) => html`
          <g class=${`${trace.weak ? "weak" : ""} ${trace.id === selected ? "selected" : ""}`} key=${trace.id}>
            <rect class="halo" x=${percent(box[0])} y=${percent(box[1])} width=${percent(box[2] - box[0])} height=${percent(box[3] - box[1])} />
            <rect class="box" data-trace=${trace.id} stroke=${paintOf(trace)} x=${percent(box[0])} y=${percent(box[1])} width=${percent(box[2] - box[0])} height=${percent(box[3] - box[1])} />
          </g>`)}
      </svg>
      ${shown.map(({ trace, box }) => html`
        <span class=${`tag ${box[1] < 0.06 ? "inside" : ""}`} key=${trace.id} style=${{ left: percent(Math.min(box[0], 0.9)), top: percent(box[1]), background: paintOf(trace) }}>${tagOf(trace)}</span>`)}
      ${children}
      ${player.failed && html`<p class="missing">${player.failed}</p>`}
    </div>`;
}

function Heat({ heat, player }) {
  const canvas = useRef(null);
  useFrame(player);
  useLayoutEffect(() => {
    const { rows, columns, times_s } = heat;
    let at = 0;
    while (at + 1 < times_s.length && times_s[at + 1] <= player.time_s + 1e-3) at++;
    const values = heat.heat[at] || [];
    const context = canvas.current.getContext("2d"), image = context.createImageData(columns, rows);
    values.forEach((value, cell) => { image.data.set([255, 64, 32, Math.round(value * 0.65)], 4 * cell); });
    context.putImageData(image, 0, 0);
  });
  return html`<canvas class="heat" ref=${canvas} width=${heat.columns} height=${heat.rows} aria-hidden="true"></canvas>`;
}

const SPEEDS = [0.1, 0.25, 0.5, 1, 2];

export function Controls({ player, children }) {
  useFrame(player);
  const count = player.times.length;
  return html`
    <div class="controls" role="group" aria-label="Playback">
      <button type="button" class="play" onClick=${() => player.toggle()} title="Space">${player.playing ? "Pause" : "Play"}</button>
      <button type="button" aria-label="One frame back" title="←" onClick=${() => player.step(-1)}>‹</button>
      <button type="button" aria-label="One frame forward" title="→" onClick=${() => player.step(1)}>›</button>
      <label class="speed"><span class="unseen">Speed</span>
        <select value=${player.rate} onChange=${(event) => player.setRate(Number(event.target.value))}>
          ${SPEEDS.map((speed) => html`<option value=${speed}>${speed}×</option>`)}
        </select></label>
      <output class="clock" data-index=${player.index}>${player.time_s.toFixed(3)} s · frame ${player.index + 1}/${count}</output>
      ${player.loop && html`<button type="button" class="on" onClick=${() => player.setLoop(null)} title="L">Looping ×</button>`}
      ${children}
    </div>`;
}

const LANE = 22, TOP = 4, AXIS = 18;

/** Rows of traces: one a kind, or one for each who says so, split where traces of a row overlap. */
function lanesOf(traces) {
  const rows = [];
  const keyOf = (trace) => trace.who || trace.kind;
  for (const trace of [...traces].sort((a, b) => (a.order || 0) - (b.order || 0) || keyOf(a).localeCompare(keyOf(b)) || (a.onset_s ?? 0) - (b.onset_s ?? 0))) {
    const row = rows.find((one) => one.key === keyOf(trace) && one.traces.every((other) => (other.offset_s ?? Infinity) <= (trace.onset_s ?? 0)));
    if (row) row.traces.push(trace);
    else rows.push({ key: keyOf(trace), traces: [trace] });
  }
  return rows;
}

export function Timeline({ player, traces, selected, onPick, onEdge }) {
  const canvas = useRef(null), holder = useRef(null), drag = useRef(null);
  const [width, setWidth] = useState(600);
  useFrame(player);
  useEffect(() => {
    const watch = new ResizeObserver(() => holder.current && setWidth(holder.current.clientWidth));
    watch.observe(holder.current);
    return () => watch.disconnect();
  }, []);
  const rows = lanesOf(traces);
  const height = TOP + Math.max(rows.length, 1) * LANE + AXIS;
  const length = Math.max(player.end_s, 1e-6);
  const x = (seconds) => (seconds / length) * width;

  useLayoutEffect(() => {
    const scale = window.devicePixelRatio || 1, element = canvas.current, style = getComputedStyle(element);
    const colour = (name) => style.getPropertyValue(name).trim();
    element.width = Math.round(width * scale);
    element.height = Math.round(height * scale);
    const draw = element.getContext("2d");
    draw.scale(scale, scale);
    draw.clearRect(0, 0, width, height);
    draw.fillStyle = colour("--lane");
    for (let row = 0; row < Math.max(rows.length, 1); row++) draw.fillRect(0, TOP + row * LANE + 1, width, LANE - 3);
    if (player.loop) {
      draw.fillStyle = colour("--loop");
      const from = x(player.times[player.loop[0]]), to = x(player.endOf(player.loop[1]));
      draw.fillRect(from, 0, to - from, height - AXIS);
    }
    rows.forEach((row, number) => {
      for (const trace of row.traces) drawTrace(draw, trace, x, TOP + number * LANE + 1, colour);
    });
    drawAxis(draw, length, width, height, colour);
    draw.fillStyle = colour("--ink");
    draw.fillRect(Math.round(x(player.time_s)), 0, 2, height - AXIS + 3);
  });

  function drawTrace(draw, trace, at, y, colour) {
    const from = at(trace.onset_s ?? 0), to = Math.max(at(trace.offset_s ?? length), from + 3), tall = LANE - 3;
    draw.save();
    draw.globalAlpha = trace.weak ? 0.25 : 0.85;
    draw.fillStyle = paintOf(trace);
    const seen = trace.gaps.length ? segmentsOf(trace, length).map(([since, until]) => [at(since), at(until)]) : [[from, to]];
    for (const [since, until] of seen) draw.fillRect(since, y, until - since, tall);
    draw.globalAlpha = 1;
    draw.strokeStyle = trace.id === selected ? colour("--ink") : paintOf(trace);
    draw.lineWidth = trace.id === selected ? 2 : 1;
    draw.setLineDash(trace.weak ? [4, 3] : []);
    draw.strokeRect(from + 0.5, y + 0.5, Math.max(to - from - 1, 1), tall - 1);
    draw.setLineDash([]);
    draw.beginPath();
    draw.rect(from, y, to - from, tall);
    draw.clip();
    draw.fillStyle = trace.weak ? colour("--ink") : "#101114";
    draw.font = "12px system-ui, sans-serif";
    draw.fillText(tagOf(trace), from + 6, y + 14);
    if (trace.gaps.length) { // a line where it is off
      draw.fillStyle = paintOf(trace);
      for (let next = 0; next <= seen.length; next++) {
        const since = next ? seen[next - 1][1] : from, until = next < seen.length ? seen[next][0] : to;
        if (until > since) draw.fillRect(since, y + tall / 2 - 1, until - since, 2);
      }
      draw.fillStyle = trace.weak ? colour("--ink") : "#101114";
    }
    if (trace.keys.length > 1) for (const key of trace.keys) draw.fillRect(at(key.time_s) - 1.5, y + tall - 4, 3, 4);
    draw.restore();
  }

  const place = (event) => {
    const area = canvas.current.getBoundingClientRect();
    const px = event.clientX - area.left, row = Math.floor((event.clientY - area.top - TOP) / LANE);
    return { px, seconds: Math.min(Math.max(px / area.width, 0), 1) * length, row };
  };
  const traceAt = ({ px, row }) => (rows[row] ? rows[row].traces.find((trace) => px >= x(trace.onset_s ?? 0) - 3 && px <= x(trace.offset_s ?? length) + 3) : undefined);
  const down = (event) => {
    const at = place(event), trace = traceAt(at);
    event.currentTarget.setPointerCapture(event.pointerId);
    event.currentTarget.focus();
    if (trace && onEdge && trace.id === selected) {
      const near = (seconds) => Math.abs(at.px - x(seconds)) < 7;
      const edge = near(trace.offset_s ?? length) ? "offset_s" : near(trace.onset_s ?? 0) ? "onset_s" : null;
      if (edge) { drag.current = { trace, edge }; return; }
    }
    drag.current = { trace, moved: false, from: at.px };
    if (!trace) player.seekTime(at.seconds);
  };
  const move = (event) => {
    if (!drag.current) return;
    const at = place(event);
    if (drag.current.edge) { player.seekTime(at.seconds); onEdge(drag.current.trace, drag.current.edge, at.seconds, false); return; }
    if (Math.abs(at.px - drag.current.from) > 3) drag.current.moved = true;
    if (drag.current.moved || !drag.current.trace) player.seekTime(at.seconds);
  };
  const up = (event) => {
    const held = drag.current;
    drag.current = null;
    if (!held) return;
    if (held.edge) onEdge(held.trace, held.edge, place(event).seconds, true);
    else if (held.trace && !held.moved && onPick) onPick(held.trace);
  };
  const now = traces.filter((trace) => alive(trace, player.time_s) && !isOff(trace, player.time_s)).map(tagOf).join(", ");
  return html`
    <div class="timeline" ref=${holder}>
      <canvas ref=${canvas} style=${{ width: "100%", height: `${height}px` }} role="slider" tabindex="0" aria-label="Time"
        aria-valuemin="0" aria-valuemax=${player.end_s.toFixed(3)} aria-valuenow=${player.time_s.toFixed(3)}
        aria-valuetext=${`${player.time_s.toFixed(2)} seconds${now ? `, ${now}` : ""}`}
        onPointerDown=${down} onPointerMove=${move} onPointerUp=${up}></canvas>
    </div>`;
}

function drawAxis(draw, length, width, height, colour) {
  draw.fillStyle = colour("--muted");
  draw.font = "11px system-ui, sans-serif";
  let step = 0.1;
  for (const digits = [1, 2, 5]; ; step *= 10) {
    const digit = digits.find((one) => length / (one * step) <= width / 70);
    if (digit) { step *= digit; break; }
  }
  for (let tick = 0; tick * step <= length + 1e-9; tick++) {
    const at = ((tick * step) / length) * width, label = `${Number((tick * step).toFixed(3))} s`;
    draw.fillRect(at, height - AXIS, 1, 4);
    draw.fillText(label, Math.min(at + 3, width - draw.measureText(label).width), height - 4);
  }
}

/** What was measured over time, one small plot each, on the timeline's own scale, over the range of camera footage. */
export function Curves({ curves, ranges, player, of = "" }) {
  useFrame(player);
  const list = Object.entries(curves).filter(([, points]) => points.length > 1);
  if (!list.length) return null;
  const length = Math.max(player.end_s, 1e-6);
  return html`
    <section class="curves" aria-label=${`Evidence over time${of ? `: ${of}` : ""}`}>
      ${list.map(([name, points]) => {
        const values = points.map((point) => point[1]), low = Math.min(...values), high = Math.max(...values);
        const usual = ranges[name], least = Math.min(low, ...(usual || [])), most = Math.max(high, ...(usual || []));
        const down = (value) => 36 - 32 * (most > least ? (value - least) / (most - least) : 0.5);
        const shape = points.map(([at, value]) => `${(100 * at) / length},${down(value)}`).join(" ");
        let nearest = points[0];
        for (const point of points) if (point[0] <= player.time_s + 1e-3) nearest = point;
        return html`
          <figure key=${name} onClick=${(event) => { const area = event.currentTarget.getBoundingClientRect(); player.seekTime(((event.clientX - area.left) / area.width) * length); }}>
            <svg viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true">
              ${usual && html`<rect class="usual" x="0" width="100" y=${down(usual[1])} height=${down(usual[0]) - down(usual[1])} />`}
              <polyline points=${shape} />
              <line x1=${(100 * player.time_s) / length} x2=${(100 * player.time_s) / length} y1="0" y2="40" />
            </svg>
            <figcaption><span>${name}</span><span>${nearest[1].toPrecision(3)} <span class="muted">(${low.toPrecision(3)} to ${high.toPrecision(3)})</span></span></figcaption>
          </figure>`;
      })}
      ${list.some(([name]) => ranges[name]) && html`<p class="muted"><span class="swatch" aria-hidden="true"></span> Where camera footage usually lies, the middle 90 % of it</p>`}
    </section>`;
}

export const traceLine = (trace) => [trace.who && !trace.kinds.length ? "kind not stated" : nameOf(trace.kind), span(trace), trace.score === null || trace.score === undefined ? "" : `score ${trace.score.toFixed(2)}`].filter(Boolean).join(", ");
