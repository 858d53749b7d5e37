// What the pointer is over, explained beside it.

import { byId, el } from "./dom.js";

const tip = () => byId("tip");

/** `lines`: texts; one that begins with "!" is the bold first, with "?" a hint. */
export function show(x, y, lines) {
  const box = tip();
  box.replaceChildren(
    ...lines.filter(Boolean).map((line) => {
      if (line.startsWith("!")) return el("p", {}, el("b", {}, line.slice(1)));
      return line.startsWith("?") ? el("p", { cls: "hint" }, line.slice(1)) : el("p", {}, line);
    }),
  );
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const left = x + 16 + width > innerWidth ? x - width - 12 : x + 16;
  const top = y + 18 + height > innerHeight ? y - height - 12 : y + 18;
  box.style.left = `${Math.max(6, left)}px`;
  box.style.top = `${Math.max(6, top)}px`;
}

export function hide() {
  tip().hidden = true;
}
