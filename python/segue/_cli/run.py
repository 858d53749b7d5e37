"""`segue run`: reads Python's own command line and execs Python on it, with Segue's way in.

It runs nothing itself. Options are Python's and are handed on untouched, so all that's known of them here is
which take a value. What happens in the program's process is `inject/_segue_program.py`.
"""

from __future__ import annotations

import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

INJECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inject")

USAGE = """\
usage: segue run [--report] [python options] program [argument ...]

Runs a program as python would, with Segue's event loop under every asyncio.run in it.

program is one of
  app.py                     a script, a directory or a zip file with a __main__.py
  -m module                  a module or package
  -c code                    code on the command line
  -                          code from standard input
  package.module:function    an async function without parameters, imported from the current directory

options
  --report                   at exit, print each failed task, where it was started and why it failed,
                             and the tree of tasks as a Mermaid diagram
  -h, --help                 this text
  -X, -W, -O, -u, -I, ...    python's own, as in: segue run -X dev -W error app.py

The exit status is the program's.
"""

# Python's short options that take a value, attached (-Wignore) or as the next argument (-W ignore).
_WITH_VALUE = "cmWX"
# With these Python doesn't read PYTHONPATH or doesn't import sitecustomize: `inject/_segue_run_here.py`
# instead.
_WITHOUT_STARTUP_HOOK = "EIS"
_ASYNC_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class CommandLine:
    """`[segue's and python's options] target args`, taken apart."""

    def __init__(self, argv: list[str]) -> None:
        self.report = False
        self.help = False
        self.flags: list[str] = []  # python's options before the target, as given
        self.letters = ""  # every short option among them
        self.kind = ""  # "path", "m", "c", "function"; "" when nothing is named
        self.target = ""
        self.args: list[str] = []
        rest = list(argv)
        while rest and not self.kind:
            self._take(rest)

    def _take(self, rest: list[str]) -> None:
        argument = rest.pop(0)
        if argument in ("-h", "--help"):
            self.help = True
        elif argument == "--report":
            self.report = True
        elif argument == "--":
            if rest:
                self._take_target("path", rest.pop(0), rest)
        elif argument.startswith("--"):
            self.flags.append(argument)
            if argument == "--check-hash-based-pycs" and rest:
                self.flags.append(rest.pop(0))
        elif argument == "-" or not argument.startswith("-"):
            is_function = _ASYNC_FUNCTION.fullmatch(argument) and not os.path.exists(argument)
            self._take_target("function" if is_function else "path", argument, rest)
        else:
            self._take_short_options(argument, rest)

    def _take_short_options(self, argument: str, rest: list[str]) -> None:
        for index, letter in enumerate(argument[1:], 1):
            self.letters += letter
            if letter not in _WITH_VALUE:
                continue
            attached = argument[index + 1 :]
            if letter in "cm" and (attached or rest):
                if index > 1:
                    self.flags.append(argument[:index])
                self._take_target(letter, attached or rest.pop(0), rest)
                return
            self.flags.append(argument)
            if not attached and rest:
                self.flags.append(rest.pop(0))
            return
        self.flags.append(argument)

    def _take_target(self, kind: str, target: str, rest: list[str]) -> None:
        self.kind, self.target, self.args = kind, target, rest[:]
        rest.clear()

    def for_python(self) -> list[str]:
        """The same command line without what is Segue's."""
        named = {"": [], "path": [self.target]}.get(self.kind, ["-" + self.kind, self.target])
        if named[:1] and self.kind == "path" and self.target != "-" and self.target.startswith("-"):
            named.insert(0, "--")
        return [*self.flags, *named, *self.args]


def main(argv: list[str]) -> int:
    line = CommandLine(argv)
    if line.help:
        print(USAGE, end="")
        return 0
    if not line.kind and not line.flags and sys.stdin is not None and sys.stdin.isatty():
        print("segue run: no program given\n\n" + USAGE, end="", file=sys.stderr)
        return 2
    if not sys.executable:
        print("segue run: this Python doesn't know its own path (sys.executable is empty)", file=sys.stderr)
        return 2
    own = CommandLine(sys.orig_argv[1:])
    if (own.kind, own.target) == ("m", "segue"):  # python -X dev -m segue run app.py: meant for the program
        line.flags[:0] = own.flags
        line.letters += own.letters
    if line.kind == "function" or any(letter in _WITHOUT_STARTUP_HOOK for letter in line.letters):
        _exec_from_c(line)
    _exec_with_startup_hook(line)


def _exec_with_startup_hook(line: CommandLine) -> NoReturn:
    environment = dict(os.environ)
    pythonpath = environment.get("PYTHONPATH")
    environment["_SEGUE_RUN"] = "report" if line.report else ""
    environment["PYTHONPATH"] = INJECT
    if pythonpath is not None:
        environment["_SEGUE_RUN_PYTHONPATH"] = pythonpath
        if pythonpath:  # an empty entry would mean the current directory
            environment["PYTHONPATH"] += os.pathsep + pythonpath
    os.execve(sys.executable, [sys.executable, *line.for_python()], environment)


def _exec_from_c(line: CommandLine) -> NoReturn:
    kind, target = line.kind or "path", line.target or "-"
    code = (
        f"import sys; sys.path.insert(0, {INJECT!r}); import _segue_run_here; sys.path.remove({INJECT!r}); "
        f"_segue_run_here.main({line.flags!r}, {line.report!r})"
    )
    os.execv(sys.executable, [sys.executable, *line.flags, "-c", code, kind, target, *line.args])
