"""`segue export FILE --format FORMAT`: a recording in a format that other programs read."""

from __future__ import annotations

import argparse
import os
import sys

from .view import CODE_OF_AN_ERROR, Unreadable, open_recording

FORMATS = {
    "perfetto": "a trace for ui.perfetto.dev and chrome://tracing",
    "mermaid": "the graph, as a flowchart for Markdown",
    "svg": "the graph, as a picture",
    "jsonl": "every event, one JSON object a line",
    "folded": "stacks weighed by how long was waited, for flamegraph.pl and speedscope",
    "folded-busy": "stacks weighed by how long was run",
}


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    try:
        exported = open_recording(arguments.file).export(arguments.format)
    except Unreadable as why:
        print(f"segue export: {why}", file=sys.stderr)
        return CODE_OF_AN_ERROR
    try:
        _write(exported, arguments.output)
    except BrokenPipeError:
        # Whoever read it has seen enough. Nothing more is written, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"segue export: {arguments.output or 'standard output'}: {error.strerror or error}", file=sys.stderr)
        return CODE_OF_AN_ERROR
    return 0


def _write(exported: bytes, output: str | None) -> None:
    if output is None or output == "-":
        sys.stdout.buffer.write(exported)
        sys.stdout.buffer.flush()
        return
    with open(output, "wb") as file:
        file.write(exported)


def _parser() -> argparse.ArgumentParser:
    table = "\n".join(f"  {name:<13}{words}" for name, words in FORMATS.items())
    parser = argparse.ArgumentParser(
        "segue export",
        description="Writes a recording in a format that other programs read.",
        epilog=f"formats:\n{table}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="what segue run --record FILE or segue.record() wrote")
    parser.add_argument("--format", required=True, choices=FORMATS, metavar="FORMAT", help="one of those below")
    parser.add_argument("-o", "--output", metavar="OUT", help="the file to write (standard output otherwise)")
    return parser
