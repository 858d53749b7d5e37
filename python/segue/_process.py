"""`run_process`, `Process` and `lowlevel.open_process`: other programs, with streams to and from them.

A child's end is told by a descriptor of it (a pidfd), or by a thread that waits for it where the kernel has none;
neither touches SIGCHLD, nor the loop's own children (`asyncio.create_subprocess_exec`).

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-io.html#spawning-subprocesses
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import warnings
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Protocol, final

from . import _lowlevel
from ._core import CancelScope, CapacityLimiter, Event, Lock
from ._errors import BrokenResourceError, ClosedResourceError
from ._nursery import TASK_STATUS_IGNORED, open_nursery
from ._pipes import FdStream
from ._scopes import _until, sleep
from ._stream_abc import ReceiveStream, SendStream
from ._streams import StapledStream
from ._threads import to_thread_run_sync

StrOrBytesPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

can_try_pidfd_open = hasattr(os, "pidfd_open")

# How long `run_process` waits between SIGTERM and SIGKILL, in seconds.
_PATIENCE = 5


class HasFileno(Protocol):
    """An object with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


class _TaskStatus(Protocol):
    def started(self, value: Any = None) -> None: ...


@final
class Process:
    """A running program. Made by `await nursery.start(segue.run_process, ...)` or `lowlevel.open_process`.

    `args`: the command. `pid`: its process id. `stdin`, `stdout`, `stderr`: streams to and from it where `PIPE` was
    asked for, else None. `stdio`: `stdin` and `stdout` as one stream, if both are there.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.Process
    """

    __module__ = "segue"

    # What `subprocess.Popen` has, for code that looks: streams are of bytes.
    universal_newlines = False
    encoding = None
    errors = None

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        stdin: SendStream | None,
        stdout: ReceiveStream | None,
        stderr: ReceiveStream | None,
    ) -> None:
        self._proc = popen
        self.args = popen.args
        self.pid = popen.pid
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.stdio: StapledStream[Any, Any] | None = None
        if stdin is not None and stdout is not None:
            self.stdio = StapledStream(stdin, stdout)
        self._wait_lock = Lock()
        # Set by the thread that waits for the child, where there is no pidfd.
        self._has_exited: Event | None = None
        self._pidfd: io.FileIO | None = None
        if can_try_pidfd_open:
            with suppress(OSError):  # an old kernel, or a sandbox
                self._pidfd = io.FileIO(os.pidfd_open(popen.pid))

    def __repr__(self) -> str:
        code = self.returncode
        if code is None:
            status = f"running with PID {self.pid}"
        elif code < 0:
            status = f"exited with signal {-code}"
        else:
            status = f"exited with status {code}"
        return f"<{type(self).__module__}.Process {self.args!r}: {status}>"

    @property
    def returncode(self) -> int | None:
        """The exit status, below zero if a signal has ended the process; None while it runs. Always up to date."""
        code = self._proc.poll()
        if code is not None:
            self._close_pidfd()
        return code

    def poll(self) -> int | None:
        """The same as `returncode`, for code that knows `subprocess.Popen`."""
        return self.returncode

    async def wait(self) -> int:
        """Wait until the process has exited; returns its `returncode`. A checkpoint. Cancel-safe."""
        async with self._wait_lock:
            if self.poll() is None:
                if self._pidfd is not None:
                    with suppress(ClosedResourceError):  # somebody has called `poll` when it had exited
                        await _lowlevel.wait_readable(self._pidfd.fileno())
                else:
                    await self._wait_in_thread()
                self._proc.wait()
                self._close_pidfd()
        code = self._proc.returncode
        assert code is not None  # wait() has set it
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal to the process; nothing happens if it has exited."""
        self._proc.send_signal(sig)

    def terminate(self) -> None:
        """Ask the process to exit: SIGTERM."""
        self._proc.terminate()

    def kill(self) -> None:
        """End the process: SIGKILL. It may still take a moment until it has gone: see `wait`."""
        self._proc.kill()

    def _close_pidfd(self) -> None:
        if self._pidfd is not None:
            if asyncio._get_running_loop() is not None:  # else nobody can be waiting
                _lowlevel.notify_closing(self._pidfd.fileno())
            self._pidfd.close()
            self._pidfd = None

    async def _wait_in_thread(self) -> None:
        # One thread for each process, also if waiting is cancelled and begun again.
        if self._has_exited is None:
            self._has_exited = Event()
            _lowlevel.spawn_system_task(self._wait_for_exit, self._has_exited, name=f"wait for PID {self.pid}")
        await self._has_exited.wait()

    async def _wait_for_exit(self, has_exited: Event) -> None:
        try:
            await to_thread_run_sync(
                _sync_wait_reapable, self.pid, abandon_on_cancel=True, limiter=CapacityLimiter(1)
            )
        finally:
            has_exited.set()


def _sync_wait_reapable(pid: int) -> None:
    """Blocks until a child has exited, and leaves its status to others."""
    # ChildProcessError: nobody can learn its status, as while SIGCHLD is ignored.
    with suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def _open_process(
    command: StrOrBytesPath | Sequence[StrOrBytesPath],
    *,
    stdin: int | HasFileno | None = None,
    stdout: int | HasFileno | None = None,
    stderr: int | HasFileno | None = None,
    **options: Any,
) -> Process:
    """Start a program and return its `Process`; nobody looks after it. A checkpoint. Once begun, not cancelled.

    `command`: the program and its arguments; with `shell=True` one string. `stdin`, `stdout`, `stderr`: None (those of
    this program), `subprocess.PIPE` (then the Process has a stream), `subprocess.DEVNULL`, a descriptor or an object
    with one; `stderr` also `subprocess.STDOUT`. Other options are those of `subprocess.Popen`, except for those that
    make text of bytes (TypeError). OSError if the program can't be started.

    https://trio.readthedocs.io/en/stable/reference-lowlevel.html#trio.lowlevel.open_process
    """
    for key in ("universal_newlines", "text", "encoding", "errors", "bufsize"):
        if options.get(key):
            raise TypeError(
                f"processes communicate over unbuffered byte streams only; the {key!r} option is not supported"
            )
    one_string = isinstance(command, (str, bytes))
    if one_string and not options.get("shell"):
        raise TypeError("command must be a sequence (not a string or bytes) if shell=False")
    if not one_string and options.get("shell"):
        raise TypeError("command must be a string or bytes (not a sequence) if shell=True")

    ours: dict[str, FdStream | None] = {"stdin": None, "stdout": None, "stderr": None}
    with ExitStack() as always, ExitStack() as on_failure:

        def pipe(name: str, to_child: bool) -> int:
            """Makes a pipe and our stream over it; returns the child's end, which is closed here in any case."""
            reading, writing = os.pipe()
            child_end, our_end = (reading, writing) if to_child else (writing, reading)
            always.callback(os.close, child_end)
            stream = ours[name] = FdStream(our_end)
            on_failure.callback(stream.close)
            return child_end

        if stdin == subprocess.PIPE:
            stdin = pipe("stdin", True)
        if stdout == subprocess.PIPE:
            stdout = pipe("stdout", False)
        if stderr == subprocess.PIPE:
            stderr = pipe("stderr", False)
        elif stderr == subprocess.STDOUT and stdout is not None:
            stderr = stdout  # Popen knows of no pipe here
        start: Callable[[], Any] = partial(
            subprocess.Popen, command, stdin=stdin, stdout=stdout, stderr=stderr, **options
        )
        popen = await to_thread_run_sync(start)  # in a thread, since it may take long
        on_failure.pop_all()
    return Process(popen, ours["stdin"], ours["stdout"], ours["stderr"])


async def _terminate_then_kill(process: Process) -> None:
    """What `run_process` does when it is cancelled, unless it is told otherwise."""
    try:
        process.terminate()
        await sleep(_PATIENCE)
        message = f"process {process!r} ignored SIGTERM for {_PATIENCE} seconds, so it gets SIGKILL now; "
        warnings.warn(RuntimeWarning(message + "deliver_cancel=... can end it differently"), stacklevel=1)
        process.kill()
    except OSError as exc:
        warnings.warn(RuntimeWarning(f"process {process!r} could not be ended: {exc!r}"), stacklevel=1)


def _check_pipes(stdin: Any, options: dict[str, Any]) -> None:
    """Pipes are of use only to those who get the Process."""
    if stdin is subprocess.PIPE:
        raise ValueError(
            "stdin=subprocess.PIPE is only valid with nursery.start, since that's the only way to access the pipe; "
            "use nursery.start or pass the data you want to write directly"
        )
    for name in ("stdout", "stderr"):
        if options.get(name) is subprocess.PIPE:
            raise ValueError(
                f"{name}=subprocess.PIPE is only valid with nursery.start, since that's the only way to access the pipe"
            )


async def _feed(stream: SendStream, data: bytes | bytearray | memoryview) -> None:
    async with stream:
        with suppress(BrokenResourceError):  # it didn't want to read all of it
            await stream.send_all(data)


async def _collect(stream: ReceiveStream, chunks: list[bytes | bytearray]) -> None:
    async with stream:
        async for chunk in stream:
            chunks.append(chunk)


async def _run_process(
    command: StrOrBytesPath | Sequence[StrOrBytesPath],
    *,
    stdin: bytes | bytearray | memoryview | int | HasFileno | None = b"",
    capture_stdout: bool = False,
    capture_stderr: bool = False,
    check: bool = True,
    deliver_cancel: Callable[[Process], Awaitable[object]] | None = None,
    task_status: _TaskStatus = TASK_STATUS_IGNORED,
    **options: Any,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program and wait until it has exited; returns a `subprocess.CompletedProcess`. A checkpoint.

    `process = await nursery.start(segue.run_process, ...)` gives the `Process` as soon as it runs, and the nursery
    waits for it. Only then the streams can be `subprocess.PIPE`.

    `command`, `stdout`, `stderr` and other options are those of `lowlevel.open_process`. `stdin`: bytes that the
    program gets to read (by default none), None (this program's own), or as for `open_process`. `capture_stdout`,
    `capture_stderr`: collect what it writes, for the result. `check`: CalledProcessError if the status isn't zero.

    When it is cancelled, the program gets SIGTERM and 5 seconds later SIGKILL, and it is waited for; `deliver_cancel`,
    an asynchronous function that is given the Process, is called instead, and cancelled when the program has exited.
    What that raises comes out in an ExceptionGroup. Also: UnicodeError if `stdin` is a str, ValueError for options
    that exclude each other, OSError if the program can't be started.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.run_process
    """
    if isinstance(stdin, str):
        raise UnicodeError("process stdin must be bytes, not str")
    if task_status is TASK_STATUS_IGNORED:
        _check_pipes(stdin, options)
    data = stdin if isinstance(stdin, (bytes, bytearray, memoryview)) else None
    options["stdin"] = stdin if data is None else subprocess.PIPE
    for name, captured in (("stdout", capture_stdout), ("stderr", capture_stderr)):
        if captured:
            if name in options:
                raise ValueError(f"can't specify both {name} and capture_{name}")
            options[name] = subprocess.PIPE
    if deliver_cancel is None:
        deliver_cancel = _terminate_then_kill

    stdout_chunks: list[bytes | bytearray] = []
    stderr_chunks: list[bytes | bytearray] = []
    process = await _open_process(command, **options)
    async with open_nursery() as nursery:
        try:
            if data is not None:
                assert process.stdin is not None
                nursery.start_soon(_feed, process.stdin, data)
                process.stdin = process.stdio = None
            if capture_stdout:
                assert process.stdout is not None
                nursery.start_soon(_collect, process.stdout, stdout_chunks)
                process.stdout = process.stdio = None
            if capture_stderr:
                assert process.stderr is not None
                nursery.start_soon(_collect, process.stderr, stderr_chunks)
                process.stderr = None
            task_status.started(process)
            await process.wait()
        except BaseException:
            with CancelScope(shield=True):
                ending = CancelScope(shield=True)
                nursery.start_soon(_end, process, deliver_cancel, ending)
                try:
                    await _until_exited(process)
                finally:
                    ending.cancel(reason="the process has exited")
                raise

    stdout = b"".join(stdout_chunks) if capture_stdout else None
    stderr = b"".join(stderr_chunks) if capture_stderr else None
    code = process.returncode
    assert code is not None  # wait() has returned
    if code and check:
        raise subprocess.CalledProcessError(code, process.args, output=stdout, stderr=stderr)
    return subprocess.CompletedProcess(process.args, code, stdout, stderr)


async def _until_exited(process: Process) -> None:
    """A `Task.cancel()` doesn't end the wait; it is raised when the process has exited."""
    await _until(lambda: process.returncode is not None, process.wait)


async def _end(
    process: Process, deliver_cancel: Callable[[Process], Awaitable[object]], scope: CancelScope
) -> None:
    with scope:
        await deliver_cancel(process)


open_process = _open_process
open_process.__name__ = open_process.__qualname__ = "open_process"
run_process = _run_process
run_process.__name__ = run_process.__qualname__ = "run_process"
