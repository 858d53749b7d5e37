"""The page of `segue view` in a headless Chromium: a hundred thousand tasks, by mouse and by keyboard."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from segue import _core
from viewing import Served, large_recording, serving, small_recording, viewed  # noqa: F401

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FAILED = "UnicodeDecodeError"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    assert path, "Chromium is missing: make servers installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(large: Path) -> Iterator[Served]:
    with viewed(large) as served:
        yield served


class Watched:
    """A page of which nothing may go wrong: no error, nothing refused, nobody else asked."""

    def __init__(self, context: BrowserContext, served: Served) -> None:
        self.page = context.new_page()
        self.wrong: list[str] = []
        page = self.page
        page.on("console", lambda message: message.type in ("error", "warning") and self.wrong.append(message.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on(
            "response",
            lambda response: response.status >= 400 and self.wrong.append(f"{response.status} {response.url}"),
        )
        own = served.url.partition("?")[0]
        page.on("request", lambda request: request.url.startswith(own) or self.wrong.append(f"asked {request.url}"))
        page.on("requestfailed", lambda request: self.wrong.append(f"failed {request.url}"))


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        watched = Watched(context, served)
        watched.page.goto(served.url)
        expect(graph(watched.page)).to_be_visible()
        yield watched.page
        assert watched.wrong == []


def graph(page: Page) -> Locator:
    return page.locator(".graph[data-ready]")


def node(page: Page, label: str) -> Locator:
    return page.locator(".node", has_text=label).first


def shown(page: Page, name: str) -> str:
    """What the address says of a name."""
    found = re.search(rf"[#&]{name}=([^&]*)", page.url)
    return found[1] if found else ""


def range_of(page: Page) -> str:
    return page.locator("#toolbar .range").inner_text()


# --- By mouse --------------------------------------------------------------------------------------


def test_overview_and_first_graph(page: Page) -> None:
    expect(page.locator("h1")).to_have_text("app.py")
    expect(page.locator("#overview")).to_contain_text("100,008")
    expect(page.locator("#overview")).to_contain_text("30 failed")
    expect(page.locator("#banner")).to_be_empty()
    assert "token" not in page.url
    assert page.locator(".node").count() < 20
    assert page.locator(".nursery").count() == 2
    expect(node(page, "parse ×")).to_have_class(re.compile("is-failed"))


def test_the_failed_one_is_found_and_its_story_read(page: Page) -> None:
    page.locator("#search").fill(FAILED)
    expect(page.locator("#found .hit").first).to_contain_text("failed")
    expect(page.locator("#found")).to_contain_text("All 15 tasks")
    page.locator("#found .hit").first.click()
    story = page.locator("#story")
    expect(story.locator("h2")).to_have_text(re.compile(r"parse #\d+"))
    expect(story.locator(".verdict")).to_have_text("UnicodeDecodeError: invalid start byte — raised at crawl.py:35")
    told = story.locator(".told li").all_inner_texts()
    assert "started by" in told[0] and "crawl.py:25" in told[0]
    assert any("took the lock at crawl.py:31" in line for line in told)
    assert "failed with UnicodeDecodeError: invalid start byte (raised at crawl.py:35)" in told[-1]
    # A place is copied whole, a task leads to its own story, and Back comes back.
    name = story.locator("h2").inner_text()
    story.locator(".told .place", has_text="crawl.py:25").first.click()
    expect(page.locator(".copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "/home/you/crawl.py:25"
    story.locator(".told .link").first.click()
    expect(story.locator("h2")).to_have_text(re.compile(r"fetch #\d+"))
    page.go_back()
    expect(story.locator("h2")).to_have_text(name)
    story.get_by_role("button", name="Close").click()
    expect(story).to_be_hidden()


def test_a_group_unfolds_and_folds(page: Page) -> None:
    node(page, "worker ×8").click()
    expect(page.locator(".node.task")).to_have_count(8)
    assert shown(page, "expand") == "g1"
    node(page, "worker-3").click()
    expect(page.locator("#story h2")).to_have_text("worker-3")
    page.locator("#toolbar .chip").click()
    expect(page.locator(".node.task")).to_have_count(0)
    node(page, "fetch ×").click()
    expect(node(page, "and 50,092 more")).to_be_visible()
    assert 60 <= page.locator(".node").count() <= 300


def test_double_click_tells_a_groups_story(page: Page) -> None:
    node(page, "fetch ×").dblclick()
    expect(page.locator("#story")).to_contain_text("Failed: 15")
    expect(page.locator("#story")).to_contain_text("Cancelled: 290")
    assert shown(page, "expand") == ""


def test_what_is_cancelled_is_explained(page: Page) -> None:
    page.locator(".outcomes button", has_text="cancelled").click()
    page.locator(".rows .row[data-task]").first.click()
    expect(page.locator("#story .verdict")).to_have_text(
        "cancelled by the deadline of the nursery at crawl.py:43: no answer within 5 s"
    )
    page.get_by_role("button", name="Show in graph").click()
    expect(page.locator(".node.chosen")).to_have_count(1)
    page.locator(".node.chosen").hover()
    expect(page.locator("#tip")).to_contain_text("was cancelled by the deadline of the nursery at crawl.py:43")


def test_edges_come_and_go_and_are_explained(page: Page) -> None:
    expect(page.locator(".edge-of.awaits")).to_have_count(1)
    page.locator("#toolbar [data-edge=awaits]").click()
    expect(page.locator(".edge-of.awaits")).to_have_count(0)
    box = node(page, "worker ×8").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] - 40)
    expect(page.locator("#tip")).to_contain_text("Task-1: main started worker ×8, 8 times")
    page.locator("#toolbar [data-edge=woke]").click()
    expect(page.locator(".edge-of.woke").first).to_be_attached()


def test_the_graph_moves_and_zooms(page: Page) -> None:
    world = page.locator(".graph .world")
    before = world.get_attribute("style")
    page.mouse.move(200, 500)
    page.mouse.wheel(0, -300)
    zoomed = world.get_attribute("style")
    assert zoomed != before
    page.mouse.down()
    page.mouse.move(300, 560, steps=4)
    page.mouse.up()
    assert world.get_attribute("style") != zoomed
    page.get_by_role("button", name="All of it (0)").click()
    assert world.get_attribute("style") == before


def test_the_timeline_zooms(page: Page) -> None:
    page.get_by_role("tab", name="Timeline").click()
    timeline = page.locator(".timeline[data-ready]")
    expect(timeline).to_be_visible()
    assert "8.30 s" in range_of(page)
    box = timeline.bounding_box()
    assert box
    middle = (box["x"] + 700, box["y"] + 300)
    page.mouse.move(*middle)
    for _ in range(10):
        page.mouse.wheel(0, -400)
    expect(page.locator("#toolbar .range")).to_have_text(re.compile(r" [\d.]+ ms$"))
    expect(page).to_have_url(re.compile(r"from=\d+"))
    # Dragging moves, dragging along the axis zooms to what was marked.
    before = range_of(page)
    page.mouse.down()
    page.mouse.move(middle[0] - 150, middle[1], steps=5)
    page.mouse.up()
    expect(page.locator("#toolbar .range")).not_to_have_text(before)
    marked = range_of(page)
    page.mouse.move(box["x"] + 400, box["y"] + 12)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 12, steps=5)
    page.mouse.up()
    expect(page.locator("#toolbar .range")).not_to_have_text(marked)
    # A group's tasks, and one of them.
    page.get_by_role("button", name="All of it (0)").click()
    page.mouse.click(box["x"] + 60, box["y"] + 78 + 46 * 2 + 20)
    expect(page.locator("#toolbar .chip")).to_contain_text("fetch")
    page.mouse.move(box["x"] + 62, box["y"] + 78 + 12)
    expect(page.locator("#tip")).to_contain_text("fetch #")
    page.mouse.click(box["x"] + 60, box["y"] + 78 + 12)
    expect(page.locator("#story h2")).to_have_text(re.compile(r"fetch #\d+"))


def test_the_timeline_says_what_is_waited_for(page: Page) -> None:
    page.goto(page.url.partition("#")[0] + "#view=timeline&row=1.2&grouped=no")
    timeline = page.locator(".timeline[data-ready]")
    box = timeline.bounding_box()
    assert box
    for part in range(300, 1000, 100):
        page.mouse.move(box["x"] + part, box["y"] + 78 + 12)
    page.get_by_role("button", name="Zoom in (+)").click(click_count=20)
    page.mouse.move(box["x"] + 700, box["y"] + 78 + 12)
    expect(page.locator("#tip")).to_contain_text("worker-1")


def test_all_tasks_in_a_table(page: Page) -> None:
    page.get_by_role("tab", name="Tasks").click()
    rows = page.locator(".rows .row[data-task]")
    expect(rows.first).to_contain_text("Task-1")
    expect(page.locator("#tasks-total")).to_have_text("100,008 tasks")
    assert rows.count() < 100
    page.get_by_role("button", name="Ran").click()
    expect(page.locator("[aria-sort=descending]")).to_have_text("Ran")
    page.locator(".rows").evaluate("rows => { rows.scrollTop = rows.scrollHeight }")
    expect(page.locator(".rows .row[data-at='100007'][data-task]")).to_be_visible()


def test_a_link_shows_the_same(browser: Browser, served: Served, page: Page) -> None:
    page.goto(page.url.partition("#")[0] + "#view=tasks&state=failed&task=1.1167")
    expect(page.locator("#tasks-total")).to_have_text("30 tasks")
    expect(page.locator("#story h2")).to_have_text("parse #1167")
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#story h2")).to_have_text("parse #1167")
    expect(other.locator("#tasks-total")).to_have_text("30 tasks")
    other.close()


# --- By keyboard only ------------------------------------------------------------------------------


def test_with_the_keyboard_alone(page: Page) -> None:
    press = page.keyboard.press
    focused = page.locator(":focus")
    press("/")
    page.keyboard.type(FAILED)
    expect(page.locator("#found .hit[aria-selected=true]")).to_be_visible()
    press("ArrowDown")
    press("Enter")
    expect(page.locator("#story h2")).to_be_focused()
    press("Escape")
    expect(page.locator("#story")).to_be_hidden()
    # The graph: the first node in focus is one that failed; up to the workers, unfold them, fold them again.
    press("1")
    expect(focused).to_have_attribute("data-node", "g2")
    press("ArrowUp")
    expect(focused).to_have_attribute("data-node", "g1")
    press("Enter")
    expect(page.locator(".node.task")).to_have_count(8)
    expect(focused).to_have_class(re.compile(r"\btask\b"))
    press("ArrowRight")
    press("s")
    expect(page.locator("#story h2")).to_have_text(re.compile(r"worker-\d"))
    press("Escape")
    expect(focused).to_have_class(re.compile(r"\btask\b"))
    press("c")
    expect(page.locator(".node.task")).to_have_count(0)
    # The timeline.
    press("2")
    expect(page.locator(".timeline")).to_be_focused()
    expect(page.locator(".timeline[data-ready]")).to_be_visible()
    before = range_of(page)
    press("+")
    expect(page.locator("#toolbar .range")).not_to_have_text(before)
    press("0")
    expect(page.locator("#toolbar .range")).to_have_text(before)
    for _ in range(3):
        press("ArrowDown")
    expect(page.locator("#said")).to_contain_text("fetch ×50,152")
    press("Enter")
    expect(page.locator("#toolbar .chip")).to_contain_text("fetch")
    press("Escape")
    expect(page.locator("#toolbar .chip")).to_have_count(0)
    # The table.
    press("3")
    expect(page.locator(".rows .row[data-task]").first).to_be_visible()
    press("ArrowDown")
    press("ArrowDown")
    expect(focused).to_have_attribute("data-at", "2")
    press("Enter")
    expect(page.locator("#story h2")).to_be_focused()
    press("Escape")
    # The list of keys.
    press("?")
    expect(page.locator("dialog#keys")).to_be_visible()
    expect(page.locator("dialog#keys")).to_contain_text("Only what it has to do with")
    press("Escape")
    expect(page.locator("dialog#keys")).to_be_hidden()


NAME_OF_FOCUSED = """() => {
  const { id, className } = document.activeElement;
  return id || className.baseVal || className;
}"""


def test_everything_can_be_reached_by_tab(page: Page) -> None:
    reached = set()
    page.locator("body").evaluate("body => body.focus()")
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(NAME_OF_FOCUSED))
    assert {"search", "theme", "help", "tab-graph"} <= reached and any(
        "graph" in name or "node" in name for name in reached
    )


# --- Colours ---------------------------------------------------------------------------------------

CONTRASTS = """() => {
  const luminance = (colour) => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => {
      const c = part / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const style = getComputedStyle(document.documentElement);
  const of = (name) => luminance(style.getPropertyValue(`--${name}`).trim());
  const pairs = [];
  for (const ink of ["ink", "soft", "accent", "finished", "failed", "cancelled", "pending"])
    for (const ground of ["page", "surface", "raised", "sunken"]) pairs.push([ink, ground]);
  for (const state of ["failed", "cancelled", "pending"])
    for (const ink of ["ink", "soft", state]) pairs.push([ink, `${state}-soft`]);
  pairs.push(["ink", "accent-soft"], ["accent", "accent-soft"], ["nursery", "page"]);
  return pairs.map(([ink, ground]) => {
    const [a, b] = [of(ink), of(ground)].sort((x, y) => y - x);
    return [`${ink} on ${ground}`, (a + 0.05) / (b + 0.05)];
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_can_be_read(browser: Browser, served: Served, scheme: str) -> None:
    with browser.new_context(color_scheme=scheme, reduced_motion="reduce") as context:  # type: ignore[arg-type]
        watched = Watched(context, served)
        page = watched.page
        page.goto(served.url)
        expect(page.locator("html")).to_have_attribute("data-theme", scheme)
        expect(graph(page)).to_be_visible()
        too_weak = [(pair, round(contrast, 2)) for pair, contrast in page.evaluate(CONTRASTS) if contrast < 4.5]
        assert too_weak == []
        assert page.evaluate("getComputedStyle(document.querySelector('.node')).transitionDuration") == "0s"
        page.locator("#theme").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark" if scheme == "light" else "light")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark" if scheme == "light" else "light")
        assert watched.wrong == []


def test_on_a_phone(browser: Browser, served: Served) -> None:
    with browser.new_context(viewport={"width": 390, "height": 760}, has_touch=True) as context:
        watched = Watched(context, served)
        page = watched.page
        page.goto(served.url + "#task=1.1167")
        expect(page.locator("#story h2")).to_have_text("parse #1167")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("button", name="Close").click()
        node(page, "worker ×8").tap()
        expect(page.locator(".node.task")).to_have_count(8)
        assert watched.wrong == []


# --- What can go wrong -----------------------------------------------------------------------------


def test_damage_is_said_at_the_top(browser: Browser, large: Path, tmp_path: Path) -> None:
    content = bytearray(large.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "damaged.segue").write_bytes(content)
    with viewed(tmp_path / "damaged.segue") as served, browser.new_context() as context:
        page = context.new_page()
        page.goto(served.url)
        expect(page.locator("#banner")).to_contain_text("This file is damaged")
        expect(graph(page)).to_be_visible()


def test_a_server_that_has_ended_is_said(browser: Browser, small: Path) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        with viewed(small) as served:
            page.goto(served.url)
            expect(graph(page)).to_be_visible()
        page.get_by_role("tab", name="Tasks").click()
        expect(page.locator("#banner")).to_contain_text("segue view has ended")


def test_nothing_recorded(browser: Browser, tmp_path: Path) -> None:
    import segue

    with segue.record(tmp_path / "nothing.segue"):
        pass
    with viewed(tmp_path / "nothing.segue") as served, browser.new_context() as context:
        watched = Watched(context, served)
        watched.page.goto(served.url)
        expect(watched.page.locator("#view-graph .empty")).to_contain_text("No tasks")
        watched.page.get_by_role("tab", name="Timeline").click()
        expect(watched.page.locator("#view-timeline .empty")).to_be_visible()
        watched.page.get_by_role("tab", name="Tasks").click()
        expect(watched.page.locator("#view-tasks .empty")).to_be_visible()
        watched.page.get_by_role("tab", name="Warnings").click()
        expect(watched.page.locator("#view-warnings .empty")).to_be_visible()
        assert watched.wrong == []


class Growing:
    """A running program: each time it is asked how it is, it has more tasks, as many as `sizes` says."""

    def __init__(self, folder: Path, sizes: list[int]) -> None:
        self.recordings = []
        for size in sizes:
            _core._synthetic_recording(str(folder / f"{size}.segue"), size)
            self.recordings.append(_core.OpenedRecording(str(folder / f"{size}.segue")))

    def answer(self, question: str, arguments: str = "{}") -> str:
        answer = self.recordings[0].answer(question, arguments)
        if question == "summary":
            answer = json.dumps(json.loads(answer) | {"live": True})
        return answer

    def export(self, format: str, arguments: str = "{}") -> bytes:
        return self.recordings[0].export(format, arguments)


def test_a_running_program_is_followed(browser: Browser, tmp_path: Path) -> None:
    answers = Growing(tmp_path, [100, 600])
    with serving(answers) as served, browser.new_context() as context:
        watched = Watched(context, served)
        page = watched.page
        page.goto(served.url + "#expand=g1&task=1.2")
        expect(page.locator("#about")).to_contain_text("running now")
        expect(page.locator(".node.task")).to_have_count(8)
        expect(page.locator("#story h2")).to_have_text("worker-1")
        before = page.locator("#overview").inner_text()
        answers.recordings.pop(0)
        expect(page.locator("#overview")).not_to_have_text(before)
        expect(node(page, "fetch ×3")).to_be_visible()
        expect(page.locator(".node.task")).to_have_count(8)
        expect(page.locator("#story h2")).to_have_text("worker-1")
        assert watched.wrong == []


class Warned(Growing):
    def answer(self, question: str, arguments: str = "{}") -> str:
        warning = {
            "code": "loop-blocked",
            "title": "The loop was blocked for 150 ms",
            "text": "time.sleep ran on it.",
            "cure": "await asyncio.sleep instead.",
            "task": "1.2",
            "place": {"file": "/home/you/app.py", "line": 7, "function": "main", "short": "app.py:7"},
            "at": 5_000_000,
            "count": 3,
        }
        answer = super().answer(question, arguments)
        return (
            json.dumps(json.loads(answer) | {"live": False, "warnings": [warning]}) if question == "summary" else answer
        )


def test_warnings_with_their_cures(browser: Browser, tmp_path: Path) -> None:
    with serving(Warned(tmp_path, [100])) as served, browser.new_context() as context:
        watched = Watched(context, served)
        page = watched.page
        page.goto(served.url)
        expect(page.locator("#tab-warnings")).to_contain_text("1")
        page.get_by_role("tab", name="Warnings").click()
        warning = page.locator(".warning")
        expect(warning).to_contain_text("await asyncio.sleep instead.")
        expect(warning).to_contain_text("3 times")
        warning.get_by_role("button", name="task 1.2").click()
        expect(page.locator("#story h2")).to_have_text("worker-1")
        assert watched.wrong == []
