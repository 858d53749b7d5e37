"""The other end of a running program's socket: finding it, asking it questions, and words for its answers.

`segue top`, `tree`, `stuck` and `view` use it.

What the program does is in crates/py/src/recording/listen.rs. No event loop here: plain sockets.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from typing import Any

TIMEOUT = 30.0
"""Seconds that an answer may take: of a hundred thousand tasks the first takes one or two."""


class Unreachable(Exception):
    """Why a program can't be looked into, in words for whoever asked."""


class Refused(Exception):
    """The program doesn't answer this question, and says why."""


class Program:
    """A running program that one is connected to. Close it: the program records as long as somebody looks."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.pid = pid
        self.loops: list[dict[str, Any]] = []
        """What each of its loops did when it answered last."""
        self.now = 0
        """When that was, in nanoseconds since the beginning of what it told."""
        self.is_cut = False
        """There are more tasks than could be read."""
        self.is_placeless = False
        """Where tasks wait couldn't be read."""
        self.attached = False
        """Its loops tell what they do; False while native code holds the GIL and they can't be asked to."""
        self._connection = connection
        self._unread = b""

    def ask(self, question: str, **arguments: Any) -> Any:
        """The answer. Raises Refused, or Unreachable if the program has ended or doesn't answer in time."""
        line = json.dumps({"ask": question, "arguments": arguments}) + "\n"
        try:
            self._connection.sendall(line.encode())
            said = json.loads(self._line())
        except TimeoutError:
            raise Unreachable(f"process {self.pid} doesn't answer") from None
        except (OSError, EOFError):
            # What it said before it hung up says why.
            said = self._last_words()
        self.loops, self.now = said.get("loops", []), said.get("now", 0)
        self.attached, self.is_cut = said.get("attached", False), said.get("cut", False)
        self.is_placeless = said.get("placeless", False)
        if "answer" not in said:
            raise Refused(str(said.get("refused", "it gives no answer")))
        return said["answer"]

    def _line(self) -> bytes:
        parts = [self._unread]
        while b"\n" not in parts[-1]:
            received = self._connection.recv(1 << 16)
            if not received:
                raise EOFError
            parts.append(received)
        line, _, self._unread = b"".join(parts).partition(b"\n")
        return line

    def _last_words(self) -> dict[str, Any]:
        try:
            said = json.loads(self._line())
        except (OSError, EOFError, ValueError):
            raise Unreachable(f"process {self.pid} has ended") from None
        return said if isinstance(said, dict) else {}

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def connect(pid: int) -> Program:
    """Connect to the process `pid`. Raises Unreachable."""
    _check_process(pid)
    refused: OSError | None = None
    for path in _paths(pid):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            # What can't be reached through the process itself tells nothing.
            if error.errno not in (errno.ENOENT, errno.ENOTDIR) and not path.startswith("/proc/"):
                refused = refused or error
            continue
        return Program(connection, pid)
    raise Unreachable(_why_not(pid, refused))


def _check_process(pid: int) -> None:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        raise Unreachable(f"there is no process {pid}") from None
    except PermissionError:
        pass


def _folders(uid: int) -> list[str]:
    """Where a user's programs have their sockets."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folders = [os.path.join(base, "segue")] if base and uid == os.geteuid() else []
    return [*folders, f"/run/user/{uid}/segue", f"/tmp/segue-{uid}"]


def _paths(pid: int) -> list[str]:
    uid = _user_of(pid)
    inside = _number_inside(pid)
    folders = _folders(uid)
    with_own_folder = _runtime_folder_of(pid)
    if with_own_folder and with_own_folder not in folders:
        folders.insert(0, with_own_folder)
    paths = [f"{folder}/{pid}.sock" for folder in folders] if inside == pid else []
    # In a container it has another number and other folders, which are reached through the process itself.
    return paths + [f"/proc/{pid}/root{folder}/{inside}.sock" for folder in folders]


def _user_of(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return os.geteuid()


def _number_inside(pid: int) -> int:
    """The process's number in its own container."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("NSpid:"):
                    return int(line.split()[-1])
    except (OSError, ValueError):
        pass
    return pid


def _runtime_folder_of(pid: int) -> str | None:
    """By the environment that the process was started with, which may be another than ours."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            for entry in file.read().split(b"\0"):
                name, _, value = entry.partition(b"=")
                if name == b"XDG_RUNTIME_DIR" and value:
                    return os.path.join(os.fsdecode(value), "segue")
    except OSError:
        pass
    return None


def _command_line(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def _why_not(pid: int, error: OSError | None) -> str:
    uid = _user_of(pid)
    if uid != os.geteuid() and os.geteuid() != 0:
        return f"process {pid} is another user's ({_user_name(uid)}): only the same user and root may look into it"
    command = _command_line(pid)
    name = os.path.basename(command[0]) if command else ""
    if error is not None and error.errno not in (errno.ECONNREFUSED,):
        return f"process {pid} can't be reached: {error.strerror}"
    if "python" not in name and not any("segue" in word for word in command):
        return f"process {pid} ({name or 'of the system'}) doesn't run on Segue's loop"
    text = (
        f"process {pid} can't be looked into. Programs can that were started with `segue run`, or with\n"
        "SEGUE_ATTACH=1 in their environment; from their first event loop on"
    )
    inside = _number_inside(pid)
    if inside != pid:
        text += f".\nIt runs in a container: there it is process {inside}, and `segue` inside of it may reach it"
    return text


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def running() -> list[dict[str, Any]]:
    """The programs of this user that can be looked into, the newest first: what each says about itself."""
    found = []
    for folder in dict.fromkeys(_folders(os.geteuid())):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            number, ending = os.path.splitext(name)
            if ending != ".sock" or not number.isdigit():
                continue
            try:
                with connect(int(number)) as program:
                    found.append({**program.ask("program"), "loops": program.loops})
            except (Unreachable, Refused, ValueError):
                continue
    return sorted(found, key=lambda about: -about.get("started", 0))


def described(about: dict[str, Any]) -> str:
    """A program in a line: its command and its age."""
    command = " ".join([short_path(about.get("program") or "?", about.get("directory")), *about.get("arguments", [])])
    age = max(0, int((time.time() - about.get("started", time.time())) * 1e9))
    return f"{command}   (for {duration(age)})"


def _choice(about: dict[str, Any]) -> str:
    tasks = about.get("tasks")
    return described(about) + (f", {counted(tasks, 'task')}" if tasks is not None else "")


def chosen(argument: str | None, command: str) -> int:
    """The process meant on the command line; without one the only one there is. Raises SystemExit with words."""
    if argument is not None:
        if not argument.isdigit():
            raise SystemExit(f"segue {command}: {argument!r} is no process number")
        return int(argument)
    programs = running()
    if len(programs) == 1:
        return int(programs[0]["pid"])
    if not programs:
        raise SystemExit(
            f"segue {command}: no program of yours can be looked into right now.\n"
            "Programs can that are started with `segue run`, or with SEGUE_ATTACH=1 in their environment."
        )
    if command == "top" and sys.stdin.isatty() and sys.stdout.isatty():
        return _asked(programs)
    lines = "\n".join(f"  {about['pid']:>8}  {_choice(about)}" for about in programs)
    raise SystemExit(f"segue {command}: which one?\n{lines}")


def _asked(programs: list[dict[str, Any]]) -> int:
    for number, about in enumerate(programs, 1):
        print(f"{number:>3}  process {about['pid']}  {_choice(about)}")
    while True:
        try:
            said = input(f"Which one? (1 to {len(programs)}) ").strip()
        except (EOFError, KeyboardInterrupt):
            raise SystemExit("\n") from None
        if said.isdigit() and 1 <= int(said) <= len(programs):
            return int(programs[int(said) - 1]["pid"])


# ---- words -------------------------------------------------------------------------------------------------------


def duration(nanos: int) -> str:
    """As the recording's own answers have it: "1.20 s", "35.0 ms", "2 min 5 s"."""
    if nanos < 1_000:
        return f"{nanos} ns"
    for below, unit, size in ((999_500, "µs", 1e3), (999_500_000, "ms", 1e6), (119_500_000_000, "s", 1e9)):
        if nanos < below:
            value = nanos / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    seconds = nanos // 1_000_000_000
    if seconds < 7200:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 172_800:
        return f"{seconds // 3600} h {seconds // 60 % 60} min"
    return f"{seconds // 86_400} d {seconds // 3600 % 24} h"


def counted(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def shown(place: dict[str, Any] | None) -> str:
    return str(place.get("short") or f"{place['file']}:{place['line']}") if place else ""


def own_line(stack: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    """The innermost frame of the program's own, else the innermost."""
    if not stack:
        return None
    own = [frame for frame in stack if frame["package"] is None]
    return (own or stack)[-1]


def short_path(path: str, directory: str | None) -> str:
    if directory and path.startswith(directory.rstrip("/") + "/"):
        return path[len(directory.rstrip("/")) + 1 :]
    for marker in ("/site-packages/", "/lib/python3."):
        _, found, rest = path.rpartition(marker)
        if found:
            return rest if marker != "/lib/python3." else rest.partition("/")[2]
    return path


def blocked_lines(program: Program, directory: str | None) -> list[str]:
    """What is to be said of loops that are blocked."""
    lines = []
    for loop in program.loops:
        if not loop["blocked"]:
            continue
        by = f" in {loop['task_name'] or 'task ' + loop['task']}" if loop["task"] else ""
        text = f"loop {loop['loop']} is blocked{by}, for {duration(loop['for'])}"
        frame = own_line(loop["stack"])
        if frame is not None:
            text += f", at {short_path(frame['file'], directory)}:{frame['line']} in {frame['function']}"
            innermost = loop["stack"][-1]
            if innermost is not frame and innermost != frame:
                text += f" (in {innermost['function']}, {short_path(innermost['file'], directory)}:{innermost['line']})"
        elif loop["state"] == "waiting for the GIL":
            text += ": another thread holds the GIL and doesn't let go of it (native code)"
        elif loop["native"]:
            text += ", by native code that holds the GIL: its line can't be told"
            last = loop.get("last_at")
            if last is not None:
                at = f"{short_path(last['file'], directory)}:{last['line']}"
                text += f"; its coroutine is at {at} in {last['function']}"
        lines.append(text)
    return lines


def notes(program: Program) -> list[str]:
    """What has to be known of what it told."""
    if program.attached:
        return []
    text = "native code holds the GIL: this is what could be read of the program's memory meanwhile"
    if program.is_placeless:
        text += ", without lines, as this Python's frames look different from all that Segue knows"
    return [text + (", and there is more" if program.is_cut else "")]


def waits(row: dict[str, Any], now: int, place_first: bool = False) -> str:
    """What a task does, in words; `place_first` for where the end may be cut off."""
    state = row["state"]
    if state == "waiting" and row["waits_for"]:
        for_what = row["waits_for"]
        place = shown(for_what["place"])
        at = f" at {place}" if place else ""
        if place_first:
            return f"waits{at} for {for_what['thing']}"
        return f"waits for {for_what['thing']}{at}"
    if state == "failed" and row["why"]:
        return f"failed: {row['why']}"
    return str(state)


def can_box(stream: Any) -> bool:
    """Whether box characters can be written to it."""
    try:
        "└─│├µ…".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


_ASCII = str.maketrans({"└": "`", "├": "|", "│": "|", "─": "-", "µ": "u", "…": "~", "↻": "*", "·": "-"})


def as_ascii(text: str) -> str:
    return text.translate(_ASCII)
