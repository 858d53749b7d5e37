// The timeline's canvas: an axis, the loop's turns, and a row for each task or group.

import { count, tick } from "./words.js";

export const LABELS = 230;
export const TASK_ROW = 24;
export const GROUP_ROW = 46;
export const HEAD = 78;
const AXIS = 24;
const BAR = 14;
/** Pixels of a wait from which on it says what for. */
const WORTH_WORDS = 70;

let colours = null;
addEventListener("themechange", () => { colours = null; });

function theme() {
  if (colours) return colours;
  const style = getComputedStyle(document.documentElement);
  const names = ["surface", "sunken", "line", "line-strong", "ink", "soft", "accent", "accent-soft", "finished", "failed", "cancelled", "pending", "running", "ready", "waiting"];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  colours.sans = style.getPropertyValue("--sans");
  colours.mono = style.getPropertyValue("--mono");
  return colours;
}

/** `view`: {width, height, from, to, data, top, row, pointer, chosen, selection}. */
export function draw(canvas, view) {
  const sharp = devicePixelRatio || 1;
  const [wide, tall] = [Math.round(view.width * sharp), Math.round(view.height * sharp)];
  if (canvas.width !== wide || canvas.height !== tall) {
    [canvas.width, canvas.height] = [wide, tall];
    canvas.style.width = `${view.width}px`;
    canvas.style.height = `${view.height}px`;
  }
  const paint = canvas.getContext("2d", { alpha: false });
  paint.setTransform(sharp, 0, 0, sharp, 0, 0);
  const hue = theme();
  paint.fillStyle = hue.surface;
  paint.fillRect(0, 0, view.width, view.height);
  const scale = (view.width - LABELS) / (view.to - view.from);
  const x = (time) => LABELS + (time - view.from) * scale;
  const ticks = ticksOf(view, scale);
  grid(paint, hue, view, x, ticks);
  if (view.data) {
    rows(paint, hue, view, x);
    turns(paint, hue, view, x);
  }
  axis(paint, hue, view, x, ticks);
  pointer(paint, hue, view);
}

function ticksOf(view, scale) {
  const least = 110 / scale;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((by) => by * power).find((each) => each >= least);
  const all = [];
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) all.push(at);
  return { step, all };
}

function grid(paint, hue, view, x, { all }) {
  paint.fillStyle = hue.line;
  for (const at of all) paint.fillRect(Math.round(x(at)), AXIS, 1, view.height);
}

function axis(paint, hue, view, x, { step, all }) {
  paint.fillStyle = hue.surface;
  paint.fillRect(LABELS, 0, view.width - LABELS, AXIS);
  paint.font = `11px ${hue.mono}`;
  paint.textBaseline = "middle";
  paint.textAlign = "left";
  paint.fillStyle = hue.soft;
  for (const at of all) {
    if (x(at) > LABELS - 4) paint.fillText(tick(at, step), Math.round(x(at)) + 5, AXIS / 2 + 1);
  }
  paint.fillStyle = hue.line;
  for (const y of [AXIS, HEAD - 1]) paint.fillRect(0, y, view.width, 1);
  paint.fillRect(LABELS - 1, 0, 1, view.height);
}

/** A bar for each turn, as high as the logarithm of what it took: from 10 µs to 1 s. */
function turns(paint, hue, view, x) {
  const floor = HEAD - 2, room = HEAD - AXIS - 8;
  paint.fillStyle = hue.surface;
  paint.fillRect(0, 0, view.width, HEAD);
  paint.save();
  paint.beginPath();
  paint.rect(LABELS, AXIS, view.width - LABELS, HEAD - AXIS);
  paint.clip();
  for (const [begin, took] of view.data.turns) {
    const left = x(begin), width = Math.max(1, x(begin + took) - left);
    if (left > view.width || left + width < LABELS) continue;
    const part = Math.min(1, Math.max(0.06, (Math.log10(Math.max(took, 1)) - 4) / 5));
    paint.fillStyle = took >= 1e8 ? hue.failed : took >= 1e7 ? hue.ready : hue.running;
    paint.globalAlpha = took >= 1e7 ? 1 : 0.55;
    paint.fillRect(left, floor - part * room, width, part * room);
  }
  paint.restore();
  paint.font = `12px ${hue.sans}`;
  paint.textBaseline = "middle";
  paint.fillStyle = hue.soft;
  paint.fillText("Turns of the loop", 20, (AXIS + HEAD) / 2);
}

function rows(paint, hue, view, x) {
  const { data, top } = view;
  const ROW = data.grouped ? GROUP_ROW : TASK_ROW;
  const first = Math.max(0, Math.floor(top / ROW)), last = Math.ceil((top + view.height - HEAD) / ROW);
  for (let number = first; number < last; number++) {
    const y = HEAD + number * ROW - top;
    const row = data.rows[number - data.offset];
    const isUnder = view.pointer && view.pointer.y >= HEAD && view.pointer.y >= y && view.pointer.y < y + ROW;
    if (row && (number === view.row || isUnder || (row.task && row.task === view.chosen))) {
      paint.fillStyle = number === view.row || row.task === view.chosen ? hue["accent-soft"] : hue.sunken;
      paint.fillRect(0, y, view.width, ROW);
    }
    if (!row) continue;
    if (row.levels) levels(paint, hue, view, x, row, y);
    else spans(paint, hue, view, x, row, y);
    label(paint, hue, row, y + ROW / 2 + 0.5);
    if (number === view.row) {
      paint.fillStyle = hue.accent;
      paint.fillRect(0, y, 3, ROW);
    }
  }
}

function spans(paint, hue, view, x, row, y) {
  const middle = y + TASK_ROW / 2;
  paint.font = `11px ${hue.sans}`;
  paint.textBaseline = "middle";
  for (const [begin, end, what, forWhat] of row.spans) {
    const left = Math.max(LABELS, x(begin)), right = Math.min(view.width, x(end));
    if (right < LABELS || left > view.width) continue;
    paint.fillStyle = hue[what] ?? hue.waiting;
    paint.fillRect(left, middle - BAR / 2, Math.max(what === "waiting" ? 0.6 : 1.2, right - left), BAR);
    if (forWhat && right - left > WORTH_WORDS) {
      paint.fillStyle = hue.soft;
      paint.fillText(cut(paint, forWhat, right - left - 14), left + 7, middle + 0.5);
    }
  }
  if (row.task && row.state !== "finished" && row.end <= view.to) dot(paint, hue[row.state] ?? hue.pending, x(row.end), middle, row.state);
}

/** How many of a group's tasks ran, were ready and waited, one above the other; the row is as high as the most there were. */
function levels(paint, hue, view, x, row, y) {
  const most = row.levels.reduce((sum, [begin, end, ...parts]) => (end < view.from || begin > view.to ? sum : Math.max(sum, parts[0] + parts[1] + parts[2])), 0);
  const floor = y + GROUP_ROW - 4, room = GROUP_ROW - 10;
  paint.fillStyle = hue.line;
  paint.fillRect(LABELS, floor, view.width - LABELS, 1);
  for (const [begin, end, ...parts] of row.levels) {
    const left = Math.max(LABELS, x(begin)), right = Math.min(view.width, x(end));
    if (right < LABELS || left > view.width) continue;
    let foot = floor;
    ["running", "ready", "waiting"].forEach((what, at) => {
      if (!parts[at]) return;
      const high = (parts[at] / most) * room;
      paint.fillStyle = hue[what];
      paint.fillRect(left, foot - high, Math.max(1, right - left), high);
      foot -= high;
    });
  }
}

/** How it ended, if that wasn't well. What only waits at the end of the recording has no end. */
function dot(paint, colour, x, y, what) {
  if (x < LABELS || (what !== "failed" && what !== "cancelled")) return;
  paint.fillStyle = colour;
  paint.beginPath();
  paint.arc(x, y, 4, 0, 7);
  paint.fill();
}

function label(paint, hue, row, middle) {
  const bad = row.group ? row.outcomes.failed : 0;
  paint.fillStyle = hue[row.group ? worst(row.outcomes) : row.state === "waiting" || row.state === "ready" ? "pending" : row.state] ?? hue.soft;
  paint.beginPath();
  paint.arc(20, middle, 3.5, 0, 7);
  paint.fill();
  paint.font = `12.5px ${hue.sans}`;
  paint.textBaseline = "middle";
  let room = LABELS - 32 - 14;
  if (bad) {
    const text = `${count(bad)} failed`;
    paint.fillStyle = hue.failed;
    paint.textAlign = "right";
    paint.fillText(text, LABELS - 12, middle);
    paint.textAlign = "left";
    room -= paint.measureText(text).width + 8;
  }
  paint.fillStyle = row.state === "failed" ? hue.failed : hue.ink;
  paint.fillText(cut(paint, row.label, room), 32, middle);
}

const worst = (outcomes) => ["failed", "cancelled", "pending", "finished"].find((name) => outcomes[name] > 0) ?? "finished";

const widths = new Map();
function cut(paint, text, room) {
  const key = `${paint.font} ${Math.round(room)} ${text}`;
  let said = widths.get(key);
  if (said === undefined) {
    said = text.slice(0, Math.ceil(room / 3));
    while (said.length > 2 && paint.measureText(said).width > room) said = `${said.slice(0, -2).trimEnd()}…`;
    if (widths.size > 2000) widths.clear();
    widths.set(key, said);
  }
  return said;
}

function pointer(paint, hue, view) {
  if (view.selection) {
    const [a, b] = view.selection.map((each) => Math.max(LABELS, each));
    paint.globalAlpha = 0.16;
    paint.fillStyle = hue.accent;
    paint.fillRect(Math.min(a, b), 0, Math.abs(b - a), view.height);
    paint.globalAlpha = 1;
  }
  if (!view.pointer || view.pointer.x < LABELS) return;
  paint.globalAlpha = 0.6;
  paint.fillStyle = hue.accent;
  paint.fillRect(Math.round(view.pointer.x), 0, 1, view.height);
  paint.globalAlpha = 1;
}

/** The span of a row at a time; of what is too narrow to hit, the nearest within `slack`. */
export function spanAt(row, time, slack) {
  let best = null, least = slack;
  for (const span of row.spans) {
    const far = time < span[0] ? span[0] - time : time > span[1] ? time - span[1] : 0;
    if (far < least || (far === 0 && least === 0)) [best, least] = [span, far];
  }
  return best;
}

export const levelAt = (row, time) => row.levels.find(([begin, end]) => time >= begin && time < end) ?? null;

/** The longest turn under the pointer. */
export function turnAt(data, from, to, width, at) {
  const scale = (width - LABELS) / (to - from);
  let best = null;
  for (const turn of data.turns) {
    const left = LABELS + (turn[0] - from) * scale;
    if (at >= left - 3 && at <= left + turn[1] * scale + 3 && (!best || turn[1] > best[1])) best = turn;
  }
  return best;
}
