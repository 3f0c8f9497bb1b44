// Summary, models, processes, hops, health and what was refused: numbers of /api/pipeline as text.
import {
  Table, el, svg, keep, setText, setAttribute, setClass, kNone,
  rate, duration, pair, age, bytes, share, cores, count, capital,
} from "./base.js";

const kLongTurnNs = 100e6;
const kParts = [
  ["queue", "waiting"], ["input", "input"], ["infer", "inference"], ["output", "output"], ["other", "protocol"],
];

function sparkline(values) {
  const known = values.filter((v) => v !== null);
  const most = Math.max(...known, 1e-9), n = Math.max(values.length - 1, 1);
  let line = "", area = "", open = null;
  values.forEach((v, i) => {
    if (v === null) {
      if (open !== null) area += `V26 Z`;
      open = null;
      return;
    }
    const x = ((i / n) * 100).toFixed(2), y = (25 - (v / most) * 22).toFixed(2);
    line += `${open === null ? "M" : "L"}${x},${y}`;
    area += open === null ? `M${x},26 L${x},${y}` : `L${x},${y}`;
    if (open === null) open = x;
    if (i === values.length - 1) area += "V26 Z";
  });
  return { line, area };
}

function tile(name) {
  const parts = {
    value: el("dd", { class: "value" }), aside: el("dd", { class: "aside" }),
    area: svg("path", { class: "area" }), line: svg("path"),
  };
  const node = el("div", { class: "tile", "data-tile": name }, el("dt", null, name), parts.value, parts.aside,
    svg("svg", { class: "spark", viewBox: "0 0 100 26", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("path", { class: "base", d: "M0,26H100" }), parts.area, parts.line));
  node.parts = parts;
  return node;
}

export function showSummary(host, data) {
  const t = data.traffic, h = data.history;
  const shed = data.shed.reduce((sum, one) => sum + (one.per_second || 0), 0);
  const late = t.p99_ns !== null && t.p99_ns > data.slo_ns;
  const down = data.stages.reduce((sum, stage) => sum + Math.max(0, stage.wanted - stage.ready), 0);
  const tiles = [
    { name: "Requests", value: rate(t.per_second), aside: `${count(t.requests)} in all`, series: h.per_second },
    { name: "Errors", value: share(t.error_share), aside: `${rate(t.errors_per_second)}; shed ${rate(shed)}`, series: h.errors_per_second,
      state: t.error_share > 0.01 ? "is-bad" : t.error_share > 0.001 ? "is-warn" : "" },
    { name: "Latency p50", value: duration(t.p50_ns), aside: "of OK answers", series: h.p50_ns },
    { name: "Latency p99", value: duration(t.p99_ns), aside: `objective ${duration(data.slo_ns)}`, series: h.p99_ns, state: late ? "is-warn" : "" },
    { name: "In flight", value: count(t.in_flight), aside: t.slo_share === null ? "" : `${share(t.slo_share)} in time`, series: h.in_flight },
    { name: "Restarts", value: count(data.events.deaths), aside: down ? `${down} not ready now` : "all are ready",
      series: h.deaths, state: down ? "is-bad" : "" },
  ];
  keep(host, tiles, (one) => one.name, (one) => tile(one.name), (node, one) => {
    setClass(node, `tile ${one.state || ""}`);
    setText(node.parts.value, one.value);
    setText(node.parts.aside, one.aside);
    const { line, area } = sparkline(one.series || []);
    setAttribute(node.parts.line, "d", line);
    setAttribute(node.parts.area, "d", area);
  });
}

// One bar: where the mean time of an answer went.
function partsCell(td, model) {
  const bar = td.firstElementChild || td.appendChild(el("div", { class: "parts", role: "img" }));
  const parts = model.parts;
  const all = parts ? kParts.reduce((sum, [key]) => sum + parts[`${key}_ns`], 0) : 0;
  setAttribute(bar, "aria-label", all === 0 ? "no answers of late" :
    kParts.map(([key, name]) => `${name} ${duration(parts[`${key}_ns`])}`).join(", "));
  setAttribute(bar, "title", bar.getAttribute("aria-label"));
  keep(bar, all === 0 ? [] : kParts, ([key]) => key, ([key]) => el("i", { class: `c-${key}` }),
    (node, [key]) => { node.style.width = `${(parts[`${key}_ns`] / all) * 100}%`; });
}

function goldenCell(td, model) {
  const text = model.ready === null ? "no golden request" : model.ready ? age(model.golden_age_ns) + " ago" : "not right";
  const node = td.firstElementChild || td.appendChild(el("span"));
  setClass(node, `dot ${model.ready === null ? "" : model.ready ? "is-ok" : "is-bad"}`);
  setText(node, text);
}

function nameCell(td, model) {
  const text = td.firstElementChild || td.appendChild(el("span"));
  const version = td.children[1] || td.appendChild(el("small"));
  setText(text, model.model === "" ? "others" : model.model);
  setText(version, model.version === "" ? "" : `version ${model.version}`);
}

const codes = (model) =>
  Object.entries(model.by_code).filter(([code]) => code !== "OK").map(([code, n]) => `${code} ${count(n)}`).join(", ");

export function makeModels(host, legend) {
  legend.append(...kParts.map(([key, name]) => el("li", null, el("i", { class: `c-${key}` }), name)));
  const table = new Table(host, "Models and their versions", [
    { head: "Model", class: "name", cell: nameCell },
    { head: "Requests", class: "num", cell: (td, m) => rate(m.per_second) },
    { head: "Errors", class: "num", cell: (td, m) => {
      setAttribute(td, "title", codes(m));
      setClass(td, m.error_share > 0 ? "num bad" : "num");
      return share(m.error_share);
    } },
    { head: "p50", class: "num", cell: (td, m) => duration(m.p50_ns) },
    { head: "p99", class: "num", cell: (td, m) => duration(m.p99_ns) },
    { head: "Batch run", label: "Batch run p50 / p99", class: "num wide", cell: (td, m) => m.run ? pair(m.run.p50_ns, m.run.p99_ns) : kNone },
    { head: "Rows a batch", class: "num minor", cell: (td, m) => m.batch_rows === null ? kNone : m.batch_rows.toFixed(1) },
    { head: "In all", class: "num minor", cell: (td, m) => count(m.requests) },
    { head: "Mean time by part", label: "Time by part", class: "wide", cell: partsCell },
    { head: "Golden answer", label: "Golden", class: "wide", cell: goldenCell },
  ]);
  return (data) => table.show(data.models, (m) => JSON.stringify([m.model, m.version]), "No model has been asked yet.");
}

const stateKind = (state) => (state === "ready" || state === "spare" ? "is-ok" : state === "down" || state === "died" ? "is-bad" : "is-warn");

function stateCell(td, worker) {
  const node = td.firstElementChild || td.appendChild(el("span"));
  setClass(node, `dot ${stateKind(worker.state)}`);
  setText(node, worker.state);
}

export function makeWorkers(host) {
  const table = new Table(host, "Processes", [
    { head: "Process", class: "name", cell: (td, w) => w.name },
    { head: "State", cell: stateCell },
    { head: "Incarnation", class: "num", cell: (td, w) => (w.incarnation ? `#${w.incarnation}` : kNone) },
    { head: "Restarts", class: "num", cell: (td, w) => count(w.restarts) },
    { head: "Up", class: "num", cell: (td, w) => age(w.uptime_ns) },
    { head: "CPU", class: "num", cell: (td, w) => cores(w.cpu_cores) },
    { head: "Core wait", class: "num minor", cell: (td, w) => {
      setAttribute(td, "title", "Threads that could run and waited for a core, as a share of one");
      return cores(w.run_delay_cores);
    } },
    { head: "Worst turn", class: "num", cell: (td, w) => {
      setAttribute(td, "title", "The longest of the last ten to twenty seconds in which its loop did not look around");
      setClass(td, w.worst_turn_ns > kLongTurnNs ? "num warn" : "num");
      return w.lanes ? duration(w.worst_turn_ns) : kNone;
    } },
    { head: "Memory", class: "num", cell: (td, w) => bytes(w.resident_bytes) },
    { head: "Shared", class: "num minor", cell: (td, w) => bytes(w.shared_bytes) },
    { head: "Waiting", class: "num", cell: (td, w) => (w.lanes ? count(w.queue_depth) : kNone) },
    { head: "Blocks", class: "num minor", cell: (td, w) => (w.lanes ? count(w.blocks) : kNone) },
    { head: "Messages", class: "num", cell: (td, w) => (w.lanes ? rate(w.per_second) : kNone) },
    { head: "Busy", class: "num minor", cell: (td, w) => share(w.busy_share) },
    { head: "p50 / p99", class: "num wide", cell: (td, w) => (w.work ? pair(w.work.p50_ns, w.work.p99_ns) : kNone) },
    { head: "PID", class: "num minor", cell: (td, w) => (w.pid ? String(w.pid) : kNone) },
  ], {
    made: (line, w) => { line.id = `row-${w.name}`; line.tabIndex = -1; },
  });
  return (data) => table.show(data.workers, (w) => w.name, "The supervisor has not said yet what there is.");
}

export function makeHops(host) {
  const table = new Table(host, "Hops", [
    { head: "From", cell: (td, l) => l.from, class: "name" },
    { head: "To", cell: (td, l) => l.to },
    { head: "Messages", class: "num", cell: (td, l) => rate(l.per_second) },
    { head: "In all", class: "num", cell: (td, l) => count(l.messages) },
    { head: "Wait p50", class: "num", cell: (td, l) => (l.wait ? duration(l.wait.p50_ns) : kNone) },
    { head: "Wait p99", class: "num", cell: (td, l) => (l.wait ? duration(l.wait.p99_ns) : kNone) },
    { head: "Waiting there", class: "num", cell: (td, l) => count(l.depth) },
    { head: "", label: "Note", cell: (td, l) => (l.estimated ? "a difference of two counters" : "") },
  ]);
  return (data) => table.show(data.links, (l) => `${l.from}-${l.to}`, "No links.");
}

export function showHealth(host, data) {
  const e = data.events;
  const open = data.stages.filter((stage) => stage.breaker !== "closed").map((stage) => stage.stage);
  const facts = [
    ["Golden requests", data.ready ? "right" : "not right", data.ready ? "" : "bad"],
    ["Models served / not served", `${count(e.models)} / ${count(e.models_failed)}`, e.models_failed ? "warn" : ""],
    ["Requests in quarantine", count(e.quarantined), e.quarantined ? "bad" : ""],
    ["Poison, since the start", count(e.poisoned), e.poisoned ? "warn" : ""],
    ["Requests sent again", count(e.replayed), ""],
    ["Breakers of models", count(e.model_breakers_open), e.model_breakers_open ? "bad" : ""],
    ["Breakers of stages", open.length ? open.join(", ") : "closed", open.length ? "bad" : ""],
    ["Deaths / hangs", `${count(e.deaths)} / ${count(e.hangs)}`, ""],
    ["Accusations between processes", count(e.accusations), e.accusations ? "bad" : ""],
    ["Last death routed around in", duration(e.last_reroute_ns), ""],
    ["Catalog, newest / live", `${count(e.catalog_generation)} / ${count(e.live_generation)}`, e.catalog_generation !== e.live_generation ? "warn" : ""],
    ["Other programs' cores", e.foreign_cores === null ? kNone : e.foreign_cores.toFixed(1), e.foreign_cores > 1 ? "warn" : ""],
    ["Pages that were refused", count(data.pages_refused), data.pages_refused ? "bad" : ""],
    ...data.gpus.flatMap((gpu, i) => [[`GPU ${i}: busy, memory, power`,
      `${share(gpu.utilization)}, ${bytes(gpu.memory_used_bytes)}, ${gpu.power_watts === null ? kNone : Math.round(gpu.power_watts) + " W"}`, ""]]),
  ];
  const flat = facts.flatMap(([name, value, kind]) => [{ key: `${name} name`, tag: "dt", text: name }, { key: name, tag: "dd", text: value, kind }]);
  keep(host, flat, (one) => one.key, (one) => el(one.tag, { "data-fact": one.key }), (node, one) => {
    setText(node, one.text);
    setClass(node, one.kind || "");
  });
}

export function makeShed(host) {
  const why = {
    predicted: "could not finish by its deadline", limit: "more in flight than deadlines bear", full: "no room",
    delay: "waited too long for a worker", priority: "gave way to a higher priority", replays: "too many sent again",
    quota: "its key's rate or quota", breaker: "model or stage is shut out",
  };
  const table = new Table(host, "Refused under load, by reason", [
    { head: "Reason", class: "name", cell: (td, s) => capital(s.reason) },
    { head: "Meaning", class: "wide", cell: (td, s) => why[s.reason] || "" },
    { head: "Now", class: "num", cell: (td, s) => rate(s.per_second) },
    { head: "In all", class: "num", cell: (td, s) => count(s.total) },
  ]);
  return (data) => table.show(data.shed.filter((s) => s.total > 0), (s) => s.reason, "Nothing was refused.");
}
