"""What `segue run --report` prints when the program ends: failed tasks and why, and the tree of tasks.

Made of the records in `record.py` and nothing else. Tasks that are alike (same parent, code, place, outcome)
are drawn as one, so that ten thousand of them still make a picture.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import TextIO

from segue._cli.record import TaskRecord, collect, left_out, start_recording

__all__ = ["collect", "format_report", "print_report", "start_recording"]

MAX_NODES = 60
MAX_FAILURES = 100
MAX_NAMES = 5


def print_report(file: TextIO | None = None) -> None:
    file = file or sys.stderr
    if file is None:  # the program was started without a standard error
        return
    print(format_report(collect(), left_out()), file=file, flush=True)


def format_report(records: list[TaskRecord], not_recorded: int = 0) -> str:
    outcomes = Counter(record["outcome"] for record in records)
    counts = ", ".join(f"{outcomes[name]} {name}" for name in ("finished", "failed", "cancelled", "pending"))
    lines = ["", "=== segue report ===", f"{len(records)} task{'s' if len(records) != 1 else ''}: {counts}"]
    if not_recorded:
        lines.append(f"{not_recorded} more tasks were started after those and are not in this report")
    lines += ["", *_failures(records), "", *_mermaid(records)]
    return "\n".join(lines)


# --- Failed tasks ---------------------------------------------------------------------------------


def _failures(records: list[TaskRecord]) -> list[str]:
    failed = [record for record in records if record["outcome"] == "failed"]
    if not failed:
        return ["No task failed."]
    by_id = {record["id"]: record for record in records}
    passed_on: dict[int, TaskRecord] = {}  # a task that failed with what one of its own tasks failed with
    for record in failed:
        parent = by_id.get(record["parent"] or 0)
        if parent is not None and _cause(parent) == _cause(record):
            passed_on.setdefault(parent["id"], record)
    groups: dict[tuple[str, ...], list[TaskRecord]] = {}
    for record in sorted(failed, key=lambda record: record["ended"]):  # causes before their consequences
        groups.setdefault((record["coroutine"], record["site"], *_cause(record)), []).append(record)
    lines = ["Failed tasks"]
    for number, group in enumerate(list(groups.values())[:MAX_FAILURES], 1):
        first = group[0]
        lines += [
            f"  {number}. {_names(group)}: {first['coroutine']}",
            f"     started at   {first['site']}",
            f"     failed with  {first['exception']}",
        ]
        if first["id"] in passed_on:
            lines.append(f"     passed on by its own task {passed_on[first['id']]['name']}")
        else:
            lines.append(f"     raised at    {first['raised_at']}")
    unlisted = list(groups.values())[MAX_FAILURES:]
    if unlisted:
        lines.append(f"  ... and {sum(map(len, unlisted))} more failed tasks, not listed")
    return lines


def _cause(record: TaskRecord) -> tuple[str, str]:
    return record["exception"], record["raised_at"]


def _names(group: list[TaskRecord]) -> str:
    names = ", ".join(record["name"] for record in group[:MAX_NAMES])
    return names if len(group) <= MAX_NAMES else f"{names} and {len(group) - MAX_NAMES} more"


# --- The tree -------------------------------------------------------------------------------------


class _Node:
    """Tasks that are drawn as one."""

    def __init__(self, parent: _Node | None, records: list[TaskRecord]) -> None:
        self.parent = parent
        self.records = records
        self.outcome = records[0]["outcome"]

    def label(self) -> str:
        first = self.records[0]
        many = len(self.records) > 1
        title = (
            f"{first['coroutine']} ×{len(self.records)}" if many else f"{first['name']}: {first['coroutine']}"
        )
        parts = [title, first["site"]]
        if self.outcome == "failed":
            parts.append(f"failed: {first['exception'][:120]}")
        elif self.outcome != "finished":
            parts.append(self.outcome)
        return "<br/>".join(map(_escape, parts))


def _escape(text: str) -> str:
    """Mermaid's entity codes for what would end or restructure a quoted label."""
    for character, code in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        text = text.replace(character, code)
    return text


def _nodes(records: list[TaskRecord]) -> list[_Node]:
    """Every node, parents before children, level by level."""
    known = {record["id"] for record in records}
    children: dict[int | None, list[TaskRecord]] = {}
    for record in records:
        children.setdefault(record["parent"] if record["parent"] in known else None, []).append(record)
    nodes: list[_Node] = []
    level: list[tuple[_Node | None, list[TaskRecord]]] = [(None, children.get(None, []))]
    while level:
        below: list[tuple[_Node | None, list[TaskRecord]]] = []
        for parent, started in level:
            alike: dict[tuple[str, ...], list[TaskRecord]] = {}
            for record in started:
                key = (record["coroutine"], record["site"], record["outcome"], *_cause(record))
                alike.setdefault(key, []).append(record)
            for group in alike.values():
                node = _Node(parent, group)
                nodes.append(node)
                below.append((node, [child for record in group for child in children.get(record["id"], [])]))
        level = below
    return nodes


def _shown(nodes: list[_Node]) -> set[_Node]:
    """Failed tasks and their ancestors, then cancelled ones, then the rest from the top, up to MAX_NODES."""
    shown: set[_Node] = set()
    for wanted in ({"failed"}, {"cancelled", "pending"}, {"finished"}):
        for node in nodes:
            if node.outcome in wanted:
                branch = set(_up(node)) - shown
                if len(shown) + len(branch) <= MAX_NODES:
                    shown |= branch
    return shown


def _up(node: _Node | None) -> Iterable[_Node]:
    while node is not None:
        yield node
        node = node.parent


def _mermaid(records: list[TaskRecord]) -> list[str]:
    nodes = _nodes(records)
    shown = _shown(nodes)
    lines = ["Task tree", "```mermaid", "flowchart TD"]
    names: dict[_Node, str] = {}
    for node in nodes:
        if node not in shown:
            continue
        names[node] = f"t{len(names) + 1}"
        style = f":::{node.outcome}" if node.outcome != "finished" else ""
        lines.append(f'  {names[node]}["{node.label()}"]{style}')
        if node.parent is not None:
            lines.append(f"  {names[node.parent]} --> {names[node]}")
    hidden = [node for node in nodes if node not in shown]
    if hidden:
        tasks = sum(len(node.records) for node in hidden)
        lines.append(f'  more["... and {tasks} more tasks in {len(hidden)} groups, left out"]')
    lines += [
        "  classDef failed fill:#fdd,stroke:#c00,color:#000",
        "  classDef cancelled fill:#eee,stroke:#888,color:#000,stroke-dasharray:4",
        "  classDef pending fill:#ffd,stroke:#aa0,color:#000",
        "```",
    ]
    return lines
