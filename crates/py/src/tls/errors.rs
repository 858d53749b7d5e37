//! What is told to whom when something goes wrong.

use pyo3::ffi::{self, PyObject};

use super::python_ssl::call_named;
use super::state::{tls, Tls};
use crate::raw::future::call_exception_handler;
use crate::raw::globals::globals;
use crate::raw::obj::{call_kw, getattr, is_instance, is_interrupt, raise_object, take_raised};
use crate::raw::{Obj, Raised, R};
use crate::transport::closing::force_close;

/// Python's `except Exception`: takes what was raised, or lets it pass.
pub fn caught() -> R<Obj> {
    let Some(exc) = take_raised() else { return Err(Raised) };
    // SAFETY: the class is always alive.
    if is_instance(exc.as_ptr(), unsafe { ffi::PyExc_Exception }) {
        return Ok(exc);
    }
    Err(raise_object(exc))
}

/// `except (KeyboardInterrupt, SystemExit): raise`, `except BaseException`.
pub fn caught_all() -> R<Obj> {
    let Some(exc) = take_raised() else { return Err(Raised) };
    if is_interrupt(exc.as_ptr()) {
        return Err(raise_object(exc));
    }
    Ok(exc)
}

/// `logger.debug(form, *args, exc_info=exc)`.
pub fn log_debug(form: &str, args: &[*mut PyObject], exc: Option<&Obj>) -> R<()> {
    let debug = getattr(globals().logger, Obj::name("debug")?.as_ptr())?;
    let form = Obj::str(form)?;
    let mut all = vec![form.as_ptr()];
    all.extend_from_slice(args);
    match exc {
        None => crate::raw::obj::call(debug.as_ptr(), &all).map(drop),
        Some(exc) => {
            all.push(exc.as_ptr());
            let names = Obj::tuple(&[Obj::str("exc_info")?.as_ptr()])?;
            call_kw(debug.as_ptr(), &all, names.as_ptr()).map(drop)
        }
    }
}

pub fn log_warning(text: &str) -> R<()> {
    call_named(globals().logger, "warning", &[Obj::str(text)?.as_ptr()]).map(drop)
}

/// Closes the transport below at once; its connection_lost comes to us soon.
pub fn force_close_below(s: &Tls, exc: &Obj) -> R<()> {
    let Some(below) = s.transport.obj() else { return Ok(()) };
    if s.transport_is_ours.get() {
        return force_close(below.as_ptr(), exc.clone());
    }
    call_named(below.as_ptr(), "_force_close", &[exc.as_ptr()]).map(drop)
}

/// An error that the connection cannot survive. An OSError (as every SSLError) is everyday: only debug mode logs it.
pub fn fatal_error(o: *mut PyObject, exc: &Obj, message: &str) -> R<()> {
    let s = tls(o);
    force_close_below(s, exc)?;
    // SAFETY: OSError is alive.
    if is_instance(exc.as_ptr(), unsafe { ffi::PyExc_OSError }) {
        if s.debug() {
            log_debug("%r: %s", &[o, Obj::str(message)?.as_ptr()], Some(exc))?;
        }
        return Ok(());
    }
    if is_instance(exc.as_ptr(), globals().cancelled_error) {
        return Ok(());
    }
    report(s, message, exc, &s.transport.obj_or_none(), o)
}

/// `loop.call_exception_handler({...})`.
pub fn report(s: &Tls, message: &str, exc: &Obj, transport: &Obj, protocol: *mut PyObject) -> R<()> {
    let Some(loop_) = s.loop_.obj() else { return Ok(()) };
    let n = &globals().names;
    let message = Obj::str(message)?;
    let items = [
        (n.message, message.as_ptr()),
        (n.exception, exc.as_ptr()),
        (n.transport, transport.as_ptr()),
        (n.protocol, protocol),
    ];
    call_exception_handler(loop_.as_ptr(), &items)
}
