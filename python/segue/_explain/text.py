"""Explanations as text: what failed first, then in which task, who awaited that, what ran beside it.

Colour is the caller's decision (`_color.py`). What comes from the program is escaped where a terminal would act on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from .cancellations import Cancelled
from .errors import MOST_MESSAGES, Error, Stretch
from .explanation import Explanation, TaskState
from .places import Place
from .tasks import Alike, Group, Start, TaskName, Wait
from .words import one_line, printable, shortened

MOST_FRAMES = 30
MOST_STARTS = 6
MOST_BESIDES = 8

HINT = (
    "Who started a task is known of nurseries, task groups and debug mode only;"
    " of all under `segue run --explain` or after segue.inspect.explain_errors()."
)

_STYLES = {"error": "1;31", "task": "36", "count": "1", "library": "2", "label": "2", "cancelled": "33"}


def render(explanation: Explanation, *, color: bool, all_frames: bool) -> str:
    writer = _Writer(color, all_frames)
    lines: list[str] = []
    if explanation.task is not None:
        lines += writer.task(explanation.task)
    if explanation.error is not None:
        lines += writer.error(explanation.error)
    if not explanation.is_recorded and writer.unknown_starts:
        lines.append(writer.paint("label", HINT))
    return "\n".join(lines)


def _indented(lines: Iterable[str], by: str = "  ") -> list[str]:
    return [by + line for line in lines]


class _Writer:
    """One text in the making."""

    def __init__(self, color: bool, all_frames: bool) -> None:
        self.color = color
        self.all_frames = all_frames
        self.told: set[int] = set()
        """Tasks whose start was told."""
        self.unknown_starts = False
        self.around: set[int] = set()
        """Tasks that failed with the groups around what is being told."""

    def paint(self, style: str, text: str) -> str:
        text = printable(text)
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.color and text else text

    def name(self, task: TaskName) -> str:
        return self.paint("task", f"'{one_line(task.name)}'") + printable(f" ({task.coroutine})")

    # ---- exceptions ----

    def error(self, error: Error) -> list[str]:
        """Its own lines, then what led to it, then what is in it."""
        message = error.message.splitlines() or [""]
        head = self.paint("error", error.type) + printable(f": {message[0]}" if message[0] else "")
        if error.count > 1:
            head = self.paint("count", f"{error.count:,} × ") + head
        if error.leaves:
            head += f" ({error.leaves:,} error{'s' if error.leaves != 1 else ''} in it)"
        if error.elsewhere:
            return [head + self.paint("label", " (as elsewhere in this explanation, or one too many)")]
        lines = [head, *_indented(map(printable, message[1:]))]
        for note in error.notes:
            lines += _indented(map(printable, note.splitlines()))
        if error.messages:
            lines.append("  " + self.paint("label", "with different messages: ") + _listed(error.messages))
        if error.cancelled is not None:
            lines.append("  " + self.cancelled(error.cancelled))
        lines += _indented(self.call_chain(error))
        for title, behind in (("caused by", error.cause), ("while handling", error.context)):
            if behind is not None:
                first, *rest = self.error(behind)
                lines += [f"  {self.paint('label', title)} {first}", *_indented(rest)]
        return lines + self.inside(error)

    def inside(self, error: Error) -> list[str]:
        outside = self.around
        self.around = outside | {stretch.task.id for stretch in error.call_chain if stretch.task is not None}
        blocks = [self.error(child) for child in error.errors]
        self.around = outside
        if error.left_out:
            blocks.append([self.paint("label", f"... and {error.left_out:,} more")])
        lines = []
        for number, (first, *rest) in enumerate(blocks, 1):
            is_last = number == len(blocks)
            lines.append(("└─ " if is_last else "├─ ") + first)
            lines += _indented(rest, "   " if is_last else "│  ")
        return lines

    def call_chain(self, error: Error) -> list[str]:
        lines: list[str] = []
        for number, stretch in enumerate(error.call_chain):
            title = ""
            if stretch.task is not None:
                label = "in" if number == 0 else "awaited by"
                if number == 0 and error.count > 1 and error.tasks:
                    name = self.paint("task", shortened(list(error.tasks), error.count))
                    title = f"{label} tasks {name}" + printable(f" ({stretch.task.coroutine})")
                else:
                    title = f"{label} task {self.name(stretch.task)}"
                lines.append(title)
                lines += _indented(self.starts(stretch.task, stretch.starts))
            elif number:
                lines.append(title := "out of the event loop")
            # A group is raised where it is collected, which tells nothing.
            frames = self.frames(stretch, raised=number == 0 and not error.leaves)
            lines += _indented(frames) if title else frames
            lines += _indented(self.group(stretch.group))
            waits = [wait for wait in stretch.awaited_by if wait.task.id not in self.around]
            lines += _indented(self.waits("awaited by", waits))
        return lines

    def cancelled(self, cancelled: Cancelled) -> str:
        text = f"cancelled by {cancelled.source}"
        if cancelled.reason is not None:
            text += f" ({one_line(cancelled.reason)})"
        if cancelled.task is not None:
            text += f", task '{one_line(cancelled.task)}'"
        if cancelled.place is not None:
            text += f", at {_line(cancelled.place)}"
        return self.paint("cancelled", text)

    # ---- frames ----

    def frames(self, stretch: Stretch, raised: bool) -> list[str]:
        """With those of libraries summed up, but for the one that raised."""
        frames = stretch.frames
        last = frames[-1:] if raised else ()
        lines: list[str] = []
        for is_own, run in groupby(frames[: len(frames) - len(last)], lambda place: place.package is None):
            if is_own or self.all_frames:
                lines += self.repeated(list(run))
            else:
                lines.append(self.libraries(list(run)))
        lines += [self.place(place) for place in last]
        if len(lines) > MOST_FRAMES and not self.all_frames:
            half = MOST_FRAMES // 2
            left_out = self.paint("label", f"... {len(lines) - 2 * half:,} more lines ...")
            lines[half:-half] = [left_out]
        return lines

    def repeated(self, frames: list[Place]) -> list[str]:
        lines = []
        for place, run in groupby(frames):
            lines.append(self.place(place))
            if more := len(list(run)) - 1:
                lines.append(self.paint("label", f"... the same {more:,} times more ..."))
        return lines

    def libraries(self, frames: list[Place]) -> str:
        names = ", ".join(dict.fromkeys(place.package or "" for place in frames))
        return self.paint("library", f"... {len(frames):,} frame{'s' if len(frames) != 1 else ''} in {names} ...")

    def place(self, place: Place) -> str:
        return self.paint("library", _line(place)) if place.package is not None else printable(_line(place))

    # ---- tasks ----

    def starts(self, task: TaskName, starts: Sequence[Start]) -> list[str]:
        if task.id in self.told:
            return []
        self.told.add(task.id)
        self.unknown_starts |= not starts or (starts[0].place is None)
        lines = []
        for number, start in enumerate(starts[:MOST_STARTS]):
            text = self.paint("label", "started by " if number == 0 else "        by ")
            text += "the program" if start.task is None else self.name(start.task)
            if start.place is not None:
                text += printable(f" at {start.place}")
            if start.task is not None or start.place is not None:
                lines.append(text)
            if start.task is not None:
                if start.task.id in self.told and number:
                    break
                self.told.add(start.task.id)
        if len(starts) > MOST_STARTS:
            lines.append(self.paint("label", f"        ... and {len(starts) - MOST_STARTS} more above"))
        return lines

    def group(self, group: Group | None) -> list[str]:
        if group is None or not group.others:
            return []
        kind = {"nursery": "the nursery", "TaskGroup": "the TaskGroup", "gather": "the gather()"}[group.kind]
        owner = f" of {self.name(group.owner)}" if group.owner is not None else ""
        lines = [f"beside it in {kind}{owner}:"]
        lines += _indented(map(self.alike, group.others[:MOST_BESIDES]))
        if more := sum(alike.count for alike in group.others[MOST_BESIDES:]):
            lines.append(self.paint("label", f"  ... and {more:,} more"))
        return lines

    def alike(self, alike: Alike) -> str:
        names = self.paint("task", shortened(list(alike.names), alike.count))
        count = self.paint("count", f"{alike.count:,} × ") if alike.count > 1 else ""
        state = f"waits for {alike.what}" if alike.state == "waiting" and alike.what else f"is {alike.state}"
        if alike.count > 1:
            state = state.replace("waits", "wait", 1).replace("is ", "are ", 1)
        where = _at_own(alike.place)
        return f"{count}{names}" + printable(f" ({alike.coroutine}) {state}{where}")

    def waits(self, label: str, waits: Sequence[Wait]) -> list[str]:
        lines = []
        for wait in waits:
            where = _at_own(wait.place)
            lines.append(f"{label} task {self.name(wait.task)}" + printable(where))
        return lines

    def task(self, state: TaskState) -> list[str]:
        what = f"waits for {state.what}" if state.state == "waiting" and state.what else f"is {state.state}"
        lines = [f"task {self.name(state.task)} " + printable(what)]
        if state.cancelled is not None:
            lines.append("  " + self.cancelled(state.cancelled))
        lines += _indented(self.starts(state.task, state.started_by))
        lines += _indented(self.frames(Stretch(state.task, state.call_stack), raised=False))
        for wait in state.waits_for:
            where = _at_own(wait.place)
            does = f" waits for {wait.what}" if wait.what else ""
            lines.append(f"  which {self.name(wait.task)}" + printable(does + where))
        if state.in_a_circle:
            lines.append("  " + self.paint("error", "they wait for each other in a circle: none will ever go on"))
        lines += _indented(self.waits("awaited by", state.awaited_by))
        lines += _indented(self.group(state.group))
        return lines


def _at_own(place: Place | None) -> str:
    return f" at {_line(place)}" if place is not None and place.package is None else ""


def _line(place: Place) -> str:
    source = place.source
    return f"{place}: {source}" if source else str(place)


def _listed(messages: Sequence[str]) -> str:
    more = "; ..." if len(messages) == MOST_MESSAGES else ""
    return printable("; ".join(one_line(message) or "(none)" for message in messages)) + more
