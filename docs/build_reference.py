"""Writes docs/reference.md from the docstrings of `segue` and the usage texts of its command.

    python docs/build_reference.py            write it
    python docs/build_reference.py --check    exit with 1 if it is not what would be written

Called by hand and by tests/docs/test_reference.py. It documents what the package exports and nothing else;
what is inherited from asyncio is asyncio's to document.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import segue
from segue import _cli
from segue._cli import info, run

PAGE = Path(__file__).resolve().parent / "reference.md"

SECTIONS: dict[str, list[str]] = {
    "Running a program": ["run", "Runner", "new_event_loop"],
    "The loop of a whole process": ["install", "uninstall", "EventLoopPolicy"],
    "The loop": ["EventLoop"],
    "Structured concurrency": [
        "CancelScope",
        "move_on_after",
        "move_on_at",
        "fail_after",
        "fail_at",
        "TooSlowError",
        "open_nursery",
        "Nursery",
        "TaskStatus",
        "TASK_STATUS_IGNORED",
        "Cancelled",
        "Cancellation",
        "cancellation",
        "current_time",
        "current_effective_deadline",
        "checkpoint",
        "sleep",
        "sleep_until",
        "sleep_forever",
    ],
    "Tasks and futures": ["Task", "Future"],
}
LEFT_OUT = {"__version__"}
INHERITED = {
    "EventLoop": ("asyncio's", "https://docs.python.org/3/library/asyncio-eventloop.html"),
    "Runner": ("asyncio's", "https://docs.python.org/3/library/asyncio-runner.html"),
    "Task": ("asyncio's", "https://docs.python.org/3/library/asyncio-task.html#asyncio.Task"),
    "Future": ("asyncio's", "https://docs.python.org/3/library/asyncio-future.html"),
    "EventLoopPolicy": (
        "asyncio's default policy's",
        "https://docs.python.org/3/library/asyncio-policy.html",
    ),
}
MEMBERS_ELSEWHERE = {"Task", "Future"}
"""Every method is asyncio's and documented there."""
NOT_FOR_CALLING = {"Nursery", "TaskStatus", "Cancellation"}
NOT_EVERYWHERE = ("eager_start",)
"""Parameters that not every CPython has: left out, so that the page is the same wherever it is made."""

HEAD = """\
<!-- Written by docs/build_reference.py from the docstrings: change those, then run it. -->
# Reference

What `import segue` offers. Where a class is one of asyncio's with Rust underneath, only what Segue says about
it itself is here, with a link to the rest. What differs from asyncio is in [compatibility](compatibility.md).
`eager_start`, which asyncio's tasks have from CPython 3.12 on, isn't shown.
"""


def build() -> str:
    """The whole page. Raises LookupError if the package exports something that has no section."""
    placed = {name for names in SECTIONS.values() for name in names}
    if missing := set(segue.__all__) - placed - LEFT_OUT:
        raise LookupError(f"no section of docs/build_reference.py has {', '.join(sorted(missing))}")
    parts = [HEAD]
    for title, names in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts += [document(name, getattr(segue, name)) for name in names]
    parts.append("## The command line\n")
    for usage in (_cli.USAGE, run.USAGE, info.USAGE):
        parts.append(f"```text\n{usage.rstrip()}\n```\n")
    return "\n".join(parts)


def document(name: str, thing: Any) -> str:
    parts = [f"### segue.{name}\n"]
    if inspect.isclass(thing) and not thing.__module__.startswith("segue"):
        parts.append(f"Another name for `{thing.__module__.split('.')[0]}.{thing.__qualname__}`.\n")
        return "\n".join(parts)
    if not callable(thing):
        parts.append(f"{words(type(thing))}\n")
        return "\n".join(parts)
    if not inspect.isclass(thing):
        parts.append(f"```text\n{call(f'segue.{name}', thing)}\n```\n\n{words(thing)}\n")
        return "\n".join(parts)
    title = f"segue.{name}" if name in NOT_FOR_CALLING else call(f"segue.{name}", thing)
    parts.append(f"```text\nclass {title}\n```\n\n{words(thing)}\n")
    if name in INHERITED:
        whose, page = INHERITED[name]
        everything = "Its methods are" if name in MEMBERS_ELSEWHERE else "The rest is"
        parts.append(f"{everything} {whose}: <{page}>\n")
    if name not in MEMBERS_ELSEWHERE:
        parts += [entry(member, value) for member, value in own_members(thing).items()]
    return "\n".join(parts)


def entry(name: str, member: Any) -> str:
    """One member of a class as an item of a list."""
    title = call(name, member) if is_method(member) else name
    return textwrap.indent(f"`{title}`: {words(member)}\n", "  ").replace("  `", "- `", 1)


def own_members(thing: type) -> dict[str, Any]:
    """Public members that Segue's own classes define and document: methods, then attributes, by name."""
    found: dict[str, Any] = {}
    for owner in thing.__mro__:
        if owner.__module__.split(".")[0] == "segue":
            for name, member in vars(owner).items():
                if not name.startswith("_") and member.__doc__:
                    found.setdefault(name, member)
    return dict(sorted(found.items(), key=lambda item: (not is_method(item[1]), item[0])))


def is_method(member: Any) -> bool:
    return callable(member) or isinstance(member, staticmethod | classmethod)


def call(name: str, thing: Any) -> str:
    """The name with the parameters, as one writes a call."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return f"{name}()"  # before 3.13 that is all that methods in C or Rust without parameters tell
    left_out = {"self", *NOT_EVERYWHERE}
    parameters = [parameter for key, parameter in found.parameters.items() if key not in left_out]
    returns = found.return_annotation
    if inspect.isclass(thing) or (str(returns).startswith("_") and returns != "_T"):
        returns = inspect.Signature.empty
    shown = str(found.replace(parameters=parameters, return_annotation=returns))
    shown = shown.replace("'", "").replace("Ellipsis", "...")
    return ("async " if inspect.iscoroutinefunction(thing) else "") + name + shown


def words(thing: Any) -> str:
    """The docstring, each paragraph on one line: where the source breaks lines says nothing."""
    return re.sub(r"(?<=\S)\n(?=[^\s*-])", " ", inspect.cleandoc(thing.__doc__ or ""))


def main() -> int:
    page = build()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
            return 0
        print("docs/reference.md is out of date: run `python docs/build_reference.py`", file=sys.stderr)
        return 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
