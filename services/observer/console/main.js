// Asks the observer again and again, and shows what it says.
//
// Invariants: 1. one question at a time; a page that nobody sees asks nothing. 2. numbers that are
// old are shown as old.
import { el, keep, setText, setClass, clock, age } from "./base.js";
import { Picture } from "./picture.js";
import { showSummary, showHealth, makeModels, makeWorkers, makeHops, makeShed } from "./panels.js";
import { makeDebt } from "./debt.js";
import { Traces } from "./traces.js";
import { Logs } from "./logs.js";
import { Flame } from "./flame.js";

const kPeriodMs = 400, kTracesMs = 2000, kPatienceMs = 4000, kFreshMs = 20_000, kMostChanges = 60;

const $ = (id) => document.getElementById(id);
const panels = [makeModels($("models"), $("parts-legend")), makeWorkers($("workers")), makeHops($("hops")), makeShed($("shed")),
  makeDebt($("debt"), $("debt-about"))];
const picture = new Picture($("picture"), showWorker);
const traces = new Traces($("traces"), $("why"), $("trace"));
const logs = new Logs($("events"), $("events-filter"), $("events-about"));
new Flame($("flame"), $("flame-about"));

let paused = false, failedSinceMs = 0, before = null, changes = [];
const freshUntilMs = new Map();

function showWorker(name) {
  for (const row of document.querySelectorAll("#workers tr.target")) row.classList.remove("target");
  const row = $(`row-${name}`);
  if (!row) return;
  row.classList.add("target");
  row.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  row.focus({ preventScroll: true });
}

function tell(unixMs, text, kind) {
  changes.unshift({ key: `${unixMs} ${changes.length} ${text}`, unixMs, text, kind });
  changes = changes.slice(0, kMostChanges);
}

// What differs between two answers and is worth a line.
function compare(old, now) {
  const known = new Map(old.workers.map((worker) => [worker.name, worker]));
  for (const worker of now.workers) {
    const was = known.get(worker.name);
    known.delete(worker.name);
    if (!was) tell(now.unix_ms, `${worker.name} was added`);
    else if (was.incarnation !== worker.incarnation && worker.incarnation !== 0) {
      tell(now.unix_ms, `${worker.name} runs as incarnation #${worker.incarnation}` + (worker.restarts > was.restarts ? ", after an end that nobody asked for" : ""), "warn");
      freshUntilMs.set(worker.name, performance.now() + kFreshMs);
    } else if (was.state !== worker.state) {
      tell(now.unix_ms, `${worker.name} is ${worker.state}`, worker.state === "ready" ? "" : "bad");
    }
  }
  for (const name of known.keys()) tell(now.unix_ms, `${name} was taken away`);
  if (old.ready !== now.ready) tell(now.unix_ms, now.ready ? "ready" : "not ready", now.ready ? "" : "bad");
  if (old.events.live_generation !== now.events.live_generation) tell(now.unix_ms, `catalog ${now.events.live_generation} is live`);
  if (now.events.quarantined > old.events.quarantined) tell(now.unix_ms, "a request went into quarantine", "bad");
}

function showState(kind, text) {
  setClass($("state"), `pill ${kind}`);
  setText($("state"), text);
}

function show(data) {
  if (before && data.now_ns > before.now_ns) compare(before, data);
  before = data;
  const fresh = new Set([...freshUntilMs].filter(([, until]) => until > performance.now()).map(([name]) => name));
  picture.show(data, fresh);
  showSummary($("summary"), data);
  for (const panel of panels) panel(data);
  logs.learn(data.workers.map((worker) => worker.name));
  showHealth($("health"), data);
  keep($("changes"), changes, (one) => one.key,
    (one) => el("li", null, el("time", null, clock(one.unixMs)), el("span", { class: one.kind || "" }, one.text)), () => {});
  // The supervisor speaks four times a second.
  const silent = data.view_age_ns === null || data.view_age_ns > 3e9;
  if (silent) showState("is-warn", "Supervisor is silent");
  else if (data.ready) showState("is-ok", "Ready");
  else showState("is-bad", "Not ready");
  const span = data.interval_ns > 0 ? `numbers of the last ${age(data.interval_ns)}` : "first numbers in a moment";
  setText($("about"), `version ${data.version}; ${span}`);
  document.title = data.ready ? "Millrace" : "Not ready - Millrace";
}

async function ask() {
  let data = null;
  try {
    const reply = await fetch("/api/pipeline", { signal: AbortSignal.timeout(kPatienceMs) });
    if (!reply.ok) throw new Error(`status ${reply.status}`);
    data = await reply.json();
  } catch {
    failedSinceMs = failedSinceMs || Date.now();
    document.body.classList.add("stale");
    showState("is-bad", "Observer does not answer");
    setText($("about"), `since ${clock(failedSinceMs)}; the numbers below are of before`);
    return;
  }
  failedSinceMs = 0;
  document.body.classList.remove("stale");
  show(data);
}

async function run(work, periodMs) {
  for (;;) {
    if (!paused && !document.hidden) await work().catch((error) => console.error(error));
    await new Promise((resolve) => setTimeout(resolve, periodMs));
  }
}

function chooseTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  $("theme").value = theme;
}

let stored = "";
try { stored = localStorage.getItem("theme") || ""; } catch { /* a browser that stores nothing */ }
chooseTheme(["light", "dark"].includes(stored) ? stored : "");
$("theme").addEventListener("change", () => {
  chooseTheme($("theme").value);
  try { localStorage.setItem("theme", $("theme").value); } catch { /* as above */ }
});
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  setText($("pause"), paused ? "Go on" : "Pause");
});

run(ask, kPeriodMs);
run(() => traces.refresh(), kTracesMs);
run(() => logs.refresh(), kTracesMs);
