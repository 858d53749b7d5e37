//! Datagrams in both directions; closing and flow control are those of all transports.
//!
//! Rule 1: an event receives up to 16 datagrams with one system call; more come in the next turn, after others had theirs.
//! Rule 2: what is received together with a datagram during which the protocol pauses waits in the inbox; what is
//!         received together with one during which it closes is dropped, as what the kernel still has is.
//! Rule 3: an OSError of the socket goes to `error_received` and closes nothing.
//! Rule 4: the reactor tells of readability only, edge-triggered; of writability as long as something waits.

use net::datagram::{send_to, Batched, AT_ONCE, IP_MAX};
use net::socket::{self, Sent};
use net::Readiness;
use pyo3::ffi::{self, PyObject};

use super::closing::fatal_error;
use super::datagram_state::{peer, Datagrams};
use super::state::{in_context, st, Chunk, State};
use super::writing::{check_bytes_like, count_dropped, drained, is_bytes, maybe_pause, maybe_resume, new_bytes, View};
use crate::address;
use crate::event_loop::LoopCore;
use crate::job::Job;
use crate::raw::globals::globals;
use crate::raw::obj::{
    call_method, getattr, is_instance, is_interrupt, os_error_object, raise_object, take_raised, value_error,
};
use crate::raw::{handle, Obj, Raised, R};
use crate::read_buffer;
use crate::socket_object;

/// What a datagram counts for beyond its bytes while it waits, and whether one without bytes is sent: from 3.13 on.
const OVERHEAD: usize = if cfg!(Py_3_13) { 8 } else { 0 };

/// Until the next attempt where the kernel doesn't tell when it is worth while: a Unix socket that isn't connected hears
/// nothing of the peer's full queue.
const RETRY_SECONDS: f64 = 0.001;

fn part(s: &State) -> Option<&Datagrams> {
    s.datagrams.get().map(|d| &**d)
}

/// The reactor's event. Called by the loop.
pub fn on_ready(o: *mut PyObject, ready: Readiness) -> R<()> {
    let s = st(o);
    // SAFETY: alive; the reference keeps it so while protocols run.
    let _alive = unsafe { Obj::borrowed(o) };
    in_context(s, || {
        if ready.readable {
            if let Err(e) = receive(o, s) {
                // An interrupt leaves the loop, which may run again: the edge must not be lost.
                again(s, ready);
                return Err(e);
            }
        }
        if ready.writable && (!s.outbox.borrow().is_empty() || hears(s)) {
            return reported(o, s, "_sendto_ready", flush(o));
        }
        Ok(())
    })
}

/// Something waited to be sent, and it hasn't been noted yet that it is gone.
fn hears(s: &State) -> bool {
    part(s).is_some_and(|d| d.hears_of_writability.get())
}

fn again(s: &State, ready: Readiness) {
    if let (Some(core), true) = (s.core(), s.registered.get()) {
        core.push(Job::Io { token: s.token.get(), ready });
    }
}

// ---- receiving ----------------------------------------------------------------------------------------------------

fn receive(o: *mut PyObject, s: &State) -> R<()> {
    let Some(d) = part(s) else { return Ok(()) };
    let mut left = AT_ONCE;
    let mut more = true;
    while deliver_inbox(o, s, d)? && more {
        if left == 0 {
            again(s, Readiness { readable: true, ..Default::default() });
            return Ok(());
        }
        let Some(core) = s.core() else { return Ok(()) };
        match fill_inbox(s, d, core)? {
            Batched::Messages(count, may_be_more) => {
                left = left.saturating_sub(count);
                more = may_be_more;
            }
            Batched::WouldBlock => more = false,
            Batched::Failed(e) => {
                left -= 1;
                // A descriptor that somebody else closed says the same for ever.
                more = !matches!(e.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK));
                let told = error_received(s, &os_error_object(&e)?);
                reported(o, s, "_read_ready", told)?;
            }
        }
    }
    Ok(())
}

/// Gives the protocol what is there; whether it wants more.
fn deliver_inbox(o: *mut PyObject, s: &State, d: &Datagrams) -> R<bool> {
    loop {
        if s.closing.get() {
            let dropped = std::mem::take(&mut *d.inbox.borrow_mut());
            drop(dropped);
            return Ok(false);
        }
        if s.paused.get() || !s.registered.get() {
            s.read_pending.set(true);
            return Ok(false);
        }
        let next = d.inbox.borrow_mut().pop_front();
        let Some((data, from)) = next else { return Ok(true) };
        let protocol = s.protocol.obj_or_none();
        let told = call_method(globals().names.datagram_received, &[protocol.as_ptr(), data.as_ptr(), from.as_ptr()]);
        if told.is_err() {
            reported(o, s, "_read_ready", told.map(drop))?;
        } else if let Some(core) = s.core() {
            core.read_buffer.give_back(data);
        }
    }
}

fn fill_inbox(s: &State, d: &Datagrams, core: &LoopCore) -> R<Batched> {
    let mut batch = core.datagrams.take().unwrap_or_default();
    let largest = if d.family.get() == libc::AF_UNIX { read_buffer::SIZE } else { IP_MAX };
    let received = batch.receive(s.fd.get(), largest);
    let mut stored = Ok(());
    if let Batched::Messages(count, _) = received {
        for i in 0..count {
            let (bytes, from) = batch.message(i);
            let message = core.read_buffer.to_bytes(bytes).and_then(|data| Ok((data, peer(d, from)?)));
            match message {
                Ok(message) => d.inbox.borrow_mut().push_back(message),
                Err(raised) => stored = Err(raised),
            }
        }
    }
    core.datagrams.set(Some(batch));
    stored.map(|()| received)
}

fn error_received(s: &State, exc: &Obj) -> R<()> {
    let protocol = s.protocol.obj_or_none();
    call_method(globals().names.error_received, &[protocol.as_ptr(), exc.as_ptr()]).map(drop)
}

/// What a protocol's method raised goes where what any callback raises goes, and the transport stays as it is.
fn reported(o: *mut PyObject, s: &State, method: &str, result: R<()>) -> R<()> {
    let Err(Raised) = result else { return Ok(()) };
    let Some(exc) = take_raised() else { return Ok(()) };
    let loop_ = s.loop_.obj();
    let (false, Some(loop_)) = (is_interrupt(exc.as_ptr()), loop_) else { return Err(raise_object(exc)) };
    let callback = getattr(o, Obj::name(method)?.as_ptr())?;
    // A copy, since the handler runs in it and we are in the transport's own.
    let context = match s.context.obj() {
        // SAFETY: a context object.
        Some(context) => unsafe { Obj::owned(ffi::PyContext_Copy(context.as_ptr()))? },
        None => crate::raw::future::copy_context()?,
    };
    let handle = handle::new(loop_.as_ptr(), callback.as_ptr(), &[], context)?;
    call_method(globals().names.callback_failed, &[loop_.as_ptr(), handle.as_ptr(), exc.as_ptr()]).map(drop)
}

/// `_read_ready`, as the reports name it.
pub fn read_ready(o: *mut PyObject) -> R<()> {
    on_ready(o, Readiness { readable: true, ..Default::default() })
}

// ---- sending ------------------------------------------------------------------------------------------------------

/// `sendto(data, addr=None)`; `to` is null or None for the connected peer.
pub fn sendto(o: *mut PyObject, data: *mut PyObject, to: *mut PyObject) -> R<()> {
    let s = st(o);
    let Some(d) = part(s) else { return Ok(()) };
    check_bytes_like(data)?;
    // SAFETY: None is always alive.
    let none = unsafe { ffi::Py_None() };
    let mut to = if to.is_null() { none } else { to };
    if OVERHEAD == 0 && !crate::raw::obj::is_true(data)? {
        return Ok(());
    }
    if let Some(remote) = d.remote.obj() {
        // SAFETY: both alive.
        let allowed = to == none || unsafe { ffi::PyObject_RichCompareBool(to, remote.as_ptr(), ffi::Py_EQ) } == 1;
        // SAFETY: attached.
        if !unsafe { ffi::PyErr_Occurred() }.is_null() {
            return Err(Raised);
        }
        if !allowed {
            return Err(value_error(&format!("Invalid address: must be None or {}", text(&remote)?)));
        }
        to = remote.as_ptr();
    }
    // A transport for any peer goes on until the socket is closed.
    if s.lost.get() > 0 && (d.remote.is_set() || !s.sock.is_set()) {
        return count_dropped(s);
    }
    // SAFETY: alive.
    let to = unsafe { Obj::borrowed(to) };
    if s.outbox.borrow().is_empty() {
        match send_object(s, d, data, &to)? {
            Outcome::Sent => return Ok(()),
            Outcome::WouldBlock if s.lost.get() > 0 => return count_dropped(s),
            Outcome::WouldBlock => hear_of_writability(o, s, d)?,
            failed => return send_failed(o, s, failed),
        }
    }
    // SAFETY: alive.
    let bytes = if is_bytes(data) { unsafe { Obj::borrowed(data) } } else { new_bytes(View::new(data)?.bytes())? };
    s.outbox.borrow_mut().push_datagram(Chunk { bytes, to: Some(to) }, OVERHEAD);
    maybe_pause(o, s)
}

/// `str(o)`.
fn text(o: &Obj) -> R<String> {
    // SAFETY: alive.
    let text = unsafe { Obj::owned(ffi::PyObject_Str(o.as_ptr()))? };
    crate::raw::args::text_of(text.as_ptr()).map(str::to_owned)
}

enum Outcome {
    Sent,
    WouldBlock,
    /// The socket's error: told to the protocol.
    Refused(Obj),
    /// Anything else, such as an address of the wrong type: fatal.
    Impossible(Obj),
}

fn send_object(s: &State, d: &Datagrams, data: *mut PyObject, to: &Obj) -> R<Outcome> {
    if is_bytes(data) {
        // SAFETY: an exact `bytes` object, which is immutable and which the caller holds.
        let bytes = unsafe {
            let p = ffi::PyBytes_AS_STRING(data).cast();
            std::slice::from_raw_parts(p, ffi::PyBytes_Size(data) as usize)
        };
        return send(s, d, bytes, data, to);
    }
    match View::new(data) {
        Ok(view) => send(s, d, view.bytes(), data, to),
        Err(Raised) => raised(),
    }
}

/// One attempt. `data` are the bytes as an object, for Python's own `sendto`.
fn send(s: &State, d: &Datagrams, bytes: &[u8], data: *mut PyObject, to: &Obj) -> R<Outcome> {
    if let Some(core) = s.core() {
        core.io_touched.set(true);
    }
    let sent = if d.connected.get() {
        socket::send(s.fd.get(), bytes)
    } else {
        let last = d.peers.borrow().if_last(to.as_ptr());
        let address = match last {
            Some(address) => Some(address),
            None => address::from_python(d.family.get(), to.as_ptr())?,
        };
        let sock = s.sock.obj_or_none();
        let Some(address) = address else {
            return match call_method(globals().names.sendto, &[sock.as_ptr(), data, to.as_ptr()]) {
                Ok(_) => Ok(Outcome::Sent),
                Err(Raised) => raised(),
            };
        };
        if address::audit_sendto(sock.as_ptr(), to.as_ptr()).is_err() {
            return raised();
        }
        // Asked after the hooks, which got the socket and may have closed it: its number may be another's by now.
        let fd = socket_object::of(sock.as_ptr())?.map_or(s.fd.get(), |fields| fields.fd);
        send_to(fd, bytes, &address)
    };
    Ok(match sent {
        Sent::Bytes(_) => Outcome::Sent,
        Sent::WouldBlock => Outcome::WouldBlock,
        Sent::Failed(e) => Outcome::Refused(os_error_object(&e)?),
    })
}

/// What Python's own way raised; interrupts pass.
fn raised() -> R<Outcome> {
    let Some(exc) = take_raised() else { return Ok(Outcome::Sent) };
    if is_interrupt(exc.as_ptr()) {
        return Err(raise_object(exc));
    }
    // SAFETY: the classes are alive.
    let (blocking, interrupted, os) =
        unsafe { (ffi::PyExc_BlockingIOError, ffi::PyExc_InterruptedError, ffi::PyExc_OSError) };
    Ok(if is_instance(exc.as_ptr(), blocking) || is_instance(exc.as_ptr(), interrupted) {
        Outcome::WouldBlock
    } else if is_instance(exc.as_ptr(), os) {
        Outcome::Refused(exc)
    } else {
        Outcome::Impossible(exc)
    })
}

fn send_failed(o: *mut PyObject, s: &State, outcome: Outcome) -> R<()> {
    match outcome {
        Outcome::Refused(exc) => error_received(s, &exc),
        Outcome::Impossible(exc) => fatal_error(o, exc, "Fatal write error on datagram transport"),
        Outcome::Sent | Outcome::WouldBlock => Ok(()),
    }
}

/// Something waits to be sent.
pub fn hear_of_writability(o: *mut PyObject, s: &State, d: &Datagrams) -> R<()> {
    let Some(core) = s.core() else { return Ok(()) };
    if s.registered.get() && !d.hears_of_writability.replace(true) {
        core.io.hear_of_writability(s.fd.get(), s.token.get(), true).map_err(|e| crate::raw::obj::os_error(&e))?;
    }
    if d.family.get() == libc::AF_UNIX && !d.connected.get() && !d.will_retry.replace(true) {
        let callback = getattr(o, Obj::name("_sendto_ready")?.as_ptr())?;
        let loop_ = s.loop_.obj_or_none();
        let delay = Obj::float(RETRY_SECONDS)?;
        let later = Obj::name("call_later")?;
        call_method(later.as_ptr(), &[loop_.as_ptr(), delay.as_ptr(), callback.as_ptr()])?;
    }
    Ok(())
}

/// `_sendto_ready`: the retry's timer, and the name of sending in reports.
pub fn sendto_ready(o: *mut PyObject) -> R<()> {
    let s = st(o);
    if let Some(d) = part(s) {
        d.will_retry.set(false);
    }
    in_context(s, || flush(o))
}

/// Sends what waits, as far as the kernel takes it.
fn flush(o: *mut PyObject) -> R<()> {
    let s = st(o);
    let Some(d) = part(s) else { return Ok(()) };
    loop {
        if s.lost.get() > 0 || !s.sock.is_set() {
            return Ok(());
        }
        let next = s.outbox.borrow_mut().pop_datagram(OVERHEAD);
        let Some(next) = next else { break };
        let to = next.to.clone().unwrap_or_else(Obj::none);
        match send(s, d, next.as_ref(), next.bytes.as_ptr(), &to)? {
            Outcome::Sent => {}
            Outcome::WouldBlock => {
                s.outbox.borrow_mut().put_back_datagram(next, OVERHEAD);
                hear_of_writability(o, s, d)?;
                return maybe_resume(o, s);
            }
            failed => {
                // The rest goes out in the next turn, whatever the protocol says to this.
                again(s, Readiness { writable: true, ..Default::default() });
                return send_failed(o, s, failed);
            }
        }
    }
    maybe_resume(o, s)?;
    if s.outbox.borrow().is_empty() {
        if let (true, Some(core)) = (d.hears_of_writability.replace(false), s.core()) {
            let _ = core.io.hear_of_writability(s.fd.get(), s.token.get(), false);
        }
        return drained(o, s);
    }
    Ok(())
}
