"""`segue stuck PID`: only what has waited for long in a running program, with the chains down to what it waits for."""

from __future__ import annotations

import json
import sys
from typing import Any

from segue._cli import attach, tree

USAGE = """\
usage: segue stuck [PID] [--longer-than SECONDS] [--json] [--ascii]

Prints what waits longer than a limit in a running program (5 seconds, unless said otherwise): each task that
nobody else who is stuck waits for, and under it what it waits for, down to the end of the chain. The program
was started with `segue run`, or with SEGUE_ATTACH=1 in its environment. Without PID: the only one there is.

The exit status is 3 if something is stuck, 0 if nothing is.
"""
STUCK = 3


def main(argv: list[str]) -> int:
    options = tree.Options(argv, USAGE, "stuck", {"--json", "--ascii"}, {"--longer-than"})
    try:
        seconds = float(options.values.get("--longer-than", "5"))
        limit = int(seconds * 1e9)
    except (ValueError, OverflowError):
        raise SystemExit("segue stuck: --longer-than is a number of seconds") from None
    try:
        with attach.connect(attach.chosen(options.pid, "stuck")) as program:
            about = program.ask("program")
            answer = program.ask("stuck", longer_than=max(0, limit), limit=1000)
    except (attach.Unreachable, attach.Refused) as error:
        print(f"segue stuck: {error}", file=sys.stderr)
        return 1
    blocked = attach.blocked_lines(program, about.get("directory"))
    status = STUCK if answer["chains"] or blocked else 0
    if "--json" in options.flags:
        print(json.dumps({**answer, "loops": program.loops, "attached": program.attached, "now": program.now}))
        return status
    lines = blocked + attach.notes(program)
    if not answer["chains"]:
        of = attach.counted(answer["pending"], "task")
        lines.append(f"nothing has waited longer than {attach.duration(limit)} ({of} alive)")
    for chain in answer["chains"]:
        lines += [""] if lines else []
        lines += told(chain)
    if answer["total"] > len(answer["chains"]):
        lines += ["", f"and {answer['total'] - len(answer['chains']):,} more"]
    tree.write(lines, "--ascii" in options.flags)
    return status


def told(chain: dict[str, Any]) -> list[str]:
    """A chain in lines, each link one step further in."""
    lines = []
    links = chain["chain"]
    for depth, link in enumerate(links):
        lead = "" if depth == 0 else "   " * (depth - 1) + "└─ "
        lines.append(lead + _link(link, links[depth - 1] if depth else None))
    last = links[-1]
    if chain["circle"] is not None:
        start = links[chain["circle"]]
        lead = "   " * (len(links) - 1) + "└─ "
        by = "held by " if last["leads_by"] == "holder" else ""
        lines.append(f"{lead}↻ {by}{_name(start)} again: none of them will ever go on (deadlock)")
    if chain["alike"]:
        lines.append(f"   and {attach.counted(chain['alike'], 'more task')} like it")
    return lines


def _name(link: dict[str, Any]) -> str:
    code = "" if link["name"].startswith(link["coroutine"]) else f" {link['coroutine']}"
    return f"{link['name']}{code} ({link['id']})"


def _link(link: dict[str, Any], before: dict[str, Any] | None) -> str:
    how = ""
    if before is not None and before["leads_by"] == "holder":
        how = f"held by {before['others'] + 1}, first by " if before["others"] else "held by "
    elif before is not None and before["leads_by"] == "nursery" and before["others"]:
        how = f"{attach.counted(before['others'] + 1, 'task')} of it, the longest: "
    waited = f", {attach.duration(link['waited'])}" if link["waited"] is not None else ""
    return f"{how}{_name(link)} {attach.waits(link, 0)}{waited}"
