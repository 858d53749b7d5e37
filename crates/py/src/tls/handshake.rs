//! The handshake: from connection_made to the application's connection_made.

use pyo3::ffi::{self, PyObject};
use sched::Clock;

use super::errors::{caught, fatal_error, log_debug};
use super::python_ssl::{call_named, python_ssl};
use super::reading::read;
use super::state::{tls, Phase, Tls, Told};
use super::writing::process_outgoing;
use crate::raw::args::text_of;
use crate::raw::globals::globals;
use crate::raw::obj::{call, call_method, getattr, is_instance, is_true, raise_object};
use crate::raw::{Obj, Raised, R};

/// The transport below is there.
pub fn start(o: *mut PyObject) -> R<()> {
    let s = tls(o);
    if s.debug() {
        log_debug("%r starts SSL handshake", &[o], None)?;
        s.handshake_started.set(s.core().map(|c| c.clock.now()));
    } else {
        s.handshake_started.set(None);
    }
    s.set_phase(Phase::Handshake)?;
    let timer = s.call_later(&s.handshake_timeout.obj_or_none(), o, "_check_handshake_timeout")?;
    s.handshake_timer.set(timer);
    step(o)
}

pub fn timed_out(o: *mut PyObject) -> R<()> {
    let s = tls(o);
    if s.phase.get() != Phase::Handshake {
        return Ok(());
    }
    let seconds = s.handshake_timeout.obj_or_none();
    // SAFETY: alive.
    let seconds = unsafe { Obj::owned(ffi::PyObject_Str(seconds.as_ptr()))? };
    let text =
        format!("SSL handshake is taking longer than {} seconds: aborting the connection", text_of(seconds.as_ptr())?);
    let text = Obj::str(&text)?;
    // SAFETY: the class is always alive.
    let exc = call(unsafe { ffi::PyExc_ConnectionAbortedError }, &[text.as_ptr()])?;
    fatal_error(o, &exc, "Fatal error on transport")
}

/// Takes the handshake as far as the bytes that are there allow.
pub fn step(o: *mut PyObject) -> R<()> {
    let s = tls(o);
    match s.engine.handshake() {
        Ok(true) => complete(o, None),
        Ok(false) => process_outgoing(o, s),
        Err(Raised) => {
            let exc = caught()?;
            if !is_instance(exc.as_ptr(), python_ssl()?.ssl_error) {
                return Err(raise_object(exc));
            }
            complete(o, Some(exc))
        }
    }
}

/// The handshake is over, with this error or none.
pub fn complete(o: *mut PyObject, failure: Option<Obj>) -> R<()> {
    let s = tls(o);
    s.cancel(&s.handshake_timer)?;
    let object = s.engine.object.obj_or_none();
    if let Some(exc) = failure {
        return failed(o, s, &exc);
    }
    let certificate = match s.set_phase(Phase::Wrapped).and_then(|()| call_named(object.as_ptr(), "getpeercert", &[])) {
        Ok(certificate) => certificate,
        Err(Raised) => return failed(o, s, &caught()?),
    };
    if let Some(started) = s.handshake_started.get() {
        let now = s.core().map_or(started, |c| c.clock.now());
        let milliseconds = Obj::float(now.saturating_sub(started) as f64 / 1e6)?;
        log_debug("%r: SSL handshake took %.1f ms", &[o, milliseconds.as_ptr()], None)?;
    }
    s.put_extra("peercert", &certificate)?;
    s.put_extra("cipher", &call_named(object.as_ptr(), "cipher", &[])?)?;
    s.put_extra("compression", &call_named(object.as_ptr(), "compression", &[])?)?;
    s.put_extra("ssl_object", &object)?;
    if s.told.get() == Told::Nothing {
        s.told.set(Told::ConnectionMade);
        let (protocol, transport) = (s.app_protocol.obj_or_none(), s.app_transport.obj_or_none());
        call_method(globals().names.connection_made, &[protocol.as_ptr(), transport.as_ptr()])?;
    }
    wake_waiter(s, None)?;
    read(o)
}

fn failed(o: *mut PyObject, s: &Tls, exc: &Obj) -> R<()> {
    // The alert that says why, as far as the connection takes it at once.
    process_outgoing(o, s)?;
    s.set_phase(Phase::Unwrapped)?;
    let message = if is_instance(exc.as_ptr(), python_ssl()?.certificate_error) {
        "SSL handshake failed on verifying the certificate"
    } else {
        "SSL handshake failed"
    };
    fatal_error(o, exc, message)?;
    wake_waiter(s, Some(exc))
}

/// Tells whoever waits for the handshake, once.
pub fn wake_waiter(s: &Tls, exc: Option<&Obj>) -> R<()> {
    let Some(waiter) = s.waiter.take() else { return Ok(()) };
    let cancelled = getattr(waiter.as_ptr(), globals().names.cancelled)?;
    if is_true(call(cancelled.as_ptr(), &[])?.as_ptr())? {
        return Ok(());
    }
    let n = &globals().names;
    match exc {
        Some(exc) => call_method(n.set_exception, &[waiter.as_ptr(), exc.as_ptr()]).map(drop),
        None => call_method(n.set_result, &[waiter.as_ptr(), Obj::none().as_ptr()]).map(drop),
    }
}
