"""`lowlevel.FdStream`: a stream over a pipe, a terminal, or whatever else can be read and written without blocking.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-lowlevel.html#trio.lowlevel.FdStream
"""

from __future__ import annotations

import errno
import os
from typing import NoReturn, final

from . import _lowlevel
from ._conflicts import ConflictDetector
from ._core import checkpoint
from ._errors import BrokenResourceError, ClosedResourceError
from ._stream_abc import Stream

# What a pipe holds on Linux, in bytes.
_RECEIVE_SIZE = 65536


@final
class FdStream(Stream):
    """A stream over an open descriptor, which belongs to the stream from now on and is closed with it.

    The descriptor is made non-blocking, and gets its old mode back when it is closed. That mode belongs to the open
    file: whoever shares it (another process, another descriptor of the same terminal) sees it too. TypeError if `fd`
    is no int.
    """

    def __init__(self, fd: int) -> None:
        self._fd = -1
        if not isinstance(fd, int):
            raise TypeError("file descriptor must be an int")
        self._was_blocking = os.get_blocking(fd)
        os.set_blocking(fd, False)
        # -1 once it is closed: the number may be somebody else's by then.
        self._fd = fd
        self._sending = ConflictDetector("another task is using this stream for send")
        self._receiving = ConflictDetector("another task is using this stream for receive")

    def fileno(self) -> int:
        """The descriptor; -1 once the stream is closed."""
        return self._fd

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`, waiting as long as there is no room. A checkpoint. Not cancel-safe.

        BusyResourceError, ClosedResourceError and BrokenResourceError as for every `SendStream`.
        """
        with self._sending:
            self._check_open()
            await checkpoint()
            with memoryview(data) as view:
                sent = 0
                while sent < len(data):
                    try:
                        with view[sent:] as rest:
                            sent += os.write(self._fd, rest)
                    except BlockingIOError:
                        await _lowlevel.wait_writable(self._fd)
                    except OSError as exc:
                        _failed(exc)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is some room. A checkpoint. Cancel-safe. Errors as for `send_all`."""
        with self._sending:
            self._check_open()
            await _lowlevel.wait_writable(self._fd)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what is there, waiting if there is nothing; b"" at the end. A checkpoint. Cancel-safe.

        `max_bytes`: at most so many (default 64 KiB); ValueError if it is below one. Other errors as for every
        `ReceiveStream`.
        """
        with self._receiving:
            if max_bytes is None:
                max_bytes = _RECEIVE_SIZE
            elif not isinstance(max_bytes, int):
                raise TypeError("max_bytes must be integer >= 1")
            elif max_bytes < 1:
                raise ValueError("max_bytes must be integer >= 1")
            await checkpoint()
            while True:
                try:
                    return os.read(self._fd, max_bytes)
                except BlockingIOError:
                    await _lowlevel.wait_readable(self._fd)
                except OSError as exc:
                    _failed(exc)

    def close(self) -> None:
        """Close the descriptor at once; tasks that use the stream get ClosedResourceError. Idempotent."""
        if self._fd != -1:
            _lowlevel.notify_closing(self._fd)
            self._close_fd()

    async def aclose(self) -> None:
        """`close()`, and a checkpoint."""
        self.close()
        await checkpoint()

    def _check_open(self) -> None:
        if self._fd == -1:
            raise ClosedResourceError("file was already closed")

    def _close_fd(self) -> None:
        if self._fd != -1:
            fd, self._fd = self._fd, -1
            os.set_blocking(fd, self._was_blocking)
            os.close(fd)

    def __del__(self) -> None:
        self._close_fd()  # no task can be waiting: it would hold a reference


def _failed(exc: OSError) -> NoReturn:
    if exc.errno == errno.EBADF:  # -1: another task has closed it meanwhile
        raise ClosedResourceError("file was already closed") from None
    raise BrokenResourceError(str(exc)) from exc
