//! Readiness to protocol calls.

use net::socket::{self, Received};
use net::Readiness;
use pyo3::ffi::{self, PyObject};

use super::closing::{close, failed_in_protocol, fatal_error};
use super::state::{in_context, st, Kind, State};
use super::streams::{self, Fed};
use super::writing::flush;
use crate::event_loop::LoopCore;
use crate::job::Job;
use crate::raw::globals::globals;
use crate::raw::obj::{call_method, is_true, os_error_object};
use crate::raw::{Obj, Raised, R};
use crate::read_buffer::{Next, Read};

/// How often one event reads before others get their turn.
const READS_PER_TURN: usize = 4;

/// The reactor's event. Called by the loop, which holds a reference meanwhile.
pub fn on_ready(o: *mut PyObject, ready: Readiness) -> R<()> {
    let s = st(o);
    in_context(s, || {
        if s.kind.get() == Kind::WritePipe && (ready.error || ready.read_closed) {
            return reader_is_gone(o, s);
        }
        if ready.writable && !s.outbox.borrow().is_empty() {
            flush(o)?;
        }
        if ready.readable && matches!(s.kind.get(), Kind::Socket | Kind::ReadPipe) {
            on_readable(o, s, ready.read_closed)?;
        }
        Ok(())
    })
}

/// The other end of a pipe that we write to was closed.
fn reader_is_gone(o: *mut PyObject, s: &State) -> R<()> {
    if s.outbox.borrow().is_empty() {
        return close(o);
    }
    // SAFETY: BrokenPipeError is alive.
    let exc = crate::raw::obj::call(unsafe { ffi::PyExc_BrokenPipeError }, &[])?;
    super::closing::force_close(o, exc)
}

#[inline]
fn on_readable(o: *mut PyObject, s: &State, until_eof: bool) -> R<()> {
    for _ in 0..READS_PER_TURN {
        if s.closing.get() || s.at_eof.get() {
            return Ok(());
        }
        if s.paused.get() || !s.registered.get() {
            s.read_pending.set(true);
            return Ok(());
        }
        let Some(core) = s.core() else { return Ok(()) };
        if s.rests_in_turn.get() == core.progress.turns() {
            return Ok(());
        }
        let more = if s.tls.get() {
            read_tls(o, s, core)?
        } else if s.buffered.get() {
            read_buffered(o, s)?
        } else if s.stream.get() {
            read_stream(o, s, core)?
        } else {
            read_bytes(o, s, core)?
        };
        match more {
            More::No => return Ok(()),
            More::OnlyEof if !until_eof => return Ok(()),
            // As in asyncio, which reads once a turn: who was woken by the data finds the connection open.
            More::OnlyEof | More::InNextTurn => break,
            More::Perhaps => {}
        }
    }
    if let Some(core) = s.core() {
        // Another event of this turn would be too early too.
        s.rests_in_turn.set(core.progress.turns());
    }
    read_soon(o, s);
    Ok(())
}

/// What may still be there after a read.
enum More {
    No,
    /// The kernel had less than we asked for: only the end of the stream can follow.
    OnlyEof,
    Perhaps,
    /// Whatever it is, it isn't for this turn.
    InNextTurn,
}

/// Puts a read on the ready queue: for a reader that resumes, or after its share of a turn.
pub fn read_soon(o: *mut PyObject, s: &State) {
    let _ = o;
    s.read_pending.set(false);
    if let (Some(core), true) = (s.core(), s.registered.get()) {
        let ready = Readiness { readable: true, read_closed: true, ..Default::default() };
        core.push(Job::Io { token: s.token.get(), ready });
    }
}

#[inline]
fn read_bytes(o: *mut PyObject, s: &State, core: &LoopCore) -> R<More> {
    let (fd, is_socket) = s.source();
    match core.read_buffer.read(fd, is_socket)? {
        Read::Nothing(other) => nothing_read(o, s, other),
        Read::Bytes(data, next) => {
            let protocol = s.protocol.obj_or_none();
            let result = call_method(globals().names.data_received, &[protocol.as_ptr(), data.as_ptr()]);
            if result.is_err() {
                failed_in_protocol(o, "Fatal error: protocol.data_received() call failed.")?;
                return Ok(More::No);
            }
            if let Some(core) = s.core() {
                core.read_buffer.give_back(data);
            }
            match next {
                Next::OnlyEof => Ok(More::OnlyEof),
                Next::Perhaps => Ok(More::Perhaps),
                Next::Is(found) => found_after_bytes(o, s, found),
            }
        }
    }
}

/// What the read behind the bytes found. The end of the stream is found again by a reader that goes on; an error is not.
#[cold]
fn found_after_bytes(o: *mut PyObject, s: &State, found: Received) -> R<More> {
    match found {
        Received::Failed(_) if !s.closing.get() => nothing_read(o, s, found),
        Received::Eof => Ok(More::Perhaps),
        _ => Ok(More::OnlyEof),
    }
}

/// Reads for one of asyncio's streams.
fn read_stream(o: *mut PyObject, s: &State, core: &LoopCore) -> R<More> {
    let Some(protocol) = s.protocol.obj() else { return Ok(More::No) };
    match streams::read(s, core, &protocol)? {
        Fed::No => read_bytes(o, s, core),
        Fed::Nothing(other) => nothing_read(o, s, other),
        Fed::Yes(Ok(full)) => Ok(if full { More::Perhaps } else { More::OnlyEof }),
        Fed::Yes(Err(Raised)) => {
            failed_in_protocol(o, "Fatal error: protocol.data_received() call failed.")?;
            Ok(More::No)
        }
    }
}

/// Gives ciphertext to the TLS connection above.
#[inline(never)]
fn read_tls(o: *mut PyObject, s: &State, core: &LoopCore) -> R<More> {
    let (fd, is_socket) = s.source();
    let Some(connection) = s.protocol.obj() else { return Ok(More::No) };
    let phase = crate::tls::phase(connection.as_ptr());
    let (received, fed) = core.read_buffer.with(|buffer| match socket::read(fd, is_socket, buffer) {
        Received::Bytes(n) => (Ok(n == buffer.len()), crate::tls::feed(connection.as_ptr(), &buffer[..n])),
        other => (Err(other), Ok(None)),
    });
    let full = match received {
        Ok(full) => full,
        Err(other) => return nothing_read(o, s, other),
    };
    if fed.and_then(|fed| crate::tls::process(connection.as_ptr(), fed)).is_err() {
        failed_in_protocol(o, "Fatal error: protocol.buffer_updated() call failed.")?;
        return Ok(More::No);
    }
    if crate::tls::phase(connection.as_ptr()) != phase {
        // What follows the end of the handshake, or close_notify, is for the next turn, as in asyncio, which reads once a turn: who
        // waits for the handshake (`create_connection`) and looks at the connection then must find it open.
        return Ok(More::InNextTurn);
    }
    Ok(if full { More::Perhaps } else { More::OnlyEof })
}

#[inline(never)]
fn nothing_read(o: *mut PyObject, s: &State, received: Received) -> R<More> {
    match received {
        Received::Eof => on_eof(o, s)?,
        Received::Failed(e) => {
            let text = format!("Fatal read error on {} transport", s.kind.get().name());
            fatal_error(o, os_error_object(&e)?, &text)?;
        }
        Received::WouldBlock | Received::Bytes(_) => {}
    }
    Ok(More::No)
}

/// Reads straight into the protocol's own buffer.
#[inline(never)]
fn read_buffered(o: *mut PyObject, s: &State) -> R<More> {
    let n = &globals().names;
    let protocol = s.protocol.obj_or_none();
    let hint = Obj::int(-1)?;
    let buffer = match call_method(n.get_buffer, &[protocol.as_ptr(), hint.as_ptr()]) {
        Ok(buffer) => buffer,
        Err(Raised) => {
            failed_in_protocol(o, "Fatal error: protocol.get_buffer() call failed.")?;
            return Ok(More::No);
        }
    };
    // SAFETY: an all-zero Py_buffer is what GetBuffer fills; it is released below on every path.
    let mut view: ffi::Py_buffer = unsafe { std::mem::zeroed() };
    // SAFETY: alive.
    if unsafe { ffi::PyObject_GetBuffer(buffer.as_ptr(), &mut view, ffi::PyBUF_WRITABLE) } != 0 {
        failed_in_protocol(o, "Fatal error: protocol.get_buffer() call failed.")?;
        return Ok(More::No);
    }
    let size = view.len as usize;
    let received = if size == 0 {
        None
    } else {
        // SAFETY: a writable buffer of `size` bytes that cannot be resized while it is exported.
        let into = unsafe { std::slice::from_raw_parts_mut(view.buf.cast(), size) };
        let (fd, is_socket) = s.source();
        Some(socket::read(fd, is_socket, into))
    };
    // SAFETY: filled by GetBuffer.
    unsafe { ffi::PyBuffer_Release(&mut view) };
    match received {
        None => {
            let _ = crate::raw::obj::runtime_error("get_buffer() returned an empty buffer");
            failed_in_protocol(o, "Fatal error: protocol.get_buffer() call failed.")?;
            Ok(More::No)
        }
        Some(Received::Bytes(count)) => {
            let number = Obj::int(count as i64)?;
            if call_method(n.buffer_updated, &[protocol.as_ptr(), number.as_ptr()]).is_err() {
                failed_in_protocol(o, "Fatal error: protocol.buffer_updated() call failed.")?;
                return Ok(More::No);
            }
            Ok(if count == size { More::Perhaps } else { More::OnlyEof })
        }
        Some(other) => nothing_read(o, s, other),
    }
}

fn on_eof(o: *mut PyObject, s: &State) -> R<()> {
    s.at_eof.set(true);
    let protocol = s.protocol.obj_or_none();
    match call_method(globals().names.eof_received, &[protocol.as_ptr()]).and_then(|keep| is_true(keep.as_ptr())) {
        Err(Raised) => failed_in_protocol(o, "Fatal error: protocol.eof_received() call failed."),
        Ok(true) if s.kind.get() == Kind::Socket => {
            super::closing::rest_if_idle(s);
            Ok(())
        }
        Ok(_) => close(o),
    }
}
