"""`open_file` and `wrap_file`: files whose blocking methods run in worker threads.

Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-io.html#asynchronous-filesystem-i-o
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import IO, TYPE_CHECKING, Any, AnyStr, BinaryIO, Generic, Literal, Protocol, TypeVar, overload

from ._core import CancelScope, checkpoint_if_cancelled
from ._stream_abc import AsyncResource
from ._threads import to_thread_run_sync

if TYPE_CHECKING:
    from typing import Self

    from _typeshed import (
        OpenBinaryMode,
        OpenBinaryModeReading,
        OpenBinaryModeUpdating,
        OpenBinaryModeWriting,
        OpenTextMode,
        StrOrBytesPath,
    )
    from typing_extensions import Buffer

F = TypeVar("F")
F_co = TypeVar("F_co", covariant=True)
S_co = TypeVar("S_co", str, bytes, covariant=True)

# Never block: used as they are.
_FILE_SYNC_ATTRS = frozenset(
    "buffer closed closefd encoding errors fileno getbuffer getvalue isatty line_buffering mode name newlines raw "
    "readable seekable writable".split()
)

# May block: called in a thread.
_FILE_ASYNC_METHODS = frozenset(
    "flush peek read read1 readall readinto readinto1 readline readlines seek tell truncate write writelines".split()
)


class _Reads(Protocol[S_co]):
    """Tells type checkers whether a file has text or bytes."""

    def read(self, size: int = ..., /) -> S_co: ...


class AsyncIOWrapper(AsyncResource, Generic[F_co]):
    """An asynchronous file: `async with` closes it, `async for` gives its lines.

    It has what the wrapped file has of these: as they are `buffer`, `closed`, `closefd`, `encoding`, `errors`,
    `fileno`, `getbuffer`, `getvalue`, `isatty`, `line_buffering`, `mode`, `name`, `newlines`, `raw`, `readable`,
    `seekable`, `writable`; to be awaited `flush`, `peek`, `read`, `read1`, `readall`, `readinto`, `readinto1`,
    `readline`, `readlines`, `seek`, `tell`, `truncate`, `write`, `writelines`. Those run in `to_thread.run_sync`: a
    checkpoint, and not cancelled once they have begun.
    """

    def __init__(self, file: F_co) -> None:
        self._wrapped = file

    @property
    def wrapped(self) -> F_co:
        """The file that is wrapped."""
        return self._wrapped

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in _FILE_SYNC_ATTRS:
                return getattr(self._wrapped, name)
            if name in _FILE_ASYNC_METHODS:
                method = _in_thread(getattr(self._wrapped, name), self._wrapped.__class__, name)
                setattr(self, name, method)  # made once
                return method
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> Iterable[str]:
        forwarded = {name for name in _FILE_SYNC_ATTRS | _FILE_ASYNC_METHODS if hasattr(self._wrapped, name)}
        return forwarded.union(super().__dir__())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self: AsyncIOWrapper[_Reads[AnyStr]]) -> AnyStr:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def detach(self) -> AsyncIOWrapper[Any]:
        """Separate the underlying file from its buffer or encoding; returns it, wrapped."""
        wrapped: Any = self._wrapped
        return wrap_file(await to_thread_run_sync(wrapped.detach))

    async def aclose(self) -> None:
        """Close the file. It is closed even if this is cancelled."""
        wrapped: Any = self._wrapped
        with CancelScope(shield=True):
            await to_thread_run_sync(wrapped.close)
        await checkpoint_if_cancelled()

    if TYPE_CHECKING:
        # What `__getattr__` finds, for those files that have it.
        @property
        def buffer(self) -> BinaryIO: ...
        @property
        def closed(self) -> bool: ...
        @property
        def closefd(self) -> bool: ...
        @property
        def encoding(self) -> str: ...
        @property
        def errors(self) -> str | None: ...
        @property
        def line_buffering(self) -> bool: ...
        @property
        def mode(self) -> str: ...
        @property
        def name(self) -> str: ...
        @property
        def newlines(self) -> Any: ...
        @property
        def raw(self) -> io.RawIOBase: ...
        def fileno(self) -> int: ...
        def getbuffer(self) -> memoryview: ...
        def getvalue(self: AsyncIOWrapper[_Reads[AnyStr]]) -> AnyStr: ...
        def isatty(self) -> bool: ...
        def readable(self) -> bool: ...
        def seekable(self) -> bool: ...
        def writable(self) -> bool: ...
        async def flush(self) -> None: ...
        async def peek(self, size: int = 0, /) -> bytes: ...
        async def read(self: AsyncIOWrapper[_Reads[AnyStr]], size: int | None = -1, /) -> AnyStr: ...
        async def read1(self, size: int = -1, /) -> bytes: ...
        async def readall(self) -> bytes: ...
        async def readinto(self, buffer: Buffer, /) -> int | None: ...
        async def readinto1(self, buffer: Buffer, /) -> int: ...
        async def readline(self: AsyncIOWrapper[_Reads[AnyStr]], size: int = -1, /) -> AnyStr: ...
        async def readlines(self: AsyncIOWrapper[_Reads[AnyStr]], hint: int = -1, /) -> list[AnyStr]: ...
        async def seek(self, target: int, whence: int = 0, /) -> int: ...
        async def tell(self) -> int: ...
        async def truncate(self, size: int | None = None, /) -> int: ...
        async def write(self: AsyncIOWrapper[_Reads[AnyStr]], data: AnyStr, /) -> int: ...
        async def writelines(self: AsyncIOWrapper[_Reads[AnyStr]], lines: Iterable[AnyStr], /) -> None: ...


def _in_thread(method: Callable[..., Any], owner: type, name: str) -> Callable[..., Awaitable[Any]]:
    async def called_in_thread(*args: Any, **kwargs: Any) -> Any:
        return await to_thread_run_sync(partial(method, *args, **kwargs))

    called_in_thread.__name__ = name
    called_in_thread.__qualname__ = f"{AsyncIOWrapper.__name__}.{name}"
    called_in_thread.__doc__ = f"`{owner.__module__}.{owner.__qualname__}.{name}` in a thread."
    return called_in_thread


@overload
async def open_file(
    file: StrOrBytesPath | int,
    mode: OpenTextMode = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> AsyncIOWrapper[io.TextIOWrapper]: ...
@overload
async def open_file(
    file: StrOrBytesPath | int,
    mode: OpenBinaryMode,
    buffering: Literal[0],
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> AsyncIOWrapper[io.FileIO]: ...
@overload
async def open_file(
    file: StrOrBytesPath | int,
    mode: OpenBinaryModeUpdating,
    buffering: Literal[-1, 1] = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> AsyncIOWrapper[io.BufferedRandom]: ...
@overload
async def open_file(
    file: StrOrBytesPath | int,
    mode: OpenBinaryModeWriting,
    buffering: Literal[-1, 1] = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> AsyncIOWrapper[io.BufferedWriter]: ...
@overload
async def open_file(
    file: StrOrBytesPath | int,
    mode: OpenBinaryModeReading,
    buffering: Literal[-1, 1] = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> AsyncIOWrapper[io.BufferedReader]: ...
@overload
async def open_file(
    file: StrOrBytesPath | int,
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> AsyncIOWrapper[IO[Any]]: ...


async def open_file(
    file: StrOrBytesPath | int,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
) -> AsyncIOWrapper[Any]:
    """`open` in a thread: `async with await segue.open_file(path) as file:`. A checkpoint.

    Arguments and errors (OSError, ValueError) are those of the builtin `open`; what comes back is an `AsyncIOWrapper`.
    Once the thread works it isn't cancelled, so that no open file is lost.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.open_file
    """
    return wrap_file(
        await to_thread_run_sync(io.open, file, mode, buffering, encoding, errors, newline, closefd, opener)
    )


def wrap_file(file: F) -> AsyncIOWrapper[F]:
    """An asynchronous file around an open one. TypeError if it has no `close`, or neither `read` nor `write`.

    https://trio.readthedocs.io/en/stable/reference-io.html#trio.wrap_file
    """

    def has(name: str) -> bool:
        return callable(getattr(file, name, None))

    if not (has("close") and (has("read") or has("write"))):
        raise TypeError(f"{file!r} is no file: it has to have close, and read or write")
    return AsyncIOWrapper(file)
