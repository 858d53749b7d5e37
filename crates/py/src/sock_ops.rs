//! `loop.sock_recv` and its like: one attempt at once, and what waits until the next is worth while.
//!
//! The coroutines themselves are Python (`python/segue/_sockets.py`), which call `_sock_try_…` here. The answer is
//!
//! - the result, if there was one at once;
//! - a future, if the socket has to become ready: the operation watches the descriptor for one event;
//! - `NotImplemented`, if asyncio's own code shall do it: for anything but a plain non-blocking `socket.socket`, unusual
//!   arguments, and in debug mode, which checks more.
//!
//! An operation asks its socket object for the descriptor at every attempt, and after all Python code that the attempt runs
//! (buffers, audit hooks), so that on a socket that was closed meanwhile it fails with EBADF, as asyncio's does, and never
//! touches another that got its number. No attempt blocks, even if the open file was set to blocking by somebody else.

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
use crate::raw::obj::{
    call_method, is_instance, is_interrupt, is_true, os_error, raise_object, take_raised, value_error,
};
use crate::raw::{future, Obj, Raised, R};
use crate::read_buffer;
use crate::socket_object::{self, Fields};
use crate::transport::writing::{new_bytes, View};

enum Work {
    Receive(usize),
    /// What is written to is asked for its bytes at every attempt: while the operation waits, the object stays free.
    ReceiveInto(Obj),
    ReceiveFrom(usize),
    /// How many bytes at most; None for as many as there is room for.
    ReceiveFromInto(Obj, Option<usize>),
    /// The bytes and how many of them are sent. They are in use until all are, as in asyncio.
    SendAll(View, Cell<usize>),
    /// The data, the address, and the same for the kernel.
    SendTo(Obj, Obj, Address),
    Accept,
    /// Nothing but to be told.
    Ready(Direction),
}

enum Attempt {
    Done(Obj),
    NotReady,
    /// Only Python's own socket can say: its class or the arguments are none of those that are done here.
    ForPython,
}

impl Work {
    fn direction(&self) -> Direction {
        match self {
            Work::Ready(direction) => *direction,
            Work::SendAll(..) | Work::SendTo(..) => Direction::Write,
            _ => Direction::Read,
        }
    }

    fn try_for_each<E>(&self, f: &mut impl FnMut(&Obj) -> Result<(), E>) -> Result<(), E> {
        match self {
            Work::ReceiveInto(buffer) | Work::ReceiveFromInto(buffer, _) => f(buffer),
            Work::SendAll(view, _) => view.owner().map_or(Ok(()), f),
            Work::SendTo(data, to, _) => {
                f(data)?;
                f(to)
            }
            Work::Receive(_) | Work::ReceiveFrom(_) | Work::Accept | Work::Ready(_) => Ok(()),
        }
    }

    fn attempt(&self, core: &LoopCore, sock: &Obj) -> R<Attempt> {
        if let Work::Ready(_) = self {
            return Ok(Attempt::Done(Obj::none()));
        }
        // First whatever may run Python code, then the descriptor.
        let view = match self {
            Work::ReceiveInto(buffer) | Work::ReceiveFromInto(buffer, _) => {
                match View::to_write_into(buffer.as_ptr()) {
                    Some(view) if !view.bytes().is_empty() => Some(view),
                    _ => return Ok(Attempt::ForPython),
                }
            }
            Work::SendTo(data, to, _) => {
                let view = View::new(data.as_ptr())?;
                address::audit_sendto(sock.as_ptr(), to.as_ptr())?;
                Some(view)
            }
            _ => None,
        };
        let Some(fields) = socket_object::of(sock.as_ptr())? else { return Ok(Attempt::ForPython) };
        if fields.fd < 0 {
            return Err(os_error(&std::io::Error::from_raw_os_error(libc::EBADF)));
        }
        let fd = fields.fd;
        match (self, &view) {
            (Work::Receive(n), _) => core.read_buffer.with(|buffer| {
                number_received(socket::receive(fd, &mut buffer[..*n]), |n| core.read_buffer.to_bytes(&buffer[..n]))
            }),
            (Work::ReceiveInto(_), Some(view)) => {
                number_received(socket::receive(fd, view.writable()), |n| Obj::int(n as i64))
            }
            (Work::ReceiveFrom(n), _) => {
                let mut from = Address::default();
                let data = core.read_buffer.with(|buffer| {
                    let (received, peer) = receive_from(fd, &mut buffer[..*n]);
                    from = peer;
                    number_received(received, |n| core.read_buffer.to_bytes(&buffer[..n]))
                })?;
                let Attempt::Done(data) = data else { return Ok(data) };
                Obj::tuple(&[data.as_ptr(), address::to_python(&from)?.as_ptr()]).map(Attempt::Done)
            }
            (Work::ReceiveFromInto(_, n), Some(view)) => {
                let room = view.bytes().len();
                // asyncio takes the length of the object for no number, which for a buffer of bytes is the same.
                if n.map_or(!view.is_of_bytes(), |n| n > room) {
                    return Ok(Attempt::ForPython);
                }
                let (received, from) = receive_from(fd, &mut view.writable()[..n.unwrap_or(room)]);
                number_received(received, |n| {
                    Obj::tuple(&[Obj::int(n as i64)?.as_ptr(), address::to_python(&from)?.as_ptr()])
                })
            }
            (Work::SendAll(view, done), _) => match socket::send(fd, &view.bytes()[done.get()..]) {
                Sent::Bytes(n) => Ok(self.sent(view, done, n)),
                Sent::WouldBlock => Ok(Attempt::NotReady),
                Sent::Failed(e) => Err(os_error(&e)),
            },
            (Work::SendTo(.., address), Some(view)) => match send_to(fd, view.bytes(), address) {
                Sent::Bytes(n) => Obj::int(n as i64).map(Attempt::Done),
                Sent::WouldBlock => Ok(Attempt::NotReady),
                Sent::Failed(e) => Err(os_error(&e)),
            },
            (Work::Accept, _) => accept(&fields),
            _ => Ok(Attempt::ForPython),
        }
    }

    fn sent(&self, view: &View, done: &Cell<usize>, n: usize) -> Attempt {
        done.set(done.get() + n);
        if done.get() >= view.bytes().len() {
            Attempt::Done(Obj::none())
        } else {
            Attempt::NotReady
        }
    }

    /// The attempt as asyncio makes it, by the socket's own method.
    #[cold]
    fn attempt_by_method(&self, sock: &Obj) -> R<Attempt> {
        let ask = |name: &str, args: &[&Obj]| {
            let all: Vec<_> = std::iter::once(sock).chain(args.iter().copied()).map(Obj::as_ptr).collect();
            call_method(Obj::name(name)?.as_ptr(), &all)
        };
        let number = |n: usize| Obj::int(n as i64);
        let result = match self {
            Work::Receive(n) => ask("recv", &[&number(*n)?]),
            Work::ReceiveInto(buffer) => ask("recv_into", &[buffer]),
            Work::ReceiveFrom(n) => ask("recvfrom", &[&number(*n)?]),
            Work::ReceiveFromInto(buffer, n) => {
                // SAFETY: alive.
                let length = || match unsafe { ffi::PyObject_Size(buffer.as_ptr()) } {
                    -1 => Err(Raised),
                    n => Ok(n as usize),
                };
                ask("recvfrom_into", &[buffer, &number(n.map_or_else(length, Ok)?)?])
            }
            Work::SendAll(view, done) => {
                let rest = new_bytes(&view.bytes()[done.get()..])?;
                ask("send", &[&rest]).and_then(|n| {
                    // SAFETY: alive.
                    let n = unsafe { ffi::PyLong_AsSize_t(n.as_ptr()) };
                    // SAFETY: attached.
                    if !unsafe { ffi::PyErr_Occurred() }.is_null() {
                        return Err(Raised);
                    }
                    match self.sent(view, done, n.min(view.bytes().len() - done.get())) {
                        Attempt::Done(none) => Ok(none),
                        _ => Err(os_error(&std::io::Error::from_raw_os_error(libc::EAGAIN))),
                    }
                })
            }
            Work::SendTo(data, to, _) => ask("sendto", &[data, &Obj::int(0)?, to]),
            Work::Ready(_) => Ok(Obj::none()),
            Work::Accept => ask("accept", &[]).and_then(|accepted| {
                // SAFETY: alive.
                let conn = unsafe { Obj::owned(ffi::PySequence_GetItem(accepted.as_ptr(), 0))? };
                call_method(Obj::name("setblocking")?.as_ptr(), &[conn.as_ptr(), Obj::bool(false).as_ptr()])?;
                Ok(accepted)
            }),
        };
        if let Ok(result) = result {
            return Ok(Attempt::Done(result));
        }
        let Some(exc) = take_raised() else { return Err(Raised) };
        // SAFETY: the classes are alive.
        let again = unsafe { [ffi::PyExc_BlockingIOError, ffi::PyExc_InterruptedError] };
        if again.iter().any(|class| is_instance(exc.as_ptr(), *class)) {
            return Ok(Attempt::NotReady);
        }
        Err(raise_object(exc))
    }
}

fn number_received(received: Received, result: impl FnOnce(usize) -> R<Obj>) -> R<Attempt> {
    match received {
        Received::Bytes(n) => result(n).map(Attempt::Done),
        Received::Eof => result(0).map(Attempt::Done),
        Received::WouldBlock => Ok(Attempt::NotReady),
        Received::Failed(e) => Err(os_error(&e)),
    }
}

fn accept(sock: &Fields) -> R<Attempt> {
    if !socket::may_accept(sock.fd) {
        return Ok(Attempt::NotReady);
    }
    let (accepted, from) = accept_from(sock.fd);
    let fd = match accepted {
        Accepted::Socket(fd) => fd,
        Accepted::WouldBlock => return Ok(Attempt::NotReady),
        Accepted::Exhausted(e) | Accepted::Failed(e) => return Err(os_error(&e)),
        Accepted::Aborted => return Err(os_error(&std::io::Error::from_raw_os_error(libc::ECONNABORTED))),
    };
    let number = |n: i32| Obj::int(n.into());
    let (family, proto) = (number(sock.family)?, number(sock.proto)?);
    let kind = number(sock.kind | libc::SOCK_NONBLOCK)?;
    let conn = socket_object::adopt(family.as_ptr(), kind.as_ptr(), proto.as_ptr(), fd)?;
    Obj::tuple(&[conn.as_ptr(), address::to_python(&from)?.as_ptr()]).map(Attempt::Done)
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
        self.work.try_for_each(f)
    }

    /// The descriptor is ready. Called by the loop.
    pub fn on_ready(&self, core: &LoopCore, fd: RawFd) -> R<()> {
        let direction = self.work.direction();
        // SAFETY: a future of ours.
        if unsafe { future::state(self.future.as_ptr()) }.is_done() {
            core.io.finish(fd, direction, self);
            return Ok(());
        }
        let attempt = match self.work.attempt(core, &self.sock) {
            Ok(Attempt::ForPython) => self.work.attempt_by_method(&self.sock),
            other => other,
        };
        // SAFETY: a future of ours. Python code in the attempt may have cancelled it.
        if unsafe { future::state(self.future.as_ptr()) }.is_done() {
            core.io.finish(fd, direction, self);
            return attempt.map(drop);
        }
        match attempt {
            Ok(Attempt::Done(result)) => {
                core.io.finish(fd, direction, self);
                future::set_result_on(self.future.as_ptr(), result)
            }
            Ok(_) => {
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

fn start(loop_: *mut PyObject, sock: *mut PyObject, work: Work) -> R<Obj> {
    let core = core_of(loop_);
    // SAFETY: alive.
    let sock = unsafe { Obj::borrowed(sock) };
    match work.attempt(core, &sock)? {
        Attempt::Done(result) => {
            if work.direction() == Direction::Write {
                core.io_touched.set(true);
            }
            return Ok(result);
        }
        Attempt::ForPython => return Ok(not_implemented()),
        Attempt::NotReady => {}
    }
    let Some(Fields { fd, .. }) = socket_object::of(sock.as_ptr())? else { return Ok(not_implemented()) };
    wait_for(core, loop_, fd, sock, work)
}

/// Watches the descriptor for one event; returns the future.
fn wait_for(core: &LoopCore, loop_: *mut PyObject, fd: RawFd, sock: Obj, work: Work) -> R<Obj> {
    core.check_closed()?;
    core.check_process()?;
    if core.io.owner(fd).is_some() {
        let fd = Obj::int(fd.into())?;
        call_method(Obj::name("_ensure_fd_no_transport")?.as_ptr(), &[loop_, fd.as_ptr()])?;
    }
    let direction = work.direction();
    let waiter = future::new_on(core, loop_)?;
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
        (Some(_), Some(n)) => start(loop_, sock, Work::Receive(n)),
        _ => Ok(not_implemented()),
    }
}

fn receive_into(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, buffer] = args.fit("sock_recv_into", ["sock", "buf"], 2, 2)?;
    match plain(core_of(loop_), sock)? {
        // SAFETY: alive.
        Some(_) => start(loop_, sock, Work::ReceiveInto(unsafe { Obj::borrowed(buffer) })),
        None => Ok(not_implemented()),
    }
}

fn receive_from_(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, n] = args.fit("sock_recvfrom", ["sock", "bufsize"], 2, 2)?;
    match (plain(core_of(loop_), sock)?, size(n)) {
        (Some(fields), Some(n)) if address::is_known(fields.family) => start(loop_, sock, Work::ReceiveFrom(n)),
        _ => Ok(not_implemented()),
    }
}

fn receive_from_into(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, buffer, n] = args.fit("sock_recvfrom_into", ["sock", "buf", "nbytes"], 3, 3)?;
    // SAFETY: alive; of an exact int, its truth runs no Python code and cannot fail.
    let zero = unsafe { ffi::PyLong_CheckExact(n) != 0 && ffi::PyObject_IsTrue(n) == 0 };
    let n = size(n);
    match plain(core_of(loop_), sock)? {
        Some(fields) if address::is_known(fields.family) && (zero || n.is_some()) => {
            // SAFETY: alive.
            start(loop_, sock, Work::ReceiveFromInto(unsafe { Obj::borrowed(buffer) }, n))
        }
        _ => Ok(not_implemented()),
    }
}

fn send_all(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, data] = args.fit("sock_sendall", ["sock", "data"], 2, 2)?;
    if plain(core_of(loop_), sock)?.is_none() {
        return Ok(not_implemented());
    }
    start(loop_, sock, Work::SendAll(View::new(data)?, Cell::new(0)))
}

fn send_to_(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock, data, to] = args.fit("sock_sendto", ["sock", "data", "address"], 3, 3)?;
    let Some(fields) = plain(core_of(loop_), sock)? else { return Ok(not_implemented()) };
    let Some(address) = address::from_python(fields.family, to)? else { return Ok(not_implemented()) };
    // SAFETY: alive.
    let (data, to) = unsafe { (Obj::borrowed(data), Obj::borrowed(to)) };
    start(loop_, sock, Work::SendTo(data, to, address))
}

fn accept_(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [sock] = args.fit("sock_accept", ["sock"], 1, 1)?;
    match plain(core_of(loop_), sock)?.filter(|f| address::is_known(f.family)) {
        Some(_) => start(loop_, sock, Work::Accept),
        None => Ok(not_implemented()),
    }
}

fn is_plain(_loop: *mut PyObject, args: Args) -> R<Obj> {
    let [sock] = args.fit("_sock_is_plain", ["sock"], 1, 1)?;
    socket_object::is_plain(sock).map(Obj::bool)
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

/// `_when_ready(fd, to_read)`: a future that is done at the descriptor's next event.
fn when_ready(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [fd, to_read] = args.fit("_when_ready", ["fd", "to_read"], 2, 2)?;
    let direction = if is_true(to_read)? { Direction::Read } else { Direction::Write };
    wait_for(core_of(loop_), loop_, number(fd)?, Obj::none(), Work::Ready(direction))
}

/// `_not_when_ready(fd, future)`: nobody awaits such a future any more.
fn not_when_ready(loop_: *mut PyObject, args: Args) -> R<Obj> {
    let [fd, waiter] = args.fit("_not_when_ready", ["fd", "future"], 2, 2)?;
    let core = core_of(loop_);
    if let Some((fd, direction, operation)) = core.io.operation_of(number(fd)?, waiter) {
        core.io.finish(fd, direction, &operation);
    }
    Ok(Obj::none())
}

fn number(fd: *mut PyObject) -> R<RawFd> {
    // SAFETY: alive; -1 with an error for what is no int or too large.
    let fd = unsafe { ffi::PyLong_AsLong(fd) };
    // SAFETY: attached.
    if fd == -1 && !unsafe { ffi::PyErr_Occurred() }.is_null() {
        return Err(Raised);
    }
    RawFd::try_from(fd).map_err(|_| value_error(&format!("invalid file descriptor: {fd}")))
}

fast_method!(m_when_ready, when_ready);
fast_method!(m_not_when_ready, not_when_ready);
fast_method!(m_receive, receive);
fast_method!(m_receive_into, receive_into);
fast_method!(m_receive_from, receive_from_);
fast_method!(m_receive_from_into, receive_from_into);
fast_method!(m_send_all, send_all);
fast_method!(m_send_to, send_to_);
fast_method!(m_accept, accept_);
fast_method!(m_is_plain, is_plain);
fast_method!(m_stop_waiting, stop_waiting);

/// For `python/segue/_sockets.py`.
pub fn methods() -> [ffi::PyMethodDef; 11] {
    const DOC: &std::ffi::CStr = c"The attempt of the coroutine of this name: a result, a future, or NotImplemented.";
    [
        fast(c"_sock_try_recv", m_receive, DOC),
        fast(c"_sock_try_recv_into", m_receive_into, DOC),
        fast(c"_sock_try_recvfrom", m_receive_from, DOC),
        fast(c"_sock_try_recvfrom_into", m_receive_from_into, DOC),
        fast(c"_sock_try_sendall", m_send_all, DOC),
        fast(c"_sock_try_sendto", m_send_to, DOC),
        fast(c"_sock_try_accept", m_accept, DOC),
        fast(c"_when_ready", m_when_ready, c"A future that is done when a descriptor is ready (fd, to_read)."),
        fast(c"_not_when_ready", m_not_when_ready, c"Nobody awaits such a future any more (fd, future)."),
        fast(c"_sock_is_plain", m_is_plain, c"Whether it is a socket of the standard library's own class."),
        fast(c"_sock_stop_waiting", m_stop_waiting, c"Nobody awaits the future of such an attempt any more."),
    ]
}
