"""Pages of text that `segue top` shows in place of its rows: all about one task, and the warnings."""

from __future__ import annotations

import textwrap
from typing import Any

from segue._cli import attach


def of_warnings(program: attach.Program, width: int) -> list[str]:
    warnings = program.ask("warnings")
    if not warnings:
        return ["Warnings", "", "none so far"]
    lines = [attach.counted(len(warnings), "warning")]
    for warning in warnings:
        place = attach.shown(warning.get("place"))
        count = f" ({warning['count']:,} times)" if warning.get("count", 1) > 1 else ""
        lines += ["", f"{warning['title']}{' at ' + place if place else ''}{count}"]
        for text in (warning.get("text"), warning.get("cure")):
            lines += textwrap.wrap(text or "", max(20, width - 4), initial_indent="    ", subsequent_indent="    ")
    return lines


def of_task(program: attach.Program, task_id: str, directory: str | None, width: int) -> list[str]:
    """What is known of a task: its state, its stack, its life in words."""
    try:
        task = program.ask("task", id=task_id)
    except attach.Refused as error:
        return [str(error)]
    lines = [f"{task['name']}  {task['coroutine']}  ({task_id})", ""]
    lines += [f"{name + ':':<12} {value}" for name, value in _facts(task, program.now) if value]
    lines += ["", *_stack(program, task, directory), "", "Its life since somebody looks:"]
    for sentence in task["story"]:
        at = f"{attach.duration(sentence['at']):>10}  "
        lines += textwrap.wrap(sentence["text"], max(20, width), initial_indent=at, subsequent_indent=" " * 12)
    return lines


def _facts(task: dict[str, Any], now: int) -> list[tuple[str, str]]:
    since = f", for {attach.duration(max(0, now - task['since']))}" if task["end"] is None else ""
    started = attach.shown(task["started_at"])
    nursery = task["nursery"]
    alive = max(0, (now if task["end"] is None else task["end"]) - task["begin"])
    idle = f", idle {attach.duration(max(0, alive - task['busy']))}" if task["start_is_known"] else ""
    by = task["cancelled_by"]
    return [
        ("does", attach.waits(task, now) + since),
        ("held by", ", ".join((task["waits_for"] or {}).get("holders") or [])),
        ("started", _joined(("at", started), ("by", task["parent_name"]))),
        ("nursery", (attach.shown(nursery["place"]) or "yes") if nursery else ""),
        ("busy", f"{attach.duration(task['busy'])} in {task['steps']:,} steps, {task['wakes']:,} wakes{idle}"),
        ("failed", task["why"] or "" if task["state"] == "failed" else ""),
        ("raised at", attach.shown(task["raised_at"])),
        ("cancelled", by["text"] if by else ""),
    ]


def _joined(*parts: tuple[str, str | None]) -> str:
    return " ".join(f"{word} {value}" for word, value in parts if value)


def _stack(program: attach.Program, task: dict[str, Any], directory: str | None) -> list[str]:
    if task["end"] is not None:
        return ["Stack: it has ended"]
    try:
        stack = program.ask("stack", id=task["id"])
    except attach.Refused as error:
        return [f"Stack: {error}"]
    lines = ["Stack, the innermost last:"]
    for frame in stack["frames"]:
        lines.append(f"  {attach.short_path(frame['file'], directory)}:{frame['line']} in {frame['function']}")
    if stack["ends_in"]:
        lines.append(f"  waits for {stack['ends_in']}")
    return lines
