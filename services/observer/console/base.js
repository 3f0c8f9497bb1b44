// What all panels use: elements, lists that keep their elements, numbers as people read them.
//
// Invariant: whatever comes from the server becomes text (textContent, attributes that are no code),
// never markup. console_page_test looks that nothing here or beside parses markup.

const kSvg = "http://www.w3.org/2000/svg";
export const kNone = "–";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) {
    if (child !== null && child !== undefined) node.append(child);
  }
  return node;
}

export const el = (name, attributes, ...children) =>
  fill(document.createElement(name), attributes, children);
export const svg = (name, attributes, ...children) =>
  fill(document.createElementNS(kSvg, name), attributes, children);

// Only where it differs: a page that redraws nothing keeps selections and costs nothing.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}
export function setClass(node, text) {
  setAttribute(node, "class", text);
}

// Elements of `host` for `items`, one each, known again by their key: focus and scroll stay.
export function keep(host, items, keyOf, make, update) {
  const known = host.known || (host.known = new Map());
  const seen = new Set();
  let at = host.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    if (seen.has(key)) continue;
    seen.add(key);
    let node = known.get(key);
    if (!node) {
      node = make(item);
      known.set(key, node);
    }
    if (node === at) at = at.nextElementSibling;
    else host.insertBefore(node, at);
    node.item = item;
    update(node, item);
  }
  for (const [key, node] of known) {
    if (seen.has(key)) continue;
    node.remove();
    known.delete(key);
  }
}

// A table with one row an item. columns: {head, class, label, cell(td, item)}.
export class Table {
  constructor(host, caption, columns, row = {}) {
    this.columns = columns;
    this.row = row;
    this.host = host;
    this.body = el("tbody");
    this.table = el("table", { class: "cards" },
      el("caption", { class: "hidden" }, caption),
      el("thead", null, el("tr", null, ...columns.map((column) =>
        el("th", { scope: "col", class: column.class || "" }, column.head)))),
      this.body);
    this.empty = el("p", { class: "empty" });
    host.append(this.table, this.empty);
  }

  show(items, keyOf, none) {
    this.table.hidden = items.length === 0;
    this.empty.hidden = items.length !== 0;
    setText(this.empty, none);
    keep(this.body, items, keyOf,
      (item) => {
        const line = el("tr", null, ...this.columns.map((column) =>
          el("td", { class: column.class || "", "data-label": column.label || column.head })));
        if (this.row.made) this.row.made(line, item);
        return line;
      },
      (line, item) => {
        this.columns.forEach((column, i) => {
          const shown = column.cell(line.children[i], item);
          if (typeof shown === "string") setText(line.children[i], shown);
        });
        if (this.row.updated) this.row.updated(line, item);
      });
  }
}

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const isNumber = (x) => typeof x === "number" && Number.isFinite(x);

// Three digits that matter.
function short(x) {
  if (x >= 99.95 || x === 0) return grouped.format(x);
  return x >= 9.995 ? x.toFixed(1) : x.toFixed(2);
}

export function count(x) {
  if (!isNumber(x)) return kNone;
  if (x < 1e6) return grouped.format(x);
  return x < 1e9 ? short(x / 1e6) + " M" : short(x / 1e9) + " G";
}
export function rate(x) {
  if (!isNumber(x)) return kNone;
  if (x === 0) return "0/s";
  if (x < 9.95) return x.toFixed(1) + "/s";
  return (x < 99_950 ? grouped.format(x) : short(x / 1000) + " k") + "/s";
}
export function duration(ns) {
  if (!isNumber(ns)) return kNone;
  if (ns < 999_500) return short(ns / 1e3) + " µs";
  if (ns < 999_500_000) return short(ns / 1e6) + " ms";
  return short(ns / 1e9) + " s";
}
// Two of them, as "8 / 31 µs" where the unit is one.
export function pair(low, high) {
  if (!isNumber(low) || !isNumber(high)) return kNone;
  const a = duration(low).split(" "), b = duration(high).split(" ");
  return a[1] === b[1] ? `${a[0]} / ${b.join(" ")}` : `${a.join(" ")} / ${b.join(" ")}`;
}
export function age(ns) {
  if (!isNumber(ns)) return kNone;
  const s = ns / 1e9;
  if (s < 10) return s.toFixed(1) + " s";
  if (s < 120) return Math.floor(s) + " s";
  if (s < 7200) return Math.floor(s / 60) + " min";
  if (s < 172_800) return Math.floor(s / 3600) + " h";
  return Math.floor(s / 86_400) + " d";
}
export function bytes(n) {
  if (!isNumber(n)) return kNone;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; ++i; }
  return (i === 0 ? String(n) : n < 10 ? n.toFixed(1) : n.toFixed(0)) + " " + units[i];
}
export function share(x) {
  if (!isNumber(x)) return kNone;
  if (x === 0) return "0 %";
  if (x < 0.0001) return "< 0.01 %";
  const percent = x * 100;
  return (percent < 9.995 ? percent.toFixed(2) : percent < 99.95 ? percent.toFixed(1) : "100") + " %";
}
export function cores(x) {
  return isNumber(x) ? (x * 100).toFixed(x < 0.0995 ? 1 : 0) + " %" : kNone;
}
export function clock(unixMs) {
  const date = new Date(unixMs);
  const two = (n) => String(n).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
export function capital(word) {
  return word ? word[0].toUpperCase() + word.slice(1).replaceAll("_", " ") : "";
}
