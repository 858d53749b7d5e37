// Places in the source, to be copied, and sentences with their tasks and places made clickable.

import { el, say } from "./dom.js";
import { short } from "./words.js";
import { openTask } from "./story.js";

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    return; // not allowed here: the text can still be marked
  }
  document.querySelector(".copied")?.remove();
  const note = el("div", { cls: "copied" }, `${text} copied`);
  document.body.append(note);
  say(`${text} copied`);
  setTimeout(() => note.remove(), 1600);
}

export function placeButton(place, said = short(place)) {
  if (!place) return null;
  const whole = `${place.file}:${place.line}`;
  const title = place.function ? `${whole}, in ${place.function}: click to copy` : `${whole}: click to copy`;
  return el("button", { cls: "place", type: "button", title, on: { click: () => copy(whole) } }, said);
}

export function taskLink(id, name) {
  return el("button", { cls: "link", type: "button", data: { task: id }, on: { click: () => openTask(id) } }, name);
}

const PLACE = /[^\s()]+\.pyx?:\d+/;

/** A sentence of an answer: `tasks` are ids, `names` how the text calls them, `place` the one place known in full. */
export function sentence(text, tasks = [], names = [], place = null) {
  const wanted = names.map((name, at) => [name, () => taskLink(tasks[at], name)]).filter(([name]) => name);
  wanted.sort((a, b) => b[0].length - a[0].length);
  const parts = [];
  let rest = text;
  while (rest) {
    let first = null;
    for (const [name, make] of wanted) {
      const at = wholeName(rest, name);
      if (at >= 0 && (first === null || at < first.at)) first = { at, length: name.length, make };
    }
    const found = PLACE.exec(rest);
    if (found && (first === null || found.index < first.at)) {
      const said = found[0];
      const known = place && short(place) === said ? place : null;
      const button = () => known ? placeButton(known) :
        el("button", { cls: "place", type: "button", title: "click to copy", on: { click: () => copy(said) } }, said);
      first = { at: found.index, length: said.length, make: button };
    }
    if (first === null) break;
    parts.push(rest.slice(0, first.at), first.make());
    rest = rest.slice(first.at + first.length);
  }
  return [...parts, rest];
}

/** Where the text has the name and not the beginning of a longer one: "Task-1" isn't in "Task-12". */
function wholeName(text, name) {
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
    if (!/[\w-]/.test(text[at + name.length] ?? " ")) return at;
  }
  return -1;
}
