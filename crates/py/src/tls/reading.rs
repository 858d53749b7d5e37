//! Ciphertext to protocol calls.

use pyo3::ffi::{self, PyObject};

use super::buffers::PLAIN;
use super::engine::{bytes_of, Got, RECORD};
use super::errors::{caught, caught_all, fatal_error, log_warning};
use super::handshake;
use super::python_ssl::call_named;
use super::shutdown::{self, start_shutdown};
use super::state::{tls, Phase, Tls, Told};
use super::writing::{process_outgoing, write_backlog};
use crate::raw::globals::globals;
use crate::raw::obj::{call_method, getattr, is_true, raise_object, runtime_error, take_raised};
use crate::raw::{Obj, Raised, R};

/// Ciphertext was given to the engine: goes on with whatever the connection is at.
#[inline]
pub fn on_ciphertext(o: *mut PyObject) -> R<()> {
    match tls(o).phase.get() {
        Phase::Wrapped => read(o),
        Phase::Handshake => handshake::step(o),
        Phase::Flushing => shutdown::flush(o),
        Phase::Shutdown => shutdown::step(o),
        Phase::Unwrapped => Ok(()),
    }
}

/// Whether ciphertext is still of use; after the end it would only pile up.
pub fn wants_ciphertext(s: &Tls) -> bool {
    s.phase.get() != Phase::Unwrapped
}

/// Reads what is there and hands it to the application, unless it doesn't want to read.
pub fn read(o: *mut PyObject) -> R<()> {
    let s = tls(o);
    if !matches!(s.phase.get(), Phase::Wrapped | Phase::Flushing) {
        return Ok(());
    }
    match read_and_answer(o, s) {
        Ok(()) => Ok(()),
        Err(Raised) => fatal_error(o, &caught()?, "Fatal error on SSL protocol"),
    }
}

#[inline]
fn read_and_answer(o: *mut PyObject, s: &Tls) -> R<()> {
    if !s.app_reading_paused.get() {
        if s.app_is_buffered.get() {
            read_buffered(o, s)?;
        } else {
            read_copied(o, s)?;
        }
        if s.backlog_len.get() > 0 {
            write_backlog(o, s)?;
        } else {
            process_outgoing(o, s)?;
        }
    }
    control_below_reading(s)
}

/// What one pass through the engine brought.
struct Pass {
    data: Option<Obj>,
    end: bool,
    failure: Option<Obj>,
    /// The buffer was full before the engine was empty.
    more: bool,
}

/// Decrypts all that is there into one `bytes`.
#[inline]
fn decrypt(s: &Tls) -> R<Pass> {
    let Some(core) = s.core() else { return Err(runtime_error("TLS connection is closed")) };
    let (filled, end, failed, data) = core.tls_buffers.with_plain(|buffer| {
        let (mut filled, mut end, mut failed) = (0, false, false);
        while PLAIN - filled >= RECORD {
            match s.engine.read(&mut buffer[filled..]) {
                Ok(Got::Bytes(n)) => filled += n,
                Ok(Got::Nothing) => break,
                Ok(Got::End) => {
                    end = true;
                    break;
                }
                Err(Raised) => {
                    failed = true;
                    break;
                }
            }
        }
        // An exception waits until what came before it is delivered.
        let failure = if failed { take_raised() } else { None };
        let data = (filled > 0).then(|| bytes_of(&buffer[..filled]));
        (filled, end, failure, data)
    });
    let more = PLAIN - filled < RECORD && !end && failed.is_none();
    Ok(Pass { data: data.transpose()?, end, failure: failed, more })
}

fn read_copied(o: *mut PyObject, s: &Tls) -> R<()> {
    loop {
        let pass = decrypt(s)?;
        if let Some(data) = pass.data {
            tell_app(o, s, globals().names.data_received, &data)?;
        }
        if let Some(exc) = pass.failure {
            return Err(raise_object(exc));
        }
        if pass.end {
            return on_close_notify(o, s);
        }
        let reading = matches!(s.phase.get(), Phase::Wrapped | Phase::Flushing) && !s.app_reading_paused.get();
        if !pass.more || !reading {
            return Ok(());
        }
    }
}

/// Calls the application with data. What it writes meanwhile leaves in one piece afterwards.
#[inline]
fn tell_app(o: *mut PyObject, s: &Tls, method: *mut PyObject, data: &Obj) -> R<()> {
    let Some(protocol) = s.app_protocol.obj() else { return Ok(()) };
    s.corked.set(true);
    let result = call_method(method, &[protocol.as_ptr(), data.as_ptr()]);
    s.corked.set(false);
    if result.is_err() {
        let raised = take_raised();
        process_outgoing(o, s)?;
        return Err(raised.map_or(Raised, raise_object));
    }
    Ok(())
}

/// Decrypts into the application's own buffer.
fn read_buffered(o: *mut PyObject, s: &Tls) -> R<()> {
    while fill_once(o, s)? {}
    Ok(())
}

/// Fills the protocol's buffer once. True if more must be delivered at once: the connection is about to shut down.
fn fill_once(o: *mut PyObject, s: &Tls) -> R<bool> {
    let n = &globals().names;
    let Some(protocol) = s.app_protocol.obj() else { return Ok(false) };
    let hint = Obj::int(s.engine.incoming_len()? as i64)?;
    let buffer = call_method(n.get_buffer, &[protocol.as_ptr(), hint.as_ptr()])?;
    // SAFETY: an all-zero Py_buffer is what GetBuffer fills; it is released below, on the only path.
    let mut view: ffi::Py_buffer = unsafe { std::mem::zeroed() };
    // SAFETY: alive.
    if unsafe { ffi::PyObject_GetBuffer(buffer.as_ptr(), &mut view, ffi::PyBUF_WRITABLE) } != 0 {
        return Err(Raised);
    }
    let size = view.len as usize;
    let (mut filled, mut last) = (0, Ok(Got::Nothing));
    while filled < size {
        // SAFETY: a writable buffer of `size` bytes that cannot be resized while it is exported.
        let into = unsafe { std::slice::from_raw_parts_mut(view.buf.cast::<u8>().add(filled), size - filled) };
        last = s.engine.read(into);
        match last {
            Ok(Got::Bytes(n)) => filled += n,
            _ => break,
        }
    }
    let failure = if last.is_err() { take_raised() } else { None };
    // SAFETY: filled by GetBuffer.
    unsafe { ffi::PyBuffer_Release(&mut view) };
    if size == 0 {
        return Err(runtime_error("get_buffer() returned an empty buffer"));
    }
    if filled > 0 {
        tell_app(o, s, n.buffer_updated, &Obj::int(filled as i64)?)?;
    }
    if let Some(exc) = failure {
        return Err(raise_object(exc));
    }
    match last {
        Ok(Got::End) => on_close_notify(o, s).map(|()| false),
        Ok(Got::Bytes(_)) if s.phase.get() == Phase::Flushing && !s.app_reading_paused.get() => Ok(true),
        // The buffer is full: there may be more, which others let us wait for.
        Ok(Got::Bytes(_)) => {
            s.call_soon(&getattr(o, Obj::name("_do_read")?.as_ptr())?, &[])?;
            Ok(false)
        }
        _ => Ok(false),
    }
}

fn on_close_notify(o: *mut PyObject, s: &Tls) -> R<()> {
    call_eof_received(o, s)?;
    start_shutdown(o)
}

/// `eof_received()`, at most once. TLS cannot stay half-open, whatever it returns.
pub fn call_eof_received(o: *mut PyObject, s: &Tls) -> R<()> {
    if s.told.get() != Told::ConnectionMade {
        return Ok(());
    }
    s.told.set(Told::Eof);
    let protocol = s.app_protocol.obj_or_none();
    let keep_open = call_method(globals().names.eof_received, &[protocol.as_ptr()]).and_then(|k| is_true(k.as_ptr()));
    match keep_open {
        Ok(false) => Ok(()),
        Ok(true) => log_warning("returning true from eof_received() has no effect when using ssl"),
        Err(Raised) => fatal_error(o, &caught_all()?, "Error calling eof_received()"),
    }
}

/// Pauses the transport below while more ciphertext waits than the application wants to have waiting.
pub fn control_below_reading(s: &Tls) -> R<()> {
    let size = s.engine.incoming_len()?;
    let marks = s.incoming_marks.get();
    let paused = s.below_reading_paused.get();
    let method = if size >= marks.high && !paused {
        "pause_reading"
    } else if size <= marks.low && paused {
        "resume_reading"
    } else {
        return Ok(());
    };
    s.below_reading_paused.set(!paused);
    match s.transport.obj() {
        Some(below) => call_named(below.as_ptr(), method, &[]).map(drop),
        None => Ok(()),
    }
}

/// `resume_reading()` of the application: what waited comes soon.
pub fn resume(o: *mut PyObject) -> R<()> {
    let s = tls(o);
    if !s.app_reading_paused.replace(false) {
        return Ok(());
    }
    s.call_soon(&getattr(o, Obj::name("_resume_reading_now")?.as_ptr())?, &[])
}

pub fn resume_now(o: *mut PyObject) -> R<()> {
    match tls(o).phase.get() {
        Phase::Wrapped | Phase::Flushing | Phase::Shutdown => on_ciphertext(o),
        Phase::Handshake | Phase::Unwrapped => Ok(()),
    }
}
