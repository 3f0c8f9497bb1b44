// The newest lines of /api/logs: by process and by how bad they are.
import { Table, el, setText, setClass, setAttribute, clock, count } from "./base.js";

const kLevels = [["info", "All"], ["warning", "Warnings"], ["error", "Errors"]];
const kShown = 200;

export class Logs {
  constructor(host, filters, about) {
    this.level = kLevels[0][0];
    this.about = about;
    this.buttons = kLevels.map(([level, name]) => el("button", {
      type: "button", "aria-pressed": String(level === this.level), "data-level": level,
      onclick: () => {
        this.level = level;
        this.buttons.forEach((button, i) => setAttribute(button, "aria-pressed", String(kLevels[i][0] === level)));
        this.refresh();
      },
    }, name));
    this.process = el("select", { id: "log-process", onchange: () => this.refresh() }, el("option", { value: "" }, "All processes"));
    filters.append(el("label", null, el("span", { class: "hidden" }, "Process"), this.process), ...this.buttons);
    this.names = new Set();
    const box = el("div", { class: "log-box", tabindex: 0, role: "region", "aria-label": "Lines, the newest first" });
    host.append(box);
    this.table = new Table(box, "What processes logged, the newest first", [
      { head: "At", class: "when", cell: (td, line) => {
        setAttribute(td, "title", new Date(line.unix_us / 1000).toISOString());
        return clock(line.unix_us / 1000);
      } },
      { head: "Process", class: "name", cell: (td, line) => {
        setAttribute(td, "title", `pid ${line.pid}` + (line.incarnation ? `, incarnation #${line.incarnation}` : ""));
        return line.process;
      } },
      { head: "Event", class: "wide", cell: (td, line) => {
        const node = td.firstElementChild || td.appendChild(el("span"));
        setClass(node, `dot ${{ error: "is-bad", warning: "is-warn" }[line.level] || ""}`);
        setAttribute(node, "title", line.level);
        setText(node, (line.event || "line") + (line.suppressed ? ` (${count(line.suppressed)} before it were not logged)` : ""));
      } },
      { head: "What", class: "wide fields", cell: (td, line) => line.fields },
    ]);
  }

  // A process that ended keeps its place in the list: its lines are wanted most.
  learn(names) {
    for (const name of names) {
      if (this.names.has(name)) continue;
      this.names.add(name);
      const after = [...this.process.options].slice(1).find((option) => option.value > name);
      this.process.insertBefore(el("option", { value: name }, name), after || null);
    }
  }

  async refresh() {
    const asked = `level=${this.level}&process=${encodeURIComponent(this.process.value)}`;
    this.asked = asked;
    let lines = [], none = "Nothing was logged.";
    try {
      const reply = await fetch(`/api/logs?limit=${kShown}&${asked}`, { signal: AbortSignal.timeout(4000) });
      if (reply.ok) lines = (await reply.json()).lines;
      else none = `The observer answers ${reply.status}.`;
    } catch {
      none = "The observer does not answer.";
    }
    if (asked !== this.asked) return;  // something else was chosen meanwhile
    this.learn(lines.map((line) => line.process));
    lines.reverse();
    this.table.show(lines, (line) => line.seq, none);
    setText(this.about, lines.length === kShown ? `The newest ${kShown}; millrace logs has more.` : "");
  }
}
