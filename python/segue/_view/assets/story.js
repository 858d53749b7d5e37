// One task in words, from its start to its end, beside whatever view is shown. A group of tasks is told by its members.

import { Refused, ask } from "./api.js";
import { byId, el } from "./dom.js";
import { placeButton, sentence, taskLink } from "./places.js";
import * as state from "./state.js";
import { count, counted, duration, moment, outcomesSaid, short } from "./words.js";

const MEMBERS = 12;

let shown = "";
let wanted = "";
let origin = null;
/** What the story was made of. */
let last = "";

export function openTask(id) {
  remember();
  state.set({ task: id, group: state.get("view") === "graph" ? "" : state.get("group"), about: "" });
}

/** A group of the graph, by its id. */
export function openGroup(id) {
  remember();
  state.set({ about: id, task: "" });
}

/** Where the keyboard goes back to when the story is closed. */
function remember() {
  const active = document.activeElement;
  if (!byId("story").contains(active)) origin = active;
}

export function closeStory() {
  state.set({ task: "", about: "" });
  if (origin?.isConnected) origin.focus();
}

export const isOpen = () => !byId("story").hidden;

/** `again`: the recording has grown. */
export async function updateStory(again = false) {
  const [task, group] = [state.get("task"), state.get("about")];
  wanted = task || group;
  const aside = byId("story");
  if (!wanted) {
    aside.hidden = true;
    shown = "";
    return;
  }
  if (wanted === shown && !again) return;
  const asked = wanted;
  let content, told = "";
  try {
    if (task) {
      const answer = await ask("task", { id: task });
      told = JSON.stringify(answer);
      if (again && told === last) return; // it has only the others' news
      content = ofTask(answer);
    } else content = await ofGroup(group);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    content = [el("h2", {}, "No story"), el("p", { cls: "under" }, error.message)];
  }
  if (asked !== wanted) return; // something else has been asked for meanwhile
  const isNew = shown !== asked;
  shown = asked;
  last = told;
  const buttons = () => [...aside.querySelectorAll("h2, button")];
  const focused = buttons().indexOf(document.activeElement);
  aside.replaceChildren(
    el("button", { cls: "quiet close", type: "button", title: "Close (Esc)", "aria-label": "Close", on: { click: closeStory } }, "×"),
    ...content.flat(2).filter(Boolean),
  );
  aside.querySelector("h2").tabIndex = -1;
  aside.hidden = false;
  if (isNew) {
    aside.scrollTop = 0;
    const title = aside.querySelector("h2");
    title.focus({ preventScroll: true });
  } else if (focused >= 0) buttons()[focused]?.focus({ preventScroll: true });
}

// --- A task --------------------------------------------------------------------------------------------

function ofTask(task) {
  const code = task.name === task.coroutine ? "" : task.coroutine;
  const under = el("p", { cls: "under" }, el("span", { cls: `dot is-${task.state}` }),
    el("span", { cls: `state-word is-${task.state}` }, task.state), code ? [" · ", el("code", {}, code)] : null,
    task.started_at ? [" · started at ", placeButton(task.started_at)] : null);
  const end = task.end ?? null;
  return [
    el("h2", {}, task.name),
    under,
    verdict(task),
    el("div", { cls: "facts" },
      fact("Lived", end === null ? "still alive" : duration(end - task.begin)),
      fact("Ran", duration(task.busy)), fact("Steps", count(task.steps)), fact("Woken", count(task.wakes))),
    doors(task),
    el("h3", {}, "What happened"),
    el("ol", { cls: `told is-${task.state}` }, task.story.map((told) => line(told, task))),
    task.children_total ? children(task) : null,
  ];
}

function verdict(task) {
  const cls = `verdict is-${task.state}`;
  if (task.state === "failed") {
    const raised = task.raised_at ? [" — raised at ", placeButton(task.raised_at)] : null;
    return el("p", { cls }, task.why || "It failed", raised);
  }
  if (task.state === "cancelled") {
    const by = task.cancelled_by;
    if (!by) return el("p", { cls }, task.why || "It ended cancelled; who asked for it isn't in the recording");
    return el("p", { cls }, sentence(by.text, [by.task], [by.name ?? ""]));
  }
  const waits = task.waits_for;
  if (!waits) return null;
  const held = waits.holders.length ? [", held by ", waits.holders.slice(0, 5).map((id, at) => [at ? ", " : "", taskLink(id, id)])] : null;
  return el("p", { cls: "verdict is-pending" }, "Waits for ", waits.task ? taskLink(waits.task, waits.thing) : waits.thing, held,
    waits.place ? [", at ", placeButton(waits.place)] : null);
}

function fact(name, value) {
  return el("dl", { cls: "fact" }, el("dt", {}, name), el("dd", {}, value));
}

function doors(task) {
  const door = (text, title, click) => el("button", { cls: "toggle", type: "button", title, on: { click } }, text);
  const around = Math.max(((task.end ?? task.begin) - task.begin) * 0.4, 2000);
  const inTime = {
    view: "timeline", group: "", from: Math.max(0, Math.floor(task.begin - around)), to: Math.ceil((task.end ?? task.begin) + around),
    grouped: "no", row: task.id,
  };
  return el("div", { cls: "doors" },
    door("Show in graph", "What it has to do with", () => state.set({ view: "graph", focus: `t${task.id}` })),
    door("Show in timeline", "Its time alone", () => state.set(inTime)),
    task.parent ? door("Who started it", task.parent_name, () => openTask(task.parent)) : null);
}

function line(told, task) {
  const since = told.at - task.begin;
  const when = since > 0 ? `${moment(told.at)}  +${duration(since)}` : moment(told.at);
  return el("li", { cls: `kind-${told.kind}` }, el("time", {}, when), sentence(told.text, told.tasks, told.names, told.place));
}

function children(task) {
  const more = task.children_total - task.children_told.length;
  return [el("h3", {}, `Started ${counted(task.children_total, "task")}`),
    el("ul", { cls: "members" }, task.children_told.map((child) => el("li", {}, member(child)))),
    more > 0 ? el("p", { cls: "soft" }, `and ${count(more)} more`) : null];
}

function member(task) {
  return [el("span", { cls: `dot is-${task.state}` }), taskLink(task.id, task.name),
    task.why ? el("span", { cls: "soft" }, ` — ${task.why}`) : ""];
}

// --- A group -------------------------------------------------------------------------------------------

async function ofGroup(id) {
  const by = (states, limit) => ask("tasks", { filter: { group: id, ...(states ? { state: states } : {}) }, limit });
  const [all, failed, cancelled, pending] = await Promise.all([by(null, MEMBERS), by(["failed"], MEMBERS), by(["cancelled"], MEMBERS), by(["pending"], MEMBERS)]);
  const first = all.tasks[0];
  if (!first) throw new Refused("there are no tasks in this group");
  const outcomes = { failed: failed.total, cancelled: cancelled.total, pending: pending.total, finished: all.total - failed.total - cancelled.total - pending.total };
  const part = (title, { tasks, total }, stateName) => total === 0 ? null : [
    el("h3", {}, `${title}: ${count(total)}`),
    el("ul", { cls: "members" }, tasks.map((task) => el("li", {}, member(task)))),
    total > tasks.length ? el("button", { cls: "link", type: "button", on: { click: () => state.set({ view: "tasks", group: id, state: stateName, q: "" }) } }, `all ${count(total)}`) : null,
  ];
  return [
    el("h2", {}, `${first.coroutine} ×${count(all.total)}`),
    el("p", { cls: "under" }, "Tasks of the same code, started at the same place", first.started_at ? [" (", placeButton(first.started_at, short(first.started_at)), ")"] : null, `: ${outcomesSaid(outcomes)}`),
    el("div", { cls: "doors" },
      el("button", { cls: "toggle", type: "button", on: { click: () => state.set({ view: "tasks", group: id, state: "", q: "" }) } }, "List them"),
      el("button", { cls: "toggle", type: "button", on: { click: () => state.set({ view: "timeline", group: id, from: "", to: "" }) } }, "Their timeline")),
    part("Failed", failed, "failed"), part("Cancelled", cancelled, "cancelled"), part("Not ended", pending, "pending"),
    outcomes.finished > 0 && outcomes.finished === all.total ? part("Finished", all, "finished") : null,
  ];
}
