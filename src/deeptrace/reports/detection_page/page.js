"use strict";
// The report's one script. Every text is written with textContent: names and explanations are never markup.
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  // Okabe and Ito's palette and three more, apart from one another for colour-blind readers too.
  const COLOURS = {
    object_distortion: "#e69f00", sudden_blurring: "#56b4e9", object_trajectory: "#009e73", redundant_object: "#f0e442",
    object_merging: "#4f7fe0", object_splitting: "#d55e00", background_distortion: "#cc79a7",
    object_disappearance: "#a6761d", unexpected_move: "#b07cff", none: "#ff6b6b",
  };
  const video = $("video"), stage = $("stage"), boxes = $("boxes"), timeline = $("timeline");
  const sources = [...document.querySelectorAll("script.clip")];
  let clip = null, address = null, time_s = 0, wanted = null;

  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const draw = (tag, attributes) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const colour = (trace) => COLOURS[trace.category] || COLOURS.none;
  const length_s = () => Math.max(clip.end_s - clip.start_s, 1e-6);
  const share = (seconds) => clamp((seconds - clip.start_s) / length_s(), 0, 1);
  const percent = (value) => `${(100 * value).toFixed(3)}%`;

  // -- boxes: linear between keyframes, held before the first and after the last, alive over [onset, offset) ----------

  function boxAt(trace, seconds) {
    const keys = trace.keys;
    if (!keys.length || !alive(trace, seconds) || trace.gaps.some(([from, to]) => seconds >= from - 5e-4 && seconds < to - 5e-4)) return null;
    if (seconds <= keys[0][0]) return keys[0].slice(1);
    for (let next = 1; next < keys.length; next++) {
      const a = keys[next - 1], b = keys[next];
      if (seconds < b[0]) {
        const part = (seconds - a[0]) / (b[0] - a[0]);
        return [1, 2, 3, 4].map((side) => a[side] + part * (b[side] - a[side]));
      }
    }
    return keys[keys.length - 1].slice(1);
  }
  // Times in the page are rounded to 1e-5 s; half a millisecond is far less than a frame.
  // An onset that is not known is the start, an offset that is not known the end.
  const alive = (trace, seconds) =>
    (trace.onset_s === null || seconds >= trace.onset_s - 5e-4) && (trace.offset_s === null || seconds < trace.offset_s - 5e-4);

  function drawBoxes() {
    boxes.replaceChildren();
    for (const trace of [...clip.traces].reverse()) {
      const box = boxAt(trace, time_s);
      if (!box) continue;
      const [x, y] = [box[0] * clip.width, box[1] * clip.height];
      const size = { x, y, width: (box[2] - box[0]) * clip.width, height: (box[3] - box[1]) * clip.height };
      const weak = trace.weak ? " weak" : "";
      boxes.append(draw("rect", { ...size, class: `halo${weak}` }), draw("rect", { ...size, class: `box${weak}`, stroke: colour(trace) }));
    }
    const taken = [];
    for (const trace of clip.traces) {
      const box = boxAt(trace, time_s);
      if (box) label(trace, box, taken);
    }
  }

  /** A line of text on the box's colour: above the box, within it or below, where no other one is, and inside the picture. */
  function label(trace, box, taken) {
    const scale = clip.width / Math.max(stage.clientWidth, 1), tall = 18 * scale, pad = 5 * scale;
    const words = [trace.weak ? "weak guess:" : "", trace.name, trace.score === null ? "" : trace.score.toFixed(2)].filter(Boolean).join(" ");
    const text = draw("text", { "font-size": 12.5 * scale });
    text.textContent = words;
    boxes.append(text);
    const wide = text.getComputedTextLength() + 2 * pad;
    const x = clamp(box[0] * clip.width, 0, Math.max(clip.width - wide, 0));
    const [top, bottom] = [box[1] * clip.height, box[3] * clip.height];
    const inside = [top - tall, top, bottom, bottom - tall].filter((at) => at >= 0 && at + tall <= clip.height);
    const free = (at) => taken.every((one) => at >= one.y + tall || at + tall <= one.y || x >= one.x + one.wide || x + wide <= one.x);
    const y = inside.find(free) ?? inside[0] ?? 0;
    taken.push({ x, y, wide });
    text.setAttribute("x", x + pad);
    text.setAttribute("y", y + 0.74 * tall);
    boxes.insertBefore(draw("rect", { x, y, width: wide, height: tall, fill: colour(trace), class: "tag" }), text);
  }

  // -- time: a frame is known by its place in the list of times, a seek goes into the middle of its span ---------------

  /** The frame on the screen at a moment. */
  function frameAt(seconds) {
    let low = 0, high = clip.times_s.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (clip.times_s[middle] <= seconds + 1e-5) low = middle;
      else high = middle - 1;
    }
    return low;
  }
  const endOf = (frame) => (frame + 1 < clip.times_s.length ? clip.times_s[frame + 1] : Math.max(clip.end_s, clip.times_s[frame] + 1e-3));

  function showTime(seconds) {
    time_s = seconds;
    drawBoxes();
    $("playhead").style.left = percent(share(seconds));
    $("clock").textContent = `${seconds.toFixed(2)} / ${clip.end_s.toFixed(2)} s`;
    timeline.setAttribute("aria-valuenow", seconds.toFixed(2));
    const living = clip.traces.filter((trace) => alive(trace, seconds));
    const names = [...new Set(living.map((trace) => (trace.weak ? `weak guess: ${trace.name}` : trace.name)))].join(", ");
    timeline.setAttribute("aria-valuetext", `${seconds.toFixed(2)} seconds${names ? `, ${names}` : ""}`);
    if ($("now").textContent !== names) $("now").textContent = names;
  }
  /** The browser's time of the picture on the screen, as the clip's own time. */
  function shown(mediaTime) {
    const seconds = mediaTime + clip.times_s[0];
    const frame = frameAt(seconds), next = clip.times_s[frame + 1];
    // Timestamps pass through a 1/90000 s clock and the browser's microseconds.
    const here = next !== undefined && next - seconds < Math.min(2e-3, seconds - clip.times_s[frame]) ? frame + 1 : frame;
    if (wanted === here) wanted = null;
    showTime(clip.times_s[here]);
  }
  function seekFrame(frame) {
    if (!clip.mp4) return;
    wanted = clamp(frame, 0, clip.times_s.length - 1);
    video.currentTime = (clip.times_s[wanted] + endOf(wanted)) / 2 - clip.times_s[0];
  }
  const seek = (seconds) => clip.mp4 && seekFrame(frameAt(clamp(seconds, clip.start_s, clip.end_s)));
  const step = (frames) => { if (clip && clip.mp4) { video.pause(); seekFrame((wanted ?? frameAt(time_s)) + frames); } };
  const toggle = () => {
    if (!clip || !clip.mp4) return;
    if (!video.paused) { video.pause(); return; }
    if (video.ended || frameAt(time_s) >= clip.times_s.length - 1) video.currentTime = 0;
    video.play();
  };

  // The time of the frame on the screen, not of the clock: a box must never be ahead of its picture.
  function onFrame(_now, frame) {
    if (clip && clip.mp4) shown(frame.mediaTime);
    video.requestVideoFrameCallback(onFrame);
  }
  if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) {
    video.requestVideoFrameCallback(onFrame);
    // A frame that is painted between one call and the next request is never told of; standing still, no other follows.
    // Every seek aims inside a frame's own span, so that its time says which frame it is.
    video.addEventListener("seeked", () => requestAnimationFrame(() => requestAnimationFrame(() => {
      if (clip && clip.mp4 && video.paused && !video.seeking) shown(video.currentTime);
    })));
  } else for (const event of ["timeupdate", "seeked"]) video.addEventListener(event, () => clip && clip.mp4 && shown(video.currentTime));

  for (const event of ["play", "pause", "ended"]) video.addEventListener(event, () => { $("play").textContent = video.paused ? "Play" : "Pause"; });
  video.addEventListener("play", () => { wanted = null; });
  video.addEventListener("error", () => {
    if (!clip || !clip.mp4) return;
    $("missing").textContent = "This browser cannot play the clip.";
    $("missing").hidden = false;
  });
  $("play").addEventListener("click", toggle);
  $("back").addEventListener("click", () => step(-1));
  $("forward").addEventListener("click", () => step(1));
  $("speed").addEventListener("change", (event) => { video.playbackRate = Number(event.target.value); });
  stage.addEventListener("click", toggle);

  const pointed = (event) => {
    const area = timeline.getBoundingClientRect();
    seek(clip.start_s + clamp((event.clientX - area.left) / area.width, 0, 1) * length_s());
  };
  timeline.addEventListener("pointerdown", (event) => { timeline.setPointerCapture(event.pointerId); pointed(event); });
  timeline.addEventListener("pointermove", (event) => { if (timeline.hasPointerCapture(event.pointerId)) pointed(event); });

  const onSlider = {
    PageUp: () => seek(time_s + 1), PageDown: () => seek(time_s - 1), Home: () => seek(clip.start_s), End: () => seek(clip.end_s),
  };
  const anywhere = { j: () => neighbour(1), k: () => neighbour(-1), " ": toggle, ArrowLeft: () => step(-1), ArrowRight: () => step(1) };
  addEventListener("keydown", (event) => {
    if (!clip || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (target.closest("input, select") || (event.key === " " && target.closest("button, a, summary"))) return;
    const act = (target === timeline && onSlider[event.key]) || anywhere[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act) { event.preventDefault(); act(); }
  });

  // -- one clip -------------------------------------------------------------------------------------------------------

  function open(index) {
    clip = JSON.parse(sources[index].textContent);
    if (address) URL.revokeObjectURL(address);
    address = null;
    wanted = null;
    video.pause();
    $("viewer").hidden = false;
    stage.style.aspectRatio = `${clip.width} / ${clip.height}`;
    stage.style.setProperty("--shape", clip.width / clip.height);
    boxes.setAttribute("viewBox", `0 0 ${clip.width} ${clip.height}`);
    boxes.setAttribute("preserveAspectRatio", "none");
    showPicture(stills[index]);
    timeline.setAttribute("aria-valuemin", clip.start_s.toFixed(2));
    timeline.setAttribute("aria-valuemax", clip.end_s.toFixed(2));
    for (const row of rows) {
      if (Number(row.dataset.index) === index) row.querySelector(".open").setAttribute("aria-current", "true");
      else row.querySelector(".open").removeAttribute("aria-current");
    }
    showWords();
    showLanes();
    showTime(clip.at_s || clip.start_s);
  }

  /** The clip, paused on its strongest trace; its still where it has no room in the page; or why there is neither. */
  function showPicture(still) {
    const plays = Boolean(clip.mp4), pictured = plays || Boolean(still);
    stage.classList.toggle("empty", !pictured);
    video.hidden = !pictured;
    $("missing").hidden = pictured;
    $("missing").textContent = clip.note;
    for (const control of document.querySelectorAll(".controls button, .controls select")) control.disabled = !plays;
    video.poster = still ? picture(still) : "";
    if (!plays) { video.removeAttribute("src"); video.load(); return; }
    const bytes = Uint8Array.from(atob(clip.mp4), (letter) => letter.charCodeAt(0));
    address = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
    video.src = address;
    video.playbackRate = Number($("speed").value);
    seek(clip.at_s);
  }

  function showWords() {
    const name = $("clip-name"), pieces = clip.video.split("/");
    name.textContent = pieces[pieces.length - 1] || clip.video;
    name.title = clip.video;
    $("verdict").textContent = clip.headline;
    $("verdict").className = `badge ${clip.kind}`;
    $("p").textContent = clip.probability ? `p = ${clip.probability}` : "";
    $("why-not").textContent = clip.error || "";
    document.querySelector(".caveat").hidden = Boolean(clip.error);
    const facts = [["File", clip.video]];
    if (!clip.error) facts.push(["Picture", `${clip.width} × ${clip.height}${clip.fps ? `, ${clip.fps.toFixed(2)} frames a second` : ""}`]);
    if (clip.reward !== null) facts.push(["Reward", clip.reward.toFixed(3)]);
    $("facts").replaceChildren(...facts.flatMap(([term, text]) => [make("dt", term), make("dd", text)]));
    if (clip.link) {
      const link = make("a", clip.video);
      link.href = clip.link;
      $("facts").querySelector("dd").replaceChildren(link);
    }
    $("traces").replaceChildren(...clip.traces.map(traceItem));
    $("traces-title").textContent = clip.traces.length ? "What gives it away" : clip.error ? "No verdict" : "No trace found";
    $("warnings").replaceChildren(...clip.warnings.map((text) => make("li", text)));
    $("credentials").textContent = clip.credentials;
    $("clip-note").textContent = pictured() ? clip.note : "";
  }
  const pictured = () => !stage.classList.contains("empty");

  function traceItem(trace) {
    const item = make("li", undefined, trace.weak ? "weak" : ""), button = make("button", trace.line);
    button.type = "button";
    button.style.borderLeftColor = colour(trace);
    button.disabled = !trace.shown || !clip.mp4;
    button.addEventListener("click", () => { video.pause(); seekFrame(firstFrameOf(trace)); });
    item.append(button);
    if (!trace.shown) item.append(make("p", "Outside of the part that is shown.", "muted"));
    if (trace.explanation) item.append(make("p", trace.explanation));
    return item;
  }
  /** The first frame on which a trace is to be seen. */
  const firstFrameOf = (trace) => Math.max(clip.times_s.findIndex((seconds) => alive(trace, seconds)), 0);

  function showLanes() {
    const lanes = clip.traces.map((trace) => {
      const lane = make("div", undefined, "lane"), life = make("div", undefined, `life${trace.weak ? " weak" : ""}`);
      const from = trace.onset_s === null ? clip.start_s : trace.onset_s;
      const to = trace.offset_s === null ? clip.end_s : trace.offset_s;
      life.style.left = percent(share(from));
      life.style.width = percent(share(to) - share(from));
      life.style.setProperty("--kind", colour(trace));
      lane.append(life, make("span", `${trace.weak ? "weak guess: " : ""}${trace.name}, ${trace.span}`, "name"));
      return lane;
    });
    const curves = clip.curves.filter((curve) => curve.points.length > 1);
    lanes.push(...curves.map(curveLane));
    if (!lanes.length) lanes.push(make("div", undefined, "lane"));
    $("lanes").replaceChildren(...lanes);
    $("legend").hidden = !curves.some((curve) => curve.range);
  }

  /** A curve on the timeline's scale, over the range in which camera footage lies. */
  function curveLane(curve) {
    const values = curve.points.map((point) => point[1]), ends = [...values, ...(curve.range || [])];
    const extent = (list) => [list.reduce((a, b) => Math.min(a, b)), list.reduce((a, b) => Math.max(a, b))];
    const [least, most] = extent(ends), room = 0.15 * (most - least); // the band is to be seen as one
    const [low, high] = curve.axis || [least - room, most + room];
    const down = (value) => 0.96 - 0.92 * (high > low ? (value - low) / (high - low) : 0.5);
    const svg = draw("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
    if (curve.range) {
      const top = down(curve.range[1]);
      svg.append(draw("rect", { class: "usual", x: 0, width: 1, y: top, height: down(curve.range[0]) - top }));
    }
    svg.append(draw("polyline", { points: curve.points.map(([at, value]) => `${share(at)},${down(value)}`).join(" ") }));
    const between = (pair) => pair.map((value) => Number(value.toPrecision(3))).join(" to ");
    const usual = !curve.range ? "" : curve.axis ? `; 95 % of camera clips below ${curve.range[1].toFixed(2)}` : `; camera footage ${between(curve.range)}`;
    const lane = make("div", undefined, "lane curve"), words = make("span", undefined, "name");
    words.append(make("b", curve.name), ` ${between(extent(values))}${usual}`);
    lane.append(words, svg);
    return lane;
  }

  // -- the list -------------------------------------------------------------------------------------------------------

  const list = $("clips"), rows = [...list.children];
  const stills = [...document.querySelectorAll("script.still")].map((source) => JSON.parse(source.textContent));
  const picture = (still) => `data:image/jpeg;base64,${still.jpeg}`;

  for (const row of rows) {
    const index = Number(row.dataset.index);
    row.querySelector(".open").addEventListener("click", () => open(index));
    thumbnail(row.querySelector(".thumb"), stills[index]);
  }
  /** The picture of a clip, with the box of its strongest trace. */
  function thumbnail(holder, still) {
    if (!still) return;
    const frame = make("span", undefined, "frame"), image = make("img");
    image.alt = "";
    image.src = picture(still);
    frame.append(image);
    const box = still.trace && boxAt(still.trace, still.at_s);
    if (box) {
      const mark = make("span", undefined, `mark${still.trace.weak ? " weak" : ""}`);
      [mark.style.left, mark.style.top] = [percent(box[0]), percent(box[1])];
      [mark.style.width, mark.style.height] = [percent(box[2] - box[0]), percent(box[3] - box[1])];
      mark.style.borderColor = colour(still.trace);
      frame.append(mark);
    }
    holder.append(frame);
  }

  /** The clip after (1) or before (-1) the open one, among those listed. */
  function neighbour(way) {
    const listed = [...list.children].filter((row) => !row.hidden);
    const at = listed.findIndex((row) => row.querySelector("[aria-current]"));
    const next = listed[at < 0 ? 0 : at + way];
    if (!next) return;
    const focused = list.contains(document.activeElement);
    open(Number(next.dataset.index));
    if (focused) next.querySelector(".open").focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  function filter() {
    const words = $("find").value.trim().toLowerCase(), kind = $("only").value;
    let count = 0;
    for (const row of rows) {
      const text = `${row.dataset.video} ${row.textContent}`.toLowerCase();
      row.hidden = Boolean((kind && row.dataset.kind !== kind) || (words && !text.includes(words)));
      count += row.hidden ? 0 : 1;
    }
    $("shown").textContent = count === rows.length ? `${count}` : `${count} of ${rows.length}`;
  }
  const orders = {
    p: (a, b) => Number(a.dataset.index) - Number(b.dataset.index),
    video: (a, b) => a.dataset.video.localeCompare(b.dataset.video, undefined, { numeric: true }),
    traces: (a, b) => Number(b.dataset.traces) - Number(a.dataset.traces) || orders.p(a, b),
    duration: (a, b) => Number(b.dataset.duration) - Number(a.dataset.duration) || orders.p(a, b),
  };
  $("find").addEventListener("input", filter);
  $("only").addEventListener("change", filter);
  $("order").addEventListener("change", (event) => list.append(...[...rows].sort(orders[event.target.value])));

  function theme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    $("theme").textContent = dark ? "Light" : "Dark";
    $("theme").setAttribute("aria-pressed", String(dark));
  }
  $("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));
  theme(matchMedia("(prefers-color-scheme: dark)").matches);
  filter();
  addEventListener("resize", () => clip && drawBoxes());
  if (rows.length) open(0);
})();
