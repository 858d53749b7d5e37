// The shapes of the graph: cards for tasks, boxes for nurseries, ways for edges.

import { svg } from "./dom.js";
import { STATES, count, outcomesSaid, short } from "./words.js";

const LINE = 17;
/** Of a character of the cards' font. */
const CHAR = 6.93;
const ROUND = 8;

/** What screen readers say of a node. */
export function label(node) {
  const told = node.explained ? `, ${node.explained}` : "";
  return `${node.label}, started at ${short(node.place) || "an unknown place"}, ${outcomesSaid(node.outcomes)}${told}`;
}

/** Draws a node into its element, which is moved to where it is. */
export function fill(element, node, isUnfoldable) {
  const chosen = element.classList.contains("chosen");
  if (node.kind === "nursery") {
    element.setAttribute("class", "nursery");
    element.dataset.node = node.id;
    element.replaceChildren(svg("rect", { width: node.w, height: node.h, rx: 12 }));
    return;
  }
  element.setAttribute("class", `node is-${node.outcome} ${node.kind}${chosen ? " chosen" : ""}`);
  element.dataset.node = node.id;
  element.setAttribute("role", "button");
  element.setAttribute("aria-label", label(node));
  if (isUnfoldable) element.setAttribute("aria-expanded", "false");
  else element.removeAttribute("aria-expanded");
  const parts = [];
  if (isUnfoldable) parts.push(svg("rect", { class: "behind", x: 4, y: 4, width: node.w, height: node.h, rx: ROUND }));
  parts.push(svg("rect", { class: "card", width: node.w, height: node.h, rx: ROUND }));
  parts.push(svg("path", { class: "strip", d: strip(node.h) }));
  node.lines.forEach((line, number) => {
    const cls = number === 0 ? "first" : number === 2 ? "told" : "";
    const room = node.w - 20 - (number === 0 && isUnfoldable ? 16 : 0);
    parts.push(svg("text", { class: cls, x: 13, y: 20 + LINE * number }, cut(line, room)));
  });
  if (isUnfoldable) {
    parts.push(svg("path", { class: "plus", d: `M${node.w - 20} 15.500h9m-4.500 -4.500v9` }));
    parts.push(bar(node));
  }
  element.replaceChildren(...parts);
}

/** What a box is, above the edges that cross it. */
export function title(node) {
  return svg("text", { x: node.x + 6, y: node.y + 17 }, cut(node.lines.join(" "), node.w - 4));
}

function cut(text, room) {
  const most = Math.max(2, Math.floor((room + 1) / CHAR));
  const letters = [...text];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
}

const strip = (h) => `M${ROUND} .5H4.500V${h - 0.5}H${ROUND}A${ROUND - 0.5} ${ROUND - 0.5} 0 0 1 .5 ${h - ROUND}V${ROUND}A${ROUND - 0.5} ${ROUND - 0.5} 0 0 1 ${ROUND} .5Z`;

/** How many of its tasks went which way, along its lower edge; the few are never too thin to be seen. */
function bar(node) {
  const [left, width] = [12, node.w - 24];
  const there = STATES.filter((name) => node.outcomes[name] > 0);
  const wide = there.map((name) => Math.max(3, (node.outcomes[name] / node.count) * width));
  const all = wide.reduce((sum, each) => sum + each, 0);
  let x = left;
  return svg("g", { class: "bar", "aria-hidden": "true" }, there.map((name, at) => {
    const w = (wide[at] / all) * width;
    const part = svg("rect", { x, y: node.h - 5, width: Math.max(1, w - 1), height: 2.5 }, svg("title", {}, `${count(node.outcomes[name])} ${name}`));
    part.style.fill = `var(--${name})`;
    x += w;
    return part;
  }));
}

const BEND = { awaits: 16, woke: -22, cancelled: 30 };

/** An edge's way: corners are rounded; what goes straight is bent a little, so that edges between the same two don't hide each other. */
export function path({ points, kind, from, to }) {
  if (points.length === 2) {
    const [[x1, y1], [x2, y2]] = points;
    const bend = BEND[kind] ?? 0;
    const long = Math.hypot(x2 - x1, y2 - y1) || 1;
    const [x, y] = [(x1 + x2) / 2 + ((y2 - y1) / long) * bend, (y1 + y2) / 2 - ((x2 - x1) / long) * bend];
    return `M${x1} ${y1}Q${x} ${y} ${x2} ${y2}`;
  }
  const radius = from === to ? 6 : 10;
  let way = `M${points[0].join(" ")}`;
  for (let at = 1; at < points.length - 1; at++) {
    const [before, corner, after] = [points[at - 1], points[at], points[at + 1]];
    const [start, end] = [towards(corner, before, radius), towards(corner, after, radius)];
    way += `L${start.join(" ")}Q${corner.join(" ")} ${end.join(" ")}`;
  }
  return `${way}L${points.at(-1).join(" ")}`;
}

function towards([x, y], [toX, toY], radius) {
  const long = Math.hypot(toX - x, toY - y);
  const part = long ? Math.min(radius, long / 2) / long : 0;
  return [x + (toX - x) * part, y + (toY - y) * part].map((each) => Math.round(each * 10) / 10);
}
