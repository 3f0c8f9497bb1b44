// Reads profiles: pprof's format (gzip or plain protobuf) and folded stacks, to one tree.
//
// A node: {name, value, self, children: Map}. What fails: an Error with a sentence.

const kMostBytes = 64 << 20;

const node = (name) => ({ name, value: 0, self: 0, children: new Map() });

function add(root, stack, value) {
  let at = root;
  at.value += value;
  for (const name of stack) {
    let next = at.children.get(name);
    if (!next) at.children.set(name, (next = node(name)));
    next.value += value;
    at = next;
  }
  at.self += value;
}

// "main;serve;read 12", one a line.
function fromFolded(text) {
  const root = node("all");
  for (const line of text.split("\n")) {
    const match = /^(.+) (\d+)\s*$/.exec(line);
    if (match) add(root, match[1].split(";"), Number(match[2]));
    else if (line.trim() !== "") throw new Error("This is neither a profile of pprof nor folded stacks.");
  }
  return { root, unit: "", about: "" };
}

// Protobuf, as much as a profile needs: varints and bytes by field.
class Reader {
  constructor(data) {
    this.data = data;
    this.at = 0;
  }
  varint() {
    let value = 0, factor = 1;
    for (;;) {
      if (this.at >= this.data.length || factor > 2 ** 63) throw new Error("The profile is cut off or broken.");
      const byte = this.data[this.at++];
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
  }
  // Calls with (field, number or bytes).
  each(call) {
    while (this.at < this.data.length) {
      const tag = this.varint(), field = Math.floor(tag / 8), kind = tag % 8;
      if (kind === 0) call(field, this.varint());
      else if (kind === 2) {
        const length = this.varint();
        if (this.at + length > this.data.length) throw new Error("The profile is cut off or broken.");
        call(field, this.data.subarray(this.at, this.at + length));
        this.at += length;
      } else if (kind === 1) this.at += 8;
      else if (kind === 5) this.at += 4;
      else throw new Error("This is no profile that can be read.");
    }
  }
}

function numbers(value, to) {
  if (typeof value === "number") to.push(value);
  else for (const reader = new Reader(value); reader.at < value.length;) to.push(reader.varint());
}

const one = (data, call) => new Reader(data).each(call);

function fromPprof(data) {
  const strings = [], functions = new Map(), locations = new Map(), samples = [], types = [];
  let durationNs = 0;
  const decoder = new TextDecoder();
  one(data, (field, value) => {
    if (field === 1) one(value, (f, v) => { if (f === 1) types.push({ type: v, unit: 0 }); else if (f === 2) types[types.length - 1].unit = v; });
    else if (field === 2) {
      const sample = { stack: [], values: [] };
      one(value, (f, v) => { if (f === 1) numbers(v, sample.stack); else if (f === 2) numbers(v, sample.values); });
      samples.push(sample);
    } else if (field === 4) {
      const location = { id: 0, lines: [] };
      one(value, (f, v) => {
        if (f === 1) location.id = v;
        else if (f === 4) one(v, (g, w) => { if (g === 1) location.lines.push(w); });
      });
      locations.set(location.id, location);
    } else if (field === 5) {
      const fn = { id: 0, name: 0 };
      one(value, (f, v) => { if (f === 1) fn.id = v; else if (f === 2) fn.name = v; });
      functions.set(fn.id, fn);
    } else if (field === 6) strings.push(decoder.decode(value));
    else if (field === 10) durationNs = value;
  });
  if (samples.length === 0 || types.length === 0) throw new Error("The profile holds no samples.");
  const column = types.length - 1;  // the last: time, where there are counts too
  const root = node("all");
  for (const sample of samples) {
    const stack = [];
    for (const id of sample.stack) {
      const location = locations.get(id);
      const lines = location && location.lines.length ? location.lines : [0];
      for (const line of lines) {
        const fn = functions.get(line);
        stack.push((fn && strings[fn.name]) || `#${id}`);
      }
    }
    add(root, stack.reverse(), sample.values[column] || 0);
  }
  return { root, unit: strings[types[column].unit] || "", about: durationNs ? `${(durationNs / 1e9).toFixed(1)} s` : "" };
}

async function unpack(data) {
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"));
  const parts = [], reader = stream.getReader();
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > kMostBytes) throw new Error("The profile is too large.");
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

export async function readProfile(file) {
  if (file.size > kMostBytes) throw new Error("The profile is too large.");
  let data = new Uint8Array(await file.arrayBuffer());
  if (data[0] === 0x1f && data[1] === 0x8b) data = await unpack(data);
  const folded = data[0] !== 0x0a;  // the first field of a profile: its first type of sample
  const profile = folded ? fromFolded(new TextDecoder().decode(data)) : fromPprof(data);
  if (profile.root.value === 0) throw new Error("The profile is empty: the process did nothing in that time, or holds nothing.");
  return profile;
}
