// When tasks ran and waited, and the loop's turns. What is on the screen is asked of the server; while that is on its way the old
// answer is drawn stretched, so that zooming never waits. `timeline_draw.js` draws.

import { Asker } from "./api.js";
import { byId, el, nothing, say } from "./dom.js";
import * as keys from "./keys.js";
import * as state from "./state.js";
import { openGroup, openTask } from "./story.js";
import * as tips from "./tips.js";
import { GROUP_ROW, HEAD, LABELS, TASK_ROW, draw, levelAt, spanAt, turnAt } from "./timeline_draw.js";
import { count, counted, duration, moment, outcomesSaid, short } from "./words.js";

/** More tasks than this are shown as groups at first. */
const MANY = 400;
const TALLEST = 8_000_000;
const LEAST_RANGE = 200;

export class Timeline {
  #view = byId("view-timeline"); #box; #canvas; #spacer; #tools = el("div", {}); #range = el("span", { cls: "range" });
  #duration = 1; #tasks = 0; #from = 0; #to = 1; #data = null; #total = 0; #row = -1; #pointer = null; #drag = null; #fingers = new Map(); #frame = 0; #query = ""; #ours = false; #wanted = "";
  #asker = new Asker("timeline", (answer, given, isOld, error) => this.#answered(answer, given, error));

  constructor() {
    this.#canvas = el("canvas", { "aria-hidden": "true" });
    this.#spacer = el("div", {});
    this.#box = el("div", {
      cls: "timeline", tabindex: "0", role: "application",
      "aria-label": "Timeline. Left and right move in time, plus and minus zoom, up and down choose a row, Enter opens it.",
    }, this.#canvas, this.#spacer);
    this.#view.append(this.#box, legend());
    const box = this.#box;
    box.addEventListener("scroll", () => this.#changed(), { passive: true });
    box.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    box.addEventListener("pointerdown", (event) => this.#down(event));
    box.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) box.addEventListener(end, (event) => this.#up(event));
    box.addEventListener("pointerleave", () => { this.#pointer = null; tips.hide(); this.#redraw(); });
    box.addEventListener("dblclick", (event) => { if (this.#at(event).x >= LABELS && !this.#rowUnder(event)) this.#look(0, this.#duration); });
    new ResizeObserver(() => this.#changed()).observe(box);
    addEventListener("themechange", () => this.#redraw());
    keys.register("Timeline", () => state.get("view") === "timeline" && !byId("story").contains(document.activeElement), this.#keys());
  }

  get tools() { return this.#tools; }

  summary({ duration: long, tasks }) {
    [this.#duration, this.#tasks] = [Math.max(long, 1), tasks];
  }

  update(again = false) {
    // What the address says, unless it is about to say what has just been looked at.
    if (!this.#ours && !this.#told) {
      this.#from = Math.min(state.number("from", 0), this.#duration - 1);
      this.#to = Math.max(this.#from + 1, Math.min(state.number("to", this.#duration), this.#duration * 1.05));
    }
    if (state.get("row") !== this.#wanted) this.#wanted = state.get("row");
    if (again) this.#query = "";
    this.#toolbar();
    this.#changed();
  }

  get #isGrouped() {
    if (state.get("group") || state.get("row")) return false;
    return state.get("grouped", this.#tasks > MANY ? "yes" : "no") === "yes";
  }

  /** A row's height. */
  get #high() {
    return (this.#data?.grouped ?? this.#isGrouped) ? GROUP_ROW : TASK_ROW;
  }

  // --- Asking ------------------------------------------------------------------------------------------

  #changed() {
    this.#redraw();
    const { width, height } = this.#room();
    if (this.#view.hidden || width <= LABELS) return;
    const long = this.#to - this.#from;
    // Groups stay what they are; of tasks, rows are only those that were alive in what is seen.
    const beside = this.#isGrouped || state.get("row") ? long / 2 : 0;
    const [from, to] = [Math.max(0, Math.floor(this.#from - beside)), Math.min(this.#duration, Math.ceil(this.#to + beside))];
    const shown = Math.ceil((height - HEAD) / this.#high);
    const offset = Math.max(0, Math.floor(this.#top() / this.#high) - 20);
    const given = {
      from, to, offset, rows: shown + 40, group: this.#isGrouped,
      // As many pieces as there are pixels, in what is seen and beside it.
      width: Math.min(10_000, Math.max(50, Math.round(((to - from) / long) * (width - LABELS)))),
    };
    if (state.get("row")) given.filter = { text: state.get("row") };
    else if (state.get("group")) given.filter = { group: state.get("group") };
    const query = JSON.stringify(given);
    if (query === this.#query) return;
    this.#query = query;
    this.#asker.ask(given);
  }

  #answered(answer, given, error) {
    this.#view.querySelector(".empty")?.remove();
    if (error) return this.#view.append(nothing("No timeline", error.message));
    this.#data = { ...answer, offset: given.offset, grouped: given.group };
    this.#total = answer.total_rows;
    const { height } = this.#room();
    this.#spacer.style.height = `${Math.max(0, Math.min(this.#total * this.#high + HEAD + this.#high, TALLEST) - height)}px`;
    this.#box.dataset.ready = String(Number(this.#box.dataset.ready ?? 0) + 1);
    if (this.#total === 0 && this.#tasks === 0) this.#view.append(nothing("No tasks", "Nothing was started while it was recorded."));
    this.#redraw();
    if (this.#pointer && !this.#drag) this.#tell(this.#last, this.#pointer);
  }

  // --- Drawing -----------------------------------------------------------------------------------------

  #room() {
    return { width: this.#box.clientWidth, height: this.#box.clientHeight };
  }

  /** How far the rows are scrolled; what is taller than an element can be is scrolled in proportion. */
  #top() {
    const { height } = this.#room();
    const whole = this.#total * this.#high + HEAD + this.#high;
    if (whole <= TALLEST) return this.#box.scrollTop;
    return (this.#box.scrollTop / (TALLEST - height)) * (whole - height);
  }

  #scrollTo(top) {
    const { height } = this.#room();
    const whole = this.#total * this.#high + HEAD + this.#high;
    this.#box.scrollTop = whole <= TALLEST ? top : (top / (whole - height)) * (TALLEST - height);
  }

  #redraw() {
    if (this.#frame || this.#view.hidden) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      const { width, height } = this.#room();
      draw(this.#canvas, {
        width, height, from: this.#from, to: this.#to, data: this.#data, top: this.#top(), row: this.#row, pointer: this.#pointer,
        chosen: state.get("task"), selection: this.#drag?.kind === "select" ? [this.#drag.x, this.#pointer?.x ?? this.#drag.x] : null,
      });
      this.#range.textContent = `${moment(this.#from)} – ${moment(Math.min(this.#to, this.#duration))} · ${duration(this.#to - this.#from)}`;
    });
  }

  #toolbar() {
    const grouped = this.#isGrouped;
    const group = state.get("group");
    const toggle = el("button", { cls: "toggle", type: "button", "aria-pressed": String(grouped), title: "Tasks of the same code in one row (g)", on: { click: () => this.#groups() } }, "Groups");
    const chip = state.get("row") ? el("button", { cls: "chip", type: "button", title: "All tasks again (Esc)", on: { click: () => this.#allRows() } }, `task ${state.get("row")}`)
      : group ? el("button", { cls: "chip", type: "button", title: "All groups again (Esc)", on: { click: () => this.#allRows() } }, this.#groupName ?? "one group") : null;
    const quiet = (text, title, click) => el("button", { cls: "quiet", type: "button", title, "aria-label": title, on: { click } }, text);
    this.#tools.replaceChildren(...[this.#range, chip, toggle, el("span", { cls: "gap" }), quiet("−", "Zoom out (-)", () => this.#zoom(1.5)), quiet("+", "Zoom in (+)", () => this.#zoom(1 / 1.5)), quiet("Fit", "All of it (0)", () => this.#look(0, this.#duration))].filter(Boolean));
  }
  #groupName = null;

  #groups() {
    state.set({ grouped: this.#isGrouped ? "no" : "yes", group: "", row: "" });
    this.#scrollTo(0);
  }

  #allRows() {
    state.set({ group: "", row: "", grouped: "" });
    this.#row = -1;
    this.#scrollTo(0);
  }

  // --- Moving in time ----------------------------------------------------------------------------------

  #look(from, to) {
    const long = Math.max(LEAST_RANGE, Math.min(to - from, this.#duration * 1.05));
    const slack = this.#duration * 0.025;
    from = Math.max(-slack, Math.min(from, this.#duration + slack - long));
    [this.#from, this.#to] = [Math.max(0, from), Math.max(0, from) + long];
    this.#changed();
    clearTimeout(this.#told);
    const isAll = this.#from <= 0 && this.#to >= this.#duration;
    this.#told = setTimeout(() => {
      this.#told = 0;
      this.#ours = true;
      state.set({ from: isAll ? "" : Math.round(this.#from), to: isAll ? "" : Math.round(this.#to) }, { quietly: true });
      this.#ours = false;
    }, 250);
  }
  #told = 0; #last = null;

  #zoom(by, at = 0.5) {
    const long = this.#to - this.#from;
    const longer = Math.max(LEAST_RANGE, long * by);
    const middle = this.#from + long * at;
    this.#look(middle - longer * at, middle + longer * (1 - at));
  }

  #pan(part) {
    const by = (this.#to - this.#from) * part;
    this.#look(this.#from + by, this.#to + by);
  }

  // --- Pointer -----------------------------------------------------------------------------------------

  #at(event) {
    const box = this.#box.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  #part(x) {
    return (x - LABELS) / Math.max(1, this.#room().width - LABELS);
  }

  #rowUnder(event) {
    const { y } = this.#at(event);
    return y < HEAD ? null : this.#rowAt(Math.floor((y - HEAD + this.#top()) / this.#high));
  }

  #rowAt(number) {
    return this.#data?.rows[number - this.#data.offset] ?? null;
  }

  #wheel(event) {
    const { x } = this.#at(event);
    if (x < LABELS && !event.ctrlKey) return; // the labels scroll as any list does
    event.preventDefault();
    const step = event.deltaMode === 1 ? 18 : 1;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.#pan(((event.deltaX || event.deltaY) * step) / 1000);
    else this.#zoom(Math.exp(event.deltaY * step * (event.ctrlKey ? 0.01 : 0.002)), this.#part(x));
  }

  #down(event) {
    if (event.button > 0) return;
    const at = this.#at(event);
    if (at.x > this.#box.clientWidth) return; // the scroll bar
    this.#fingers.set(event.pointerId, at);
    const kind = at.x >= LABELS && at.y < HEAD ? "select" : "pan";
    this.#drag = { kind, x: at.x, y: at.y, from: this.#from, to: this.#to, top: this.#top(), moved: false };
  }

  #move(event) {
    const at = this.#at(event);
    this.#pointer = at;
    this.#last = event;
    this.#canvas.classList.toggle("on-labels", at.x < LABELS);
    if (!this.#drag) {
      this.#tell(event, at);
      return this.#redraw();
    }
    const drag = this.#drag;
    const before = this.#fingers.get(event.pointerId);
    if (before && this.#fingers.size === 2) {
      const other = [...this.#fingers].find(([id]) => id !== event.pointerId)[1];
      const far = (point) => Math.max(8, Math.abs(point.x - other.x));
      this.#zoom(far(before) / far(at), this.#part((at.x + other.x) / 2));
      this.#fingers.set(event.pointerId, at);
      drag.moved = true;
      return;
    }
    if (!drag.moved && Math.hypot(at.x - drag.x, at.y - drag.y) < 4) return;
    if (!drag.moved) this.#box.setPointerCapture(event.pointerId);
    drag.moved = true;
    tips.hide();
    if (drag.kind === "pan") {
      this.#canvas.classList.add("dragged");
      const long = drag.to - drag.from;
      const by = ((drag.x - at.x) / (this.#room().width - LABELS)) * long;
      this.#scrollTo(drag.top + drag.y - at.y);
      this.#look(drag.from + by, drag.to + by);
    }
    this.#redraw();
  }

  #up(event) {
    this.#fingers.delete(event.pointerId);
    const drag = this.#drag;
    if (!drag || this.#fingers.size) return;
    this.#drag = null;
    this.#canvas.classList.remove("dragged");
    const { x } = this.#at(event);
    if (drag.kind === "select" && drag.moved) {
      const [left, right] = [Math.min(drag.x, x), Math.max(drag.x, x)].map((each) => this.#from + this.#part(Math.max(LABELS, each)) * (this.#to - this.#from));
      this.#look(left, right);
    } else if (!drag.moved && event.type === "pointerup") {
      const row = this.#rowUnder(event);
      if (row) {
        this.#row = this.#data.offset + this.#data.rows.indexOf(row);
        this.#open(row);
      }
    }
    this.#redraw();
  }

  #open(row) {
    tips.hide();
    if (row.task) openTask(row.task);
    else if (row.group) {
      this.#groupName = row.label.replace(/ ×[\d,]+$/, "");
      this.#row = -1;
      state.set({ group: row.group, row: "" });
      this.#scrollTo(0);
      say(`Tasks of ${row.label}`);
    }
  }

  #tell(event, at) {
    const time = this.#from + this.#part(at.x) * (this.#to - this.#from);
    if (at.y < HEAD) {
      const turn = at.x >= LABELS && this.#data ? turnAt(this.#data, this.#from, this.#to, this.#room().width, at.x) : null;
      if (!turn) return tips.hide();
      return tips.show(event.clientX, event.clientY, ["!A turn of the loop", `took ${duration(turn[1])} and ran ${counted(turn[2], "job")}, at ${moment(turn[0])}`, "?Drag to zoom in"]);
    }
    const row = this.#rowUnder(event);
    if (!row) return tips.hide();
    const lines = [`!${row.label}`];
    const level = at.x >= LABELS && row.levels ? levelAt(row, time) : null;
    const span = at.x >= LABELS && !row.levels ? spanAt(row, time, ((this.#to - this.#from) / this.#room().width) * 3) : null;
    if (span) {
      const [begin, end, what, forWhat] = span;
      const doing = forWhat?.startsWith("sleep") ? forWhat : `${what}${forWhat ? ` for ${forWhat}` : ""}`;
      lines.push(`${doing}: ${duration(end - begin)}, from ${moment(begin)}`);
    }
    if (level) {
      const [, , running, ready, waiting] = level;
      const about = (number, name) => (number > 0 ? `${number < 10 ? number.toFixed(number < 1 ? 2 : 1) : count(Math.round(number))} ${name}` : "");
      lines.push(`here, on average: ${[about(running, "running"), about(ready, "ready"), about(waiting, "waiting")].filter(Boolean).join(", ")}`);
    }
    if (row.group) lines.push(row.place ? `started at ${short(row.place)}` : "", outcomesSaid(row.outcomes), "?Click shows its tasks");
    else lines.push(span ? "" : `${row.state}; alive from ${moment(row.begin)} to ${moment(row.end)}`, "?Click tells its story");
    tips.show(event.clientX, event.clientY, lines);
  }

  // --- Keys --------------------------------------------------------------------------------------------

  #keys() {
    const choose = (by) => () => this.#choose(this.#row < 0 && by > 0 ? 0 : this.#row + by);
    const page = () => Math.max(1, Math.floor((this.#room().height - HEAD) / this.#high) - 1);
    return [
      [["ArrowLeft"], "Earlier", () => this.#pan(-0.15)], [["ArrowRight"], "Later", () => this.#pan(0.15)],
      [["+", "="], "Zoom in", () => this.#zoom(1 / 1.5)], [["-"], "Zoom out", () => this.#zoom(1.5)], [["0"], "All of it", () => this.#look(0, this.#duration)],
      [["ArrowUp"], "The row above", choose(-1)], [["ArrowDown"], "The row below", choose(1)],
      [["PageUp"], "A page up", () => this.#choose(this.#row - page())], [["PageDown"], "A page down", () => this.#choose(this.#row + page())],
      [["Enter"], "Its tasks, or its story", (event) => (event.target.closest("button, a") ? false : this.#onRow((row) => this.#open(row)))],
      [["s"], "Story", () => this.#onRow((row) => (row.task ? openTask(row.task) : openGroup(row.group)))],
      [["g"], "Groups or tasks", () => this.#groups()],
      [["Escape"], "All rows again", () => (byId("story").hidden && (state.get("group") || state.get("row")) ? this.#allRows() : false)],
    ];
  }

  #onRow(call) {
    const row = this.#rowAt(this.#row);
    return row ? call(row) : false;
  }

  #choose(number) {
    if (!this.#total) return;
    this.#row = Math.max(0, Math.min(number, this.#total - 1));
    const top = this.#top(), room = this.#room().height - HEAD - this.#high;
    if (this.#row * this.#high < top) this.#scrollTo(this.#row * this.#high);
    else if ((this.#row + 1) * this.#high > top + room) this.#scrollTo((this.#row + 1) * this.#high - room);
    const row = this.#rowAt(this.#row);
    if (row) say(row.group ? `${row.label}, ${outcomesSaid(row.outcomes)}` : `${row.label}, ${row.state}, from ${moment(row.begin)} to ${moment(row.end)}`);
    else say(`row ${count(this.#row + 1)}`);
    this.#redraw();
  }
}

function legend() {
  const entry = (colour, text, round) => el("span", {}, el("i", { cls: round ? "round" : "", style: { "--colour": `var(--${colour})` } }), text);
  return el("div", { cls: "timeline-legend", "aria-hidden": "true" }, entry("running", "running"), entry("ready", "ready, in the queue"), entry("waiting", "waiting"), entry("failed", "failed", true), entry("cancelled", "cancelled", true));
}
