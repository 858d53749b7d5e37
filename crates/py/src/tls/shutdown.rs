//! The end: close_notify both ways, EOF from below, abort, connection_lost.

use pyo3::ffi::{self, PyObject};

use super::errors::{caught, fatal_error, force_close_below, log_debug};
use super::handshake::{complete, wake_waiter};
use super::object;
use super::python_ssl::python_ssl;
use super::reading::{call_eof_received, read};
use super::state::{tls, Phase, Tls, Told};
use super::transport::AppSide;
use super::writing::{process_outgoing, write_backlog};
use crate::raw::globals::globals;
use crate::raw::obj::{call, call_method, getattr, is_instance, raise_object};
use crate::raw::{Obj, Raised, R};

/// The application closed its transport, or the peer said close_notify.
pub fn start_shutdown(o: *mut PyObject) -> R<()> {
    let s = tls(o);
    if s.is_past_writing() {
        return Ok(());
    }
    mark_closed(s);
    if s.phase.get() == Phase::Handshake {
        return abort(o, &Obj::none());
    }
    s.set_phase(Phase::Flushing)?;
    start_timer(o, s)?;
    flush(o)
}

/// From now on the connection has `ssl_shutdown_timeout` seconds until it must be gone.
fn start_timer(o: *mut PyObject, s: &Tls) -> R<()> {
    if !s.shutdown_timer.is_set() {
        s.shutdown_timer.set(s.call_later(&s.shutdown_timeout.obj_or_none(), o, "_check_shutdown_timeout")?);
    }
    Ok(())
}

fn mark_closed(s: &Tls) {
    if let Some(transport) = s.app_transport.obj() {
        object::state::<AppSide>(transport.as_ptr()).closed.set(true);
    }
}

pub fn timed_out(o: *mut PyObject) -> R<()> {
    let s = tls(o);
    if !matches!(s.phase.get(), Phase::Flushing | Phase::Shutdown) {
        return Ok(());
    }
    let text = Obj::str("SSL shutdown timed out")?;
    // SAFETY: the class is always alive.
    let exc = call(unsafe { ffi::PyExc_TimeoutError }, &[text.as_ptr()])?;
    force_close_below(s, &exc)
}

/// Delivers what came in before, sends what waits, then begins the shutdown proper.
pub fn flush(o: *mut PyObject) -> R<()> {
    let s = tls(o);
    read(o)?;
    // The application may have aborted, or closed once more, from within.
    if s.phase.get() != Phase::Flushing {
        return Ok(());
    }
    s.set_phase(Phase::Shutdown)?;
    step(o)
}

/// Takes the shutdown as far as the bytes that are there allow.
pub fn step(o: *mut PyObject) -> R<()> {
    let s = tls(o);
    s.corked.set(false);
    let done = if s.eof_received.get() { Ok(true) } else { s.engine.unwrap() };
    match done {
        Ok(false) => process_outgoing(o, s),
        Ok(true) => {
            process_outgoing(o, s)?;
            call_eof_received(o, s)?;
            finished(o, s, None)
        }
        Err(Raised) => {
            let exc = caught()?;
            if !is_instance(exc.as_ptr(), python_ssl()?.ssl_error) {
                return Err(raise_object(exc));
            }
            finished(o, s, Some(exc))
        }
    }
}

fn finished(o: *mut PyObject, s: &Tls, exc: Option<Obj>) -> R<()> {
    s.shut_down.set(true);
    if let Some(exc) = exc {
        s.cancel(&s.shutdown_timer)?;
        return fatal_error(o, &exc, "Fatal error on transport");
    }
    // Below is closed once it has sent everything, which a peer that does not read can put off for ever: the timer
    // goes on until connection_lost, or begins if it was the peer who closed first.
    start_timer(o, s)?;
    match s.transport.obj() {
        Some(below) => s.call_soon(&getattr(below.as_ptr(), globals().names.close)?, &[]),
        None => Ok(()),
    }
}

/// Closes at once; what the application wrote in this call has been sent as far as it fitted.
pub fn abort(o: *mut PyObject, exc: &Obj) -> R<()> {
    let s = tls(o);
    if s.corked.replace(false) {
        process_outgoing(o, s)?;
    }
    s.set_phase(Phase::Unwrapped)?;
    force_close_below(s, exc)
}

/// The other end of the connection below was closed. True keeps it open for now.
pub fn eof_from_below(o: *mut PyObject) -> R<bool> {
    let s = tls(o);
    s.eof_received.set(true);
    match on_eof(o, s) {
        Ok(keep_open) => Ok(keep_open),
        Err(Raised) => {
            let exc = caught()?;
            if let Some(below) = s.transport.obj() {
                call_method(globals().names.close, &[below.as_ptr()])?;
            }
            Err(raise_object(exc))
        }
    }
}

fn on_eof(o: *mut PyObject, s: &Tls) -> R<bool> {
    if s.debug() {
        log_debug("%r received EOF", &[o], None)?;
    }
    match s.phase.get() {
        Phase::Handshake => {
            // SAFETY: the class is always alive.
            let exc = call(unsafe { ffi::PyExc_ConnectionResetError }, &[])?;
            complete(o, Some(exc))?;
        }
        Phase::Wrapped => {
            s.set_phase(Phase::Flushing)?;
            if s.app_reading_paused.get() {
                return Ok(true);
            }
            flush(o)?;
        }
        Phase::Flushing => {
            write_backlog(o, s)?;
            s.set_phase(Phase::Shutdown)?;
            step(o)?;
        }
        Phase::Shutdown => step(o)?,
        Phase::Unwrapped => {}
    }
    Ok(false)
}

/// The connection below is gone: tells the application soon, and lets go of everything but what can still be asked for.
pub fn connection_lost(o: *mut PyObject, exc: *mut PyObject) -> R<()> {
    let s = tls(o);
    let waiting = std::mem::take(&mut *s.backlog.borrow_mut());
    s.backlog_len.set(0);
    drop(waiting);
    s.engine.drain(&mut Vec::new())?;
    s.lost.set(s.lost.get().saturating_add(1));
    mark_closed(s);
    if s.phase.get() != Phase::Handshake && matches!(s.told.get(), Told::ConnectionMade | Told::Eof) {
        s.told.set(Told::ConnectionLost);
        let protocol = s.app_protocol.obj_or_none();
        s.call_soon(&getattr(protocol.as_ptr(), globals().names.connection_lost)?, &[exc])?;
    }
    s.set_phase(Phase::Unwrapped)?;
    drop((s.transport.take(), s.app_transport.take(), s.app_protocol.take()));
    // SAFETY: alive.
    let exc = unsafe { Obj::borrowed(exc) };
    wake_waiter(s, (!exc.is_none()).then_some(&exc))?;
    s.cancel(&s.shutdown_timer)?;
    s.cancel(&s.handshake_timer)
}
