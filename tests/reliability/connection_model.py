"""What a transport promises its protocol, as a state machine, and the far end of a connection, by hand.

`Recorder` is the protocol under test: it fails at once when it is called in an order that asyncio
doesn't promise. `Peer` is the far end: a plain non-blocking socket (TLS over it by hand), so that it
doesn't depend on any loop.
Neither knows hypothesis; test_connections_against_model.py does.

Promised order, with at most one connection_lost and nothing after it:
    connection_made  (data_received | pause_writing, resume_writing in turns)*  eof_received?  connection_lost
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from dataclasses import dataclass, field

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def pattern(start: int, size: int) -> bytes:
    """Bytes `start` to `start + size` of an endless stream in which a lost or repeated block shows."""
    first = start // 4
    words = b"".join(number.to_bytes(4, "big") for number in range(first, first + size // 4 + 2))
    return words[start % 4 : start % 4 + size]


class BrokenPromise(AssertionError):
    """The transport called its protocol in a way that asyncio's documentation rules out."""


@dataclass
class Recorder:
    """The rules, one method per call; `Plain` and `Buffered` below only translate."""

    keep_open: bool = False
    """What eof_received answers: True leaves the writing side open."""
    transport: asyncio.Transport | None = None
    received: bytearray = field(default_factory=bytearray)
    calls: list[str] = field(default_factory=list)
    eof: bool = False
    lost: bool = False
    error: BaseException | None = None
    writing_paused: bool = False
    reading_paused: bool = False
    closed: bool = False
    """close() or abort() was called by the application."""
    quiet_after_close: bool = True
    """Nothing is received after close(). Over TLS asyncio still delivers what came before it."""

    def note(self, call: str, allowed: bool) -> None:
        self.calls.append(call)
        if not allowed:
            raise BrokenPromise(f"{call} must not come now; the calls so far: {' '.join(self.calls)}")

    @property
    def alive(self) -> bool:
        return self.transport is not None and not self.lost

    @property
    def deaf(self) -> bool:
        return self.closed and self.quiet_after_close

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.note("made", self.transport is None)
        self.transport = transport

    def received_bytes(self, data: bytes) -> None:
        self.note("data", self.alive and not self.eof and not self.reading_paused and not self.deaf)
        if not data:
            raise BrokenPromise("data_received was called with no data")
        self.received += data

    def eof_received(self) -> bool:
        self.note("eof", self.alive and not self.eof and not self.deaf)
        self.eof = True
        return self.keep_open

    def pause_writing(self) -> None:
        self.note("pause", self.alive and not self.writing_paused)
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.note("resume", self.alive and self.writing_paused)
        self.writing_paused = False

    def connection_lost(self, exc: BaseException | None) -> None:
        self.note("lost", self.alive)
        self.lost = True
        self.error = exc


class Plain(Recorder, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.received_bytes(bytes(data))


class Buffered(Recorder, asyncio.BufferedProtocol):
    """Offers a buffer of changing size, smaller than what is there to be read more often than not."""

    offered = bytearray()
    turn = 0
    sizes = (1, 100, 4096, 65_536)

    def get_buffer(self, sizehint: int) -> memoryview:
        self.turn += 1
        self.offered = bytearray(self.sizes[self.turn % len(self.sizes)])
        return memoryview(self.offered)  # of a bytearray itself CPython's TLS makes copies

    def buffer_updated(self, nbytes: int) -> None:
        if not 0 < nbytes <= len(self.offered):
            raise BrokenPromise(f"buffer_updated({nbytes}) of a buffer of {len(self.offered)}")
        self.received_bytes(bytes(self.offered[:nbytes]))


class LargeBuffered(Buffered):
    sizes = (1 << 20,)


class Peer:
    """The far end. `sent` and `received` are what the kernel (or TLS) took from it and gave it."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext | None, server_side: bool) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.sent = 0
        self.received = bytearray()
        self.ended = False
        """The near end's EOF, or its reset, has been seen."""
        self.was_reset = False
        self.half_closed = False
        self.closed = False
        self.tls: ssl.SSLObject | None = None
        if context:
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            name = None if server_side else "localhost"
            self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side, name)
        self.unsent = bytearray()

    # ---- the kernel

    def _flush(self) -> None:
        """Hands the kernel what TLS has made; keeps what doesn't fit."""
        if self.tls:
            self.unsent += self.outgoing.read()
        try:
            while self.unsent:
                del self.unsent[: self.connection.send(self.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.was_reset = True
            self.unsent.clear()

    def _fill(self) -> bytes:
        try:
            data = self.connection.recv(1 << 16)
        except BlockingIOError:
            return b""
        except OSError:
            self.was_reset = self.ended = True
            return b""
        if not data:
            self.ended = True
            if self.tls:
                self.incoming.write_eof()
        return data

    # ---- the commands of a scenario

    def handshake(self) -> bool:
        """One step; True when done."""
        if not self.tls:
            return True
        self.incoming.write(self._fill())
        try:
            self.tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        self._flush()
        return done and not self.unsent

    def send(self, size: int) -> None:
        if self.closed or self.half_closed or self.was_reset:
            return
        data = pattern(self.sent, size)
        if self.tls:
            if not self.unsent:  # what was taken before must go first
                self.tls.write(data)
                self.sent += size
            self._flush()
            return
        try:
            self.sent += self.connection.send(data)
        except BlockingIOError:
            pass
        except OSError:
            self.was_reset = True

    def receive(self) -> None:
        if self.closed:
            return
        self._flush()
        data = b"" if self.ended else self._fill()
        if not self.tls:
            self.received += data
            return
        if data:
            self.incoming.write(data)
        try:
            while True:
                plain = self.tls.read(1 << 16)
                if not plain:  # close_notify
                    self.ended = True
                    break
                self.received += plain
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.ended = True
        self._flush()

    def half_close(self) -> None:
        """No more bytes from here: a FIN, after TLS's close_notify."""
        if self.closed or self.half_closed:
            return
        self._flush()
        if self.unsent:
            return  # would cut what was counted as sent
        if self.tls:
            try:
                self.tls.unwrap()
            except ssl.SSLError:
                pass  # it's the other side's turn
            self._flush()
        self.half_closed = True
        try:
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            self.was_reset = True

    def reset(self) -> None:
        """A TCP reset; on a Unix socket the nearest there is, a close with bytes unread if there are any."""
        if not self.closed:
            if self.connection.family != socket.AF_UNIX:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self.close()

    def close(self) -> None:
        self.closed = True
        self.connection.close()
