"""The `segue` command: looks at the first word only; each subcommand is a module, imported when asked for.

Nothing of the event loop is imported here: `segue run` should cost little more than `python`.
"""

from __future__ import annotations

import sys

USAGE = """\
usage: segue <command> ...

Runs async Python on an event loop written in Rust.

commands
  segue run app.py           run a program as python would, on Segue's loop
  segue run --report app.py  ... and say at exit which tasks failed, where they were started and why
  segue run --explain app.py ... and have a failure say in which task it was, and who started, awaited, cancelled it
  segue run --warn app.py    ... and say what looks wrong: deadlocks, what blocks the loop, forgotten awaits, ...
  segue run --record FILE app.py  ... and write down what every task does
  segue run --flight DIR app.py   ... and keep the last seconds for when something goes wrong
  segue view FILE            look at what --record or --flight wrote: graph, timeline, stories
  segue export FILE          ... for other programs: Perfetto, Mermaid, SVG, JSON Lines, flame graphs
  segue top [PID]            look into a running program: its tasks, live
  segue tree [PID]           ... printed once, as a tree
  segue stuck [PID]          ... only what has waited for long, and what for
  segue view PID             ... on the page of `segue view FILE`, live
  segue info                 what this installation is, and what on this machine would hold it back

  segue run --help           everything `run` takes (-m, -c, package.module:function, python's options)
  segue --version
"""


def main() -> int:
    """The console script's entry: the exit status of `segue ARGUMENT...`."""
    command, *rest = sys.argv[1:] or [""]
    if command == "run":
        from segue._cli import run

        return run.main(rest)
    if command == "view":
        from segue._cli import view

        return view.main(rest)
    if command == "export":
        from segue._cli import export

        return export.main(rest)
    if command == "info":
        from segue._cli import info

        return info.main(rest)
    if command in ("top", "tree", "stuck"):
        from importlib import import_module

        status: int = import_module(f"segue._cli.{command}").main(rest)
        return status
    if command in ("-V", "--version", "version"):
        from segue._cli import info

        print(f"segue {info.version()}")
        return 0
    if command in ("-h", "--help", "help", ""):
        print(USAGE, end="", file=sys.stdout if command else sys.stderr)
        return 0 if command else 2
    print(f"segue: unknown command '{command}'", file=sys.stderr)
    if command.endswith(".py") or command.startswith("-"):
        import shlex

        print(f"To run a program: segue run {shlex.join(sys.argv[1:])}", file=sys.stderr)
    print("\n" + USAGE, end="", file=sys.stderr)
    return 2
