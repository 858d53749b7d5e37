//! Accepting connections: a listening socket in the reactor, edge-triggered.
//!
//! Rule 1: an event accepts until nobody waits, but at most a turn's share; the rest comes in the next turn.
//! Rule 2: out of descriptors or memory: say so once, accept nothing for a second, try again, and say nothing more until
//!         a connection was accepted again.

use std::cell::Cell;
use std::os::fd::RawFd;

use net::socket::{accept, Accepted};
use net::Readiness;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::event_loop::LoopCore;
use crate::job::{visit_raw, Job};
use crate::raw::future::{call_exception_handler, copy_context};
use crate::raw::globals::globals;
use crate::raw::obj::{call, call_method, is_interrupt, os_error, os_error_object, raise_object, take_raised};
use crate::raw::{Obj, Raised, Slot, R};

/// How many connections one event accepts before others get their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// asyncio's `ACCEPT_RETRY_DELAY`, in seconds.
const RETRY_DELAY: i64 = 1;

/// `Listener(loop, sock, on_connection)`: calls `on_connection(conn)` with a non-blocking socket for every connection.
#[pyclass(frozen, module = "segue._core")]
pub struct Listener {
    loop_: Slot,
    core: Cell<*const LoopCore>,
    sock: Slot,
    on_connection: Slot,
    context: Slot,
    /// Family, kind and protocol of what is accepted.
    make_socket: Slot,
    fd: Cell<RawFd>,
    token: Cell<Option<u64>>,
    /// Out of resources has been said and nothing was accepted since.
    exhausted: Cell<bool>,
    closed: Cell<bool>,
}

// SAFETY: as LoopCore: everything happens with the GIL held.
unsafe impl Sync for Listener {}
// SAFETY: as above.
unsafe impl Send for Listener {}

#[pymethods]
impl Listener {
    #[new]
    fn new(loop_: &Bound<'_, PyAny>, sock: &Bound<'_, PyAny>, on_connection: &Bound<'_, PyAny>) -> PyResult<Self> {
        let Some(core) = LoopCore::of(loop_.as_ptr()) else {
            return Err(pyo3::exceptions::PyTypeError::new_err("loop must be a segue.EventLoop"));
        };
        let listener = Listener {
            loop_: Slot::default(),
            core: Cell::new(core),
            sock: Slot::default(),
            on_connection: Slot::default(),
            context: Slot::default(),
            make_socket: Slot::default(),
            fd: Cell::new(sock.call_method0(intern!(sock.py(), "fileno"))?.extract()?),
            token: Cell::new(None),
            exhausted: Cell::new(false),
            closed: Cell::new(false),
        };
        listener.loop_.set(Obj::from(loop_.clone()));
        listener.sock.set(Obj::from(sock.clone()));
        listener.on_connection.set(Obj::from(on_connection.clone()));
        listener.context.set(copy_context()?);
        let family = sock.getattr(intern!(sock.py(), "family"))?;
        let kind: i32 = sock.getattr(intern!(sock.py(), "type"))?.extract()?;
        let kind = Obj::int((kind | libc::SOCK_NONBLOCK).into())?;
        let proto = sock.getattr(intern!(sock.py(), "proto"))?;
        listener.make_socket.set(Obj::tuple(&[family.as_ptr(), kind.as_ptr(), proto.as_ptr()])?);
        Ok(listener)
    }

    /// Begins to accept. Connections that wait already come with the next turn.
    fn start(slf: &Bound<'_, Self>) -> PyResult<()> {
        let l = slf.get();
        if l.closed.get() || l.token.get().is_some() {
            return Ok(());
        }
        let Some(core) = l.core() else { return Ok(()) };
        core.check_process()?;
        let object = Obj::from(slf.clone().into_any());
        let token = core.io.register(l.fd.get(), object, on_ready, true).map_err(|e| os_error(&e))?;
        l.token.set(Some(token));
        Ok(())
    }

    /// Stops accepting; the socket stays open.
    fn stop(&self) {
        self.closed.set(true);
        self.pause();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for slot in [&self.loop_, &self.sock, &self.on_connection, &self.context, &self.make_socket] {
            visit_raw(&visit, slot.get())?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.core.set(std::ptr::null());
        for slot in [&self.loop_, &self.sock, &self.on_connection, &self.context, &self.make_socket] {
            slot.clear();
        }
    }
}

impl Listener {
    fn core(&self) -> Option<&LoopCore> {
        // SAFETY: kept alive by `loop_`; cleared together with it.
        unsafe { self.core.get().as_ref() }
    }

    fn pause(&self) {
        if let (Some(core), Some(token)) = (self.core(), self.token.take()) {
            core.io.deregister(self.fd.get(), token);
        }
    }

    fn accept_all(&self, o: *mut PyObject) -> R<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.token.get().is_none() {
                return Ok(());
            }
            match accept(self.fd.get()) {
                Accepted::Socket(fd) => {
                    self.exhausted.set(false);
                    self.connected(fd)?;
                }
                Accepted::Aborted => {}
                Accepted::WouldBlock => return Ok(()),
                Accepted::Exhausted(e) => return self.wait_for_resources(o, &e),
                Accepted::Failed(e) => return Err(crate::raw::obj::os_error(&e)),
            }
        }
        if let (Some(core), Some(token)) = (self.core(), self.token.get()) {
            core.push(Job::Io { token, ready: Readiness { readable: true, ..Default::default() } });
        }
        Ok(())
    }

    /// Hands a connection over. What goes wrong there concerns this connection only and is reported by the callee;
    /// interrupts leave the loop.
    fn connected(&self, fd: RawFd) -> R<()> {
        let (Some(args), Some(callback)) = (self.make_socket.obj(), self.on_connection.obj()) else {
            // SAFETY: ours, and nobody else has seen it.
            unsafe { libc::close(fd) };
            return Ok(());
        };
        // SAFETY: a tuple of three.
        let item = |i| unsafe { ffi::PyTuple_GET_ITEM(args.as_ptr(), i) };
        let conn = crate::socket_object::adopt(item(0), item(1), item(2), fd)?;
        call(callback.as_ptr(), &[conn.as_ptr()]).map(drop)
    }

    fn wait_for_resources(&self, o: *mut PyObject, e: &std::io::Error) -> R<()> {
        self.pause();
        let loop_ = self.loop_.obj_or_none();
        if !self.exhausted.replace(true) {
            let n = &globals().names;
            let message = Obj::str("socket.accept() out of system resource")?;
            let exc = os_error_object(e)?;
            let key = Obj::str("socket")?;
            let shown = call(globals().transport_socket, &[self.sock.obj_or_none().as_ptr()])?;
            let items = [(n.message, message.as_ptr()), (n.exception, exc.as_ptr()), (key.as_ptr(), shown.as_ptr())];
            call_exception_handler(loop_.as_ptr(), &items)?;
        }
        let start = crate::raw::obj::getattr(o, Obj::name("start")?.as_ptr())?;
        let later = Obj::name("call_later")?;
        let delay = Obj::int(RETRY_DELAY)?;
        call_method(later.as_ptr(), &[loop_.as_ptr(), delay.as_ptr(), start.as_ptr()]).map(drop)
    }
}

/// The reactor's event.
fn on_ready(o: *mut PyObject, _: Readiness) -> R<()> {
    // SAFETY: attached; registered objects of this function are Listeners.
    let listener = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), o).cast_into_unchecked::<Listener>() };
    let l = listener.get();
    let Some(context) = l.context.obj() else { return Ok(()) };
    // SAFETY: a context object; entering fails cleanly if it is in use.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return Err(Raised);
    }
    let result = l.accept_all(o);
    let result = crate::raw::task_step::leave_context(&context, result);
    match result {
        Ok(()) => Ok(()),
        Err(Raised) => match take_raised() {
            Some(exc) if is_interrupt(exc.as_ptr()) => Err(raise_object(exc)),
            Some(exc) => {
                // One connection's error must not leave the others waiting for an edge that has passed.
                if let (Some(core), Some(token)) = (l.core(), l.token.get()) {
                    core.push(Job::Io { token, ready: Readiness { readable: true, ..Default::default() } });
                }
                Err(raise_object(exc))
            }
            None => Ok(()),
        },
    }
}
