// A flame graph: callers over callees, as wide as their share; one step deeper by Enter or click.
import { el, setText, setAttribute, bytes } from "./base.js";
import { readProfile } from "./profile.js";

const kLine = 20, kMostFrames = 4000, kMostDepth = 160;

const tint = (name) => {
  let hash = 0;
  for (let i = 0; i < name.length; ++i) hash = (hash * 31 + name.charCodeAt(i)) >>> 0;
  return `t${hash % 5}`;
};

function amount(value, unit) {
  if (unit === "bytes") return bytes(value);
  return unit === "nanoseconds" ? `${(value / 1e9).toFixed(2)} s` : `${value} samples`;
}

export class Flame {
  constructor(host, about) {
    this.about = about;
    this.file = el("input", { type: "file", id: "profile-file", onchange: () => this.file.files[0] && this.load(this.file.files[0]) });
    this.drop = el("div", {
      class: "drop",
      ondragover: (event) => { event.preventDefault(); this.drop.classList.add("over"); },
      ondragleave: () => this.drop.classList.remove("over"),
      ondrop: (event) => {
        event.preventDefault();
        this.drop.classList.remove("over");
        if (event.dataTransfer.files[0]) this.load(event.dataTransfer.files[0]);
      },
    }, this.file, el("label", { for: "profile-file" }, "Open a profile"),
      el("span", null, "or drop it here. It stays in this browser. One is taken on the server by"),
      el("code", null, "millrace profile execution --seconds 10 --output execution.pb.gz"),
      el("span", null, "(of its memory: --heap)"));
    this.search = el("input", { type: "search", placeholder: "Find a function", "aria-label": "Find a function", oninput: () => this.mark() });
    this.found = el("span", { class: "found", role: "status" });
    this.up = el("button", { type: "button", onclick: () => this.zoom(this.root) }, "Whole profile");
    this.tools = el("div", { class: "flame-tools", hidden: true }, this.search, this.up, this.found);
    this.graph = el("div", { class: "flame", role: "tree", "aria-label": "Flame graph", onkeydown: (event) => this.key(event) });
    this.line = el("p", { class: "flame-line", role: "status" });
    host.append(this.drop, this.tools, this.graph, this.line);
    new ResizeObserver(() => this.at && this.draw()).observe(this.graph);
  }

  async load(file) {
    try {
      const profile = await readProfile(file);
      this.unit = profile.unit;
      this.root = profile.root;
      setText(this.about, [file.name, amount(this.root.value, this.unit), profile.about && `in ${profile.about}`].filter(Boolean).join(", "));
      setText(this.line, "");
      this.tools.hidden = false;
      this.zoom(this.root);
    } catch (error) {
      setText(this.line, error.message);
    }
  }

  zoom(node) {
    this.at = node;
    this.focus = node;
    this.draw();
  }

  // Frames of what is shown, breadth first, without those too narrow to see.
  draw() {
    const width = this.graph.clientWidth;
    if (width === this.width && this.at === this.drawn) return;
    this.width = width;
    this.drawn = this.at;
    const least = this.at.value / Math.max(width, 100);  // one pixel
    const frames = [];
    const level = [{ node: this.at, start: 0, depth: 0, parent: null }];
    let deepest = 0;
    for (let i = 0; i < level.length && frames.length < kMostFrames; ++i) {
      const frame = level[i];
      frames.push(frame);
      deepest = Math.max(deepest, frame.depth);
      let start = frame.start;
      const children = [...frame.node.children.values()].sort((a, b) => b.value - a.value);
      for (const child of children) {
        if (child.value >= least && frame.depth < kMostDepth) level.push({ node: child, start, depth: frame.depth + 1, parent: frame });
        start += child.value;
      }
    }
    this.graph.replaceChildren(...frames.map((frame) => this.frame(frame)));
    this.graph.style.height = `${(deepest + 1) * kLine}px`;
    this.frames = frames;
    this.mark();
  }

  frame(frame) {
    const { node, start, depth } = frame;
    const percent = ((node.value / this.root.value) * 100).toFixed(1);
    const shown = el("button", {
      type: "button", class: `frame ${tint(node.name)}`, role: "treeitem", tabindex: node === this.focus ? 0 : -1,
      "aria-level": depth + 1, "aria-label": `${node.name}, ${percent} percent`,
      onclick: () => { this.zoom(node); this.focusOn(node); },
      onfocus: () => this.tell(node), onmouseenter: () => this.tell(node),
    });
    shown.style.left = `${(start / this.at.value) * 100}%`;
    shown.style.width = `max(1px, calc(${(node.value / this.at.value) * 100}% - 1px))`;
    shown.style.top = `${depth * kLine}px`;
    if ((node.value / this.at.value) * this.width > 26) shown.textContent = node.name;
    frame.shown = shown;
    return shown;
  }

  tell(node) {
    const part = (value) => `${((value / this.root.value) * 100).toFixed(1)} %`;
    setText(this.line, `${node.name}: ${part(node.value)} (${amount(node.value, this.unit)}), itself ${part(node.self)}`);
  }

  mark() {
    const text = this.search.value.trim().toLowerCase();
    let value = 0;
    for (const frame of this.frames || []) {
      const match = text !== "" && frame.node.name.toLowerCase().includes(text);
      frame.match = match || (frame.parent && frame.parent.match);
      if (match && !(frame.parent && frame.parent.match)) value += frame.node.value;
      frame.shown.classList.toggle("match", match);
    }
    setText(this.found, text === "" || !this.root ? "" : `${((value / this.root.value) * 100).toFixed(1)} % in it`);
  }

  focusOn(node) {
    const frame = this.frames.find((one) => one.node === node);
    if (!frame) return;
    for (const one of this.frames) setAttribute(one.shown, "tabindex", one === frame ? 0 : -1);
    this.focus = node;
    frame.shown.focus();
  }

  key(event) {
    const frame = (this.frames || []).find((one) => one.shown === document.activeElement);
    if (!frame) return;
    const beside = this.frames.filter((one) => one.depth === frame.depth);
    const at = beside.indexOf(frame);
    const next = {
      ArrowUp: frame.parent, ArrowDown: this.frames.find((one) => one.parent === frame),
      ArrowLeft: beside[at - 1], ArrowRight: beside[at + 1],
    }[event.key];
    if (event.key === "Escape") {
      this.zoom(this.root);
      this.focusOn(this.root);
    } else if (next) this.focusOn(next.node);
    else return;
    event.preventDefault();
  }
}
