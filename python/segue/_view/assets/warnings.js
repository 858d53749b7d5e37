// What a linter would say of the recorded run: each with its place and its cure.

import { byId, el, nothing } from "./dom.js";
import { placeButton, taskLink } from "./places.js";
import { count, moment } from "./words.js";

export function showWarnings(warnings) {
  const tab = byId("tab-warnings");
  tab.querySelector(".number")?.remove();
  if (warnings.length) tab.append(el("span", { cls: "number" }, count(warnings.length)));
  const list = el("div", { cls: "warnings", tabindex: "0", "aria-label": "Warnings" });
  if (warnings.length) list.append(...warnings.map(warning));
  else list.append(nothing("No warnings", "Nothing in this recording looks like one of the mistakes that Segue knows."));
  byId("view-warnings").replaceChildren(list);
}

function warning({ title, code, text, cure, task, place, at, count: times }) {
  // A task is an id, or an object with one and a name.
  const id = task?.id ?? task, name = task?.name ?? `task ${id}`;
  return el("article", { cls: "warning" },
    el("h3", {}, title ?? code), text ? el("p", {}, text) : null, cure ? el("p", { cls: "cure" }, cure) : null,
    el("div", { cls: "meta" }, placeButton(place), id ? taskLink(id, name) : null,
      at !== undefined && at !== null ? el("span", {}, `at ${moment(at)}`) : null, times > 1 ? el("span", {}, `${count(times)} times`) : null));
}
