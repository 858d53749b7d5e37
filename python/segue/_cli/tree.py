"""`segue tree PID`: the tasks of a running program as a tree, printed once."""

from __future__ import annotations

import json
import sys
from typing import Any

from segue._cli import attach
from segue._explain.words import printable

USAGE = """\
usage: segue tree [PID] [--all] [--ended] [--filter TEXT] [--json] [--ascii]

Prints the tasks of a running program as a tree: who started whom, what each does, what it waits for, where
and for how long. The program was started with `segue run`, or with SEGUE_ATTACH=1 in its environment. Without
PID: the only one there is.

  --all          each task by itself; else more than five that were started by the same line are one row
  --ended        also tasks that have ended since somebody looks (few, as nothing is recorded before)
  --filter TEXT  only tasks with TEXT in their name, code, place or number, and what leads to them
  --json         everything that is known, as JSON
  --ascii        without box characters
"""


class Options:
    def __init__(self, argv: list[str], usage: str, command: str, flags: set[str], values: set[str]) -> None:
        self.pid: str | None = None
        self.flags: set[str] = set()
        self.values: dict[str, str] = {}
        rest = list(argv)
        while rest:
            word = rest.pop(0)
            name, equals, value = word.partition("=")
            if word in ("-h", "--help"):
                print(usage, end="")
                raise SystemExit(0)
            if word in flags:
                self.flags.add(word)
            elif name in values and (equals or rest):
                self.values[name] = value if equals else rest.pop(0)
            elif word.startswith("-") or self.pid is not None:
                raise SystemExit(f"segue {command}: {word!r} is not understood\n\n{usage}")
            else:
                self.pid = word


def main(argv: list[str]) -> int:
    options = Options(argv, USAGE, "tree", {"--all", "--ended", "--json", "--ascii"}, {"--filter"})
    try:
        with attach.connect(attach.chosen(options.pid, "tree")) as program:
            if "--json" in options.flags:
                tree = program.ask("tree", limit=10_000_000, pending="--ended" not in options.flags)
                print(json.dumps({**tree, "loops": program.loops, "attached": program.attached, "now": program.now}))
                return 0
            about = program.ask("program")
            answer = program.ask(
                "rows",
                limit=10_000_000,
                alike=0 if "--all" in options.flags else 5,
                all="--ended" in options.flags,
                filter=options.values.get("--filter"),
            )
            lines = [f"{attach.described(about)}, {attach.counted(answer['tasks'], 'task')}"]
            lines += attach.blocked_lines(program, about.get("directory"))
            lines += attach.notes(program)
            lines += [line(row, program.now) for row in answer["rows"]]
    except (attach.Unreachable, attach.Refused) as error:
        print(f"segue tree: {error}", file=sys.stderr)
        return 1
    write(lines, "--ascii" in options.flags)
    return 0


def write(lines: list[str], ascii_only: bool) -> None:
    # Names come from the program, and may have what acts on a terminal.
    lines = [printable(line) for line in lines]
    if ascii_only or not attach.can_box(sys.stdout):
        lines = [attach.as_ascii(line) for line in lines]
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # `| head`
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def line(row: dict[str, Any], now: int) -> str:
    return f"{row['lead']}{words(row, now)}"


def words(row: dict[str, Any], now: int) -> str:
    """A row of the answer to "rows", without what leads to it."""
    if row["kind"] == "nursery":
        place = attach.shown(row["place"])
        return f"nursery{' at ' + place if place else ''}, {attach.counted(row['count'], 'task')}"
    if row["kind"] == "group":
        return _group(row, now)
    since = f", {attach.duration(max(0, now - row['since']))}" if row["end"] is None else ""
    name = row["name"]
    code = "" if name.startswith(row["coroutine"]) else f" {row['coroutine']}"
    return f"{name}{code} ({row['id']}) {attach.waits(row, now)}{since}"


def _group(row: dict[str, Any], now: int) -> str:
    states = ", ".join(f"{count:,} {state}" for state, count in row["states"].items())
    text = f"{row['count']:,} × {row['coroutine']} [{row['group']}]: {states}"
    place = attach.shown(row["started_at"])
    if place:
        text += f", started at {place}"
    waits = row["waits_for"]
    if waits:
        most = "" if waits["count"] == row["states"].get("waiting") else f"{waits['count']:,} of them "
        at = attach.shown(waits["place"])
        longest = attach.duration(max(0, now - waits["since"]))
        text += f"; {most}wait for {waits['thing']}{' at ' + at if at else ''}, up to {longest}"
    return text
