// Debt: what is owed on the versions that are served (`millrace debt` lists the same).
import { Table, el, setText, setClass, kNone, count } from "./base.js";

const kKinds = {
  old_weights: "old weights, read-only", untagged: "inputs without tags", unsigned: "not signed", unpinned: "not pinned",
  one_worker: "one worker", one_device: "one device",
};

const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

function kindCell(td, debt) {
  const node = td.firstElementChild || td.appendChild(el("span"));
  setClass(node, `dot ${debt.kind === "old_weights" ? "is-bad" : "is-warn"}`);
  setText(node, kKinds[debt.kind] || debt.kind);
}

function nameCell(td, debt) {
  const text = td.firstElementChild || td.appendChild(el("span"));
  const version = td.children[1] || td.appendChild(el("small"));
  setText(text, debt.model);
  setText(version, `version ${debt.version}`);
}

const day = (seconds) => (seconds === null ? kNone : new Date(seconds * 1000).toISOString().slice(0, 10));

export function makeDebt(host, about) {
  const table = new Table(host, "Debt", [
    { head: "Model", class: "name", cell: nameCell },
    { head: "Owed", cell: kindCell },
    { head: "Since", cell: (td, d) => day(d.since_s) },
    { head: "Owner", cell: (td, d) => d.owner || kNone },
    { head: "Why", class: "wide", cell: (td, d) => d.sentence },
  ]);
  return (data) => {
    const { debts, left_off: leftOff } = data.debt || { debts: [], left_off: 0 };
    const old = debts.filter((debt) => debt.kind === "old_weights").length;
    const versions = new Set(debts.map((debt) => JSON.stringify([debt.model, debt.version]))).size;
    setText(about, debts.length === 0 ? "Nothing is owed." :
      `${plural(debts.length + leftOff, "debt")} of ${plural(versions, "version")}${leftOff ? " and more" : ""}` +
      (old ? `; ${plural(old, "version")} read-only: too old to be promoted` : ""));
    setClass(about, old ? "note bad" : "note");
    table.show(debts, (d) => JSON.stringify([d.model, d.version, d.kind]), "Nothing is owed.");
  };
}
