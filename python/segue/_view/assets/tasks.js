// All tasks as a table, sorted and filtered by the server; only the rows on the screen exist.

import { ask } from "./api.js";
import { byId, el, nothing } from "./dom.js";
import * as state from "./state.js";
import { openTask } from "./story.js";
import { count, counted, duration, moment, short } from "./words.js";

const ROW = 30;
const PAGE = 100;
/** Browsers draw no taller element. */
const TALLEST = 8_000_000;

const COLUMNS = [
  ["state", "State"], ["name", "Name"], ["coroutine", "Code"], ["place", "Started at"],
  ["begin", "At", "right"], ["duration", "Lived", "right"], ["busy", "Ran", "right"], [null, "Why, or what it waits for"],
];

export class Tasks {
  #view = byId("view-tasks"); #rows = el("div", { cls: "rows", role: "rowgroup", tabindex: "0", "aria-label": "Tasks" });
  #head = el("div", { cls: "row head", role: "row" }); #pages = new Map(); #query = ""; #total = 0; #pool = new Map(); #at = 0;
  #tools = el("div", {});
  /** Pages that are shown until there are newer ones: the recording has grown. */
  #old = new Set();

  constructor() {
    this.#view.append(el("div", { cls: "table", role: "table", "aria-label": "Tasks" }, this.#head, this.#rows));
    this.#rows.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.#rows.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#draw()).observe(this.#rows);
  }

  get tools() { return this.#tools; }

  update(again = false) {
    const given = { sort: state.get("sort", "begin"), filter: {} };
    if (state.get("q")) given.filter.text = state.get("q");
    if (state.get("state")) given.filter.state = [state.get("state")];
    if (state.get("group")) given.filter.group = state.get("group");
    const query = JSON.stringify(given);
    this.#heads(given.sort);
    this.#filters();
    if (query === this.#query && !again) return this.#draw();
    if (query !== this.#query) {
      this.#rows.scrollTop = 0;
      this.#at = 0;
    }
    this.#query = query;
    if (again) this.#old = new Set(this.#pages.keys());
    else this.#pages.clear();
    this.#page(0);
  }

  #heads(sort) {
    const by = sort.replace(/^-/, "");
    this.#head.replaceChildren(...COLUMNS.map(([key, title, side]) => {
      const order = key !== by ? null : sort.startsWith("-") ? "descending" : "ascending";
      const next = order === "descending" ? key : `-${key}`;
      const content = key ? el("button", { type: "button", on: { click: () => state.set({ sort: order ? next : ["busy", "duration"].includes(key) ? `-${key}` : key }) } }, title) : title;
      return el("div", { role: "columnheader", cls: side, "aria-sort": order }, content);
    }));
  }

  #filters() {
    const chip = (name, text) => state.get(name)
      ? el("button", { cls: "chip", type: "button", title: "Take this filter away", on: { click: () => state.set({ [name]: "" }) } }, text(state.get(name))) : null;
    this.#tools.replaceChildren(...[
      chip("q", (text) => `“${text}”`), chip("state", (name) => name), chip("group", () => "one group"),
      el("span", { cls: "range", id: "tasks-total" }, counted(this.#total, "task")),
    ].filter(Boolean));
  }

  async #page(number) {
    const isOld = this.#old.delete(number);
    if (this.#pages.has(number) && !isOld) return;
    if (!isOld) this.#pages.set(number, null);
    const query = this.#query;
    const answer = await ask("tasks", { ...JSON.parse(query), offset: number * PAGE, limit: PAGE }).catch(() => null);
    if (query !== this.#query) return;
    if (!answer) return this.#pages.delete(number);
    this.#pages.set(number, answer.tasks);
    this.#total = answer.total;
    this.#filters();
    this.#draw();
  }

  #draw() {
    const rows = this.#rows;
    const whole = this.#total * ROW, tall = Math.min(whole, TALLEST);
    const room = rows.clientHeight;
    // A list that is too long for an element is scrolled in proportion.
    const part = tall > room ? rows.scrollTop / (tall - room) : 0;
    const top = tall === whole ? rows.scrollTop : part * (whole - room);
    const shift = rows.scrollTop - top;
    const first = Math.max(0, Math.floor(top / ROW) - 5);
    const last = Math.min(this.#total, Math.ceil((top + room) / ROW) + 5);
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page++) this.#page(page);
    const spacer = this.#pool.get("spacer") ?? el("div", {});
    spacer.style.height = `${tall}px`;
    const drawn = new Map([["spacer", spacer]]);
    for (let at = first; at < last; at++) {
      const task = this.#pages.get(Math.floor(at / PAGE))?.[at % PAGE];
      const key = task ? `${task.id} ${task.state} ${task.steps}` : `.${at}`;
      const row = this.#pool.get(key) ?? this.#row(task);
      row.style.transform = `translateY(${at * ROW + shift}px)`;
      row.classList.toggle("chosen", Boolean(task) && task.id === state.get("task"));
      row.dataset.at = at;
      row.tabIndex = at === this.#at ? 0 : -1;
      drawn.set(key, row);
    }
    const hadFocus = rows.contains(document.activeElement) && document.activeElement !== rows;
    for (const [key, row] of this.#pool) if (!drawn.has(key)) row.remove();
    for (const row of drawn.values()) if (!row.isConnected) rows.append(row);
    this.#pool = drawn;
    if (hadFocus && !rows.contains(document.activeElement)) rows.focus({ preventScroll: true });
    let none = this.#view.querySelector(".empty");
    if (this.#total === 0 && this.#pages.get(0)) {
      none ??= this.#rows.appendChild(nothing("No tasks", state.get("q") || state.get("state") ? "None is like this: take a filter away." : "Nothing was started while it was recorded."));
    } else none?.remove();
  }

  #row(task) {
    if (!task) return el("div", { cls: "row", role: "row" });
    const why = task.why ?? (task.cancelled_by?.text || (task.waits_for ? `waits for ${task.waits_for.thing}${task.waits_for.place ? `, at ${short(task.waits_for.place)}` : ""}` : ""));
    const cell = (content, cls) => el("div", { role: "cell", cls, title: typeof content === "string" ? content : null }, content);
    return el("div", { cls: "row", role: "row", data: { task: task.id }, on: { click: () => openTask(task.id) } },
      cell([el("span", { cls: `dot is-${task.state}` }), task.state]), cell(task.name, "name"), cell(task.coroutine, "mono"),
      cell(short(task.started_at), "mono soft"), cell(moment(task.begin), "right soft"),
      cell(task.end === null ? "alive" : duration(task.end - task.begin), "right"), cell(duration(task.busy), "right"), cell(why, "soft"));
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.#rows.clientHeight / ROW) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.#total, End: this.#total }[event.key];
    if (by !== undefined) {
      event.preventDefault();
      this.#go(Math.min(Math.max(this.#at + by, 0), this.#total - 1));
    } else if (event.key === "Enter" || event.key === "s") {
      const task = this.#pages.get(Math.floor(this.#at / PAGE))?.[this.#at % PAGE];
      if (task) {
        event.preventDefault();
        openTask(task.id);
      }
    }
  }

  #go(at) {
    if (at < 0) return;
    this.#at = at;
    const rows = this.#rows, room = rows.clientHeight;
    const whole = this.#total * ROW, tall = Math.min(whole, TALLEST);
    const scale = tall === whole ? 1 : (tall - room) / (whole - room);
    const top = rows.scrollTop / scale;
    if (at * ROW < top) rows.scrollTop = at * ROW * scale;
    else if ((at + 1) * ROW > top + room) rows.scrollTop = ((at + 1) * ROW - room) * scale;
    this.#draw();
    rows.querySelector(`[data-at="${at}"]`)?.focus({ preventScroll: true });
  }
}
