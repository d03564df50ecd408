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
  let clip = null, address = null, time_s = 0;

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

  // -- boxes: linear between keyframes, held before the first and after the last, alive over [onset, offset) ----------

  function boxAt(trace, seconds) {
    const keys = trace.keys;
    if (!keys.length || !alive(trace, seconds)) return null;
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
  // Timestamps pass through a 1/90000 s clock and the browser's microseconds; half a millisecond covers both.
  // An onset that is not known is the start, an offset that is not known the end.
  const alive = (trace, seconds) =>
    (trace.onset_s === null || seconds >= trace.onset_s - 5e-4) && (trace.offset_s === null || seconds < trace.offset_s - 5e-4);

  function drawBoxes() {
    boxes.replaceChildren();
    for (const trace of clip.traces) {
      const box = boxAt(trace, time_s);
      if (!box) continue;
      const [x, y] = [box[0] * clip.width, box[1] * clip.height];
      const size = { x, y, width: (box[2] - box[0]) * clip.width, height: (box[3] - box[1]) * clip.height };
      boxes.append(draw("rect", { ...size, class: "halo" }), draw("rect", { ...size, class: "box", stroke: colour(trace) }));
      const letters = 14 * clip.width / Math.max(stage.clientWidth, 1);
      const label = draw("text", { x: x + letters / 3, y: y > 1.4 * letters ? y - letters / 3 : y + 1.1 * letters, "font-size": letters, "stroke-width": letters / 6 });
      label.textContent = trace.score === null ? trace.name : `${trace.name} ${trace.score.toFixed(2)}`;
      boxes.append(label);
    }
  }

  // -- time -----------------------------------------------------------------------------------------------------------

  function showTime(seconds) {
    time_s = seconds;
    drawBoxes();
    $("playhead").style.left = `${100 * share(seconds)}%`;
    $("clock").textContent = `${seconds.toFixed(2)} / ${clip.end_s.toFixed(2)} s`;
    timeline.setAttribute("aria-valuenow", seconds.toFixed(2));
    const names = clip.traces.filter((trace) => alive(trace, seconds)).map((trace) => trace.name).join(", ");
    timeline.setAttribute("aria-valuetext", `${seconds.toFixed(2)} seconds${names ? `, ${names}` : ""}`);
    if ($("now").textContent !== names) $("now").textContent = names;
  }
  function seek(seconds) {
    const wanted = clamp(seconds, clip.start_s, clip.end_s);
    // A hair inside the frame that starts there: seeking exactly onto a timestamp may show the frame before it.
    if (clip.mp4) video.currentTime = clamp(wanted - clip.start_s + 1e-3, 0, Math.max((video.duration || length_s()) - 1e-3, 0));
    else showTime(wanted);
  }
  // The time of the frame on the screen, not of the clock: a box must never be ahead of its picture.
  const exact = "requestVideoFrameCallback" in HTMLVideoElement.prototype;
  function onFrame(_now, frame) {
    if (clip) showTime(frame.mediaTime + clip.start_s);
    video.requestVideoFrameCallback(onFrame);
  }
  if (exact) video.requestVideoFrameCallback(onFrame);
  else for (const event of ["timeupdate", "seeked"]) video.addEventListener(event, () => clip && showTime(video.currentTime + clip.start_s));

  const toggle = () => { if (clip && clip.mp4) { if (video.paused) video.play(); else video.pause(); } };
  const step = (frames) => { video.pause(); seek(time_s + frames / (clip.fps || 25)); };
  for (const event of ["play", "pause", "ended"]) video.addEventListener(event, () => { $("play").textContent = video.paused ? "Play" : "Pause"; });
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
  timeline.addEventListener("keydown", (event) => {
    const moves = {
      ArrowLeft: () => step(-1), ArrowRight: () => step(1), PageUp: () => seek(time_s + 1), PageDown: () => seek(time_s - 1),
      Home: () => seek(clip.start_s), End: () => seek(clip.end_s), " ": toggle,
    };
    if (event.key in moves) { event.preventDefault(); moves[event.key](); }
  });

  // -- one clip -------------------------------------------------------------------------------------------------------

  function open(index) {
    clip = JSON.parse(sources[index].textContent);
    if (address) URL.revokeObjectURL(address);
    address = null;
    video.pause();
    $("viewer").hidden = false;
    stage.style.aspectRatio = `${clip.width} / ${clip.height}`;
    stage.style.maxWidth = `min(100%, calc(62vh * ${clip.width / clip.height}))`;
    boxes.setAttribute("viewBox", `0 0 ${clip.width} ${clip.height}`);
    boxes.setAttribute("preserveAspectRatio", "none");
    video.hidden = !clip.mp4;
    $("missing").hidden = Boolean(clip.mp4);
    $("missing").textContent = clip.note;
    if (clip.mp4) {
      const bytes = Uint8Array.from(atob(clip.mp4), (letter) => letter.charCodeAt(0));
      address = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
      video.src = address;
      video.playbackRate = Number($("speed").value);
    } else {
      video.removeAttribute("src");
      video.load();
    }
    timeline.setAttribute("aria-valuemin", clip.start_s.toFixed(2));
    timeline.setAttribute("aria-valuemax", clip.end_s.toFixed(2));
    for (const row of document.querySelectorAll("tbody tr")) row.setAttribute("aria-current", String(row.dataset.index === String(index)));
    showWords();
    showLanes();
    showTime(clip.start_s);
  }

  function showWords() {
    const name = $("clip-name");
    name.textContent = clip.video;
    $("verdict").textContent = clip.headline;
    $("verdict").className = `badge ${clip.kind}`;
    const facts = [];
    if (clip.error) facts.push(["Why", clip.error]);
    if (clip.probability) facts.push(["p(generated)", clip.probability]);
    if (clip.reward !== null) facts.push(["Reward", clip.reward.toFixed(3)]);
    facts.push(["Picture", `${clip.width} × ${clip.height}${clip.fps ? `, ${clip.fps.toFixed(2)} fps` : ""}`]);
    if (clip.error) facts.pop();
    $("facts").replaceChildren(...facts.flatMap(([term, text]) => [make("dt", term), make("dd", text)]));
    if (clip.link) {
      const link = make("a", "the file itself");
      link.href = clip.link;
      const cell = make("dd");
      cell.append(link);
      $("facts").append(make("dt", "Original"), cell);
    }
    $("traces").replaceChildren(...clip.traces.map((trace) => {
      const item = make("li"), button = make("button", trace.line);
      button.type = "button";
      button.style.borderLeftColor = colour(trace);
      button.addEventListener("click", () => { video.pause(); seek(trace.onset_s === null ? clip.start_s : trace.onset_s); });
      item.append(button);
      if (trace.explanation) item.append(make("p", trace.explanation));
      return item;
    }));
    $("traces-title").textContent = clip.traces.length ? "What gives it away" : clip.error ? "Not judged" : "No trace found";
    $("warnings").replaceChildren(...clip.warnings.map((text) => make("li", text)));
    $("clip-note").textContent = clip.mp4 ? clip.note : "";
  }

  function showLanes() {
    const lanes = clip.traces.map((trace) => {
      const lane = make("div", undefined, "lane"), life = make("div", undefined, "life");
      const from = trace.onset_s === null ? clip.start_s : trace.onset_s;
      const to = trace.offset_s === null ? clip.end_s : trace.offset_s;
      life.style.left = `${100 * share(from)}%`;
      life.style.width = `${100 * (share(to) - share(from))}%`;
      life.style.background = colour(trace);
      lane.append(life, make("span", `${trace.name}, ${trace.span}`, "name"));
      return lane;
    });
    for (const [name, points] of Object.entries(clip.curves)) {
      if (points.length < 2) continue;
      const low = points.reduce((least, point) => Math.min(least, point[1]), Infinity);
      const high = points.reduce((most, point) => Math.max(most, point[1]), -Infinity);
      const lane = make("div", undefined, "lane curve"), svg = draw("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" });
      const shape = points.map(([at, value]) => `${share(at)},${0.94 - 0.88 * (high > low ? (value - low) / (high - low) : 0.5)}`);
      svg.append(draw("polyline", { points: shape.join(" ") }));
      lane.append(svg, make("span", `${name}: ${low.toPrecision(3)} to ${high.toPrecision(3)}`, "name"));
      lanes.push(lane);
    }
    if (!lanes.length) lanes.push(make("div", undefined, "lane"));
    $("lanes").replaceChildren(...lanes);
  }

  // -- the table ------------------------------------------------------------------------------------------------------

  const body = document.querySelector("tbody"), rows = [...body.rows];
  for (const row of rows) {
    row.querySelector(".open").addEventListener("click", () => { open(Number(row.dataset.index)); $("viewer").scrollIntoView({ block: "start" }); });
  }
  function filter() {
    const words = $("find").value.trim().toLowerCase(), kind = $("only").value;
    let shown = 0;
    for (const row of rows) {
      row.hidden = Boolean((kind && row.dataset.kind !== kind) || (words && !row.textContent.toLowerCase().includes(words)));
      shown += row.hidden ? 0 : 1;
    }
    $("shown").textContent = `${shown} of ${rows.length}`;
  }
  $("find").addEventListener("input", filter);
  $("only").addEventListener("change", filter);
  for (const button of document.querySelectorAll("thead button")) {
    button.addEventListener("click", () => {
      const head = button.parentElement, key = button.dataset.key;
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of document.querySelectorAll("thead [aria-sort]")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const compare = key === "video" || key === "kind"
        ? (a, b) => a.dataset[key].localeCompare(b.dataset[key], undefined, { numeric: true })
        : (a, b) => Number(a.dataset[key]) - Number(b.dataset[key]);
      body.append(...rows.sort((a, b) => (down ? -1 : 1) * compare(a, b)));
    });
  }

  function theme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    $("theme").textContent = dark ? "Light" : "Dark";
    $("theme").setAttribute("aria-pressed", String(dark));
  }
  $("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));
  theme(matchMedia("(prefers-color-scheme: dark)").matches);
  filter();
  addEventListener("resize", () => clip && drawBoxes());
  if (rows.length) open(Math.max(rows.findIndex((row) => row.dataset.kind === "fake"), 0));
})();
