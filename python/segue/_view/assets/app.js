// The page: asks for the overview, shows the view that the address names, and hands keys and changes on.

import { Refused, ask } from "./api.js";
import { byId, nothing } from "./dom.js";
import { Graph } from "./graph.js";
import * as keys from "./keys.js";
import { showOverview } from "./overview.js";
import { setUpSearch } from "./search.js";
import * as state from "./state.js";
import { closeStory, isOpen, updateStory } from "./story.js";
import { Tasks } from "./tasks.js";
import { Timeline } from "./timeline.js";
import * as tips from "./tips.js";
import { showWarnings } from "./warnings.js";

const POLL = 1000;
const NAMES = ["graph", "timeline", "tasks", "warnings"];

// The token is in a cookie now and need not stay where people can see it.
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", location.pathname + location.hash);

const views = { graph: new Graph(), timeline: new Timeline(), tasks: new Tasks(), warnings: null };
let summary = null;

function show() {
  const name = NAMES.includes(state.get("view")) ? state.get("view") : "graph";
  for (const each of NAMES) {
    const tab = byId(`tab-${each}`);
    byId(`view-${each}`).hidden = each !== name;
    tab.setAttribute("aria-selected", String(each === name));
    tab.tabIndex = each === name ? 0 : -1;
  }
  tips.hide();
  byId("toolbar").replaceChildren(...(views[name] ? [views[name].tools] : []));
  views[name]?.update();
  updateStory();
  if (summary) showOverview(summary);
}

async function look() {
  const before = summary;
  try {
    summary = await ask("summary");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (!before) byId("main").replaceChildren(nothing("Nothing to show", error.message));
    if (error.isOver && before) showOverview({ ...before, live: false, complete: true, blocked: [], notes: [] });
    return Boolean(before?.live) && !error.isOver;
  }
  showOverview(summary);
  views.timeline.summary(summary);
  if (JSON.stringify(before?.warnings) !== JSON.stringify(summary.warnings)) showWarnings(summary.warnings);
  if (!before) show();
  else if (before.events !== summary.events) {
    for (const [name, view] of Object.entries(views)) if (!byId(`view-${name}`).hidden) view?.update(true);
    updateStory(true);
  }
  return summary.live;
}

async function watch() {
  if (await look()) setTimeout(watch, document.hidden ? 5 * POLL : POLL);
}

function setUpTabs() {
  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.addEventListener("click", () => state.set({ view: tab.dataset.view }));
    tab.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const next = NAMES[(NAMES.indexOf(tab.dataset.view) + by + NAMES.length) % NAMES.length];
      state.set({ view: next });
      byId(`tab-${next}`).focus();
    });
  }
}

function setUpTools() {
  const button = byId("theme");
  const name = () => {
    const other = document.documentElement.dataset.theme === "dark" ? "Light" : "Dark";
    button.textContent = other;
    button.title = `${other} colours (t)`;
  };
  button.addEventListener("click", () => window.segueTheme.toggle());
  addEventListener("themechange", name);
  name();
  byId("help").addEventListener("click", keys.showList);
  byId("skip").addEventListener("click", (event) => { event.preventDefault(); focusView(); });
  const menu = byId("exports");
  addEventListener("click", (event) => { if (!menu.contains(event.target) || event.target.closest("a")) menu.open = false; });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
    event.preventDefault();
  });
}

function focusView() {
  const view = NAMES.map((name) => byId(`view-${name}`)).find((each) => !each.hidden);
  view?.querySelector("[tabindex='0']")?.focus();
}

keys.register("Everywhere", () => true, [
  [["/"], "Search", () => { byId("search").focus(); byId("search").select(); }],
  ...NAMES.map((name, at) => [[String(at + 1)], name[0].toUpperCase() + name.slice(1), () => { state.set({ view: name }); focusView(); }]),
  [["Escape"], "Close the story", () => (isOpen() ? closeStory() : false)],
  [["t"], "Light or dark", () => window.segueTheme.toggle()],
  [["?"], "This list", () => keys.showList()],
]);

setUpTabs();
setUpTools();
setUpSearch();
state.onChange(show);
watch();
