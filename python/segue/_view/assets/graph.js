// The flowchart: groups of tasks, nurseries as boxes, who started, awaits, woke and cancelled whom. The server says where everything
// is; this draws it, moves around in it (`camera.js`) and asks for another picture when a group is unfolded.

import { Asker } from "./api.js";
import { Camera } from "./camera.js";
import { byId, el, nothing, say, svg } from "./dom.js";
import { fill, path, title } from "./graph_parts.js";
import * as keys from "./keys.js";
import * as state from "./state.js";
import { isOpen, openGroup, openTask } from "./story.js";
import * as tips from "./tips.js";
import { counted, outcomesSaid } from "./words.js";

const KINDS = ["spawned", "awaits", "woke", "cancelled"];
const SHOWN_FIRST = ["spawned", "awaits", "cancelled"];
/** A first click may be half of a double click. */
const DOUBLE_CLICK = 220;

export class Graph {
  #view = byId("view-graph"); #frame; #world; #picture; #layers = {}; #camera; #tools = el("div", {});
  #nodes = new Map(); #elements = new Map(); #edges = []; #at = ""; #query = ""; #anchor = null; #click = 0; #isFirst = true;
  #asker = new Asker("graph", (answer, given, isOld, error) => this.#answered(answer, isOld, error));

  constructor() {
    this.#layers = { boxes: svg("g", {}), edges: svg("g", {}), titles: svg("g", { class: "titles" }), nodes: svg("g", {}) };
    this.#picture = svg("svg", { class: "picture" }, markers(), this.#layers.boxes, this.#layers.edges, this.#layers.titles, this.#layers.nodes);
    // Scaled from outside: a scale within an SVG lays out its texts anew at every step.
    this.#world = el("div", { cls: "world" }, this.#picture);
    this.#frame = el("div", {
      cls: "graph", role: "application", tabindex: "0",
      "aria-label": "Graph of tasks. Arrow keys go from one to the next, Enter unfolds a group or opens a task, s tells a story.",
    }, this.#world);
    this.#view.append(this.#frame);
    this.#camera = new Camera(this.#frame, this.#world);
    this.#frame.addEventListener("click", (event) => this.#clicked(event));
    this.#frame.addEventListener("dblclick", (event) => this.#story(this.#of(event.target)));
    this.#frame.addEventListener("pointermove", (event) => this.#over(event));
    this.#frame.addEventListener("pointerleave", () => this.#over(null));
    this.#frame.addEventListener("focusin", (event) => this.#focused(event.target));
    this.#frame.addEventListener("focus", () => this.#go(this.#elements.has(this.#at) ? this.#at : this.#first()));
    keys.register("Graph", () => state.get("view", "graph") === "graph" && !byId("story").contains(document.activeElement), this.#keys());
  }

  get tools() { return this.#tools; }

  update(again = false) {
    const kinds = state.get("edges") ? state.list("edges") : SHOWN_FIRST;
    const given = { expand: state.list("expand"), focus: state.get("focus"), edges: kinds.length && kinds[0] !== "none" ? kinds : ["spawned"], limit: 200 };
    this.#frame.classList.toggle("no-edges", kinds[0] === "none");
    const query = JSON.stringify(given);
    this.#toolbar(kinds);
    this.#choose();
    if (query === this.#query && !again) return;
    // What has only grown stays where it is.
    this.#isAgain = query === this.#query;
    this.#query = query;
    this.#asker.ask(given);
  }

  // --- Drawing -----------------------------------------------------------------------------------------

  #answered(answer, isOld, error) {
    if (isOld) return;
    this.#view.querySelector(".empty")?.remove();
    if (error) return this.#view.append(nothing("No graph", error.message));
    if (!answer.nodes.length) this.#view.append(nothing("No tasks", "Nothing was started while it was recorded."));
    const anchor = this.#anchor && this.#onScreen(this.#anchor);
    this.#nodes = new Map(answer.nodes.map((node) => [node.id, node]));
    const drawn = new Map(), titles = [];
    for (const node of answer.nodes) {
      const known = this.#elements.get(node.id);
      const element = known ?? svg("g", {});
      fill(element, node, this.#isUnfoldable(node));
      element.classList.toggle("new", !known);
      element.style.transform = `translate(${node.x}px, ${node.y}px)`;
      if (node.kind === "nursery") titles.push(title(node));
      (node.kind === "nursery" ? this.#layers.boxes : this.#layers.nodes).append(element);
      drawn.set(node.id, element);
    }
    for (const [id, element] of this.#elements) if (!drawn.has(id)) element.remove();
    this.#elements = drawn;
    this.#layers.titles.replaceChildren(...titles);
    this.#drawEdges(answer.edges);
    if (!this.#elements.has(this.#at)) this.#at = this.#anchor ? this.#near(this.#anchor) : "";
    this.#picture.setAttribute("width", answer.w);
    this.#picture.setAttribute("height", answer.h);
    this.#camera.size(answer.w, answer.h);
    if (this.#isFirst || state.get("focus") !== this.#focusWas || (!anchor && !this.#isAgain)) this.#camera.fit(!this.#isFirst);
    else if (anchor) this.#camera.settle(this.#nodes.get(this.#near(this.#anchor)), anchor);
    this.#focusWas = state.get("focus");
    this.#isFirst = false;
    if (this.#anchor && this.#hadFocus) this.#go(this.#near(this.#anchor));
    this.#anchor = null;
    this.#choose();
    this.#toolbar(state.get("edges") ? state.list("edges") : SHOWN_FIRST);
    this.#frame.dataset.ready = String(Number(this.#frame.dataset.ready ?? 0) + 1);
  }
  #focusWas = ""; #hadFocus = false; #isAgain = false;

  #drawEdges(edges) {
    this.#edges = edges;
    this.#layers.edges.replaceChildren(...edges.map((edge, at) => {
      const way = path(edge);
      const wide = 1.2 + Math.min(1.4, Math.log10(edge.count) * 0.28);
      const kind = look(edge);
      const line = svg("path", { class: `edge ${kind}`, d: way, "marker-end": `url(#tip-${kind})` });
      line.style.setProperty("--wide", `${wide}px`);
      return svg("g", { class: `edge-of ${edge.kind}`, data: { edge: at } }, line, svg("path", { class: "hit", d: way }));
    }));
  }

  #toolbar(kinds) {
    const toggle = (kind) => {
      const isOn = kinds.includes(kind);
      const next = KINDS.filter((each) => (each === kind ? !isOn : kinds.includes(each)));
      return el("button", { cls: "toggle", type: "button", "aria-pressed": String(isOn), data: { edge: kind }, title: EXPLAINED[kind], on: { click: () => state.set({ edges: next.length ? next : ["none"] }) } }, swatch(kind), kind);
    };
    const unfolded = state.list("expand").map((id) => {
      const name = this.#groupName(id);
      return el("button", { cls: "chip", type: "button", title: "Fold it again", on: { click: () => this.#fold(id) } }, name);
    });
    const focus = state.get("focus");
    const focused = focus ? el("button", { cls: "chip", type: "button", title: "Show everything again (Esc)", on: { click: () => state.set({ focus: "" }) } }, `only around ${this.#nodes.get(focus)?.label ?? focus.slice(1)}`) : null;
    const quiet = (text, title, click) => el("button", { cls: "quiet", type: "button", title, "aria-label": title, on: { click } }, text);
    this.#tools.replaceChildren(...[...unfolded, focused, el("span", { cls: "gap" }), ...KINDS.map(toggle), el("span", { cls: "gap" }),
      quiet("−", "Zoom out (-)", () => this.#camera.zoom(1 / 1.3)), quiet("+", "Zoom in (+)", () => this.#camera.zoom(1.3)), quiet("Fit", "All of it (0)", () => this.#camera.fit(true))].filter(Boolean));
  }

  #groupName(id) {
    for (const node of this.#nodes.values()) if (node.group === id && node.kind === "task") this.#names.set(id, node.label.replace(/ #\d+$/, ""));
    return this.#names.get(id) ?? "unfolded";
  }
  #names = new Map();

  // --- Unfolding, stories ------------------------------------------------------------------------------

  #isUnfoldable(node) {
    return node.kind === "group" && node.count > 1;
  }

  #act(id) {
    const node = this.#nodes.get(id);
    if (!node) return;
    if (this.#isUnfoldable(node)) {
      this.#names.set(id, node.label.replace(/ ×[\d,]+$/, ""));
      this.#anchor = node;
      this.#hadFocus = this.#frame.contains(document.activeElement);
      say(`${node.label} unfolded`);
      state.set({ expand: [...state.list("expand"), id] });
    } else this.#story(id);
  }

  #fold(group) {
    const node = [...this.#nodes.values()].find((each) => each.group === group);
    this.#anchor = node ?? null;
    this.#hadFocus = this.#frame.contains(document.activeElement);
    state.set({ expand: state.list("expand").filter((id) => id !== group) });
  }

  #story(id) {
    clearTimeout(this.#click);
    const node = this.#nodes.get(id);
    if (!node) return;
    if (node.task) openTask(node.task);
    else if (node.group) openGroup(node.group);
    else if (node.example) openTask(node.example);
  }

  #clicked(event) {
    if (this.#camera.hasMoved) return;
    const id = this.#of(event.target);
    const node = this.#nodes.get(id);
    clearTimeout(this.#click);
    if (!node || node.kind === "nursery") return;
    this.#at = id;
    if (!this.#isUnfoldable(node)) this.#act(id);
    else if (event.detail === 1) this.#click = setTimeout(() => this.#act(id), DOUBLE_CLICK);
  }

  #choose() {
    const [task, about] = [state.get("task"), state.get("about")];
    for (const [id, element] of this.#elements) {
      const node = this.#nodes.get(id);
      element.classList.toggle("chosen", Boolean((task && node.task === task) || (about && node.group === about)));
      if (node.kind !== "nursery") element.setAttribute("tabindex", id === this.#at ? "0" : "-1");
    }
  }

  // --- What is under the pointer -----------------------------------------------------------------------

  #of(target) {
    return target.closest?.("[data-node]")?.dataset.node ?? "";
  }

  #over(event) {
    const id = event ? this.#of(event.target) : "";
    const edge = event?.target.closest?.("[data-edge]")?.dataset.edge;
    if (!event || this.#camera.isDragged) {
      tips.hide();
      return this.#light(null);
    }
    const node = this.#nodes.get(id);
    this.#light(node && node.kind !== "nursery" ? id : null);
    if (node) tips.show(event.clientX, event.clientY, this.#toldOfNode(node));
    else if (edge !== undefined) tips.show(event.clientX, event.clientY, this.#toldOfEdge(this.#edges[edge]));
    else tips.hide();
  }

  #toldOfNode(node) {
    if (node.kind === "nursery") return [`!Nursery${node.place ? ` opened at ${node.place.short}` : ""}`, `${counted(node.count, "task")}: ${outcomesSaid(node.outcomes)}`];
    const hint = this.#isUnfoldable(node) ? "?Click unfolds it, double click tells its story" : node.task ? "?Click tells its story" : "";
    const example = node.count > 1 && node.explained ? "One of them " : "It ";
    return [`!${node.label}`, node.place ? `started at ${node.place.short}` : "", outcomesSaid(node.outcomes), node.explained ? `${example}${verb(node.explained)}${node.explained}.` : "", hint];
  }

  #toldOfEdge({ from, to, kind, count: times }) {
    const name = (id) => this.#nodes.get(id)?.label ?? id;
    const often = times > 1 ? `, ${counted(times, "time")}` : "";
    return [`!${name(from)} ${{ spawned: "started", awaits: "awaits", woke: "woke", cancelled: "cancelled" }[kind]} ${name(to)}${often}`, kind === "cancelled" ? this.#nodes.get(to)?.explained ?? "" : ""];
  }

  /** The node and what it has to do with; the rest steps back. */
  #light(id) {
    if (id === this.#lit) return;
    this.#lit = id;
    this.#frame.classList.toggle("looking", id !== null);
    const near = new Set([id]);
    this.#edges.forEach((edge, at) => {
      const isNear = edge.from === id || edge.to === id;
      if (isNear) near.add(edge.from).add(edge.to);
      this.#layers.edges.children[at]?.classList.toggle("lit", isNear);
    });
    for (const [each, element] of this.#elements) element.classList.toggle("lit", near.has(each));
  }
  #lit = null;

  // --- Keys --------------------------------------------------------------------------------------------

  #keys() {
    const step = (x, y) => (event) => (event.shiftKey ? this.#camera.pan(-x * 90, -y * 90) : this.#go(this.#towards(x, y)));
    const on = (call) => () => (this.#nodes.has(this.#at) ? call(this.#at) : false);
    return [
      [["ArrowLeft"], "The next task there", step(-1, 0)], [["ArrowRight"], "", step(1, 0)], [["ArrowUp"], "", step(0, -1)], [["ArrowDown"], "(with Shift: move the picture)", step(0, 1)],
      [["Enter"], "Unfold a group, open a task", (event) => (this.#frame.contains(event.target) ? on((id) => this.#act(id))() : false)],
      [["s"], "Story", on((id) => this.#story(id))],
      [["f"], "Only what it has to do with", on((id) => state.set({ focus: state.get("focus") === id ? "" : id }))],
      [["c", "Backspace"], "Fold the group again", on((id) => { const group = this.#nodes.get(id).group; if (state.list("expand").includes(group)) this.#fold(group); })],
      [["+", "="], "Zoom in", () => this.#camera.zoom(1.3)], [["-"], "Zoom out", () => this.#camera.zoom(1 / 1.3)], [["0"], "All of it", () => this.#camera.fit(true)],
      [["Escape"], "", () => (isOpen() || !state.get("focus") ? false : state.set({ focus: "" }))],
    ];
  }

  #first() {
    const worst = [...this.#nodes.values()].filter((node) => node.kind !== "nursery");
    return (worst.find((node) => node.outcome === "failed") ?? worst[0])?.id ?? "";
  }

  #towards(x, y) {
    const here = this.#nodes.get(this.#at);
    if (!here) return this.#first();
    const middle = (node) => [node.x + node.w / 2, node.y + node.h / 2];
    const [atX, atY] = middle(here);
    let best = this.#at, least = Infinity;
    for (const node of this.#nodes.values()) {
      if (node.kind === "nursery" || node === here) continue;
      const [dx, dy] = [middle(node)[0] - atX, middle(node)[1] - atY];
      const along = dx * x + dy * y, aside = Math.abs(dx * y) + Math.abs(dy * x);
      if (along <= 4) continue;
      const far = along + 2.5 * aside;
      if (far < least) [best, least] = [node.id, far];
    }
    return best;
  }

  #go(id) {
    const element = this.#elements.get(id);
    if (!element) return;
    this.#at = id;
    this.#choose();
    element.focus({ preventScroll: true });
    this.#camera.reveal(this.#nodes.get(id));
  }

  #focused(target) {
    const id = this.#of(target);
    if (id) this.#at = id;
    this.#choose();
  }

  #near(node) {
    if (this.#nodes.has(node.id) && this.#nodes.get(node.id).kind !== "more") return node.id;
    for (const each of this.#nodes.values()) if (each.group === node.group && each.kind !== "nursery") return each.id;
    return this.#nodes.has(node.id) ? node.id : this.#first();
  }

  #onScreen(node) {
    return this.#camera.toScreen(node.x, node.y);
  }
}

const EXPLAINED = {
  spawned: "Who started whom", awaits: "Who waits for whose end", woke: "Who made whom go on", cancelled: "Who cancelled whom",
};

/** A way that leads to what went wrong looks like it. */
const look = ({ kind, outcome }) => (kind === "spawned" && ["failed", "cancelled"].includes(outcome) ? `to-${outcome}` : kind);

/** "was cancelled by …", "failed with …". */
const verb = (explained) => (explained.startsWith("cancelled") ? "was " : "");

function markers() {
  const marker = (kind) => svg("marker", { id: `tip-${kind}`, class: kind, viewBox: "0 0 8 8", refX: "7", refY: "4", markerWidth: "7", markerHeight: "7", markerUnits: "userSpaceOnUse", orient: "auto" }, svg("path", { d: "M0 .5L8 4L0 7.5z" }));
  return svg("defs", {}, [...KINDS, "to-failed", "to-cancelled"].map(marker));
}

function swatch(kind) {
  return svg("svg", { class: `swatch ${kind}`, viewBox: "0 0 26 10", "aria-hidden": "true" }, svg("path", { d: "M0 5H20" }), svg("path", { class: "tip", d: "M19 1.500L26 5L19 8.500z" }));
}

