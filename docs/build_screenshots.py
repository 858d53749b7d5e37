"""Makes the pictures in docs/images from the page: `.venv/bin/python docs/build_screenshots.py`.

Needs Chromium and playwright.
Nothing checks that they are current: they are made anew when the page has changed so that it shows.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from segue import _core

DOCS = Path(__file__).resolve().parent
SIZE = {"width": 1280, "height": 760}


def program(page: Path) -> tuple[str, str]:
    """The first program of a page: its file's name and its text."""
    text = re.search(r"```python\n(# (\S+)\n.*?)```", page.read_text(), re.DOTALL)
    assert text is not None
    return text[2], text[1]


def take(recording: Path, name: str, what: str, scheme: str) -> None:
    command = [sys.executable, "-m", "segue", "view", str(recording), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout is not None
        url = next(found.group() for line in server.stdout if (found := re.search(r"http://\S+", line)))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport=SIZE, color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(f"{url}#{what}")
        page.locator(".view:not([hidden]) [data-ready]").wait_for()
        page.wait_for_timeout(800)
        page.screenshot(path=DOCS / "images" / name)
        browser.close()
        server.terminate()


def main() -> None:
    (DOCS / "images").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        crawl, shop = Path(folder, "crawl.segue"), Path(folder, "shop.segue")
        _core._synthetic_recording(str(crawl), 100_000)
        name, text = program(DOCS / "howto" / "seeing.md")
        Path(folder, name).write_text(text)
        subprocess.run([sys.executable, "-m", "segue", "run", "--record", shop.name, name], cwd=folder, check=True)
        take(crawl, "view-graph.png", "task=1.5758", "light")
        take(shop, "view-timeline.png", "view=timeline", "dark")


if __name__ == "__main__":
    main()
