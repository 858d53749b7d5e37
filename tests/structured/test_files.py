"""Files whose methods run in threads, and streams over pipes."""

import errno
import io
import os
import threading
from pathlib import Path

import pytest
import segue
from segue import lowlevel
from segue._files import _FILE_ASYNC_METHODS, _FILE_SYNC_ATTRS
from segue._stream_abc import AsyncResource, Stream
from stepping import turns


async def test_write_then_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with await segue.open_file(path, "w", encoding="utf-8") as file:
        await file.write("one\ntwo\n")
        assert await file.tell() == 8
        await file.flush()
        assert not file.closed and file.name == str(path) and file.encoding == "utf-8"
    assert file.closed
    async with await segue.open_file(path, "rb") as binary:
        assert await binary.read() == b"one\ntwo\n"
        assert await binary.seek(0) == 0
        assert [line async for line in binary] == [b"one\n", b"two\n"]
    with pytest.raises(FileNotFoundError):
        await segue.open_file(tmp_path / "nothing")


async def test_methods_run_in_a_thread() -> None:
    threads: list[threading.Thread] = []

    class Spy(io.StringIO):
        def read(self, size: int | None = -1, /) -> str:
            threads.append(threading.current_thread())
            return super().read(size)

    file = segue.wrap_file(Spy("text"))
    assert await file.read(2) == "te"
    assert threads != [threading.current_thread()]
    assert file.read is file.read
    assert file.read.__name__ == "read" and file.read.__qualname__ == "AsyncIOWrapper.read"


async def test_a_wrapper_has_what_its_file_has() -> None:
    for wrapped in (io.StringIO(), io.BytesIO(), open(os.devnull, "rb", buffering=0)):
        file = segue.wrap_file(wrapped)
        assert isinstance(file, AsyncResource) and file.wrapped is wrapped
        for name in _FILE_SYNC_ATTRS | _FILE_ASYNC_METHODS:
            assert hasattr(file, name) == hasattr(wrapped, name) == (name in dir(file))
        with pytest.raises(AttributeError):
            file.detach_everything()  # type: ignore[attr-defined]
        await file.aclose()
        assert wrapped.closed


def test_what_is_no_file() -> None:
    with pytest.raises(TypeError):
        segue.wrap_file("text")

    class Reads:
        def close(self) -> None: ...
        def read(self) -> None: ...

    segue.wrap_file(Reads())


async def test_closing_is_not_cancelled(tmp_path: Path) -> None:
    with segue.CancelScope() as scope:
        file = await segue.open_file(tmp_path / "file", "w")
        scope.cancel()
        with pytest.raises(segue.Cancelled):
            await file.write("text")
        await file.aclose()
    assert scope.cancelled_caught and file.closed


async def test_an_open_file_is_not_lost_to_a_cancellation(tmp_path: Path) -> None:
    with segue.CancelScope() as scope:
        lowlevel.current_trio_token().run_sync_soon(scope.cancel)
        file = await segue.open_file(tmp_path / "file", "w")
        assert scope.cancel_called
        with segue.CancelScope(shield=True):
            await file.aclose()


async def test_detach_wraps_again() -> None:
    raw = open(os.devnull, "rb", buffering=0)
    detached = await segue.wrap_file(io.BufferedReader(raw)).detach()
    assert detached.wrapped is raw
    await detached.aclose()


# ---- FdStream -------------------------------------------------------------------------------------------------------


def pipe() -> tuple[lowlevel.FdStream, lowlevel.FdStream]:
    reading, writing = os.pipe()
    return lowlevel.FdStream(writing), lowlevel.FdStream(reading)


async def test_more_than_a_pipe_holds() -> None:
    sending, receiving = pipe()
    data, found = os.urandom(1 << 20), bytearray()
    assert isinstance(sending, Stream)

    async def send() -> None:
        async with sending:
            await sending.send_all(memoryview(data))

    async with receiving, segue.open_nursery() as nursery:
        nursery.start_soon(send)
        async for chunk in receiving:
            found += chunk
    assert found == data
    assert sending.fileno() == receiving.fileno() == -1


async def test_closing_under_those_who_wait() -> None:
    sending, receiving = pipe()
    os.write(sending.fileno(), b"x" * 65536)
    failed: list[str] = []

    async def expect_closed(what: str) -> None:
        with pytest.raises(segue.ClosedResourceError):
            if what == "send":
                await sending.send_all(b"x" * 100_000)
            else:
                while True:
                    await receiving.receive_some()
        failed.append(what)

    async with segue.open_nursery() as nursery:
        nursery.start_soon(expect_closed, "send")
        await turns()
        await sending.aclose()
    sending, receiving = pipe()
    async with segue.open_nursery() as nursery:
        nursery.start_soon(expect_closed, "receive")
        await turns()
        await receiving.aclose()
    assert failed == ["send", "receive"]
    for call in (receiving.receive_some(), receiving.send_all(b""), receiving.wait_send_all_might_not_block()):
        with pytest.raises(segue.ClosedResourceError):
            await call
    await receiving.aclose()
    await sending.aclose()


async def test_nobody_reads_any_more() -> None:
    sending, receiving = pipe()
    await receiving.aclose()
    async with sending:
        with pytest.raises(segue.BrokenResourceError) as caught:
            await sending.send_all(b"x")
    assert isinstance(caught.value.__cause__, BrokenPipeError)


async def test_one_task_per_direction() -> None:
    sending, receiving = pipe()
    async with sending, receiving:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with segue.open_nursery() as nursery:
                nursery.start_soon(receiving.receive_some)
                nursery.start_soon(receiving.receive_some)
    assert [type(e) for e in caught.value.exceptions] == [segue.BusyResourceError]


async def test_bad_arguments() -> None:
    with pytest.raises(TypeError):
        lowlevel.FdStream(None)  # type: ignore[arg-type]
    with pytest.raises(OSError):
        lowlevel.FdStream(987654)
    sending, receiving = pipe()
    async with sending, receiving:
        with pytest.raises(ValueError):
            await receiving.receive_some(0)
        with pytest.raises(TypeError):
            await receiving.receive_some(1.5)  # type: ignore[arg-type]


async def test_the_descriptor_is_closed_and_gets_its_mode_back() -> None:
    reading, writing = os.pipe()
    other = os.dup(reading)
    stream = lowlevel.FdStream(reading)
    assert not os.get_blocking(other)
    del stream
    assert os.get_blocking(other)
    with pytest.raises(OSError) as caught:
        os.fstat(reading)
    assert caught.value.errno == errno.EBADF
    os.close(other)
    os.close(writing)
