// The nine kinds: their colours here, their names from the server.

// Okabe and Ito's palette and three more, apart from one another for colour-blind readers too; as in reports and overlays.
const COLOURS = {
  object_distortion: "#e69f00", sudden_blurring: "#56b4e9", object_trajectory: "#009e73", redundant_object: "#f0e442",
  object_merging: "#4f7fe0", object_splitting: "#d55e00", background_distortion: "#cc79a7",
  object_disappearance: "#a6761d", unexpected_move: "#b07cff",
};
const NONE = "#ff6b6b";
const names = new Map();

export function learnKinds(kinds) {
  for (const kind of kinds) names.set(kind.id, kind);
}
export const allKinds = () => [...names.values()];
export const colourOf = (kind) => COLOURS[kind] || NONE;
export const nameOf = (kind) => (names.has(kind) ? names.get(kind).name : "None of the above");
export const meaningOf = (kind) => (names.has(kind) ? names.get(kind).meaning : "a trace that is of none of these kinds");

/** The colour and the words of a trace: of its kind, or of who says so where several are side by side. */
export const paintOf = (trace) => trace.colour || colourOf(trace.kind);
export const tagOf = (trace) => (trace.who ? [trace.who, trace.kinds.length ? nameOf(trace.kind) : ""].filter(Boolean).join(": ") : nameOf(trace.kind));

/** A trace of a verdict or an annotation in the one shape that the player draws. */
export function drawn(trace, id) {
  const kinds = trace.categories || trace.kinds || [];
  const keys = (trace.keyframes || trace.keys || []).map((key) => ({ time_s: key.time_s, box: boxOf(key.box), ...(key.off ? { off: true } : {}) }));
  if (!keys.length && trace.box) keys.push({ time_s: trace.onset_s || 0, box: boxOf(trace.box) });
  return {
    id, kinds, keys, gaps: (trace.gaps || []).map((gap) => [gap.onset_s, gap.offset_s]).concat(gapsOf(keys)), onset_s: trace.onset_s, offset_s: trace.offset_s, weak: Boolean(trace.weak), score: trace.score,
    explanation: trace.explanation || "", standard: trace.standard || "", kind: kinds[0] || "none",
  };
}
const boxOf = (box) => (Array.isArray(box) ? box : [box.x0, box.y0, box.x1, box.y1]);

/** [from, to) of each time at which the box of these keyframes is off; the last may have no end. */
export function gapsOf(keys) {
  const gaps = [];
  keys.forEach((key, at) => {
    if (key.off && !(at && keys[at - 1].off)) gaps.push([key.time_s, Infinity]);
    if (!key.off && at && keys[at - 1].off) gaps[gaps.length - 1][1] = key.time_s;
  });
  return gaps;
}
export const isOff = (trace, seconds) => trace.gaps.some(([from, to]) => seconds >= from - HAIR_S && seconds < to - HAIR_S);
/** [from, to) of each time at which a trace is to be seen. */
export function segmentsOf(trace, end_s) {
  const until = trace.offset_s ?? end_s, segments = [];
  let from = trace.onset_s ?? 0;
  for (const gap of trace.gaps) {
    if (gap[0] > from) segments.push([from, Math.min(gap[0], until)]);
    from = Math.max(from, gap[1]);
    if (from >= until) return segments;
  }
  return [...segments, [from, until]];
}

/** Where a box is at a moment: linear between keyframes, held outside them; null where the trace is not alive, or off. */
export function boxAt(trace, seconds) {
  if (!trace.keys.length || !alive(trace, seconds) || isOff(trace, seconds)) return null;
  return interpolated(trace.keys, seconds);
}
export function interpolated(keys, seconds) {
  if (seconds <= keys[0].time_s) return keys[0].box;
  for (let next = 1; next < keys.length; next++) {
    const a = keys[next - 1], b = keys[next];
    if (seconds < b.time_s) {
      const part = (seconds - a.time_s) / (b.time_s - a.time_s);
      return a.box.map((side, index) => side + part * (b.box[index] - side));
    }
  }
  return keys[keys.length - 1].box;
}
// Times are those of the server's table on both sides; this only covers what JSON rounds.
const HAIR_S = 1e-6;
export function alive(trace, seconds) {
  const onset = trace.onset_s ?? 0;
  if (seconds < onset - HAIR_S) return false;
  return trace.offset_s === null || trace.offset_s === undefined || seconds < trace.offset_s - HAIR_S || Math.abs(seconds - onset) <= HAIR_S;
}
export const span = (trace) => {
  if (trace.onset_s === null || trace.onset_s === undefined) return "time not stated";
  const off = (trace.gaps || []).filter(([from]) => from > trace.onset_s && from < (trace.offset_s ?? Infinity)).map(([from, to]) => (to === Infinity ? `${from.toFixed(2)} s on` : `${from.toFixed(2)}–${to.toFixed(2)} s`));
  const without = off.length ? `, off ${off.join(", ")}` : "";
  if (trace.offset_s === null || trace.offset_s === undefined) return `from ${trace.onset_s.toFixed(2)} s${without}`;
  return `${trace.onset_s.toFixed(2)}–${trace.offset_s.toFixed(2)} s${without}`;
};
