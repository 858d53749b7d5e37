// The box at the top: tasks by name, code, place, error or number, the failed ones first.

import { Asker } from "./api.js";
import { byId, el, say } from "./dom.js";
import * as state from "./state.js";
import { openTask } from "./story.js";
import { count, counted, short } from "./words.js";

const LIMIT = 12;

export function setUpSearch() {
  const input = byId("search"), box = byId("found");
  let chosen = -1;
  const asker = new Asker("search", (answer, given) => {
    if (given.text === input.value.trim() && document.activeElement === input) show(answer, given.text);
  });

  const hits = () => [...box.querySelectorAll("[role=option]")];
  const close = () => {
    box.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    chosen = -1;
  };
  const choose = (at) => {
    const all = hits();
    if (!all.length) return;
    chosen = (at + all.length) % all.length;
    all.forEach((hit, index) => hit.setAttribute("aria-selected", String(index === chosen)));
    all[chosen].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", all[chosen].id);
  };
  const hit = (task, at) => el("div", {
    cls: "hit", role: "option", id: `hit-${at}`, "aria-selected": "false", data: { task: task.id },
    on: { click: () => { close(); input.blur(); openTask(task.id); } },
  },
  el("span", { cls: `dot is-${task.state}`, title: task.state }), el("span", { cls: "name" }, task.name),
  el("span", { cls: "place mono" }, short(task.started_at)),
  el("span", { cls: "why" }, [task.state, task.coroutine !== task.name ? task.coroutine : "", task.why ?? ""].filter(Boolean).join(" · ")));

  function show(answer, text) {
    chosen = -1;
    if (!answer) return close();
    const all = () => { close(); input.blur(); state.set({ view: "tasks", q: text, state: "", group: "" }); };
    box.replaceChildren(
      ...answer.tasks.map(hit),
      answer.total > answer.tasks.length
        ? el("div", { cls: "hit all", role: "option", id: "hit-all", "aria-selected": "false", on: { click: all } }, `All ${counted(answer.total, "task")}`)
        : "",
      answer.total === 0 ? el("p", { cls: "none" }, "No task has this in its name, code, place, error or number.") : "",
    );
    box.hidden = false;
    input.setAttribute("aria-expanded", "true");
    say(`${count(answer.total)} found`);
    if (answer.total) choose(0);
  }

  input.addEventListener("input", () => {
    const text = input.value.trim();
    if (text) asker.ask({ text, limit: LIMIT });
    else close();
  });
  input.addEventListener("focus", () => input.value.trim() && asker.ask({ text: input.value.trim(), limit: LIMIT }));
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Enter") hits()[Math.max(chosen, 0)]?.click();
    else if (event.key === "Escape") {
      if (box.hidden) input.blur();
      close();
    } else return;
    event.preventDefault();
  });
  box.addEventListener("pointerdown", (event) => event.preventDefault()); // the box keeps the focus
  input.addEventListener("blur", close);
}
