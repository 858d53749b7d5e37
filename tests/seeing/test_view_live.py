"""`segue view PID`: the page of a program that runs, in a headless Chromium and by plain HTTP."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from looked_into import cli, running
from playwright.sync_api import expect
from segue._cli import attach
from test_view_page import Watched, browser, node  # noqa: F401
from viewing import viewed

pytestmark = pytest.mark.timeout(120)


def test_the_page_follows_a_running_program_until_it_ends(browser) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    with running("idle") as program, viewed(Path(str(program.pid))) as served, browser.new_context() as context:
        assert f"process {program.pid}" in served.printed and "tasks" in served.printed
        page = Watched(context, served).page
        page.goto(served.url)
        expect(page.locator("#about")).to_contain_text("running now")
        expect(page.locator("#about")).to_contain_text(f"process {program.pid}")
        expect(node(page, "ticks ×10")).to_be_visible()
        expect(page.locator("#exports")).to_be_hidden()
        # It goes on.
        events = page.locator("#overview").inner_text()
        expect(page.locator("#overview")).not_to_have_text(events)

        # A task that is cancelled meanwhile is shown as that.
        with attach.connect(program.pid) as looking:
            (wants,) = looking.ask("tasks", filter="wants")["tasks"]
            page.goto(f"{served.url.partition('?')[0]}#task={wants['id']}")
            expect(page.locator("#story h2")).to_contain_text("wants")
            expect(page.locator("#story")).to_contain_text("waiting")
            looking.ask("cancel", id=wants["id"])
        expect(page.locator("#story")).to_contain_text("cancelled")

        os.kill(program.pid, signal.SIGKILL)
        program.wait()
        expect(page.locator("#banner")).to_contain_text("The program has ended")
        expect(page.locator("#about")).not_to_contain_text("running now")
        # What was seen stays.
        expect(page.locator("#story h2")).to_contain_text("wants")


def test_a_blocked_loop_is_told_on_the_page(browser) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    with running("native") as program, viewed(Path(str(program.pid))) as served, browser.new_context() as context:
        watched = Watched(context, served)
        watched.page.goto(served.url)
        expect(watched.page.locator("#banner")).to_contain_text("loop 1 is blocked")
        expect(watched.page.locator("#banner")).to_contain_text("native code")
        expect(node(watched.page, "ticks ×10")).to_be_visible()
        assert watched.wrong == []


def test_the_page_shows_and_changes_nothing() -> None:
    with running("idle") as program, viewed(Path(str(program.pid))) as served:
        tasks = served.ask("tasks", filter="wants").json()["tasks"]  # type: ignore[index]
        for question in ("cancel", "stack"):
            reply = served.ask(question, id=tasks[0]["id"])
            assert reply.status == 404 and "the page doesn't ask" in reply.json()["error"]  # type: ignore[index]
        assert "segue run --record" in served.get("/export/svg").json()["error"]  # type: ignore[index]
        assert served.ask("tasks", filter="wants").json()["tasks"][0]["state"] == "waiting"  # type: ignore[index]


def test_what_cannot_be_shown_is_said() -> None:
    assert "there is no process" in cli("view", "4194305", "--no-browser", status=1)
    assert "doesn't run on Segue's loop" in cli("view", "1", "--no-browser", status=1)


def test_a_program_records_only_as_long_as_it_is_shown() -> None:
    with running("idle") as program:
        with viewed(Path(str(program.pid))) as served:
            assert served.ask("summary").json()["live"] is True  # type: ignore[index]
        with attach.connect(program.pid) as looking:
            looking.ask("program")
            assert looking.attached is False
