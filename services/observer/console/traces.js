// The last slow and failed requests of /api/traces, and the waterfall of each in a dialog.
import { Table, el, setText, setClass, setAttribute, duration, clock, kNone } from "./base.js";

// What each button asks for: those that were sampled are many, and would hide the others.
const kFilters = [["slow failed", "Slow and failed"], ["slow", "Slow"], ["failed", "Failed"], ["sampled", "Sampled"]];
const kShown = 50;

const startMs = (trace) => Number(BigInt(trace.start_unix_ns || "0") / 1_000_000n);

// Spans below their parents, in the order of their starts; a parent that is not there is the root.
function tree(spans) {
  const known = new Set(spans.map((span) => span.span_id)), below = new Map();
  for (const span of spans.slice(1)) {
    const parent = known.has(span.parent_span_id) && span.parent_span_id !== span.span_id ? span.parent_span_id : spans[0].span_id;
    if (!below.has(parent)) below.set(parent, []);
    below.get(parent).push(span);
  }
  const lines = [], seen = new Set();
  const visit = (span, depth) => {
    if (seen.has(span)) return;
    seen.add(span);
    lines.push({ span, depth });
    for (const child of below.get(span.span_id) || []) visit(child, depth + 1);
  };
  if (spans.length) visit(spans[0], 0);
  for (const span of spans) visit(span, 1);  // a ring of parents
  return lines;
}

export class Traces {
  constructor(host, filters, dialog) {
    this.why = kFilters[0][0];
    this.dialog = dialog;
    this.buttons = kFilters.map(([why, name]) => el("button", {
      type: "button", "aria-pressed": String(why === this.why),
      onclick: () => {
        this.why = why;
        this.buttons.forEach((button, i) => setAttribute(button, "aria-pressed", String(kFilters[i][0] === why)));
        this.refresh();
      },
    }, name));
    filters.append(...this.buttons);
    this.table = new Table(host, "Requests that were kept", [
      { head: "At", cell: (td, t) => clock(startMs(t)) },
      { head: "Model", class: "name", cell: (td, t) => t.model || kNone },
      { head: "Took", class: "num", cell: (td, t) => duration(t.duration_ns) },
      { head: "Why", class: "wide", cell: (td, t) => tags(td, t.why || []) },
      { head: "Answer", class: "wide", cell: (td, t) => { setClass(td, t.code === "OK" ? "wide" : "wide bad"); return t.code || kNone; } },
      { head: "Longest step", class: "wide", cell: (td, t) => longest(t) },
      { head: "Trace", class: "minor", cell: (td, t) => el2(td, "code", (t.trace_id || "").slice(0, 8)) },
    ], {
      made: (line) => {
        line.tabIndex = 0;
        line.setAttribute("aria-haspopup", "dialog");
        line.addEventListener("click", () => this.open(line.item));
        line.addEventListener("keydown", (event) => this.key(event, line));
      },
      updated: (line, t) => setAttribute(line, "data-trace", t.trace_id),
    });
    this.about = el("p", { class: "note" });
    host.append(this.about);
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }

  key(event, line) {
    const next = { ArrowDown: line.nextElementSibling, ArrowUp: line.previousElementSibling }[event.key];
    if (next) next.focus();
    else if (event.key === "Enter" || event.key === " ") this.open(line.item);
    else return;
    event.preventDefault();
  }

  async refresh() {
    const asked = this.why;
    let answers = [], none = "";
    try {
      answers = await Promise.all(asked.split(" ").map(async (why) => {
        const reply = await fetch(`/api/traces?limit=${kShown}&why=${why}`, { signal: AbortSignal.timeout(4000) });
        if (reply.status === 404) none = "This server keeps no traces.";
        else if (!reply.ok) none = `The observer answers ${reply.status}.`;
        return reply.ok ? reply.json() : null;
      }));
    } catch {
      none = "The observer does not answer.";
    }
    if (asked !== this.why) return;  // another filter was chosen meanwhile
    const known = answers.filter((data) => data && Array.isArray(data.kept));
    const kept = known.flatMap((data) => data.kept).sort((a, b) => startMs(b) - startMs(a));
    this.table.show(kept.slice(0, kShown), (t) => t.trace_id + (t.start_unix_ns || ""), none || "No such request was kept.");
    const data = known[0] || {};
    setText(this.about,
      [data.lost ? `${data.lost} records were overwritten before they were read` : "",
       data.export_failed ? `${data.export_failed} traces could not be exported` : ""].filter(Boolean).join("; "));
  }

  open(trace) {
    const spans = Array.isArray(trace.spans) ? trace.spans : [];
    const lines = tree(spans);
    const whole = Math.max(trace.duration_ns || 0, ...spans.map((s) => (s.start_ns || 0) + (s.duration_ns || 0)), 1);
    const facts = el("dl", { class: "attributes" });
    const rows = lines.map(({ span, depth }, i) => {
      const waits = /queue|wait/.test(span.name || "") ? " waits" : "";
      const bar = el("i", { class: `c-${/^[a-z]+$/.test(span.stage) ? span.stage : "other"}${waits}` });
      const left = Math.min(100, Math.max(0, ((span.start_ns || 0) / whole) * 100));
      bar.style.left = `${left}%`;
      bar.style.width = `${Math.min(100 - left, ((span.duration_ns || 0) / whole) * 100)}%`;
      const what = el("span", { class: "what" }, span.name || kNone);
      what.style.paddingLeft = `${Math.min(depth, 8) * 14}px`;
      return el("div", {
        class: "span", role: "option", tabindex: i === 0 ? 0 : -1, "aria-selected": "false", "data-span": span.name,
        "aria-label": `${span.name}, ${span.stage || ""}, from ${duration(span.start_ns)}, for ${duration(span.duration_ns)}`,
        onfocus: (event) => choose(event.currentTarget, span),
        onclick: (event) => event.currentTarget.focus(),
      }, what, el("span", { class: "track" }, bar), el("span", { class: "long" }, duration(span.duration_ns)));
    });
    const choose = (row, span) => {
      for (const other of rows) {
        setAttribute(other, "aria-selected", String(other === row));
        other.tabIndex = other === row ? 0 : -1;
      }
      facts.replaceChildren(...describe(span).flatMap(([name, value]) => [el("dt", null, name), el("dd", null, value)]));
    };
    const list = el("div", {
      class: "spans", role: "listbox", "aria-label": "Steps",
      onkeydown: (event) => {
        const at = rows.indexOf(document.activeElement);
        const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
        if (to === undefined || !rows[to]) return;
        event.preventDefault();
        rows[to].focus();
      },
    }, ...rows);
    const close = el("button", { type: "button", onclick: () => this.dialog.close() }, "Close");
    this.dialog.replaceChildren(
      el("div", { class: "top" },
        el("div", null,
          el("h2", { id: "trace-title" }, `${trace.model || "No model"} ${trace.version ? "version " + trace.version : ""}: ${trace.code}, ${duration(trace.duration_ns)}`),
          el("p", { class: "id" }, `trace ${trace.trace_id}, ${new Date(startMs(trace)).toISOString()}`)),
        close),
      list, facts);
    this.dialog.showModal();
    if (rows.length) rows[0].focus();
    else facts.append(el("dt", null, "Steps"), el("dd", null, "none were recorded"));
  }
}

function describe(span) {
  const lines = [["Step", span.name || kNone], ["Process", `${span.stage || ""}${span.worker ?? ""} #${span.incarnation ?? ""}`],
    ["From / for", `${duration(span.start_ns)} / ${duration(span.duration_ns)}`]];
  for (const link of span.links || []) lines.push(["linked", `trace ${link.trace_id}, step ${link.span_id}`]);
  for (const [key, value] of Object.entries(span.attributes || {})) {
    if (["stage", "worker", "incarnation"].includes(key)) continue;  // said above
    lines.push([key, typeof value === "object" ? JSON.stringify(value) : String(value)]);
  }
  return lines;
}

// The deepest kind of step: one that no other lies in.
function longest(trace) {
  const spans = Array.isArray(trace.spans) ? trace.spans : [];
  const parents = new Set(spans.map((span) => span.parent_span_id));
  const leaves = spans.filter((span) => !parents.has(span.span_id));
  if (!leaves.length) return kNone;
  const most = leaves.reduce((a, b) => (b.duration_ns > a.duration_ns ? b : a));
  return `${most.name}, ${duration(most.duration_ns)}`;
}

function tags(td, why) {
  const key = why.join(" ");
  if (td.shown === key) return;
  td.shown = key;
  td.replaceChildren(el("span", { class: "tags" }, ...why.map((one) =>
    el("span", { class: `tag ${one === "failed" || one === "slow" ? one : ""}` }, one))));
}

function el2(td, name, text) {
  const node = td.firstElementChild || td.appendChild(el(name));
  setText(node, text);
}
