// The pipeline as a picture: a box for each stage, in it a card for each process, links between.
//
// Geometry is made anew when the width or the set of processes changes; else only texts change.
// Links come from the server: to the next stage, past one, or back.
import { svg, setText, setAttribute, setClass, keep, rate, pair, cores, count, duration, capital, kNone } from "./base.js";

const kWide = 940;
const kCard = 64, kCardGap = 7, kHead = 32, kPad = 8;

const stateClass = (state) =>
  state === "ready" || state === "spare" ? "is-ok" : state === "down" || state === "died" ? "is-bad" : "is-warn";

function shape(link, order) {
  const from = order.indexOf(link.from), to = order.indexOf(link.to);
  return { link, from, to, kind: to < from ? "back" : to - from > 1 ? "skip" : "next" };
}

// Boxes side by side, links over and under them.
function wide(width, stages, shapes) {
  const skips = shapes.filter((s) => s.kind === "skip"), backs = shapes.filter((s) => s.kind === "back");
  const gap = Math.min(170, Math.max(106, (width - 236 * stages.length) / (stages.length - 1)));
  const box = (width - gap * (stages.length - 1)) / stages.length;
  const heightOf = (stage) => kHead + kPad + Math.max(1, stage.workers.length) * (kCard + kCardGap) - kCardGap;
  const tallest = Math.max(...stages.map(heightOf));
  const top = skips.length ? 30 + 26 * (skips.length - 1) : 6;
  const middle = top + tallest / 2;
  const boxes = stages.map((stage, i) => ({
    x: i * (box + gap), y: middle - heightOf(stage) / 2, width: box, height: heightOf(stage), columns: 1,
  }));
  // Shorter ones run nearer to the boxes.
  backs.sort((a, b) => (a.from - a.to) - (b.from - b.to));
  const links = shapes.map((s) => {
    const a = boxes[s.from], b = boxes[s.to];
    if (s.kind === "next") {
      const x1 = a.x + a.width, x2 = b.x;
      return { ...s, d: `M${x1 + 3},${middle} H${x2 - 9}`, tip: [x2 - 3, middle, 0], label: [(x1 + x2) / 2, middle] };
    }
    if (s.kind === "skip") {
      const y = 12 + 26 * skips.indexOf(s), x1 = a.x + a.width, x2 = b.x, r = 12, low = middle - 34;
      return { ...s, tip: [x2 - 3, low, 0], label: [(x1 + x2) / 2, y], inline: true,
        d: `M${x1 + 3},${low} h9 q${r},0 ${r},${-r} V${y + r} q0,${-r} ${r},${-r} H${x2 - 3 - 21 - 2 * r} q${r},0 ${r},${r} V${low - r} q0,${r} ${r},${r} H${x2 - 9}` };
    }
    const k = backs.indexOf(s), y = top + tallest + 26 + 32 * k, r = 14;
    const x1 = a.x + a.width / 2, x2 = b.x + b.width / 2 - 18 * k + 9;
    const y1 = a.y + a.height + 3, y2 = b.y + b.height + 9;
    return { ...s, tip: [x2, y2 - 6, -90], label: [(x1 + x2) / 2, y], inline: true,
      d: `M${x1},${y1} V${y - r} q0,${r} ${-r},${r} H${x2 + r} q${-r},0 ${-r},${-r} V${y2}` };
  });
  return { boxes, links, height: top + tallest + (backs.length ? 12 + 32 * backs.length : 6) };
}

// Boxes one under the other; links past a stage at the left, back at the right.
function tall(width, stages, shapes) {
  const skips = shapes.filter((s) => s.kind === "skip"), backs = shapes.filter((s) => s.kind === "back");
  backs.sort((a, b) => (a.from - a.to) - (b.from - b.to));
  const left = skips.length ? 20 : 0, right = 20 * backs.length, gap = 64;
  const inner = width - left - right, columns = inner >= 420 ? 2 : 1;
  let y = 4;
  const boxes = stages.map((stage) => {
    const rows = Math.max(1, Math.ceil(stage.workers.length / columns));
    const height = kHead + kPad + rows * (kCard + kCardGap) - kCardGap;
    const one = { x: left, y, width: inner, height, columns };
    y += height + gap;
    return one;
  });
  const centre = left + inner / 2;
  const links = shapes.map((s) => {
    const a = boxes[s.from], b = boxes[s.to];
    if (s.kind === "next") {
      const y1 = a.y + a.height, y2 = b.y;
      return { ...s, d: `M${centre},${y1 + 3} V${y2 - 9}`, tip: [centre, y2 - 3, 90], label: [centre, (y1 + y2) / 2 - 2] };
    }
    if (s.kind === "skip") {
      const y1 = a.y + a.height - 20, y2 = b.y + 20, r = 10;
      return { ...s, tip: [left - 1, y2, 0], label: [18, a.y + a.height + gap / 2 + 2], side: "start",
        d: `M${left - 3},${y1} q${-r - 2},0 ${-r - 2},${r} V${y2 - r} q0,${r} ${r},${r} H${left - 6}` };
    }
    const k = backs.indexOf(s), edge = left + inner, x = edge + 16 + 18 * k, r = 10;
    const y1 = a.y + 20, y2 = b.y + b.height - 20 - 16 * k;
    return { ...s, tip: [edge + 2, y2, 180], label: [x - 9, a.y - gap / 2 + 2], side: "end",
      d: `M${edge + 3},${y1} H${x - r} q${r},0 ${r},${-r} V${y2 + r} q0,${-r} ${-r},${-r} H${edge + 8}` };
  });
  return { boxes, links, height: y - gap + 4 };
}

function cardPlaces(box, workers) {
  const width = (box.width - 2 * kPad - (box.columns - 1) * kCardGap) / box.columns;
  return workers.map((worker, i) => ({
    worker,
    x: box.x + kPad + (i % box.columns) * (width + kCardGap),
    y: box.y + kHead + Math.floor(i / box.columns) * (kCard + kCardGap),
    width,
  }));
}

export class Picture {
  constructor(host, onWorker) {
    this.host = host;
    this.onWorker = onWorker;
    this.links = svg("g", { role: "list", "aria-label": "Links" });
    this.stages = svg("g");
    this.cards = svg("g", { role: "list", "aria-label": "Processes" });
    this.root = svg("svg", { role: "group", "aria-label": "The pipeline" }, this.links, this.stages, this.cards);
    host.append(this.root);
    new ResizeObserver(() => this.last && this.show(this.last, this.fresh)).observe(host);
  }

  // `fresh`: names of processes that were replaced a moment ago.
  show(data, fresh) {
    this.last = data;
    this.fresh = fresh;
    const width = Math.floor(this.host.clientWidth);
    if (width <= 0) return;
    const stages = data.stages.map((stage) => ({
      ...stage, workers: data.workers.filter((worker) => worker.stage === stage.stage),
    }));
    const order = stages.map((stage) => stage.stage);
    const shapes = data.links.map((link) => shape(link, order)).filter((s) => s.from >= 0 && s.to >= 0);
    const plan = (width >= kWide ? wide : tall)(width, stages, shapes);
    setAttribute(this.root, "viewBox", `0 0 ${width} ${plan.height}`);
    setAttribute(this.root, "height", plan.height);
    keep(this.links, plan.links, (l) => `${l.link.from}-${l.link.to}`, makeLink, updateLink);
    keep(this.stages, stages.map((stage, i) => ({ stage, box: plan.boxes[i] })), (s) => s.stage.stage, makeStage, updateStage);
    const places = stages.flatMap((stage, i) => cardPlaces(plan.boxes[i], stage.workers));
    keep(this.cards, places, (p) => p.worker.name, (p) => this.makeCard(p), (node, p) => updateCard(node, p, fresh));
  }

  makeCard(place) {
    const parts = {
      rect: svg("rect", { height: kCard, rx: 7 }),
      dot: svg("circle", { r: 4, cx: 13, cy: 16 }),
      name: svg("text", { class: "name", x: 24, y: 20 }),
      incarnation: svg("text", { class: "quiet end", y: 20 }),
      rate: svg("text", { x: 11, y: 38 }),
      waiting: svg("text", { class: "end", y: 38 }),
      work: svg("text", { class: "quiet", x: 11, y: 55 }),
      busy: svg("text", { class: "quiet end", y: 55 }),
    };
    const open = (node) => this.onWorker(node.item.worker.name);
    const node = svg("g", {
      tabindex: 0, role: "listitem", "data-worker": place.worker.name,
      onclick: (event) => open(event.currentTarget),
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        open(event.currentTarget);
      },
    }, ...Object.values(parts));
    node.parts = parts;
    return node;
  }
}

function makeLink(l) {
  const parts = {
    bed: svg("path", { class: "bed" }), flow: svg("path", { class: "flow" }),
    tip: svg("path", { class: "tip", d: "M0,0 L-9,-5 L-9,5 Z" }),
    rate: svg("text", { class: "rate" }), wait: svg("text", { class: "wait" }),
  };
  const node = svg("g", { role: "listitem", "data-link": `${l.link.from}-${l.link.to}` }, ...Object.values(parts));
  node.parts = parts;
  return node;
}

function updateLink(node, l) {
  const { bed, flow, tip, rate: rateText, wait } = node.parts;
  const perSecond = l.link.per_second || 0;
  setClass(node, perSecond > 0 ? "link" : "link idle");
  setAttribute(bed, "d", l.d);
  setAttribute(flow, "d", l.d);
  setAttribute(bed, "stroke-width", (2 + Math.min(6, Math.log10(1 + perSecond) * 1.3)).toFixed(1));
  // In steps, so that the dashes do not jump with each number.
  const pace = perSecond > 1000 ? "0.8s" : perSecond > 50 ? "1.6s" : "3.2s";
  if (flow.style.getPropertyValue("--pace") !== pace) flow.style.setProperty("--pace", pace);
  setAttribute(tip, "transform", `translate(${l.tip[0]},${l.tip[1]}) rotate(${l.tip[2]})`);
  const shown = rate(l.link.per_second), waits = l.link.wait ? pair(l.link.wait.p50_ns, l.link.wait.p99_ns) : "";
  const [x, y] = l.label;
  const anchor = l.side || "middle";
  for (const text of [rateText, wait]) {
    setAttribute(text, "text-anchor", anchor);
    setAttribute(text, "x", x);
  }
  // Over and under a level line; on the line where it runs alone.
  const both = waits !== "" && !l.inline;
  setAttribute(rateText, "y", l.inline || l.side ? y + 4 : l.kind === "next" ? y - 7 : y);
  setAttribute(wait, "y", l.side ? y + 18 : y + 19);
  setText(rateText, shown);
  setText(wait, both && waits !== kNone && !l.side ? waits : "");
  const named = `${capital(l.link.from)} to ${l.link.to}: ${shown}` + (l.link.wait ? `, wait p50 / p99 ${waits}` : "");
  setAttribute(node, "aria-label", named);
}

function makeStage(s) {
  const parts = {
    box: svg("rect", { class: "stage-box", rx: 10 }),
    mark: svg("rect", { class: `stage-mark c-${s.stage.stage}`, width: 9, height: 9, rx: 2 }),
    name: svg("text", { class: "stage-name" }, capital(s.stage.stage)),
    ready: svg("text", { class: "quiet end" }),
  };
  const node = svg("g", { "data-stage": s.stage.stage }, ...Object.values(parts));
  node.parts = parts;
  return node;
}

function updateStage(node, { stage, box }) {
  const { box: rect, mark, name, ready } = node.parts;
  for (const key of ["x", "y", "width", "height"]) setAttribute(rect, key, box[key]);
  setAttribute(mark, "x", box.x + 12);
  setAttribute(mark, "y", box.y + 12);
  setAttribute(name, "x", box.x + 28);
  setAttribute(name, "y", box.y + 21);
  setAttribute(ready, "x", box.x + box.width - 12);
  setAttribute(ready, "y", box.y + 21);
  setText(ready, stage.breaker === "closed" ? `${stage.ready} / ${stage.wanted}` : `breaker ${stage.breaker.replace("_", " ")}`);
}

function updateCard(node, { worker, x, y, width }, fresh) {
  const p = node.parts;
  setClass(node, `node ${stateClass(worker.state)}${fresh.has(worker.name) ? " is-new" : ""}`);
  setAttribute(node, "transform", `translate(${x},${y})`);
  setAttribute(node, "data-incarnation", worker.incarnation);
  setAttribute(node, "data-state", worker.state);
  setAttribute(p.rect, "width", width);
  for (const text of [p.incarnation, p.busy, p.waiting]) setAttribute(text, "x", width - 10);
  const running = worker.state === "ready" || worker.state === "spare";
  const work = worker.work || {};
  setText(p.name, worker.name);
  setText(p.incarnation, worker.incarnation ? `#${worker.incarnation}` : "");
  setText(p.rate, running ? rate(worker.per_second) : worker.state);
  setText(p.busy, worker.cpu_cores === null ? "" : `CPU ${cores(worker.cpu_cores)}`);
  setText(p.work, pair(work.p50_ns, work.p99_ns));
  setText(p.waiting, worker.stage === "ingress" ? `${count(worker.in_flight)} in flight` : `${count(worker.queue_depth)} waiting`);
  setAttribute(node, "aria-label",
    `${worker.name}, ${worker.state}, incarnation ${worker.incarnation}, restarts ${worker.restarts}, ` +
    `${rate(worker.per_second)}, CPU ${cores(worker.cpu_cores)}, ` +
    `p50 ${duration(work.p50_ns)}, p99 ${duration(work.p99_ns)}, ${p.waiting.textContent}`);
}
