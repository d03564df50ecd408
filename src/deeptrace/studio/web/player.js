// A video whose frame is known exactly: the server's table of timestamps says when each frame is shown, the browser says
// which timestamp is on the screen, and a step is a seek into the middle of a frame's own span.

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const EXACT = "requestVideoFrameCallback" in HTMLVideoElement.prototype;

export class Player {
  /** @param {number[]} times seconds of each frame, rising, the first one 0  @param {number} duration_s */
  constructor(times, duration_s) {
    this.times = times.length ? times : [0];
    this.end_s = Math.max(duration_s, this.times[this.times.length - 1]);
    this.index = 0;
    this.loop = null;
    this.playing = false;
    this.rate = 1;
    this.ready = false;
    this.failed = "";
    this._wanted = null;
    this._offset = 0;
    this._listeners = new Set();
  }

  get time_s() { return this.times[this.index]; }
  get step_s() { return this.end_s / Math.max(this.times.length, 1); }
  /** The moment at which a frame gives way to the next. */
  endOf(index) { return index + 1 < this.times.length ? this.times[index + 1] : Math.max(this.end_s, this.times[index] + 1e-3); }

  listen(heard) {
    this._listeners.add(heard);
    return () => this._listeners.delete(heard);
  }
  _tell() { for (const heard of this._listeners) heard(); }

  attach(video) {
    if (!video || this.video === video) return;
    this.video = video;
    const on = (name, heard) => video.addEventListener(name, heard);
    on("play", () => { this.playing = true; this._wanted = null; this._tell(); });
    on("pause", () => { this.playing = false; this._tell(); });
    on("error", () => { this.failed = "the browser cannot play this file"; this._tell(); });
    on("loadeddata", () => { video.playbackRate = this.rate; if (!EXACT) { this.ready = true; this._shown(video.currentTime); } });
    if (EXACT) {
      let first = true;
      const onFrame = (_now, frame) => {
        // A file whose clock begins a little late shows its first frame at that time, which the table calls 0.
        if (first && video.currentTime < 1e-3 && frame.mediaTime < 0.25) this._offset = frame.mediaTime;
        first = false;
        this.ready = true;
        this._shown(frame.mediaTime);
        video.requestVideoFrameCallback(onFrame);
      };
      video.requestVideoFrameCallback(onFrame);
      // The first frame may be painted before anybody asked to be told, and a clip that stands still paints no other.
      const late = () => {
        if (this.ready || this.video !== video) return;
        if (video.readyState >= 2 && !video.seeking) { this.ready = true; this._shown(video.currentTime); } else setTimeout(late, 1500);
      };
      setTimeout(late, 1500);
      // A frame that is painted between one call and the next request is never told of, and while the clip stands still
      // no other one follows. Every seek aims inside a frame's own span, so that its time says which frame it is.
      on("seeked", () => requestAnimationFrame(() => requestAnimationFrame(() => {
        if (video.paused && !video.seeking) this._shown(video.currentTime);
      })));
    } else {
      for (const name of ["timeupdate", "seeked"]) on(name, () => this._shown(video.currentTime));
    }
    on("ended", () => { if (this.loop) this._again(); });
  }

  _shown(mediaTime) {
    this.index = this.indexAt(mediaTime - this._offset);
    if (this._wanted === this.index) this._wanted = null;
    if (this.playing && this.loop && (this.index > this.loop[1] || this.index < this.loop[0])) this._again();
    this._tell();
  }
  _again() { this.seek(this.loop[0]); if (this.video) this.video.play().catch(() => {}); }

  /** The frame whose timestamp this is, give or take what the browser's clock rounds. */
  indexAt(seconds) {
    const at = this.frameAt(seconds);
    const next = this.times[at + 1];
    return next !== undefined && next - seconds < seconds - this.times[at] && next - seconds < 2e-3 ? at + 1 : at;
  }
  /** The frame on the screen at a moment. */
  frameAt(seconds) {
    let low = 0, high = this.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= seconds + 1e-6) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  seek(index) {
    const wanted = clamp(Math.round(index), 0, this.times.length - 1);
    this._wanted = wanted;
    if (!this.video || this.failed) { this.index = wanted; this._wanted = null; this._tell(); return; }
    const inside = (this.times[wanted] + this.endOf(wanted)) / 2 + this._offset;
    this.video.currentTime = Math.min(inside, Math.max((this.video.duration || inside) - 1e-4, 0));
    if (this.index === wanted) this._wanted = null;
  }
  seekTime(seconds) { this.seek(this.frameAt(clamp(seconds, 0, this.end_s))); }
  step(frames) { this.pause(); this.seek((this._wanted ?? this.index) + frames); }
  pause() { if (this.video) this.video.pause(); }
  toggle() {
    if (!this.video || this.failed) return;
    if (this.video.paused) {
      if (this.index >= this.times.length - 1) this.seek(this.loop ? this.loop[0] : 0);
      this.video.play().catch(() => {});
    } else this.video.pause();
  }
  setRate(rate) { this.rate = rate; if (this.video) this.video.playbackRate = rate; this._tell(); }
  /** Play these frames over and over; null for the whole clip. */
  setLoop(frames) {
    this.loop = frames;
    if (frames && (this.index < frames[0] || this.index > frames[1])) this.seek(frames[0]);
    this._tell();
  }
  framesOf(trace) {
    const first = this.frameAt((trace.onset_s ?? 0) + 1e-6);
    const last = trace.offset_s === null || trace.offset_s === undefined ? this.times.length - 1 : this.frameAt(trace.offset_s - 2e-6);
    return [first, Math.max(first, last)];
  }
}
