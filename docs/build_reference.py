"""Writes docs/reference.md from the docstrings of `segue` and the usage texts of its command.

    python docs/build_reference.py            write it
    python docs/build_reference.py --check    exit with 1 if it is not what would be written

Called by hand and by tests/docs/test_reference.py. It documents what the package exports and nothing else;
what is inherited from asyncio is asyncio's to document.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
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
    "Nurseries, scopes, time": [
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
    "Between tasks": [
        "Event",
        "Lock",
        "StrictFIFOLock",
        "Semaphore",
        "CapacityLimiter",
        "Condition",
        "open_memory_channel",
        "MemorySendChannel",
        "MemoryReceiveChannel",
        "as_safe_channel",
        "WouldBlock",
        "EndOfChannel",
        "ClosedResourceError",
        "BrokenResourceError",
        "BusyResourceError",
        "RunFinishedError",
    ],
    "Patterns": ["gather", "map_unordered", "race", "retry", "background"],
    "Streams and servers": [
        "open_tcp_stream",
        "open_tcp_listeners",
        "serve_tcp",
        "open_unix_socket",
        "SocketStream",
        "SocketListener",
        "open_ssl_over_tcp_stream",
        "open_ssl_over_tcp_listeners",
        "serve_ssl_over_tcp",
        "SSLStream",
        "SSLListener",
        "NeedHandshakeError",
        "serve_listeners",
        "StapledStream",
        "aclose_forcefully",
    ],
    "Recording": ["record", "flight"],
    "Processes, files, signals": ["run_process", "Process", "open_file", "wrap_file", "open_signal_receiver"],
    "Tasks and futures": ["Task", "Future"],
}
MODULES = ["inspect", "log", "to_thread", "from_thread", "abc", "socket", "testing", "lowlevel"]
"""Each a section of its own. What one of them shows that another place documents is named there only."""
LEFT_OUT = {"__version__", "trio", *MODULES}
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
NOT_FOR_CALLING = {"Nursery", "TaskStatus", "Cancellation", "MemorySendChannel", "MemoryReceiveChannel", "Process"}
NOT_EVERYWHERE = ("eager_start",)
"""Parameters that not every CPython has: left out, so that the page is the same wherever it is made."""

def documented() -> dict[type, str]:
    """The classes that have a place on the page, with the name they have there."""
    found = {}
    for module_name in ("", *MODULES):
        owner = getattr(segue, module_name) if module_name else segue
        for name in owner.__all__:
            thing = getattr(owner, name)
            if inspect.isclass(thing) and thing.__module__.split(".")[0] == "segue":
                found.setdefault(thing, ".".join(filter(None, ("segue", module_name, name))))
    return found


def async_in_rust() -> set[str]:
    """What the stub of the core declares with `async def`: `checkpoint`, `Lock.acquire`, …"""
    tree = ast.parse((Path(segue.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef)}
    for owner in tree.body:
        if isinstance(owner, ast.ClassDef):
            found |= {f"{owner.name}.{node.name}" for node in owner.body if isinstance(node, ast.AsyncFunctionDef)}
    return found


DOCUMENTED = documented()
ASYNC_IN_RUST = async_in_rust()

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
        parts += [document(f"segue.{name}", getattr(segue, name)) for name in names]
    for name in MODULES:
        parts += module(name)
    parts.append(f"## segue.trio\n\n{words(segue.trio)}\n")
    parts.append(f"```text\n{call('segue.trio.run', segue.trio.run)}\n```\n\n{words(segue.trio.run)}\n")
    parts.append("## The command line\n")
    for usage in (_cli.USAGE, run.USAGE, info.USAGE):
        parts.append(f"```text\n{usage.rstrip()}\n```\n")
    return "\n".join(parts)


def module(name: str) -> list[str]:
    """A module's section: what it says, and what of its names is documented nowhere else."""
    found = getattr(segue, name)
    parts = [f"## segue.{name}\n", f"{words(found)}\n"]
    elsewhere = {id(getattr(segue, other)): f"segue.{other}" for other in segue.__all__ if other not in MODULES}
    stdlib = []
    for own in sorted(found.__all__):
        thing = getattr(found, own)
        if id(thing) in elsewhere:
            parts.append(f"### segue.{name}.{own}\n\nThe same as `{elsewhere[id(thing)]}`.\n")
        elif not (inspect.isclass(thing) or inspect.isroutine(thing)):
            parts.append(f"### segue.{name}.{own}\n\nFor annotations: `{str(thing).replace('typing.', '')}`.\n")
        elif "segue" not in (getattr(thing, "__module__", None) or "segue"):
            stdlib.append(own)
        else:
            parts.append(document(f"segue.{name}.{own}", thing))
    if stdlib:
        parts.append(f"From the standard library: {', '.join(f'`{own}`' for own in stdlib)}.\n")
    return parts


def document(path: str, thing: Any) -> str:
    name = path.rpartition(".")[2]
    parts = [f"### {path}\n"]
    if inspect.isclass(thing) and not thing.__module__.startswith("segue"):
        parts.append(f"Another name for `{thing.__module__.split('.')[0]}.{thing.__qualname__}`.\n")
        return "\n".join(parts)
    if not callable(thing):
        parts.append(f"{words(type(thing))}\n")
        return "\n".join(parts)
    if not inspect.isclass(thing):
        parts.append(f"```text\n{call(path, thing)}\n```\n\n{words(thing)}\n")
        return "\n".join(parts)
    title = path if name in NOT_FOR_CALLING else call(path, thing)
    parts.append(f"```text\nclass {title}\n```\n\n{words(thing)}\n")
    if name in INHERITED:
        whose, page = INHERITED[name]
        everything = "Its methods are" if name in MEMBERS_ELSEWHERE else "The rest is"
        parts.append(f"{everything} {whose}: <{page}>\n")
    if bases := nearest_documented_bases(thing):
        parts.append(f"Also has what is in {' and '.join(f'`{DOCUMENTED[base]}`' for base in bases)}.\n")
    if name not in MEMBERS_ELSEWHERE:
        parts += [entry(member, value) for member, value in own_members(thing).items()]
    return "\n".join(parts)


def nearest_documented_bases(thing: type) -> list[type]:
    found: list[type] = []
    for base in thing.__mro__[1:]:
        if base in DOCUMENTED and not any(issubclass(nearer, base) for nearer in found):
            found.append(base)
    return found


def entry(name: str, member: Any) -> str:
    """One member of a class as an item of a list."""
    title = call(name, member) if is_method(member) else name
    return textwrap.indent(f"`{title}`: {words(member)}\n", "  ").replace("  `", "- `", 1)


def own_members(thing: type) -> dict[str, Any]:
    """Public members that Segue's own classes define and document: methods, then attributes, by name.

    What a base has that is on the page itself is left to it.
    """
    found: dict[str, Any] = {}
    for owner in thing.__mro__:
        if owner.__module__.split(".")[0] == "segue" and (owner is thing or owner not in DOCUMENTED):
            for name, member in vars(owner).items():
                # A plain value's docstring is its class's.
                if not name.startswith("_") and member.__doc__ and member.__doc__ != type(member).__doc__:
                    found.setdefault(name, member)
    return dict(sorted(found.items(), key=lambda item: (not is_method(item[1]), item[0])))


def is_method(member: Any) -> bool:
    return callable(member) or isinstance(member, staticmethod | classmethod)


def call(name: str, thing: Any) -> str:
    """The name with the parameters, as one writes a call."""
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):
        return name  # what `Enum` itself takes, which differs from version to version
    is_async = inspect.iscoroutinefunction(thing) or getattr(thing, "__qualname__", None) in ASYNC_IN_RUST
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        # Before 3.13 that is all that methods in C or Rust without parameters tell.
        return f"{'async ' * is_async}{name}()"
    left_out = {"self", *NOT_EVERYWHERE}
    parameters = [parameter for key, parameter in found.parameters.items() if key not in left_out]
    returns = found.return_annotation
    if inspect.isclass(thing) or (str(returns).startswith("_") and returns != "_T"):
        returns = inspect.Signature.empty
    shown = str(found.replace(parameters=parameters, return_annotation=returns))
    shown = re.sub(r"""(: |-> )(['"])(.*?)\2(?=,|\)| =|$)""", r"\1\3", shown).replace("Ellipsis", "...")
    shown = re.sub(r"<class '(\w+)'>", r"\1", shown)
    shown = re.sub(r"<object object at 0x\w+>", "...", re.sub(r"<\w+\.(\w+): \d+>", r"\1", shown))
    return ("async " if is_async else "") + name + shown


def words(thing: Any) -> str:
    """The docstring, each paragraph on one line: where the source breaks lines says nothing."""
    text = inspect.cleandoc(thing.__doc__ or "")
    if dataclasses.is_dataclass(thing) and text.startswith(f"{getattr(thing, '__name__', '')}("):
        return ""  # only its parameters again, which `dataclass` puts there
    return re.sub(r"(?<=\S)\n(?=[^\s*-])", " ", text)


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
