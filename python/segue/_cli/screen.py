"""A terminal as a screen: lines are drawn into it, keys come out of it, and it is left as it was, however that happens.

No curses: `segue top` needs an alternate screen, a few colours and raw keys, which every terminal of the last thirty
years has. Nothing about tasks is here.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
import unicodedata
from types import FrameType, TracebackType
from typing import Any

from segue._cli.attach import as_ascii, can_box

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # the other screen, no cursor, no wrapping
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"

_KEYS = {
    b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down",
    b"\x1b[C": "right", b"\x1bOC": "right", b"\x1b[D": "left", b"\x1bOD": "left",
    b"\x1b[5~": "page up", b"\x1b[6~": "page down",
    b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home",
    b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end",
    b"\r": "enter", b"\n": "enter", b"\x1b": "escape", b"\x7f": "backspace", b"\x08": "backspace", b"\x0c": "redraw",
}  # fmt: skip


class Ended(BaseException):
    """A signal ends the program. A BaseException, so that nothing on the way takes it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Screen:
    """A context manager. Raises OSError if standard input or output is no terminal."""

    def __init__(self) -> None:
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._before: list[Any] = termios.tcgetattr(self._in)
        termios.tcgetattr(self._out)
        self._drawn: list[str] = []
        self._handlers: dict[int, Any] = {}
        self._wake_read, self._wake_write = os.pipe()
        self._old_wakeup = -1
        self._unread = b""
        self.is_colored = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.is_ascii = not can_box(sys.stdout)

    def __enter__(self) -> Screen:
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        for number, handler in (
            (signal.SIGTERM, self._end),
            (signal.SIGHUP, self._end),
            (signal.SIGWINCH, self._resized),
            (signal.SIGTSTP, self._suspend),
        ):
            self._handlers[number] = signal.signal(number, handler)
        self._old_wakeup = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._give_back()
        finally:
            signal.set_wakeup_fd(self._old_wakeup)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _take(self) -> None:
        # Signals from the keyboard stay signals.
        tty.setcbreak(self._in, termios.TCSADRAIN)
        self._write(_ENTER)
        self._drawn = []

    def _give_back(self) -> None:
        try:
            self._write(_LEAVE)
        except OSError:  # the terminal is gone
            pass
        try:
            termios.tcsetattr(self._in, termios.TCSADRAIN, self._before)
        except termios.error:
            pass

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding or "ascii", "replace")
        while data:
            data = data[os.write(self._out, data) :]

    def _end(self, number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    def _resized(self, number: int, frame: FrameType | None) -> None:
        self._drawn = []

    def _suspend(self, number: int, frame: FrameType | None) -> None:
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._suspend)
        self._take()

    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            columns, rows = os.get_terminal_size(self._out)
        except OSError:
            return 80, 24
        return max(columns, 20), max(rows, 5)

    def draw(self, lines: list[str]) -> None:
        """Lines of at most the screen's width; what hasn't changed isn't sent again."""
        columns, rows = self.size()
        lines = (lines + [""] * rows)[:rows]
        if self.is_ascii:
            lines = [as_ascii(line) for line in lines]
        if len(self._drawn) != len(lines):
            self._write("\x1b[0m\x1b[2J")
            self._drawn = [""] * len(lines)
        changed = [
            f"\x1b[{row};1H\x1b[0m\x1b[2K{line}\x1b[0m"
            for row, (line, old) in enumerate(zip(lines, self._drawn, strict=True), 1)
            if line != old
        ]
        self._drawn = lines
        if changed:
            self._write("".join(changed))

    def redraw(self) -> None:
        """Forget what was drawn: all of it is drawn again."""
        self._drawn = []

    def key(self, timeout: float) -> str | None:
        """The next key, by its character or its name ("up", "enter", ...); None if none came, or the size changed.

        Raises EOFError if there is no terminal any more.
        """
        if not self._unread:
            ready, _, _ = select.select([self._in, self._wake_read], [], [], timeout)
            if self._wake_read in ready:
                os.read(self._wake_read, 512)
                return None
            if not ready:
                return None
            self._unread = self._read()
        return self._next()

    def _read(self) -> bytes:
        received = os.read(self._in, 1024)
        if not received:
            raise EOFError
        return received

    def _next(self) -> str | None:
        if self._unread == b"\x1b" and select.select([self._in], [], [], 0.03)[0]:
            self._unread += self._read()
        for sequence in sorted(_KEYS, key=len, reverse=True):
            is_alone = sequence != b"\x1b" or len(self._unread) == 1
            if is_alone and self._unread.startswith(sequence):
                self._unread = self._unread[len(sequence) :]
                return _KEYS[sequence]
        if self._unread[:1] == b"\x1b":
            if self._unread[1:2] not in (b"[", b"O"):  # Escape, and then another key
                self._unread = self._unread[1:]
                return "escape"
            self._unread = b""  # a key that means nothing here
            return None
        for length in range(1, 5):
            try:
                character = self._unread[:length].decode()
            except UnicodeDecodeError:
                continue
            self._unread = self._unread[length:]
            return character
        self._unread = b""
        return None

    def style(self, text: str, *styles: str) -> str:
        """Text in a colour or a manner: "red", "yellow", "green", "cyan", "dim", "bold", "reverse"."""
        codes = [_CODES[name] for name in styles if self.is_colored or name in ("bold", "reverse")]
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if codes and text else text


_CODES = {"bold": "1", "dim": "2", "reverse": "7", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def width_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, width: int, right: bool = False) -> str:
    """Exactly `width` columns: cut or filled, without what would act on the terminal."""
    if width <= 0:
        return ""
    if text.isascii() and text.isprintable():
        if len(text) > width:
            return text[: width - 1] + "…"
        return text.rjust(width) if right else text.ljust(width)
    shown, used = [], 0
    for character in text:
        if not character.isprintable():
            character = "?"
        size = width_of(character)
        shown.append((character, size))
        used += size
    if used > width:
        while shown and used > width - 1:
            used -= shown.pop()[1]
        shown.append(("…", 1))
        used += 1
    filled = " " * (width - used)
    words = "".join(character for character, _ in shown)
    return filled + words if right else words + filled
