// Keys, and the list of them that "?" shows. A view's keys work while it is shown and nothing is being typed.

import { byId, el } from "./dom.js";

const groups = [];

/** `keys`: [[keys, words, call]]; a key is a KeyboardEvent's `key`. `isOn` says whether they work now. */
export function register(title, isOn, keys) {
  groups.push({ title, isOn, keys });
}

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", " ": "Space", PageUp: "PgUp", PageDown: "PgDn", Backspace: "⌫" };

export function showList() {
  const dialog = byId("keys");
  if (dialog.open) return dialog.close();
  const section = ({ title, keys }) =>
    el("section", {}, el("h3", {}, title), keys.map(([pressed, words]) =>
      el("p", {}, el("span", {}, words), el("span", {}, pressed.map((key) => el("kbd", {}, NAMES[key] ?? key))))));
  dialog.replaceChildren(
    el("h2", { id: "keys-title" }, "Keys"),
    el("div", { cls: "keys-list" }, [groups.at(-1), ...groups.slice(0, -1)].map(section)),
    el("button", { cls: "toggle", type: "button", on: { click: () => dialog.close() } }, "Close"),
  );
  dialog.showModal();
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const typing = event.target.closest?.("input, textarea, select");
  if (typing || (byId("keys").open && event.key !== "?")) return;
  for (const { isOn, keys } of groups) {
    if (!isOn(event)) continue;
    for (const [pressed, , call] of keys) {
      if (pressed.includes(event.key) && call && call(event) !== false) {
        event.preventDefault();
        return;
      }
    }
  }
});
