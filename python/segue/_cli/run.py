"""`segue run`: reads Python's own command line and execs Python on it, with Segue's way in.

It runs nothing itself. Options are Python's and are handed on untouched, so all that's known of them here is
which take a value. What happens in the program's process is `inject/_segue_program.py`.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

INJECT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inject")

USAGE = """\
usage: segue run [--report] [--explain] [--warn] [--record FILE | --flight FOLDER] [python options] program
                 [argument ...]

Runs a program as python would, with Segue's event loop under every asyncio.run in it.

program is one of
  app.py                     a script, a directory or a zip file with a __main__.py
  -m module                  a module or package
  -c code                    code on the command line
  -                          code from standard input
  package.module:function    an async function without parameters, imported from the current directory

options
  --report                   at exit, print each failed task, where it was started and why it failed,
                             tasks that were cancelled or never finished, and the tree of tasks as a
                             Mermaid diagram
  --explain                  when something fails and nobody handles it, say in which task, who awaited and
                             started that, what ran beside it and who cancelled it, instead of a traceback
                             (or SEGUE_EXPLAIN=1 in the environment; =all shows libraries' frames too)
  --warn                     at exit, print what looks wrong, as a linter would: what blocked the loop,
                             deadlocks, forgotten awaits, ... each with its line and its cure
  --record FILE              write down what every task does; look at it with `segue view FILE`
  --flight FOLDER            keep what every task did in the last seconds, and write it to a file in FOLDER when
                             a task fails and nobody handles it, the loop is blocked, or a signal comes
    --flight-seconds N       how many seconds (30)
    --flight-stall N         for how many seconds the loop must be blocked (1; 0: never mind)
    --flight-signal NAME     the signal (SIGUSR2; none: none)
  --trio                     for a program written for Trio: in its process `import trio` gives segue.trio,
                             and trio.run runs it on Segue
  -h, --help                 this text
  -X, -W, -O, -u, -I, ...    python's own, as in: segue run -X dev -W error app.py

The exit status is the program's.
"""

# Python's short options that take a value, attached (-Wignore) or as the next argument (-W ignore).
_WITH_VALUE = "cmWX"
# With these Python doesn't read PYTHONPATH or doesn't import sitecustomize: `inject/_segue_run_here.py`
# instead.
_WITHOUT_STARTUP_HOOK = "EIS"


# Segue's own that take a value, and the variables in which the program's process finds it.
_VARIABLES = {
    "--record": "SEGUE_RECORD",
    "--flight": "SEGUE_FLIGHT",
    "--flight-seconds": "SEGUE_FLIGHT_SECONDS",
    "--flight-stall": "SEGUE_FLIGHT_STALL",
    "--flight-signal": "SEGUE_FLIGHT_SIGNAL",
}
_PATHS = ("--record", "--flight")


def _names_a_function(argument: str) -> bool:
    """`package.module:function`, and no file of that name."""
    module, colon, function = argument.partition(":")
    are_names = colon and all(name.isidentifier() for name in f"{module}.{function}".split("."))
    return bool(are_names) and not os.path.exists(argument)


class CommandLine:
    """`[segue's and python's options] target args`, taken apart."""

    def __init__(self, argv: list[str]) -> None:
        self.report = False
        self.explain = os.environ.get("SEGUE_EXPLAIN", "0") not in ("", "0")
        self.trio = False
        self.recording: dict[str, str] = {}  # as in _VARIABLES
        self.warn = False
        self.help = False
        self.as_given: list[str] = []  # everything but Segue's own options
        self.flags: list[str] = []  # python's options before the target
        self.letters = ""  # every short option among them
        self.kind = ""  # "path", "m", "c", "function"; "" when nothing is named
        self.target = ""
        rest = list(argv)
        while rest and not self.kind:
            if rest[0] in ("-h", "--help"):
                self.help = True
                del rest[0]
            elif rest[0] == "--report":
                self.report = True
                del rest[0]
            elif rest[0] == "--explain":
                self.explain = True
                del rest[0]
            elif rest[0] == "--warn":
                self.warn = True
                del rest[0]
            elif rest[0].partition("=")[0] in _VARIABLES and ("=" in rest[0] or len(rest) > 1):
                option, equals, value = rest.pop(0).partition("=")
                self.recording[option] = value if equals else rest.pop(0)
            elif rest[0] == "--trio":
                self.trio = True
                del rest[0]
            else:
                taken = self._take(rest)
                self.as_given += rest[:taken]
                del rest[:taken]
        self.args = rest
        self.as_given += rest

    def _take(self, rest: list[str]) -> int:
        """How many arguments the first one is made of."""
        first, following = rest[0], rest[1:2]
        if first == "--":
            self.kind, self.target = ("path", following[0]) if following else ("", "")
            return 1 + len(following)
        if first.startswith("--"):
            taken = 2 if first == "--check-hash-based-pycs" else 1
            self.flags += rest[:taken]
            return taken
        if first.startswith("-") and first != "-":
            return self._take_short_options(first, following)
        self.kind, self.target = "function" if _names_a_function(first) else "path", first
        return 1

    def _take_short_options(self, first: str, following: list[str]) -> int:
        for index, letter in enumerate(first[1:], 1):
            self.letters += letter
            if letter not in _WITH_VALUE:
                continue
            attached = first[index + 1 :]
            value = [attached] if attached else following
            if letter in "cm" and value:
                self.flags += [first[:index]] if index > 1 else []
                self.kind, self.target = letter, value[0]
            else:
                self.flags += [first, *([] if attached else following)]
            return 1 if attached else 1 + len(following)
        self.flags.append(first)
        return 1


def main(argv: list[str]) -> int:
    line = CommandLine(argv)
    if line.help:
        print(USAGE, end="")
        return 0
    if not line.as_given and sys.stdin is not None and sys.stdin.isatty():
        print("segue run: no program given\n\n" + USAGE, end="", file=sys.stderr)
        return 2
    file, _, function = line.target.rpartition(":")
    if line.kind == "path" and file.endswith(".py") and os.path.exists(file) and not os.path.exists(line.target):
        module = os.path.relpath(file).removesuffix(".py").replace(os.sep, ".")
        print(f"segue run: to run a function, name its module: segue run {module}:{function}", file=sys.stderr)
        return 2
    if not sys.executable:
        print("segue run: this Python doesn't know its own path (sys.executable is empty)", file=sys.stderr)
        return 2
    own = CommandLine(sys.orig_argv[1:])
    if (own.kind, own.target) == ("m", "segue"):  # python -X dev -m segue run app.py: meant for the program
        line.flags[:0] = own.flags
        line.as_given[:0] = own.flags
        line.letters += own.letters
    if line.recording and (problem := _wrong_with(line.recording)):
        print(f"segue run: {problem}", file=sys.stderr)
        return 2
    for option, value in line.recording.items():
        # For the process that is about to be this one, and its children.
        os.environ[_VARIABLES[option]] = os.path.abspath(value) if option in _PATHS else value
        os.environ.pop("_SEGUE_RECORD_OWNER", None)
    if "--flight" in line.recording:
        os.environ.pop("SEGUE_RECORD", None)
    if line.warn:
        os.environ["SEGUE_WARN"] = "1"
    if "--record" in line.recording or line.warn:
        os.environ["_SEGUE_RECORD_OWNER"] = str(os.getpid())  # which exec keeps
    if line.kind == "function" or any(letter in _WITHOUT_STARTUP_HOOK for letter in line.letters):
        _exec_from_c(line)
    _exec_with_startup_hook(line)


def _wrong_with(recording: dict[str, str]) -> str:
    """What is wrong with the options of that name; "" if nothing is."""
    if "--record" in recording and "--flight" in recording:
        return "--record writes down everything: leave out --flight"
    others = [option for option in recording if option not in _PATHS]
    if others and "--flight" not in recording and "SEGUE_FLIGHT" not in os.environ:
        return f"{others[0]} needs --flight FOLDER"
    if "--record" in recording:
        return ""
    from .._record_wanted import flight_of

    try:
        flight_of({**os.environ, **{_VARIABLES[option]: value for option, value in recording.items()}})
    except ValueError as error:
        text = str(error)
        for option, variable in _VARIABLES.items():
            text = text.replace(f"{variable}=", f"{option} ")
        return text
    return ""


def _settings(line: CommandLine) -> list[str]:
    """Segue's own options, as `_segue_program.activate` takes them."""
    chosen = {"report": line.report, "explain": line.explain, "trio": line.trio}
    return [name for name, is_chosen in chosen.items() if is_chosen]


def _exec_with_startup_hook(line: CommandLine) -> NoReturn:
    environment = dict(os.environ)
    pythonpath = environment.get("PYTHONPATH")
    environment["_SEGUE_RUN"] = ",".join(_settings(line))
    environment["PYTHONPATH"] = INJECT
    if pythonpath is not None:
        environment["_SEGUE_RUN_PYTHONPATH"] = pythonpath
        if pythonpath:  # an empty entry would mean the current directory
            environment["PYTHONPATH"] += os.pathsep + pythonpath
    os.execve(sys.executable, [sys.executable, *line.as_given], environment)


def _exec_from_c(line: CommandLine) -> NoReturn:
    kind, target = line.kind or "path", line.target or "-"
    code = (
        f"import sys; sys.path.insert(0, {INJECT!r}); import _segue_run_here; sys.path.remove({INJECT!r}); "
        f"_segue_run_here.main({line.as_given!r}, {_settings(line)!r})"
    )
    os.execv(sys.executable, [sys.executable, *line.flags, "-c", code, kind, target, *line.args])
