"""`segue top`, used in tmux as people use it: keys go in, and what the screen shows is looked at."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from looked_into import running
from segue._cli.screen import fit

pytestmark = pytest.mark.timeout(120)
assert shutil.which("tmux"), "segue top is driven in tmux: tests/install_servers.sh installs it"


class Terminal:
    """A shell in tmux, 80 columns and 24 lines."""

    def __init__(self) -> None:
        self._name = f"segue-{uuid.uuid4().hex[:8]}"
        shell = "env PS1='shell> ' bash --norc --noprofile"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", shell)
        self.until(lambda screen: "shell>" in screen)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._name, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def press(self, *keys: str) -> None:
        for key in keys:
            self._tmux("send-keys", key)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def until(self, is_so: Callable[[str], bool]) -> str:
        end = time.monotonic() + 45
        while time.monotonic() < end:
            screen = self.screen()
            if is_so(screen):
                return screen
            time.sleep(0.1)
        raise AssertionError(f"the screen never was so:\n{screen}")

    def see(self, *words: str) -> str:
        return self.until(lambda screen: all(word in screen for word in words))

    def state(self) -> str:
        """How the terminal is set, as the shell sees it, and the cursor."""
        self.press("C-l")
        self.type("stty -g")
        self.press("Enter")
        settings = self.until(lambda screen: any(line.count(":") > 10 for line in screen.splitlines()))
        shown = self._tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} #{wrap_flag} #{insert_flag}")
        return next(line for line in settings.splitlines() if line.count(":") > 10) + shown

    def close(self) -> None:
        self._tmux("kill-server")


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def top(terminal: Terminal, pid: int, *options: str, before: str = "") -> None:
    terminal.press("C-l")
    terminal.type(f"{before}{sys.executable} -m segue top {pid} {' '.join(options)}")
    terminal.press("Enter")


def row_of(screen: str, word: str) -> str:
    return next(line for line in screen.splitlines() if word in line)


def test_people_see_filter_look_freeze_cancel_and_leave(terminal: Terminal) -> None:
    before = terminal.state()
    with running("idle") as program:
        top(terminal, program.pid)
        screen = terminal.see("main", "holds", "wants", "10 × ticks", "nursery", "loop 1", "q quit")
        assert all(len(line) <= 80 for line in screen.splitlines())
        assert "STEPS" in screen and "tree, sorted by begin" in screen

        # A row of many is opened, and closed again.
        terminal.press("End")
        terminal.press("f")
        terminal.type("ticks")
        terminal.see("filter (name, code, place, number): ticks_")
        terminal.press("Enter")
        terminal.until(lambda screen: "10 × ticks" in screen and "wants" not in screen and "filter: ticks" in screen)
        terminal.press("End", "Enter")
        terminal.until(lambda screen: screen.count("ticks #") == 10)

        # Look into one task: its stack, its life.
        terminal.press("f")
        terminal.press(*["BSpace"] * 5)
        terminal.type("wants")
        terminal.press("Enter")
        terminal.until(lambda screen: "filter: wants" in screen and "ticks" not in screen)
        terminal.press("End", "Enter")
        screen = terminal.see("Stack, the innermost last:", "in wants", "Its life", "a lock")
        assert "programs_to_look_into.py" in screen
        terminal.press("Escape")
        terminal.see("q quit")

        # Cancelling is asked twice; a no the second time leaves it alive.
        terminal.press("c")
        terminal.see("cancel wants", "(y/n)")
        terminal.press("y")
        terminal.see("Are you sure? (y/n)")
        terminal.press("n")
        terminal.see("not cancelled")
        terminal.press("c")
        terminal.see("cancel wants")
        terminal.press("y")
        terminal.see("Are you sure?")
        terminal.press("y")
        terminal.see("it was asked to cancel")
        terminal.until(lambda screen: "1 cancelled" in screen and "no task with 'wants'" in screen)
        terminal.press("Escape")

        # Sorted, as a list.
        terminal.press("s", "t")
        screen = terminal.see("list, sorted by busy")
        assert "nursery" not in screen

        # Frozen: it stands still, while the program goes on.
        terminal.press("t")
        terminal.see("tree, sorted by busy", "ticks")
        terminal.press("Space")
        first = terminal.see("frozen")
        time.sleep(2.5)
        assert row_of(terminal.screen(), "ticks") == row_of(first, "ticks")
        terminal.press("Space")
        terminal.until(lambda screen: "frozen" not in screen and row_of(screen, "ticks") != row_of(first, "ticks"))

        terminal.press("w")
        terminal.see("Warnings")
        terminal.press("q")
        terminal.press("h")
        terminal.see("Keys", "asked twice")
        terminal.press("q")
        terminal.see("q quit")
        terminal.press("q")
        terminal.until(lambda screen: "q quit" not in screen and "shell>" in screen)
    assert terminal.state() == before


def test_one_is_chosen_among_the_programs_that_run(terminal: Terminal, tmp_path: Path) -> None:
    own = str(tmp_path)  # a folder of sockets in which nobody else's programs are
    with running("idle", XDG_RUNTIME_DIR=own), running("busy", XDG_RUNTIME_DIR=own) as newer:
        terminal.resize(160, 24)
        terminal.press("C-l")
        terminal.type(f"XDG_RUNTIME_DIR={own} {sys.executable} -m segue top")
        terminal.press("Enter")
        screen = terminal.see("Which one?", "14 tasks", "15 tasks")
        assert f"1  process {newer.pid}" in screen, screen  # the newest first
        assert "programs_to_look_into.py busy" in screen and "programs_to_look_into.py idle" in screen, screen
        terminal.type("7")
        terminal.press("Enter")
        terminal.type("1")
        terminal.press("Enter")
        terminal.see("loop 1 is blocked in is_busy", "q quit")
        terminal.press("q")
        terminal.until(lambda screen: "q quit" not in screen and "shell>" in screen)


def test_a_window_that_is_made_larger_is_used(terminal: Terminal) -> None:
    with running("idle") as program:
        top(terminal, program.pid)
        terminal.see("STEPS")
        assert "WAKES" not in terminal.screen()
        terminal.resize(140, 40)
        terminal.see("WAKES", "IDLE")
        terminal.resize(40, 8)
        terminal.until(lambda screen: all(len(line) <= 40 for line in screen.splitlines()) and "main" in screen)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_terminal_is_as_before_after_a_signal(terminal: Terminal, number: signal.Signals) -> None:
    before = terminal.state()
    with running("idle") as program:
        top(terminal, program.pid)
        terminal.see("q quit")
        looking = _process_that_looks_at(program.pid)
        os.kill(looking, number)
        terminal.until(lambda screen: "q quit" not in screen and "shell>" in screen)
    assert terminal.state() == before


def test_suspended_and_taken_up_again(terminal: Terminal) -> None:
    before = terminal.state()
    with running("idle") as program:
        top(terminal, program.pid)
        terminal.see("q quit")
        terminal.press("C-z")
        terminal.until(lambda screen: "Stopped" in screen)
        terminal.type("fg")
        terminal.press("Enter")
        terminal.see("q quit", "main")
        terminal.press("q")
        terminal.until(lambda screen: "q quit" not in screen)
    assert terminal.state() == before


def test_the_terminal_is_as_before_after_a_crash(terminal: Terminal) -> None:
    before = terminal.state()
    with running("idle") as program:
        crashing = (
            "import sys; from segue._cli import top; sys.argv = ['segue']; "
            "top.Top.press = lambda self, key: 1 / 0; "
            f"sys.exit(top.main(['{program.pid}']))"
        )
        terminal.type(f'{sys.executable} -c "{crashing}"')
        terminal.press("Enter")
        terminal.see("q quit")
        terminal.press("j")
        terminal.see("ZeroDivisionError")
    assert terminal.state() == before


def test_a_program_that_ends_is_told(terminal: Terminal) -> None:
    with running("idle") as program:
        top(terminal, program.pid)
        terminal.see("q quit", "ticks")
        program.kill()
        program.wait()
        terminal.see(f"process {program.pid} has ended", "ticks")
        terminal.press("j", "q")
        terminal.until(lambda screen: "has ended" not in screen and "shell>" in screen)


def test_a_loop_that_native_code_blocks(terminal: Terminal) -> None:
    with running("native") as program:
        top(terminal, program.pid)
        terminal.see("loop 1 is blocked", "holds", "ticks")
        terminal.press("q")
        terminal.until(lambda screen: "is blocked" not in screen)


def test_colours_only_where_they_are_wanted(terminal: Terminal) -> None:
    with running("idle") as program:
        for before, is_colored in (("", True), ("NO_COLOR=1 ", False)):
            top(terminal, program.pid, before=before)
            terminal.see("q quit", "main")
            codes = terminal._tmux("capture-pane", "-p", "-e")
            assert ("\x1b[2m" in codes) == is_colored, codes
            terminal.press("q")
            terminal.until(lambda screen: "q quit" not in screen)


def _process_that_looks_at(pid: int) -> int:
    wanted = [b"top", str(pid).encode()]
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if name.isdigit() and file.read().split(b"\0")[-3:-1] == wanted:
                    return int(name)
        except OSError:
            continue
    raise AssertionError("nobody looks")


@pytest.mark.parametrize(
    ("text", "width", "fitted"),
    [
        ("abc", 5, "abc  "),
        ("abcdef", 4, "abc…"),
        ("日本語", 5, "日本…"),
        ("e\u0301", 2, "e\u0301 "),
        ("a\x1b[2Jb", 8, "a?[2Jb  "),
    ],
)
def test_texts_fit_their_columns(text: str, width: int, fitted: str) -> None:
    assert fit(text, width) == fitted
