//! Closing: gracefully, at once, after an error; connection_lost exactly once.

use pyo3::ffi::{self, PyObject};

use super::state::{in_context, st, Kind, State};
use crate::job::Job;
use crate::raw::future::call_exception_handler;
use crate::raw::globals::globals;
use crate::raw::obj::{call_kw, call_method, is_instance, is_interrupt, raise_object, take_raised};
use crate::raw::{handle, Obj, Raised, R};

/// `close()`: no more reading; connection_lost(None) once the outbox is empty.
pub fn close(o: *mut PyObject) -> R<()> {
    let s = st(o);
    if s.closing.replace(true) {
        return Ok(());
    }
    if s.outbox.borrow().is_empty() {
        s.lost.set(s.lost.get() + 1);
        return call_connection_lost_soon(o, s, Obj::none());
    }
    Ok(())
}

/// Closes at once and drops what waits; connection_lost(exc) follows soon.
pub fn force_close(o: *mut PyObject, exc: Obj) -> R<()> {
    let s = st(o);
    if s.lost.get() > 0 && s.closing.get() {
        return Ok(());
    }
    let waiting = s.outbox.borrow_mut().take_all();
    drop(waiting);
    s.closing.set(true);
    s.lost.set(s.lost.get() + 1);
    call_connection_lost_soon(o, s, exc)
}

/// An error that the connection cannot survive: told to debug logging (an OSError is everyday) or the exception handler.
pub fn fatal_error(o: *mut PyObject, exc: Obj, message: &str) -> R<()> {
    let s = st(o);
    if is_everyday(s, &exc)? {
        if s.core().is_some_and(|c| c.debug.get()) {
            log_debug(o, &exc, message)?;
        }
    } else if let Some(loop_) = s.loop_.obj() {
        let n = &globals().names;
        let text = Obj::str(message)?;
        let protocol = s.protocol.obj_or_none();
        let items = [
            (n.message, text.as_ptr()),
            (n.exception, exc.as_ptr()),
            (n.transport, o),
            (n.protocol, protocol.as_ptr()),
        ];
        call_exception_handler(loop_.as_ptr(), &items)?;
    }
    force_close(o, exc)
}

/// Whether an error is no news: an OSError, but from a read end only EIO (a terminal whose other side is gone).
fn is_everyday(s: &State, exc: &Obj) -> R<bool> {
    // SAFETY: OSError is alive.
    if !is_instance(exc.as_ptr(), unsafe { ffi::PyExc_OSError }) {
        return Ok(false);
    }
    if s.kind.get() != Kind::ReadPipe {
        return Ok(true);
    }
    let errno = crate::raw::obj::getattr(exc.as_ptr(), Obj::name("errno")?.as_ptr())?;
    let eio = Obj::int(libc::EIO.into())?;
    // SAFETY: both alive; compares two numbers, or None with one.
    match unsafe { ffi::PyObject_RichCompareBool(errno.as_ptr(), eio.as_ptr(), ffi::Py_EQ) } {
        -1 => Err(Raised),
        equal => Ok(equal == 1),
    }
}

/// `logger.debug("%r: %s", transport, message, exc_info=exc)`.
fn log_debug(o: *mut PyObject, exc: &Obj, message: &str) -> R<()> {
    let debug = crate::raw::obj::getattr(globals().logger, Obj::name("debug")?.as_ptr())?;
    let (form, text) = (Obj::str("%r: %s")?, Obj::str(message)?);
    let names = Obj::tuple(&[Obj::str("exc_info")?.as_ptr()])?;
    call_kw(debug.as_ptr(), &[form.as_ptr(), o, text.as_ptr(), exc.as_ptr()], names.as_ptr()).map(drop)
}

/// A protocol method raised: interrupts pass, everything else is fatal for the connection.
pub fn failed_in_protocol(o: *mut PyObject, message: &str) -> R<()> {
    let Some(exc) = take_raised() else { return Ok(()) };
    if is_interrupt(exc.as_ptr()) {
        return Err(raise_object(exc));
    }
    fatal_error(o, exc, message)
}

fn call_connection_lost_soon(o: *mut PyObject, s: &State, exc: Obj) -> R<()> {
    let (Some(core), Some(loop_)) = (s.core(), s.loop_.obj()) else { return Ok(()) };
    if core.is_closed() {
        return core.check_closed();
    }
    let method = crate::raw::obj::getattr(o, globals().names.call_connection_lost)?;
    let context = match s.context.obj() {
        Some(context) => context,
        None => crate::raw::future::copy_context()?,
    };
    let handle = handle::new(loop_.as_ptr(), method.as_ptr(), &[exc.as_ptr()], context)?;
    core.push(Job::Handle(handle));
    Ok(())
}

/// The end, from inside an event of the transport's own.
pub fn call_connection_lost_now(o: *mut PyObject, exc: Obj) -> R<()> {
    call_connection_lost(o, exc.as_ptr())
}

/// `_call_connection_lost`: tells the protocol, then lets go of everything, whatever the protocol raised.
pub fn call_connection_lost(o: *mut PyObject, exc: *mut PyObject) -> R<()> {
    let s = st(o);
    let told = if s.protocol_connected.replace(false) {
        let protocol = s.protocol.obj_or_none();
        in_context(s, || call_method(globals().names.connection_lost, &[protocol.as_ptr(), exc]).map(drop))
    } else {
        Ok(())
    };
    let raised = if told.is_err() { take_raised() } else { None };
    let released = release(o, s);
    match raised {
        Some(exc) => Err(raise_object(exc)),
        None => released,
    }
}

/// Leaves the reactor, closes the descriptor, and forgets loop, protocol and server.
fn release(o: *mut PyObject, s: &State) -> R<()> {
    unregister(s);
    if let Some(core) = s.core() {
        core.io_touched.set(true);
    }
    if let Some(datagrams) = s.datagrams.get() {
        datagrams.forget();
    }
    let waiter = s.empty_waiter.take();
    let sock = s.sock.take();
    s.fd.set(-1);
    s.core.set(std::ptr::null());
    let server = s.server.take();
    drop((s.protocol.take(), s.context.take(), s.loop_.take()));
    if let Some(waiter) = waiter {
        fail_waiter(&waiter)?;
    }
    let closed = match sock {
        Some(sock) => call_method(globals().names.close, &[sock.as_ptr()]).map(drop),
        None => Ok(()),
    };
    if let Some(server) = server {
        detach(&server, o)?;
    }
    closed
}

fn fail_waiter(waiter: &Obj) -> R<()> {
    let done = call_method(Obj::name("done")?.as_ptr(), &[waiter.as_ptr()])?;
    if crate::raw::obj::is_true(done.as_ptr())? {
        return Ok(());
    }
    let text = Obj::str("Connection is closed by peer")?;
    // SAFETY: ConnectionError is alive.
    let exc = crate::raw::obj::call(unsafe { ffi::PyExc_ConnectionError }, &[text.as_ptr()])?;
    call_method(globals().names.set_exception, &[waiter.as_ptr(), exc.as_ptr()]).map(drop)
}

/// From 3.13 on a server knows its transports, so it is told which one.
fn detach(server: &Obj, o: *mut PyObject) -> R<()> {
    let name = globals().names.detach;
    if cfg!(Py_3_13) {
        call_method(name, &[server.as_ptr(), o]).map(drop)
    } else {
        call_method(name, &[server.as_ptr()]).map(drop)
    }
}

/// The same from a finaliser, where there is nobody to raise to.
pub fn detach_quietly(server: &Obj, o: *mut PyObject) {
    if let Err(Raised) = detach(server, o) {
        crate::raw::obj::write_unraisable(server.as_ptr());
    }
}

pub fn attach(server: &Obj, o: *mut PyObject) -> R<()> {
    let name = globals().names.attach;
    if cfg!(Py_3_13) {
        call_method(name, &[server.as_ptr(), o]).map(drop)
    } else {
        call_method(name, &[server.as_ptr()]).map(drop)
    }
}

/// Leaves the reactor; the descriptor stays open.
pub fn unregister(s: &State) {
    if s.registered.replace(false) {
        if let Some(core) = s.core() {
            core.io.deregister(s.fd.get(), s.token.replace(u64::MAX));
        }
    }
}

/// After the end of the input, with nothing to write, the loop has no business with the transport: it lets go of it, so that
/// one which everybody else has forgotten is collected (and says that it was not closed).
pub fn rest_if_idle(s: &State) {
    if (s.at_eof.get() || s.kind.get() == super::state::Kind::WriteDevice) && s.outbox.borrow().is_empty() {
        unregister(s);
    }
}

/// Enters the reactor. What is readable or writable already comes as the first event.
pub fn register(o: *mut PyObject, s: &State) -> R<()> {
    let Some(core) = s.core() else { return Ok(()) };
    if s.registered.get() || s.closing.get() && s.outbox.borrow().is_empty() {
        return Ok(());
    }
    let read_only = matches!(s.kind.get(), super::state::Kind::ReadPipe | super::state::Kind::Datagrams);
    let on_ready = match s.kind.get() {
        super::state::Kind::Datagrams => super::datagrams::on_ready,
        _ => super::reading::on_ready,
    };
    // SAFETY: alive.
    let object = unsafe { Obj::borrowed(o) };
    match core.io.register(s.fd.get(), object, on_ready, read_only) {
        Ok(token) => {
            s.token.set(token);
            s.registered.set(true);
            match s.datagrams.get() {
                Some(datagrams) if !s.outbox.borrow().is_empty() => {
                    super::datagrams::hear_of_writability(o, s, datagrams)
                }
                _ => Ok(()),
            }
        }
        Err(e) => Err(crate::raw::obj::os_error(&e)),
    }
}
