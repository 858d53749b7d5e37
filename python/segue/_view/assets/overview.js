// What the recording is of, how it went, and what is missing in it.

import { byId, el } from "./dom.js";
import * as state from "./state.js";
import { STATES, count, counted, duration } from "./words.js";

export function showOverview(summary) {
  byId("program").textContent = summary.program ? summary.program.split("/").pop() : "A recording";
  byId("program").title = [summary.program, ...(summary.arguments ?? [])].filter(Boolean).join(" ");
  document.title = `${byId("program").textContent} — segue view`;
  const started = summary.started ? new Date(summary.started * 1000).toLocaleString() : null;
  const python = summary.python ? `Python ${summary.python}` : null;
  const pid = summary.pid ? `process ${summary.pid}` : null;
  byId("about").textContent = [summary.live ? "running now" : null, started, python, pid].filter(Boolean).join(" · ");
  byId("exports").hidden = Boolean(summary.live);
  const loops = summary.loops ?? [];
  const turns = loops.reduce((sum, each) => sum + each.turns, 0);
  const longest = loops.reduce((most, each) => (each.turn.longest > (most?.turn.longest ?? -1) ? each : most), null);
  byId("overview").replaceChildren(
    fact("Duration", duration(summary.duration)),
    fact("Tasks", count(summary.tasks)),
    fact(loops.length > 1 ? `Turns of ${loops.length} loops` : "Turns of the loop", count(turns)),
    longest ? fact("Longest turn", longestTurn(longest, summary)) : null,
    fact("Events", count(summary.events)),
    outcomes(summary),
  );
  const shown = [...banners(summary)];
  byId("banner").replaceChildren(...byId("banner").querySelectorAll(".gone"), ...shown);
}

function fact(name, value) {
  return el("dl", { cls: "fact" }, el("dt", {}, name), el("dd", {}, value));
}

function longestTurn(loop, summary) {
  const show = () => {
    const at = loop.turn.longest_at, around = Math.max(loop.turn.longest * 3, 1000);
    state.set({ view: "timeline", from: Math.max(0, Math.round(at - around)), to: Math.min(summary.duration, Math.round(at + loop.turn.longest + around)) });
  };
  return el("button", { cls: "link", type: "button", title: "Show it in the timeline", on: { click: show } }, duration(loop.turn.longest));
}

function outcomes(summary) {
  const bar = el("div", { cls: "bar", "aria-hidden": "true" });
  const legend = el("div", { cls: "legend", role: "group", "aria-label": "Outcomes" });
  for (const name of STATES) {
    const number = summary.outcomes[name];
    if (!number) continue;
    bar.append(el("i", { cls: `is-${name}`, style: { flex: `${number} 0 0` } }));
    const pressed = state.get("view") === "tasks" && state.get("state") === name;
    const show = () => state.set({ view: "tasks", state: pressed ? "" : name, q: "", group: "" });
    legend.append(el("button", { type: "button", "aria-pressed": pressed, title: `Show the ${name} ones`, on: { click: show } },
      el("span", { cls: `dot is-${name}` }), `${count(number)} ${name}`));
  }
  return el("div", { cls: "outcomes" }, bar, legend);
}

function* banners(summary) {
  if (summary.flight) {
    yield el("p", {}, el("b", {}, "Flight recording"), ` — it ends with why it was written: ${summary.flight.why}.`);
  }
  for (const line of summary.blocked ?? []) {
    const [what, ...more] = line.split(", ");
    yield el("p", { cls: "bad" }, el("b", {}, what), `, ${more.join(", ")}`);
  }
  for (const note of summary.notes ?? []) yield el("p", {}, note);
  for (const damage of (summary.damage ?? []).slice(0, 5)) {
    yield el("p", { cls: "bad" }, el("b", {}, "This file is damaged"), ` — ${damage}. What could be read is shown.`);
  }
  if (!summary.complete && !summary.live && !summary.damage?.length) {
    yield el("p", {}, el("b", {}, "This recording has no end"), " — the program was killed or still runs. Everything up to the last whole block is shown.");
  }
  if (summary.lost) {
    yield el("p", {}, el("b", {}, `${counted(summary.lost, "event")} found no room`), " — some tasks' lives have gaps. Record with more memory: SEGUE_RECORD_MEMORY=256M.");
  }
  if (summary.skipped) {
    yield el("p", {}, el("b", {}, `${counted(summary.skipped, "event")} could not be understood`), " — the recording may be of a newer Segue.");
  }
}
