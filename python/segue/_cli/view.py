"""`segue view FILE` or `PID`: serves the page of a recording or a running program (`segue._view`) until it is ended."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import sys
import threading
import webbrowser

from segue import _core
from segue._cli import attach
from segue._view.running import RunningProgram
from segue._view.server import Answers, Server

DESCRIPTION = """\
Shows a recording, or a program that runs, in the browser: who started, awaits, woke and cancelled whom, what
every task did when, and the story of each in words. The page is served on this machine only, to whoever has
the address it prints.
"""

CODE_OF_AN_ERROR = 1


class Unreadable(Exception):
    """There is nothing to show; the words say why and what to do."""


def open_shown(argument: str) -> Answers:
    """A recording by its file, a running program by its number. Raises Unreadable."""
    if not argument.isdigit() or os.path.exists(argument):
        return open_recording(argument)
    try:
        return RunningProgram(int(argument))
    except (attach.Unreachable, attach.Refused) as why:
        raise Unreadable(str(why)) from None


def open_recording(path: str) -> Answers:
    """A damaged recording is opened as far as it can be read. Raises Unreadable."""
    try:
        return _core.OpenedRecording(path)
    except FileNotFoundError:
        raise Unreadable(f"{path}: there is no such file; segue run --record {path} app.py makes one") from None
    except IsADirectoryError:
        raise Unreadable(f"{path} is a directory, not a recording") from None
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from None
    except ValueError as error:  # it says the path itself
        if os.path.getsize(path) == 0:
            raise Unreadable(f"{path} is empty: nothing has been recorded into it yet") from None
        raise Unreadable(f"{error}; segue run --record FILE app.py makes recordings") from None


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    host = _loopback(arguments.host)
    if host is None:
        print(
            f"segue view: {arguments.host} is not an address of this machine alone (127.0.0.1 or ::1), and recordings "
            "are not for the network;\n"
            "from another machine: ssh -L 8000:127.0.0.1:8000 HOST, with segue view --port 8000 there",
            file=sys.stderr,
        )
        return 2
    # Or looking at a recording would record itself, over it.
    os.environ.pop("SEGUE_RECORD", None)
    try:
        answers = open_shown(arguments.shown)
        summary = json.loads(answers.answer("summary"))
    except (Unreadable, LookupError) as why:
        print(f"segue view: {why}", file=sys.stderr)
        return CODE_OF_AN_ERROR
    words = [f"{_name(arguments.shown, summary)}: {_said(summary)}"]
    words += [f"  damaged: {damage}" for damage in summary["damage"]]
    import segue

    name = os.path.splitext(os.path.basename(arguments.shown))[0]
    try:
        serve = _serve(Server(answers, name), host, arguments.port, "\n".join(words), opens=not arguments.no_browser)
        segue.run(serve)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        print(
            f"segue view: can't listen on {host}, port {arguments.port}: {os.strerror(error.errno or 0)}",
            file=sys.stderr,
        )
        return CODE_OF_AN_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "segue view", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "shown",
        metavar="FILE or PID",
        help="what segue run --record FILE or segue.record() wrote, or the number of a process under segue run",
    )
    parser.add_argument("--port", type=_port, default=0, help="where to listen (any free port otherwise)")
    parser.add_argument("--host", default="127.0.0.1", help="the loopback address to listen on (127.0.0.1)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 1 << 16:
        raise ValueError
    return port


_port.__name__ = "port"  # as argparse calls it


def _loopback(host: str) -> str | None:
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return str(address) if address.is_loopback else None


def _name(argument: str, summary: dict[str, object]) -> str:
    return f"process {argument}, {summary['program']}" if summary["live"] else argument


def _said(summary: dict[str, object]) -> str:
    outcomes = summary["outcomes"]
    assert isinstance(outcomes, dict)
    named = [f"{outcomes[name]:,} {name}" for name in ("finished", "failed", "cancelled", "pending") if outcomes[name]]
    tasks = f"{summary['tasks']:,} task{'' if summary['tasks'] == 1 else 's'}"
    return f"{tasks} ({', '.join(named)})" if named else f"{tasks} in it"


async def _serve(server: Server, host: str, port: int, words: str, *, opens: bool) -> None:
    await server.start(host, port)
    print(f"{words}\n\n  {server.url()}\n\nCtrl-C ends it.", flush=True)
    if opens and _has_screen():
        # Some browsers' commands return only when they are closed.
        url = server.url_for_a_browser()
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    await server.serve()


def _has_screen() -> bool:
    """Without one, `webbrowser` would start a browser for the terminal, over what was printed."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
