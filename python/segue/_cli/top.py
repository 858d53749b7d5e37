"""`segue top [PID]`: a running program's tasks on the terminal, again every second. Keys: `HELP`.

This file is what is shown and what keys do; the terminal is `screen.py`, pages of text `pages.py`, the other end of the
program's socket `attach.py`. Only the rows that fit on the screen are asked for, so that a program with a hundred
thousand tasks is no slower to look at.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

from segue._cli import attach, pages, tree
from segue._cli.screen import Ended, Screen, fit

USAGE = """\
usage: segue top [PID] [--filter TEXT] [--sort KEY] [--flat]

Looks into a running program: its tasks as a tree, live. The program was started with `segue run`, or with
SEGUE_ATTACH=1 in its environment. Without PID: the only one there is, or a choice of them.

  --filter TEXT  only tasks with TEXT in their name, code, place or number, and what leads to them
  --sort KEY     begin, busy, steps, wakes, wait or name
  --flat         a list instead of a tree

Nothing is recorded before somebody looks, and nothing after. Keys: press h.
"""

HELP = """\
up, down, j, k       another task (page up, page down, home and end too)
Enter                look into a task: its stack, its life in words; open or close a row of many
f                    show only what has a text in its name, code, place or number
s                    sort: as started, by busy time, steps, wakes, longest wait, name
t                    tree or list
space                freeze what is shown; again: go on
c                    cancel the task, asked twice
w                    warnings
q                    leave; Escape goes back
"""

REFRESH = 1.0
"""Seconds."""
SORTS = {"begin": "begin", "busy": "-busy", "steps": "-steps", "wakes": "-wakes", "wait": "-wait", "name": "name"}
FROZEN = 5000
"""So many rows are kept while it is frozen."""
_STATES = {"running": "green", "ready": "cyan", "failed": "red", "cancelled": "yellow", "finished": "dim"}


class Top:
    def __init__(self, screen: Screen, program: attach.Program, options: tree.Options) -> None:
        self.screen, self.program = screen, program
        self.about = program.ask("program")
        self.summary: dict[str, Any] = {}
        self.stats: dict[str, Any] = {}
        self.answer: dict[str, Any] = {"rows": [], "total": 0, "tasks": 0}
        self.offset = self.selected = 0
        self.selected_id: str | None = None
        self.sort = options.values.get("--sort", "begin")
        self.filter = options.values.get("--filter", "")
        self.is_flat = "--flat" in options.flags
        self.open: set[str] = set()
        self.is_frozen = False
        self.message = ""
        self.ended = ""
        self._before: tuple[float, dict[int, dict[str, Any]]] = (0.0, {})
        self._rates: dict[int, tuple[float, float]] = {}

    # ---- what is known ---------------------------------------------------------------------------------------------

    def height(self) -> int:
        """Rows of tasks on the screen."""
        return max(1, self.screen.size()[1] - len(self.head()) - 2)

    def refresh(self) -> None:
        """Ask anew, unless it is frozen or over."""
        if self.is_frozen or self.ended:
            return
        self.summary = self.program.ask("summary")
        self.stats = self.program.ask("stats")
        self._count_rates()
        self.load()

    def _count_rates(self) -> None:
        now, loops = time.monotonic(), {loop["loop"]: loop for loop in self.summary["loops"]}
        then, before = self._before
        if now - then < REFRESH / 2 and before:
            return
        for number, loop in loops.items():
            if number in before:
                took = loop["busy"] - before[number]["busy"]
                turns = loop["turns"] - before[number]["turns"]
                self._rates[number] = (turns / (now - then), took / 1e9 / (now - then))
        self._before = (now, loops)

    def load(self) -> None:
        """The rows that are shown."""
        if self.is_frozen or self.ended:
            self._keep_in_sight()
            return
        self._ask_rows(self.offset, self.height())
        found = self.answer["found"]
        if found is not None:
            self.selected = found
        old = self.offset
        self._keep_in_sight()
        if self.offset != old:
            self._ask_rows(self.offset, self.height())
        self._note_selected()

    def _ask_rows(self, offset: int, limit: int) -> None:
        self.answer = self.program.ask(
            "rows",
            offset=offset,
            limit=limit,
            flat=self.is_flat,
            sort=SORTS[self.sort],
            filter=self.filter or None,
            open=sorted(self.open),
            find=self.selected_id,
        )
        self.answer["offset"] = offset

    def _keep_in_sight(self) -> None:
        height = self.height()
        self.selected = max(0, min(self.selected, self.answer["total"] - 1))
        self.offset = max(0, min(self.offset, self.answer["total"] - height))
        if self.selected < self.offset:
            self.offset = self.selected
        elif self.selected >= self.offset + height:
            self.offset = self.selected - height + 1

    def row(self, index: int) -> dict[str, Any] | None:
        rows: list[dict[str, Any]] = self.answer["rows"]
        at = index - int(self.answer.get("offset", 0))
        return rows[at] if 0 <= at < len(rows) else None

    def _note_selected(self) -> None:
        row = self.row(self.selected)
        self.selected_id = row["id"] if row is not None and row["kind"] == "task" else None

    # ---- what is shown ---------------------------------------------------------------------------------------------

    def head(self) -> list[str]:
        width, _ = self.screen.size()
        style = self.screen.style
        about, outcomes = self.about, self.summary.get("outcomes", {})
        title = f"{attach.described(about)}  process {about['pid']}, Python {about['python']}"
        mark = " frozen " if self.is_frozen else ""
        lines = [style(fit(title, width - len(mark)), "bold") + style(mark, "reverse")]
        counts = f"{attach.counted(outcomes.get('pending', 0), 'task')} alive"
        ended = [name for name in ("failed", "cancelled", "finished") if outcomes.get(name)]
        counts += "".join(f", {outcomes[name]:,} {name}" for name in ended)
        if self.filter:
            counts += f" · filter: {self.filter}"
        counts += f" · {'list' if self.is_flat else 'tree'}, sorted by {self.sort}"
        warnings = self.summary.get("warnings") or []
        if warnings:
            counts += f" · {attach.counted(len(warnings), 'warning')} (w)"
        lines.append(fit(counts, width))
        blocked = attach.blocked_lines(self.program, about.get("directory"))
        lines += [style(fit(line, width), "red", "bold") for line in blocked + attach.notes(self.program)]
        if not blocked:
            lines += [style(fit(line, width), "dim") for line in self._loops()[:3]]
        slowest = self._slowest()
        if slowest:
            lines.append(style(fit(slowest, width), "dim"))
        if self.ended:
            lines.append(style(fit(self.ended + ": press q to leave", width), "reverse"))
        return lines

    def _loops(self) -> list[str]:
        lines = []
        for loop in self.summary.get("loops", []):
            number = loop["loop"]
            lag = loop["lag"]
            mean = lag["total"] // lag["count"] if lag["count"] else 0
            text = f"loop {number}: lag {attach.duration(mean)}, 99 % below {attach.duration(lag['p99'])}"
            text += f", longest turn {attach.duration(loop['turn']['longest'])}"
            if number in self._rates:
                turns, busy = self._rates[number]
                text += f", {turns:,.0f} turns a second, {busy:.0%} busy"
            lines.append(text)
        return lines

    def _slowest(self) -> str:
        callbacks = sorted(self.stats.get("callbacks", []), key=lambda entry: -entry["longest"])[:2]
        if not callbacks:
            return ""
        return "slowest callbacks: " + ", ".join(
            f"{entry['what']} {attach.duration(entry['longest'])}" for entry in callbacks
        )

    def lines(self) -> list[str]:
        width, height = self.screen.size()
        lines = self.head()
        columns = self._columns(width)
        titles = [fit(title, size, right) for title, size, right in columns]
        lines.append(self.screen.style(" ".join(titles), "reverse"))
        for index in range(self.offset, self.offset + self.height()):
            row = self.row(index)
            if row is not None:
                lines.append(self._line(row, columns, index == self.selected))
        if self.answer["total"] == 0:
            lines.append("no task" + (f" with {self.filter!r} (Escape shows all)" if self.filter else ""))
        lines = lines[: height - 1] + [""] * (height - 1 - len(lines))
        lines.append(self._foot(width))
        return lines

    def _columns(self, width: int) -> list[tuple[str, int, bool]]:
        numbers = [("FOR", 10, True)]
        if width >= 60:
            numbers += [("BUSY", 8, True), ("STEPS", 6, True)]
        if width >= 100:
            numbers.append(("WAKES", 6, True))
        if width >= 120:
            numbers.insert(2, ("IDLE", 8, True))
        left = width - sum(size + 1 for _, size, _ in numbers)
        name = max(10, left * 45 // 100)
        return [("TASK", name, False), ("DOES", max(6, left - name - 1), False), *numbers]

    def _line(self, row: dict[str, Any], columns: list[tuple[str, int, bool]], is_selected: bool) -> str:
        cells = self._cells(row)
        text = " ".join(fit(cells.get(title, ""), size, right) for title, size, right in columns)
        if is_selected:
            return self.screen.style(text, "reverse")
        style = _STATES.get(row.get("state", ""))
        return self.screen.style(text, style) if style else text

    def _cells(self, row: dict[str, Any]) -> dict[str, str]:
        now = self.program.now
        if row["kind"] == "nursery":
            title = f"{row['lead']}nursery {attach.shown(row['place'])}"
            return {"TASK": title, "DOES": attach.counted(row["count"], "task")}
        numbers = {
            "BUSY": attach.duration(row["busy"]),
            "STEPS": f"{row['steps']:,}",
            "WAKES": f"{row['wakes']:,}",
        }
        if row["kind"] == "group":
            sign = "-" if row["group"] in self.open else "+"
            states = ", ".join(f"{count:,} {state}" for state, count in row["states"].items())
            waits = row["waits_for"]
            does = f"{states} at {attach.shown(waits['place'])} for {waits['thing']}" if waits else states
            since = attach.duration(max(0, now - waits["since"])) if waits else ""
            task = f"{row['lead']}[{sign}] {row['count']:,} × {row['coroutine']}"
            return {"TASK": task, "DOES": does, "FOR": since, **numbers}
        end = row["end"] if row["end"] is not None else now
        alive = max(0, end - row["begin"])
        code = "" if row["name"].startswith(row["coroutine"]) else f" {row['coroutine']}"
        return {
            "TASK": f"{row['lead']}{row['name']}{code}",
            "DOES": attach.waits(row, now, place_first=True),
            "FOR": attach.duration(max(0, now - row["since"])) if row["end"] is None else "",
            "IDLE": attach.duration(max(0, alive - row["busy"])) if row["start_is_known"] else "",
            **numbers,
        }

    def _foot(self, width: int) -> str:
        if self.message:
            return self.screen.style(fit(self.message, width), "bold")
        keys = "q quit  Enter look  f filter  s sort  t tree/list  space freeze  c cancel  h help"
        return self.screen.style(fit(keys, width), "dim")

    # ---- keys ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        due = 0.0
        while True:
            try:
                if time.monotonic() >= due:
                    self.refresh()
                    due = time.monotonic() + REFRESH
                self.screen.draw(self.lines())
                key = self.screen.key(max(0.0, due - time.monotonic()))
                if key is None:
                    continue
                self.message = ""
                if not self.press(key):
                    return
            except attach.Unreachable as error:
                self.ended = str(error)
                self.is_frozen = True
            except attach.Refused as error:
                self.message = str(error)

    def press(self, key: str) -> bool:
        """Whether it goes on."""
        page = self.height() - 1
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -page, "page down": page}
        jumps = {"home": 0, "end": self.answer["total"] - 1, "g": 0, "G": self.answer["total"] - 1}
        if key in ("q", "Q"):
            return False
        if key in steps or key in jumps:
            self.selected = jumps[key] if key in jumps else self.selected + steps[key]
            self.selected_id = None
            self.load()
            self._note_selected()
        elif key == " ":
            self.freeze()
        elif key in ("enter", "right", "left"):
            self.enter()
        elif key == "escape":
            self.filter = ""
            self.load()
        elif key == "f" or key == "/":
            self.ask_filter()
        elif key == "s":
            names = list(SORTS)
            self.sort = names[(names.index(self.sort) + 1) % len(names)]
            self.load()
        elif key == "t":
            self.is_flat = not self.is_flat
            self.load()
        elif key == "c":
            row = self.row(self.selected)
            if row is not None and row["kind"] == "task":
                self.cancel(row)
            else:
                self.message = "only a single task can be cancelled: Enter opens a row of many"
        elif key == "w":
            self.page(lambda width: pages.of_warnings(self.program, width))
        elif key in ("h", "?"):
            self.page(lambda width: ["Keys", "", *HELP.splitlines()])
        elif key == "redraw":
            self.screen.redraw()
        return True

    def freeze(self) -> None:
        if self.ended:
            return
        if not self.is_frozen:
            self._ask_rows(0, FROZEN)
            self.answer["total"] = len(self.answer["rows"])
        self.is_frozen = not self.is_frozen
        if not self.is_frozen:
            self.refresh()

    def enter(self) -> None:
        row = self.row(self.selected)
        if row is None:
            return
        if row["kind"] == "group":
            if self.is_frozen:
                self.message = "frozen: press space to go on, then open it"
                return
            self.open ^= {row["group"]}
            self.load()
        elif row["kind"] == "task":
            directory = self.about.get("directory")
            self.page(lambda width: pages.of_task(self.program, row["id"], directory, width), row)

    def ask_filter(self) -> None:
        text = self.filter
        while True:
            self.message = f"filter (name, code, place, number): {text}_"
            self.screen.draw(self.lines())
            key = self.screen.key(REFRESH)
            if key == "enter":
                break
            if key == "escape":
                text = ""
                break
            if key == "backspace":
                text = text[:-1]
            elif key is not None and len(key) == 1 and key.isprintable():
                text += key
        self.message, self.filter = "", text
        self.offset = self.selected = 0
        self.selected_id = None
        self.load()

    def _confirmed(self, question: str) -> bool:
        while True:
            self.message = f"{question} (y/n)"
            self.screen.draw(self.lines())
            key = self.screen.key(REFRESH)
            if key is not None:
                self.message = ""
                return key in ("y", "Y")

    def cancel(self, row: dict[str, Any]) -> None:
        """Asked twice: it changes what the program does."""
        name = f"{row['name']} ({row['id']})"
        if not self._confirmed(f"cancel {name}?"):
            self.message = "not cancelled"
            return
        if not self._confirmed(f"{name} gets a CancelledError where it waits. Are you sure?"):
            self.message = "not cancelled"
            return
        self.message = f"{name}: {self.program.ask('cancel', id=row['id'])}"

    # ---- pages of text ---------------------------------------------------------------------------------------------

    def page(self, make: Any, row: dict[str, Any] | None = None) -> None:
        """Lines to scroll in, made anew every second; a key goes back."""
        offset, due, lines = 0, 0.0, []
        while True:
            width, height = self.screen.size()
            if time.monotonic() >= due:
                lines = make(width)
                due = time.monotonic() + REFRESH
            offset = max(0, min(offset, len(lines) - height + 1))
            shown = [fit(line, width) for line in lines[offset : offset + height - 1]]
            if shown and offset == 0:
                shown[0] = self.screen.style(shown[0], "bold")
            shown += [""] * (height - 1 - len(shown))
            keys = "Escape back  up, down scroll" + ("  c cancel" if row is not None else "")
            foot = self.message or keys
            self.screen.draw([*shown, self.screen.style(fit(foot, width), "dim")])
            key = self.screen.key(max(0.0, due - time.monotonic()))
            pages_down = {"page up": 1 - height, "page down": height - 1, "home": -offset, "end": len(lines)}
            moves = {"up": -1, "k": -1, "down": 1, "j": 1, **pages_down}
            if key in ("escape", "q", "enter", "left"):
                return
            if key == "c" and row is not None:
                self.cancel(row)
                due = 0.0
            elif key in moves:
                offset += moves[key]


def main(argv: list[str]) -> int:
    options = tree.Options(argv, USAGE, "top", {"--flat"}, {"--filter", "--sort"})
    if options.values.get("--sort", "begin") not in SORTS:
        raise SystemExit(f"segue top: --sort is one of {', '.join(SORTS)}")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SystemExit("segue top: this is no terminal; `segue tree` prints once")
    try:
        pid = attach.chosen(options.pid, "top")
        with attach.connect(pid) as program:
            program.ask("summary")
            with Screen() as screen:
                Top(screen, program, options).run()
    except (attach.Unreachable, attach.Refused) as error:
        print(f"segue top: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        return 130
    except Ended as ended:
        # As if the signal had not been caught.
        signal.signal(ended.number, signal.SIG_DFL)
        signal.raise_signal(ended.number)
    return 0
