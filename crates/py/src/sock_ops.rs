//! `loop.sock_recv` and its like: one attempt at once, and what waits until the next is worth while.
//!
//! The coroutines themselves are Python (`python/segue/_sockets.py`), which call `_sock_try_…` here. The answer is
//!
//! - the result, if there was one at once;
//! - a future, if the socket has to become ready: the operation watches the descriptor for one event;
//! - `NotImplemented`, if asyncio's own code shall do it: for anything but a plain non-blocking `socket.socket`, unusual
//!   arguments, and in debug mode, which checks more.
//!
//! An operation asks its socket object for the descriptor at every attempt, so that on a socket that was closed meanwhile
//! it fails with EBADF, as asyncio's does, and never touches another that got its number.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::rc::Rc;

use net::datagram::{accept_from, receive_from, send_to};
use net::socket::{self, Accepted, Received, Sent};
use net::Address;
use pyo3::ffi::{self, PyObject};

use crate::address;
use crate::event_loop::LoopCore;
use crate::fast_method;
use crate::io::{Direction, Watcher};
use crate::raw::args::Args;
use crate::raw::heap_type::fast;
use crate::raw::obj::{call_method, is_interrupt, os_error, raise_object, take_raised};
use crate::raw::{future, Obj, Raised, R};
use crate::read_buffer;
use crate::socket_object::{self, Fields};
use crate::transport::writing::View;

enum Work {
    Receive(usize),
    ReceiveInto(View),
    ReceiveFrom(usize),
    ReceiveFromInto(View, usize),
    /// The bytes and how many of them are sent.
    SendAll(View, Cell<usize>),
    SendTo(View, Address),
    Accept,
}

impl Work {
    fn direction(&self) -> Direction {
        match self {
            Work::SendAll(..) | Work::SendTo(..) => Direction::Write,
            _ => Direction::Read,
        }
    }

    fn view(&self) -> Option<&View> {
        match self {
            Work::ReceiveInto(view)
            | Work::ReceiveFromInto(view, _)
            | Work::SendAll(view, _)
            | Work::SendTo(view, _) => Some(view),
            _ => None,
        }
    }

    /// The result; None if the socket isn't ready.
    fn attempt(&self, core: &LoopCore, sock: &Fields) -> R<Option<Obj>> {
        let fd = sock.fd;
        if fd < 0 {
            return Err(os_error(&std::io::Error::from_raw_os_error(libc::EBADF)));
        }
        match self {
            Work::Receive(n) => core.read_buffer.with(|buffer| {
                number_received(socket::read(fd, &mut buffer[..*n]), |n| core.read_buffer.to_bytes(&buffer[..n]))
            }),
            Work::ReceiveInto(view) => number_received(socket::read(fd, view.writable()), |n| Obj::int(n as i64)),
            Work::ReceiveFrom(n) => {
                let mut from = Address::default();
                let data = core.read_buffer.with(|buffer| {
                    let (received, peer) = receive_from(fd, &mut buffer[..*n]);
                    from = peer;
                    number_received(received, |n| core.read_buffer.to_bytes(&buffer[..n]))
                })?;
                let Some(data) = data else { return Ok(None) };
                Obj::tuple(&[data.as_ptr(), address::to_python(&from)?.as_ptr()]).map(Some)
            }
            Work::ReceiveFromInto(view, n) => {
                let (received, from) = receive_from(fd, &mut view.writable()[..*n]);
                number_received(received, |n| {
                    Obj::tuple(&[Obj::int(n as i64)?.as_ptr(), address::to_python(&from)?.as_ptr()])
                })
            }
            Work::SendAll(view, done) => match socket::send(fd, &view.bytes()[done.get()..]) {
                Sent::Bytes(n) => {
                    done.set(done.get() + n);
                    Ok((done.get() == view.bytes().len()).then(Obj::none))
                }
                Sent::WouldBlock => Ok(None),
                Sent::Failed(e) => Err(os_error(&e)),
            },
            Work::SendTo(view, to) => match send_to(fd, view.bytes(), to) {
                Sent::Bytes(n) => Obj::int(n as i64).map(Some),
                Sent::WouldBlock => Ok(None),
                Sent::Failed(e) => Err(os_error(&e)),
            },
            Work::Accept => accept(sock),
        }
    }
}

fn number_received(received: Received, result: impl FnOnce(usize) -> R<Obj>) -> R<Option<Obj>> {
    match received {
        Received::Bytes(n) => result(n).map(Some),
        Received::Eof => result(0).map(Some),
        Received::WouldBlock => Ok(None),
        Received::Failed(e) => Err(os_error(&e)),
    }
}

fn accept(sock: &Fields) -> R<Option<Obj>> {
    let (accepted, from) = accept_from(sock.fd);
    let fd = match accepted {
        Accepted::Socket(fd) => fd,
        Accepted::WouldBlock => return Ok(None),
        Accepted::Exhausted(e) | Accepted::Failed(e) => return Err(os_error(&e)),
        Accepted::Aborted => return Err(os_error(&std::io::Error::from_raw_os_error(libc::ECONNABORTED))),
    };
    let number = |n: i32| Obj::int(n.into());
    let (family, proto) = (number(sock.family)?, number(sock.proto)?);
    let kind = number(sock.kind | libc::SOCK_NONBLOCK)?;
    let conn = socket_object::adopt(family.as_ptr(), kind.as_ptr(), proto.as_ptr(), fd)?;
    Obj::tuple(&[conn.as_ptr(), address::to_python(&from)?.as_ptr()]).map(Some)
}

/// Something that waits for its socket.
pub struct Operation {
    pub future: Obj,
    sock: Obj,
    work: Work,
}

impl Operation {
    pub fn try_for_each<E>(&self, f: &mut impl FnMut(&Obj) -> Result<(), E>) -> Result<(), E> {
        f(&self.future)?;
        f(&self.sock)?;
        self.work.view().and_then(View::owner).map_or(Ok(()), f)
    }

    /// The descriptor is ready. Called by the loop.
    pub fn on_ready(&self, core: &LoopCore, fd: RawFd) -> R<()> {
        let direction = self.work.direction();
        // SAFETY: a future of ours.
        if unsafe { future::state(self.future.as_ptr()) }.is_done() {
            core.io.finish(fd, direction, self);
            return Ok(());
        }
        let Some(sock) = socket_object::of(self.sock.as_ptr())? else { return Ok(()) };
        match self.work.attempt(core, &sock) {
            Ok(Some(result)) => {
                core.io.finish(fd, direction, self);
                future::set_result_on(self.future.as_ptr(), result)
            }
            Ok(None) => {
                core.io_touched.set(true);
                core.io.wait_again(fd).map_err(|e| os_error(&e))
            }
            Err(Raised) => {
                core.io.finish(fd, direction, self);
                let Some(exc) = take_raised() else { return Ok(()) };
                if is_interrupt(exc.as_ptr()) {
                    return Err(raise_object(exc));
                }
                future::set_exception_on(self.future.as_ptr(), exc.as_ptr())
            }
        }
    }
}

fn not_implemented() -> Obj {
    // SAFETY: NotImplemented is always alive.
    unsafe { Obj::borrowed(ffi::Py_NotImplemented()) }
}

/// The fields of a socket that this file may use; None leaves it to asyncio's own code.
fn plain(core: &LoopCore, sock: *mut PyObject) -> R<Option<Fields>> {
    if core.debug.get() {
        return Ok(None);
    }
    Ok(socket_object::of(sock)?.filter(|s| s.timeout == 0))
}

fn start(loop_: *mut PyObject, sock: *mut PyObject, fields: Fields, work: Work) -> R<Obj> {
    let core = core_of(loop_);
    if let Some(result) = work.attempt(core, &fields)? {
        if matches!(work, Work::SendAll(..) | Work::SendTo(..)) {
            core.io_touched.set(true);
        }
        return Ok(result);
    }
    core.check_closed()?;
    core.check_process()?;
    let fd = fields.fd;
    if core.io.owner(fd).is_some() {
        let fd = Obj::int(fd.into())?;
        call_method(Obj::name("_ensure_fd_no_transport")?.as_ptr(), &[loop_, fd.as_ptr()])?;
    }
    let direction = work.direction();
    let waiter = future::new_on(core, loop_)?;
    // SAFETY: alive.
    let sock = unsafe { Obj::borrowed(sock) };
    let operation = Rc::new(Operation { future: waiter.clone(), sock, work });
    core.io_touched.set(true);
    match core.io.watch(fd, None, direction, Watcher::Operation(operation)) {
        // As add_reader: who waited before waits no more.
        Ok(Some(Watcher::Handle(handle))) => {
            call_method(crate::raw::globals::globals().names.cancel, &[handle.as_ptr()])?;
            Ok(waiter)
        }
        Ok(_) => Ok(waiter),
        Err(e) => Err(os_error(&e)),
    }
}

/// How much may be read at once: None for what Python's socket has to judge (no int, nothing, more than the buffer).
fn size(o: *mut PyObject) -> Option<usize> {
    // SAFETY: alive; an exact int, so that no Python code runs.
    unsafe {
        if ffi::PyLong_CheckExact(o) == 0 {
            return None;
        }
        let mut overflow = 0;
        let n = ffi::PyLong_AsLongAndOverflow(o, &mut overflow);
        (overflow == 0 && n > 0 && n as usize <= read_buffer::SIZE).then_some(n as usize)
    }
}

fn core_of<'a>(loop_: *mut PyObject) -> &'a LoopCore {
    // SAFETY: these methods are the loop's.
    unsafe { LoopCore::of_unchecked(loop_) }
}

fn receive(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, n] = args.fit("sock_recv", ["sock", "n"], 2, 2)?;
    match (plain(core_of(loop_), sock)?, size(n)) {
        (Some(fields), Some(n)) => start(loop_, sock, fields, Work::Receive(n)),
        _ => Ok(not_implemented()),
    }
}

fn receive_into(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, buffer] = args.fit("sock_recv_into", ["sock", "buf"], 2, 2)?;
    let Some(fields) = plain(core_of(loop_), sock)? else { return Ok(not_implemented()) };
    match View::to_write_into(buffer) {
        Some(view) if !view.bytes().is_empty() => start(loop_, sock, fields, Work::ReceiveInto(view)),
        _ => Ok(not_implemented()),
    }
}

fn receive_from_(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, n] = args.fit("sock_recvfrom", ["sock", "bufsize"], 2, 2)?;
    match (plain(core_of(loop_), sock)?, size(n)) {
        (Some(fields), Some(n)) if address::is_known(fields.family) => start(loop_, sock, fields, Work::ReceiveFrom(n)),
        _ => Ok(not_implemented()),
    }
}

fn receive_from_into(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, buffer, n] = args.fit("sock_recvfrom_into", ["sock", "buf", "nbytes"], 3, 3)?;
    let Some(fields) = plain(core_of(loop_), sock)?.filter(|f| address::is_known(f.family)) else {
        return Ok(not_implemented());
    };
    let Some(view) = View::to_write_into(buffer) else { return Ok(not_implemented()) };
    // asyncio takes the length of the object for 0, which for a buffer of bytes is the same.
    // SAFETY: alive; only exact ints are compared.
    let zero = unsafe { ffi::PyLong_CheckExact(n) != 0 && ffi::PyLong_AsLong(n) == 0 };
    let room = view.bytes().len();
    let wanted = if zero && view.is_of_bytes() { Some(room) } else { size(n) };
    match wanted {
        Some(n) if n > 0 && n <= room => start(loop_, sock, fields, Work::ReceiveFromInto(view, n)),
        _ => Ok(not_implemented()),
    }
}

fn send_all(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, data] = args.fit("sock_sendall", ["sock", "data"], 2, 2)?;
    let Some(fields) = plain(core_of(loop_), sock)? else { return Ok(not_implemented()) };
    start(loop_, sock, fields, Work::SendAll(View::new(data)?, Cell::new(0)))
}

fn send_to_(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, data, to] = args.fit("sock_sendto", ["sock", "data", "address"], 3, 3)?;
    let Some(fields) = plain(core_of(loop_), sock)? else { return Ok(not_implemented()) };
    let Some(address) = address::from_python(fields.family, to)? else { return Ok(not_implemented()) };
    let view = View::new(data)?;
    address::audit_sendto(sock, to)?;
    start(loop_, sock, fields, Work::SendTo(view, address))
}

fn accept_(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock] = args.fit("sock_accept", ["sock"], 1, 1)?;
    match plain(core_of(loop_), sock)?.filter(|f| address::is_known(f.family)) {
        Some(fields) => start(loop_, sock, fields, Work::Accept),
        None => Ok(not_implemented()),
    }
}

/// `_sock_stop_waiting(sock, future)`: the coroutine that awaited the future has ended otherwise.
fn stop_waiting(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, waiter] = args.fit("_sock_stop_waiting", ["sock", "future"], 2, 2)?;
    let core = core_of(loop_);
    let fd = socket_object::of(sock)?.map_or(-1, |fields| fields.fd);
    if let Some((fd, direction, operation)) = core.io.operation_of(fd, waiter) {
        core.io.finish(fd, direction, &operation);
    }
    Ok(Obj::none())
}

fast_method!(m_receive, receive);
fast_method!(m_receive_into, receive_into);
fast_method!(m_receive_from, receive_from_);
fast_method!(m_receive_from_into, receive_from_into);
fast_method!(m_send_all, send_all);
fast_method!(m_send_to, send_to_);
fast_method!(m_accept, accept_);
fast_method!(m_stop_waiting, stop_waiting);

/// For `python/segue/_sockets.py`.
pub fn methods() -> [ffi::PyMethodDef; 8] {
    const DOC: &std::ffi::CStr = c"The attempt of the coroutine of this name: a result, a future, or NotImplemented.";
    [
        fast(c"_sock_try_recv", m_receive, DOC),
        fast(c"_sock_try_recv_into", m_receive_into, DOC),
        fast(c"_sock_try_recvfrom", m_receive_from, DOC),
        fast(c"_sock_try_recvfrom_into", m_receive_from_into, DOC),
        fast(c"_sock_try_sendall", m_send_all, DOC),
        fast(c"_sock_try_sendto", m_send_to, DOC),
        fast(c"_sock_try_accept", m_accept, DOC),
        fast(c"_sock_stop_waiting", m_stop_waiting, c"Nobody awaits the future of such an attempt any more."),
    ]
}
