// One annotation: its objects, undo and redo, and the way of every edit to the server.
//
// An edit is in the browser's database before it is sent, and stays there until the server confirms it. It says which
// version it was made on; when the server has moved on, both versions are shown and a person decides.
import { ask, mine, newId, passes, pause, post } from "./api.js";
import { confirm, keep, pending, rewrite } from "./outbox.js";

const BATCH = 200;
const TAB = newId();
// Held as long as this tab lives, so that another one knows whose unsent edits it may take over.
if (navigator.locks) navigator.locks.request(`studio-${TAB}`, () => new Promise(() => {}));

async function living() {
  if (!navigator.locks) return new Set([TAB]);
  const { held } = await navigator.locks.query();
  return new Set(held.map((lock) => lock.name.replace("studio-", "")));
}

const IDLE_S = 60;
const SIGNS = ["pointermove", "pointerdown", "keydown", "wheel"];

/** Seconds of work: between one sign of life and the next, unless they are so far apart that nobody was there. */
export class Stopwatch {
  constructor() {
    this._seconds = 0;
    this._last = null;
    this._sign = () => {
      const now = performance.now() / 1000;
      if (this._last !== null && now - this._last <= IDLE_S) this._seconds += now - this._last;
      this._last = now;
    };
    this._turned = () => { if (document.hidden) { this._sign(); this._last = null; } };
    for (const name of SIGNS) addEventListener(name, this._sign, { capture: true, passive: true });
    document.addEventListener("visibilitychange", this._turned);
  }
  start() { this._last ??= performance.now() / 1000; }
  /** Those since it was asked last. */
  take() {
    if (this._last !== null) this._sign();
    const seconds = this._seconds;
    this._seconds = 0;
    return Math.min(Number(seconds.toFixed(2)), 86400);
  }
  close() {
    for (const name of SIGNS) removeEventListener(name, this._sign, { capture: true });
    document.removeEventListener("visibilitychange", this._turned);
  }
}

export function applied(objects, edits) {
  const after = { ...objects };
  for (const edit of edits) {
    if (edit.after === null) delete after[edit.object];
    else after[edit.object] = edit.after;
  }
  return after;
}

export class Sheet {
  /** `of` is "clips" for one's own annotation, "review" for what is decided on a clip. */
  constructor(clipId, of = "clips") {
    this.path = `/api/${of}/${clipId}/annotation`;
    this.channel = mine(of === "clips" ? `annotation:${clipId}` : `${of}:${clipId}`);
    this.objects = {};
    this.version = 0;
    this.state = "loading"; // loading, saved, saving, offline, conflict, refused
    this.waiting = 0;
    this.kept = 0; // of those that wait, how many are in the browser's database by now
    this.conflict = null;
    this.trouble = "";
    this._base = null; // the version that the next edit is made on; null until the annotation is here
    this._done = [];
    this._undone = [];
    this._listeners = new Set();
    this._chain = Promise.resolve();
    this._watch = new Stopwatch();
  }

  listen(heard) {
    this._listeners.add(heard);
    return () => this._listeners.delete(heard);
  }
  _tell() { for (const heard of this._listeners) heard(); }
  close() { clearTimeout(this._timer); this._watch.close(); this._closed = true; }

  async load() {
    const [annotation, tabs] = await Promise.all([ask(this.path), living()]);
    const kept = await pending(this.channel);
    const mine = kept.filter((record) => record.tab === TAB || !tabs.has(record.tab));
    for (const tab of new Set(kept.filter((record) => !mine.includes(record)).map((record) => record.tab))) this._await(tab);
    await rewrite(mine.map((record) => ({ ...record, tab: TAB })));
    this.version = annotation.version;
    this.objects = applied(annotation.objects, mine.map((record) => record.edit));
    this.state = "saved";
    this._watch.start();
    this.waiting = this.kept = mine.length;
    this._base = mine.length ? mine[0].base : this.version;
    this._tell();
    this._flush();
  }

  /** Take over what another tab has not sent yet, once that tab is closed: it may be closing just now. */
  _await(tab) {
    this._awaited ??= new Set();
    if (this._awaited.has(tab)) return;
    this._awaited.add(tab);
    const idle = () => !this._closed && this.state !== "conflict" && this.state !== "refused";
    navigator.locks.request(`studio-${tab}`, () => {}).then(() => this._chain).then(() => idle() && this.load()).catch(() => {});
  }

  /** Whether the annotation is here. What is not known cannot be changed. */
  get ready() { return this._base !== null; }
  get canUndo() { return this._done.length > 0; }
  get canRedo() { return this._undone.length > 0; }

  /** Change, add (nothing before) or remove (nothing after) one object. */
  change(object, after) {
    if (!this.ready) return;
    const edit = { id: newId(), object, before: this.objects[object] ?? null, after };
    if (JSON.stringify(edit.before) === JSON.stringify(after)) return;
    this._done.push(edit);
    this._undone = [];
    this._make(edit);
  }
  undo() {
    const edit = this._done.pop();
    if (!edit) return;
    this._undone.push(edit);
    this._make({ id: newId(), object: edit.object, before: edit.after, after: edit.before });
  }
  redo() {
    const edit = this._undone.pop();
    if (!edit) return;
    this._done.push(edit);
    this._make({ ...edit, id: newId() });
  }

  _make(change) {
    const edit = { ...change, active_s: this._watch.take() };
    this.objects = applied(this.objects, [edit]);
    this.waiting += 1;
    if (this.state === "saved") this.state = "saving";
    this._tell();
    this._chain = this._chain.then(() => keep(this.channel, { tab: TAB, base: this._base, edit })).then(() => {
      this.kept += 1;
      this._tell();
      this._flush();
    });
  }

  /** Send what waits, one batch after another. */
  _flush() {
    if (this._sending) { this._again = true; return; }
    if (!this.ready || this.state === "conflict" || this.state === "refused" || this._closed) return;
    this._again = false;
    this._sending = this._send().finally(() => { this._sending = null; if (this._again) this._flush(); });
  }
  async _send() {
    for (;;) {
      const records = (await pending(this.channel)).filter((record) => record.tab === TAB).slice(0, BATCH);
      if (!records.length) {
        if (this.waiting <= 0) { this.state = "saved"; this.waiting = 0; this._tell(); }
        return;
      }
      let said;
      try {
        said = await post(`${this.path}/edits`, { version: this._base, edits: records.map((record) => record.edit) });
      } catch (error) {
        this._failed(error);
        return;
      }
      this.version = said.version;
      const old = this._base;
      this._base = said.version;
      // In one step with the chain, so that no edit is kept with a base that is no longer true.
      this._chain = this._chain.then(async () => {
        await confirm(records.map((record) => record.number));
        const later = (await pending(this.channel)).filter((record) => record.tab === TAB && record.base === old);
        await rewrite(later.map((record) => ({ ...record, base: said.version })));
      });
      await this._chain;
      this.waiting = Math.max(this.waiting - records.length, 0);
      this.kept = Math.max(this.kept - records.length, 0);
      if (this.waiting) { this.state = "saving"; this._tell(); }
    }
  }
  _failed(error) {
    if (error.status === 409) {
      this.state = "conflict";
      this.conflict = error.body;
    } else if (passes(error) || error.status === 401) {
      this.state = "offline";
      this.trouble = error.status === 429 ? error.message : "";
      clearTimeout(this._timer);
      this._timer = setTimeout(() => this._flush(), pause(error, 1500));
    } else {
      this.state = "refused";
      this.trouble = error.message;
    }
    this._tell();
  }

  /** After a conflict: what was made here, put on top of what the others made. */
  async keepMine() {
    const current = this.conflict.current;
    const records = (await pending(this.channel)).filter((record) => record.tab === TAB);
    let objects = current.objects;
    const again = records.map((record) => {
      const edit = { ...record.edit, before: objects[record.edit.object] ?? null };
      objects = applied(objects, [edit]);
      return { ...record, base: current.version, edit };
    });
    await rewrite(again);
    this._after(current.version, objects, again.length);
    this._flush();
  }
  /** After a conflict, or edits that the server does not take: what is kept there. */
  async takeTheirs() {
    const records = (await pending(this.channel)).filter((record) => record.tab === TAB);
    await confirm(records.map((record) => record.number));
    const current = this.conflict ? this.conflict.current : await ask(this.path);
    this._done = [];
    this._undone = [];
    this._after(current.version, current.objects, 0);
  }
  _after(version, objects, waiting) {
    Object.assign(this, { version, objects, waiting, kept: waiting, conflict: null, trouble: "", state: waiting ? "saving" : "saved" });
    this._base = version;
    this._tell();
  }
}
