"""What `segue run --report` prints when the program ends: failed tasks and why, and the tree of tasks.

Made of what the core's task log has (`crates/py/src/recorder.rs`) and nothing else. Tasks that are alike (same
parent, code, place, outcome) are one entry and one box, so that ten thousand of them still make a picture.
"""

from __future__ import annotations

import gc
import linecache
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from segue import _core

MAX_NODES = 60
MAX_ENTRIES = 100
MAX_NAMES = 5
OUTCOMES = ("finished", "failed", "cancelled", "pending")

Record = dict[str, Any]
"""A task, or a `count` of them, as `_core.TaskLog` describes it."""

_started_in = os.getcwd()


def start_recording() -> None:
    """Record the tasks of every loop that is made from now on."""
    _core._record_every_loop()


def print_report(file: TextIO | None = None) -> None:
    file = file or sys.stderr
    if file is None:  # the program was started without a standard error
        return
    log = _core._record_every_loop()
    records = log.tasks()
    waiting = {}
    if any(record["outcome"] == "pending" for record in records):
        unfinished = [task for task in gc.get_objects() if issubclass(type(task), _core.Task) and not task.done()]
        waiting = dict(map(log.suspended, unfinished))
    text = format_report(records, log.left_out(), waiting)
    encoding = getattr(file, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=file, flush=True)


def format_report(records: list[Record], left_out: list[Record], waiting: dict[int, str] | None = None) -> str:
    """The report's text; `waiting` is where pending tasks are suspended, by their id."""
    for record in (*records, *left_out):
        record["site"] = _short(record["site"]) or "the event loop"
        record["why"] = _short(record["why"])
    outcomes = Counter(record["outcome"] for record in records)
    for record in left_out:
        outcomes[record["outcome"]] += record["count"]
    total = outcomes.total()
    counts = ", ".join(f"{outcomes[name]} {name}" for name in OUTCOMES)
    if not total:
        return "\n=== segue report ===\nno task was started"
    lines = ["", "=== segue report ===", f"{total} task{'s' if total != 1 else ''}: {counts}", ""]
    lines += _failures(records, left_out)
    lines += _others("Cancelled tasks", "cancelled", records, left_out, lambda task: ("by", task["why"]))
    lines += _others("Tasks that never finished", "pending", records, left_out, _whereabouts(waiting or {}))
    lines += _mermaid(records, left_out)
    return "\n".join(map(_printable, lines))


def _short(text: str) -> str:
    """Paths as short as they're still found: from where the program was started, or as they're imported."""
    for start in (_started_in, *sys.path):
        if len(start) > 1:
            text = text.replace(os.path.join(start, ""), "")
    return text


# --- Tasks that failed, were cancelled, never finished ------------------------------------------------


def _failures(records: list[Record], left_out: list[Record]) -> list[str]:
    by_id = {record["id"]: record for record in records}
    failed = [record for record in records if record["outcome"] == "failed"]
    passed_on: dict[int, Record] = {}  # a task that failed with what one of its own tasks failed with
    for record in failed:
        parent = by_id.get(record["parent"])
        if parent is not None and parent["outcome"] == "failed" and _cause(parent) == _cause(record):
            passed_on.setdefault(parent["id"], record)

    def describe(task: Record) -> list[tuple[str, str]]:
        source = passed_on.get(task.get("id", 0))
        where = ("passed on by its own task", source["name"]) if source else ("raised at", _raised_at(task))
        return [("failed with", task["why"] or "one of too many different errors to keep them all"), where]

    failed.sort(key=lambda record: record["ended"])  # causes before their consequences
    failed += [record for record in left_out if record["outcome"] == "failed"]
    return _section("Failed tasks", failed, describe) or ["No task failed.", ""]


def _others(
    title: str, outcome: str, records: list[Record], left_out: list[Record], say: Callable[[Record], tuple[str, str]]
) -> list[str]:
    chosen = [record for record in (*records, *left_out) if record["outcome"] == outcome]
    return _section(title, chosen, lambda task: [line for line in [say(task)] if line[1]])


def _whereabouts(waiting: dict[int, str]) -> Callable[[Record], tuple[str, str]]:
    def say(task: Record) -> tuple[str, str]:
        place = waiting.get(task.get("id", 0))
        return ("it was", task["why"]) if task["why"] else ("waits at", _with_source(place or ""))

    return say


def _section(title: str, records: list[Record], describe: Callable[[Record], list[tuple[str, str]]]) -> list[str]:
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault((record["coroutine"], record["site"], *_cause(record)), []).append(record)
    lines = [title] if groups else []
    for number, group in enumerate(list(groups.values())[:MAX_ENTRIES], 1):
        first = group[0]
        lines.append(f"  {number}. {_names(group)}: {first['coroutine']}")
        lines.append(f"     started at   {first['site']}")
        lines += [f"     {label:<12} {text}" for label, text in describe(first)]
        unheard = sum(record.get("never_retrieved", False) for record in group)
        if unheard:
            which = "" if len(group) == 1 else f" ({unheard} of {_count(group)})"
            lines.append(f"     nobody asked for its exception{which}: it was never retrieved")
    unlisted = list(groups.values())[MAX_ENTRIES:]
    if unlisted:
        lines.append(f"  ... and {sum(map(_count, unlisted))} more, not listed")
    return [*lines, ""] if lines else []


def _cause(record: Record) -> tuple[str, str]:
    return record["why"], record["raised_at"]


def _count(group: Iterable[Record]) -> int:
    return sum(record.get("count", 1) for record in group)


def _names(group: list[Record]) -> str:
    named = [_one_line(record["name"]) for record in group if "name" in record][:MAX_NAMES]
    rest = _count(group) - len(named)
    return ", ".join(named) + (f" and {rest} more" if rest else "") if named else f"{rest} tasks"


def _printable(line: str) -> str:
    """With escapes for what a terminal would act on: names and messages are the program's, and it may have got
    them from anywhere."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _raised_at(task: Record) -> str:
    return _with_source(task["raised_at"]) or "no line of Python code"


def _with_source(place: str) -> str:
    """ "file:line function: source" of "file:line function"."""
    file, _, line = place.rpartition(" ")[0].rpartition(":")
    if not file:
        return place
    # For what is in a zip file, linecache wants the module's loader.
    modules = (vars(module) for module in list(sys.modules.values()) if getattr(module, "__file__", None) == file)
    source = linecache.getline(file, int(line), next(modules, None)).strip()
    return f"{_short(place)}: {source}" if source else _short(place)


# --- The tree -------------------------------------------------------------------------------------


class _Node:
    """Tasks that are drawn as one."""

    def __init__(self, parent: _Node | None, records: list[Record]) -> None:
        self.parent = parent
        self.records = records
        self.outcome = records[0]["outcome"]

    def label(self) -> str:
        first = self.records[0]
        many = len(self.records) > 1
        title = f"{first['coroutine']} ×{len(self.records)}" if many else f"{first['name']}: {first['coroutine']}"
        parts = [title, first["site"]]
        if self.outcome == "failed":
            parts.append(f"failed: {first['why'][:120]}")
        elif self.outcome != "finished":
            parts.append(self.outcome)
        return "<br/>".join(_escape(_one_line(part)) for part in parts)


def _escape(text: str) -> str:
    """Mermaid's entity codes for what would end or restructure a quoted label, and for what isn't printable."""
    escaped = "".join(
        _ESCAPES.get(character, character) if character.isprintable() else f"#{ord(character)};"
        for character in text.encode("utf-8", "replace").decode()
    )
    return re.sub(r"^([-+*]|\d+[.)]) ", r"\1#160;", escaped)  # a list, to Mermaid: it shows an error instead


_ESCAPES = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "`": "#96;", "&": "#amp;", "%": "#37;", "\\": "#92;"}


def _nodes(records: list[Record]) -> list[_Node]:
    """Every node, parents before children, level by level."""
    known = {record["id"] for record in records}
    children: dict[int, list[Record]] = {}
    for record in records:
        children.setdefault(record["parent"] if record["parent"] in known else 0, []).append(record)
    nodes: list[_Node] = []
    level: list[tuple[_Node | None, list[Record]]] = [(None, children.get(0, []))]
    while level:
        below: list[tuple[_Node | None, list[Record]]] = []
        for parent, started in level:
            alike: dict[tuple[str, ...], list[Record]] = {}
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
                branch = set(_up(node, shown))
                if len(shown) + len(branch) <= MAX_NODES:
                    shown |= branch
    return shown


def _up(node: _Node | None, until: set[_Node]) -> Iterable[_Node]:
    """The node and those above it that aren't in `until`; no more than fit into a picture."""
    for _ in range(MAX_NODES + 1):
        if node is None or node in until:
            return
        yield node
        node = node.parent


def _mermaid(records: list[Record], left_out: list[Record]) -> list[str]:
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
    hidden = [node.records for node in nodes if node not in shown] + [[group] for group in left_out]
    if hidden:
        tasks = sum(map(_count, hidden))
        lines.append(f'  more["... and {tasks} more tasks in {len(hidden)} groups, left out"]')
    lines += [
        "  classDef failed fill:#fdd,stroke:#c00,color:#000",
        "  classDef cancelled fill:#eee,stroke:#888,color:#000,stroke-dasharray:4",
        "  classDef pending fill:#ffd,stroke:#aa0,color:#000",
        "```",
    ]
    return lines
