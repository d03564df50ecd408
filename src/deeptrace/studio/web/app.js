// The studio's pages, by their address.
import { html, render, useEffect, useLayoutEffect, useReducer, useState } from "./vendor/htm-preact.js";
import { ask, may, newSession, session } from "./api.js";
import { learnKinds } from "./kinds.js";
import { AddForm, AddSheet, useDropping } from "./add.js";
import { Annotate } from "./annotate.js";
import { ClipView, Pair } from "./clip.js";
import { Explore } from "./explore.js";
import { AccountSheet, LogInPage, LogInSheet, People } from "./login.js";
import { Bar, Help, go, typing, useAddress, useStudio } from "./shell.js";
import { Leaderboard } from "./figures.js";
import { Review, ReviewOf, Work } from "./review.js";
import { Triage } from "./triage.js";

/** Who one is comes first: without it nothing is asked for. */
function App() {
  const [, again] = useReducer((count) => count + 1, 0), [trouble, setTrouble] = useState("");
  useEffect(() => {
    addEventListener("session-changed", again);
    const load = () => ask("/api/session").then((said) => { setTrouble(""); newSession(said); }, (error) => { setTrouble(error.message); setTimeout(load, 2000); });
    load();
    return () => removeEventListener("session-changed", again);
  }, []);
  if (!session.accounts && !session.person) return html`<header class="bar"><span class="brand">deeptrace <span>studio</span></span></header>${trouble && html`<p class="trouble waiting" role="alert">${trouble}</p>`}`;
  if (!session.person) return html`<${LogInPage} />`;
  return html`<${Pages} />${session.ended && html`<${LogInSheet} />`}`;
}

function Pages() {
  const address = useAddress(), [studio, trouble] = useStudio();
  const [sheet, setSheet] = useState("");
  const { over, said } = useDropping();
  if (studio) learnKinds(studio.kinds);
  const [, named, id] = address.split("?")[0].split("/"), beside = Number(new URLSearchParams(address.split("?")[1] || "").get("beside"));
  // A studio that was started on a dataset alone opens on it.
  const page = named || (studio && studio.explore && !studio.clips.all ? "explore" : "");
  useLayoutEffect(() => {
    const heard = (event) => {
      if (event.key === "?" && !typing(event)) setSheet("help");
      if (event.key === "e" && page === "clip" && !(beside > 0) && may("annotator") && !typing(event) && !event.ctrlKey && !event.metaKey) go(`/annotate/${id}`);
    };
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  });
  return html`
    <a class="skip" href="#main">Skip to the clip</a>
    <${Bar} studio=${studio} page=${page || "triage"} onAdd=${() => setSheet("add")} onHelp=${() => setSheet("help")} onAccount=${() => setSheet("account")} />
    ${!studio && trouble && !session.ended && html`<p class="trouble waiting" role="alert">${trouble}</p>`}
    ${page === "people" && (may("admin") ? html`<${People} />` : html`<${NotFor} role="admin" />`)}
    ${page === "leaderboard" && html`<${Leaderboard} />`}
    ${page === "work" && html`<${Work} />`}
    ${["review", "decide"].includes(page) && !may("reviewer") && html`<${NotFor} role="reviewer" />`}
    ${page === "review" && may("reviewer") && (id ? html`<${ReviewOf} key=${id} id=${Number(id)} />` : html`<${Review} address=${address} />`)}
    ${studio && page === "decide" && may("reviewer") && html`<${Annotate} key=${`decide-${id}`} id=${Number(id)} of="review" />`}
    ${studio && page === "annotate" && !may("annotator") && html`<${NotFor} role="annotator" />`}
    ${studio && page === "annotate" && may("annotator") && html`<${Annotate} key=${id} id=${Number(id)} />`}
    ${studio && page === "clip" && beside > 0 && html`<${Pair} key=${`${id}-${beside}`} ids=${[Number(id), beside]} />`}
    ${studio && page === "clip" && !(beside > 0) && html`<main id="main" class="single"><${ClipView} key=${id} id=${Number(id)} /></main>`}
    ${studio && page === "explore" && html`<${Explore} address=${address} studio=${studio} />`}
    ${studio && !["annotate", "clip", "decide", "explore", "leaderboard", "people", "review", "work"].includes(page) && (studio.clips.all ? html`<${Triage} address=${address} studio=${studio} />` : html`<${Welcome} studio=${studio} />`)}
    ${sheet === "help" && html`<${Help} onClose=${() => setSheet("")} />`}
    ${sheet === "account" && html`<${AccountSheet} onClose=${() => setSheet("")} />`}
    ${sheet === "add" && html`<${AddSheet} studio=${studio} onClose=${() => setSheet("")} />`}
    ${over && html`<div class="dropping" aria-hidden="true"><p>Drop to analyse</p></div>`}
    ${said && html`<p class="toast" role="status">${said}</p>`}`;
}

const NotFor = ({ role }) => html`<main id="main" class="single"><p class="muted waiting">This page is for ${role}s.</p></main>`;

const Welcome = ({ studio }) => html`
  <main id="main" class="welcome">
    <h1>Is this video AI-generated?</h1>
    <p>And if it looks so: where, when, which kind and why. Everything stays on this machine.</p>
    <${AddForm} studio=${studio} />
  </main>`;

render(html`<${App} />`, document.getElementById("app"));
