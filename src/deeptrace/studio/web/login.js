// Who one is: the log-in, one's own password, and for admins everybody's accounts and the log.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ROLES, ask, newSession, post, session } from "./api.js";

/** A form that asks the server; what it says is shown below. */
export function Form({ action, button, children, label }) {
  const [said, setSaid] = useState({ text: "", good: false }), [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    setBusy(true);
    try {
      const text = await action(Object.fromEntries(new FormData(form)));
      form.reset();
      setSaid({ text: text || "", good: true });
    } catch (error) {
      setSaid({ text: error.message, good: false });
    }
    setBusy(false);
  };
  return html`
    <form class="fields" onSubmit=${submit} aria-label=${label}>${children}
      <div class="row"><button class="main" disabled=${busy}>${button}</button></div>
      ${said.text && html`<p class=${said.good ? "muted" : "trouble"} role=${said.good ? "status" : "alert"}>${said.text}</p>`}</form>`;
}
const Field = ({ name, title, field, ...rest }) => html`<label class="wide"><span>${title}</span><input ref=${field} name=${name} required maxlength="1000" autocapitalize="none" spellcheck=${false} ...${rest} /></label>`;
const NewPasswordField = ({ name = "password", title = "Password, at least 12 characters" }) => html`<${Field} name=${name} title=${title} type="password" minlength="12" autocomplete="new-password" />`;

async function logIn(fields) {
  const before = session.person && session.person.name;
  const said = await ask("/api/session", { method: "POST", body: fields });
  // Somebody else's page may hold what is not theirs.
  if (before && before !== said.person.name) location.reload();
  else newSession(said);
}

const REFUSED = {
  refused: "did not log you in.", again: "That log-in was not begun in this browser, or too long ago: begin again.", unreachable: "cannot be reached just now.",
  "not-believed": "answered what cannot be believed; the log says why.", locked: "Your account here is locked out.",
  taken: "Your name there is somebody else's here. If it is yours, log in with your password and connect the two (a click on your name); or ask an admin.",
};
/** The answer of the provider's, where it is one that lets nobody in. */
function refusedBy(host) {
  const words = REFUSED[new URLSearchParams(location.search).get("log-in")];
  return words && (/^[a-z]/.test(words) ? `${host} ${words}` : words);
}

/** Off to the provider's page, and back to this one. What was not saved is kept in this browser meanwhile. */
function AtProvider({ words }) {
  const [trouble, setTrouble] = useState(() => refusedBy(session.provider) || ""), [busy, setBusy] = useState(false);
  const leave = async () => {
    setBusy(true);
    const here = new URLSearchParams(location.search).has("log-in") ? "/" : location.pathname + location.search;
    try { location.assign((await post("/api/session/oidc", { back_to: here })).url); } catch (error) { setTrouble(error.message); setBusy(false); }
  };
  if (!session.provider) return null;
  return html`<div class="row"><button type="button" class="main" disabled=${busy} onClick=${leave}>${words} ${session.provider}</button></div>${trouble && html`<p class="trouble" role="alert">${trouble}</p>`}`;
}

export function LogInForm() {
  const name = useRef(null);
  // Not by the attribute: Chromium complains on the console where somebody has clicked into the form before it acts.
  useEffect(() => { if (document.activeElement === document.body) name.current.focus(); }, []);
  return html`
    <${AtProvider} words="Log in with" />
    <${Form} action=${logIn} button="Log in" label="Log in">
      <${Field} field=${name} name="name" title="Name" autocomplete="username" />
      <${Field} name="password" title="Password" type="password" autocomplete="current-password" />
    </${Form}>`;
}
export const LogInPage = () => html`<main id="main" class="welcome"><h1>deeptrace studio</h1><${LogInForm} /></main>`;

/** Over the page when a session has ended: what is on it stays. */
export function LogInSheet() {
  const sheet = useRef(null);
  useEffect(() => { sheet.current.showModal(); }, []);
  return html`
    <dialog class="sheet small" ref=${sheet} aria-labelledby="log-in-title" onCancel=${(event) => event.preventDefault()}>
      <h2 id="log-in-title">Log in again</h2><p class="muted">Your session has ended. What you did is kept in this browser until it is saved.</p><${LogInForm} /></dialog>`;
}

export function AccountSheet({ onClose }) {
  const sheet = useRef(null);
  useEffect(() => { sheet.current.showModal(); }, []);
  const leave = async () => { await ask("/api/session", { method: "DELETE" }).catch(() => {}); location.assign("/"); };
  const change = async ({ old, password }) => { await post("/api/session/password", { old, new: password }); return "Your password is changed. You are logged out everywhere else."; };
  return html`
    <dialog class="sheet small" ref=${sheet} onClose=${onClose} aria-labelledby="account-title">
      <form method="dialog"><h2 id="account-title">${session.person.name}, ${session.person.role}</h2><button aria-label="Close">×</button></form>
      <${Form} action=${change} button="Change password" label="Change password">
        <input type="text" name="name" autocomplete="username" value=${session.person.name} hidden />
        <${Field} name="old" title="Password now" type="password" autocomplete="current-password" />
        <${NewPasswordField} title="New password, at least 12 characters" />
      </${Form}>
      <${AtProvider} words="Connect with" />
      <div class="row"><button type="button" onClick=${leave}>Log out</button></div>
    </dialog>`;
}

const moment = (seconds) => (seconds ? new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ") : "never");

export function People() {
  const [people, setPeople] = useState(null), [log, setLog] = useState([]), [trouble, setTrouble] = useState(""), [whose, setWhose] = useState("");
  const load = async () => {
    setPeople(await ask("/api/people"));
    setLog(await ask("/api/audit?limit=50"));
  };
  useEffect(() => { load().catch((error) => setTrouble(error.message)); }, []);
  const change = async (name, body) => {
    setTrouble("");
    try { await ask(`/api/people/${name}`, { method: "PATCH", body }); } catch (error) { setTrouble(error.message); }
    await load();
  };
  const add = async (fields) => { await post("/api/people", fields); await load(); return `${fields.name} has an account now.`; };
  const set = async ({ password }) => { await ask(`/api/people/${whose}`, { method: "PATCH", body: { password } }); await load(); return `${whose} has another password now, and is logged out.`; };
  const older = async () => setLog([...log, ...await ask(`/api/audit?limit=50&before=${log[log.length - 1].id}`)]);
  return html`
    <main id="main" class="figures"><h1>People</h1>
      ${trouble && html`<p class="trouble" role="alert">${trouble}</p>`}
      ${people && html`<div class="scroll"><table class="measures"><thead><tr><th scope="col">Name</th><th scope="col" class="text">Role</th><th scope="col">Last seen (UTC)</th><th scope="col" class="text">Account</th></tr></thead>
        <tbody>${people.map((one) => html`<tr key=${one.name}><th scope="row">${one.name}</th>
          <td class="text"><label><span class="unseen">Role of ${one.name}</span><select value=${one.role} onChange=${(event) => change(one.name, { role: event.target.value })}>${ROLES.map((role) => html`<option value=${role}>${role}</option>`)}</select></label></td>
          <td>${moment(one.seen_at)}</td>
          <td class="text"><div class="row"><button type="button" onClick=${() => change(one.name, { active: !one.active })}>${one.active ? "Lock out" : "Let in again"}</button>
            <button type="button" onClick=${() => setWhose(whose === one.name ? "" : one.name)}>Set password</button></div></td></tr>`)}</tbody></table></div>`}
      ${whose && html`<section class="narrowed"><h2>Password for ${whose}</h2><${Form} key=${whose} action=${set} button="Set password" label="Set password"><${NewPasswordField} /></${Form}></section>`}
      <section class="narrowed"><h2>Somebody new</h2>
        <${Form} action=${add} button="Add" label="Somebody new"><${Field} name="name" title="Name: a-z, 0-9, . _ -" pattern="[a-z0-9][a-z0-9._\\-]*" autocomplete="off" />
          <label class="wide"><span>Role</span><select name="role">${ROLES.map((role) => html`<option value=${role} selected=${role === "annotator"}>${role}</option>`)}</select></label>
          <${NewPasswordField} /></${Form}></section>
      <section><h2>What was done</h2><div class="scroll"><table class="measures"><thead><tr><th scope="col">When (UTC)</th><th scope="col" class="text">Who</th><th scope="col" class="text">What</th><th scope="col" class="text">From</th></tr></thead>
        <tbody>${log.map((line) => html`<tr key=${line.id}><th scope="row">${moment(line.at)}</th><td class="text">${line.name}</td><td class="text">${line.did}</td><td class="text">${line.address}</td></tr>`)}</tbody></table></div>
        ${log.length > 0 && log.length % 50 === 0 && html`<button type="button" onClick=${older}>Older</button>`}</section>
    </main>`;
}
