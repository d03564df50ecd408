// Long lists: pages from the server when they come into view, and only the rows in view are made.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ask, passes, pause } from "./api.js";

const PAGE = 100;
const NO_PAGES = { query: null, total: null, rows: new Map() };

export const queryOf = (filter) => new URLSearchParams(Object.entries(filter).filter(([, value]) => value)).toString();

/** Items of a list by their place in it; `field` of an answer holds them. */
export function useList(path, field, filter) {
  const [pages, setPages] = useState(NO_PAGES);
  const query = queryOf(filter);
  const asked = useRef(new Set());
  const want = (first, last, again = false) => {
    for (let page = Math.floor(first / PAGE); page <= Math.floor(Math.max(last, 0) / PAGE); page++) {
      if (asked.current.has(page) && !again) continue;
      asked.current.add(page);
      ask(`${path}?${query}&offset=${page * PAGE}&limit=${PAGE}`).then((said) => {
        if (query !== latest.current) return;
        setPages((before) => {
          const rows = new Map(before.query === query ? before.rows : undefined);
          said[field].forEach((item, number) => rows.set(page * PAGE + number, item));
          return { query, total: said.total, rows };
        });
      }).catch((error) => {
        asked.current.delete(page);
        if (passes(error)) setTimeout(() => query === latest.current && want(page * PAGE, page * PAGE), pause(error, 2000));
      });
    }
  };
  const latest = useRef(query);
  useEffect(() => {
    latest.current = query;
    asked.current = new Set();
    setPages(NO_PAGES);
    want(0, 0);
    return () => { latest.current = null; }; // nothing is asked for any more once the list is gone
  }, [query]);
  // Rows of another query are not this list's, not even for the moment until the new ones are there.
  return { ...(pages.query === query ? pages : NO_PAGES), want, query };
}

/** A list that scrolls; `least` is the least width of an item, where several stand side by side. */
export function Rows({ list, current, height, least = 0, label, render, onView }) {
  const box = useRef(null);
  const [view, setView] = useState([0, 20, 1]);
  const look = () => {
    const element = box.current;
    if (!element) return;
    const columns = least ? Math.max(Math.floor(element.clientWidth / least), 1) : 1;
    const first = Math.max(Math.floor(element.scrollTop / height) - 4, 0) * columns;
    const last = (Math.ceil((element.scrollTop + element.clientHeight) / height) + 4) * columns - 1;
    setView((before) => (before[0] === first && before[1] === last && before[2] === columns ? before : [first, last, columns]));
    list.want(first, Math.min(last, Math.max((list.total || 1) - 1, 0)));
  };
  const columns = view[2];
  useEffect(look, [list.total, list.query]);
  useEffect(() => { const watch = new ResizeObserver(look); watch.observe(box.current); return () => watch.disconnect(); }, [list.query, list.total]);
  useLayoutEffect(() => {
    const element = box.current;
    if (current === null || !element) return;
    const top = Math.floor(current / columns) * height;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + height > element.scrollTop + element.clientHeight) element.scrollTop = top + height - element.clientHeight;
  }, [current, columns]);
  useEffect(() => { if (onView) onView([...list.rows].filter(([at]) => at >= view[0] && at <= view[1]).map(([, item]) => item)); }, [view, list.rows]);
  const rows = [];
  for (let at = view[0]; at <= view[1]; at++) {
    if (!list.rows.has(at)) continue;
    const side = columns > 1 ? { left: `${(100 * (at % columns)) / columns}%`, width: `${100 / columns}%` } : {};
    rows.push(html`<li key=${at} style=${{ top: `${Math.floor(at / columns) * height}px`, height: `${height}px`, ...side }}>${render(list.rows.get(at), at, at === current)}</li>`);
  }
  return html`
    <div class="rows" ref=${box} onScroll=${look} tabindex="0" role="region" aria-label=${label}>
      <ul style=${{ height: `${Math.ceil((list.total || 0) / columns) * height}px` }}>${rows}</ul>
    </div>`;
}
