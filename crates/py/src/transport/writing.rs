//! Writing: at once if possible, else from the outbox when the descriptor is writable; flow control.

use net::socket::{self, Sent};
use net::FlowChange;
use pyo3::ffi::{self, PyObject};

use super::closing::{call_connection_lost_now, fatal_error};
use super::state::{st, Chunk, Kind, State};
use crate::raw::future::call_exception_handler;
use crate::raw::globals::globals;
use crate::raw::obj::{
    call_method, is_interrupt, not_implemented, os_error_object, raise_object, runtime_error, take_raised, type_error,
};
use crate::raw::{Obj, Raised, R};

/// As asyncio: warn when somebody keeps writing into a lost connection.
const LOG_THRESHOLD: u32 = 5;

/// A view of the bytes of a bytes-like object, released when dropped.
pub struct View(ffi::Py_buffer);

impl View {
    pub fn new(o: *mut PyObject) -> R<View> {
        // SAFETY: an all-zero Py_buffer is what GetBuffer fills.
        unsafe {
            let mut view: ffi::Py_buffer = std::mem::zeroed();
            match ffi::PyObject_GetBuffer(o, &mut view, ffi::PyBUF_SIMPLE) {
                0 => Ok(View(view)),
                _ => Err(Raised),
            }
        }
    }

    /// A view to write into; None for what cannot be written to.
    pub fn to_write_into(o: *mut PyObject) -> Option<View> {
        // SAFETY: as above.
        unsafe {
            let mut view: ffi::Py_buffer = std::mem::zeroed();
            if ffi::PyObject_GetBuffer(o, &mut view, ffi::PyBUF_WRITABLE) != 0 {
                ffi::PyErr_Clear();
                return None;
            }
            Some(View(view))
        }
    }

    /// The object whose bytes these are, for the garbage collector.
    pub fn owner(&self) -> Option<&Obj> {
        if self.0.obj.is_null() {
            return None;
        }
        // SAFETY: an Obj is nothing but a non-null pointer to a live object, and this is one.
        Some(unsafe { &*(&raw const self.0.obj).cast::<Obj>() })
    }

    /// Whether an item of the object is a byte, so that its length is that of the view.
    pub fn is_of_bytes(&self) -> bool {
        self.0.itemsize == 1
    }

    /// The bytes to be written to. Only of a view from `to_write_into`, and only for one system call.
    #[allow(clippy::mut_from_ref)]
    pub fn writable(&self) -> &mut [u8] {
        if self.0.len == 0 {
            return &mut [];
        }
        debug_assert_eq!(self.0.readonly, 0);
        // SAFETY: writable memory that cannot move while it is exported; nobody else runs while the kernel writes.
        unsafe { std::slice::from_raw_parts_mut(self.0.buf.cast(), self.0.len as usize) }
    }

    pub fn bytes(&self) -> &[u8] {
        if self.0.len == 0 {
            return &[];
        }
        // SAFETY: valid until released; nobody else runs while we look.
        unsafe { std::slice::from_raw_parts(self.0.buf.cast(), self.0.len as usize) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: filled by GetBuffer, released once.
        unsafe { ffi::PyBuffer_Release(&mut self.0) }
    }
}

pub(super) fn is_bytes(o: *mut PyObject) -> bool {
    // SAFETY: alive.
    unsafe { ffi::PyBytes_CheckExact(o) != 0 }
}

pub(super) fn check_bytes_like(data: *mut PyObject) -> R<()> {
    // SAFETY: alive.
    unsafe {
        if ffi::PyBytes_Check(data) != 0 || ffi::PyByteArray_Check(data) != 0 || ffi::PyMemoryView_Check(data) != 0 {
            return Ok(());
        }
        let class = std::ffi::CStr::from_ptr((*ffi::Py_TYPE(data)).tp_name).to_string_lossy();
        let class = class.rsplit('.').next().unwrap_or_default();
        Err(type_error(&format!("data argument must be a bytes-like object, not '{class}'")))
    }
}

pub fn new_bytes(bytes: &[u8]) -> R<Obj> {
    // SAFETY: copies the slice.
    unsafe { Obj::owned(ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as isize)) }
}

#[inline]
fn send(s: &State, data: &[u8]) -> Sent {
    if let Some(core) = s.core() {
        core.io_touched.set(true);
    }
    match s.kind.get() {
        Kind::Socket => socket::send(s.fd.get(), data),
        _ => socket::write(s.fd.get(), data),
    }
}

fn refuse_after_eof(s: &State, method: &str) -> R<()> {
    if s.kind.get() == Kind::ReadPipe {
        return Err(not_implemented(&format!("{method}() on the read end of a pipe")));
    }
    if s.eof_written.get() {
        return Err(runtime_error(&format!("Cannot call {method}() after write_eof()")));
    }
    if s.empty_waiter.is_set() {
        return Err(runtime_error(&format!("unable to {method}; sendfile is in progress")));
    }
    Ok(())
}

/// Writing into a lost connection is dropped, and after a while remarked upon.
fn dropped(s: &State) -> R<bool> {
    if s.lost.get() == 0 && !(s.kind.get().is_pipe() && s.closing.get()) {
        return Ok(false);
    }
    count_dropped(s)?;
    Ok(true)
}

/// Something was written that goes nowhere.
pub(super) fn count_dropped(s: &State) -> R<()> {
    if s.lost.get() >= LOG_THRESHOLD {
        let text = match s.kind.get() {
            Kind::Socket | Kind::Datagrams => "socket.send() raised exception.",
            _ => "pipe closed by peer or os.write(pipe, data) raised exception.",
        };
        let logger = globals().logger;
        let warning = Obj::name("warning")?;
        call_method(warning.as_ptr(), &[logger, Obj::str(text)?.as_ptr()])?;
    }
    s.lost.set(s.lost.get() + 1);
    Ok(())
}

#[inline]
pub fn write(o: *mut PyObject, data: *mut PyObject) -> R<()> {
    let s = st(o);
    // What nearly every write is: the whole of a `bytes` object, at once.
    if is_bytes(data) && s.can_send_at_once() {
        // SAFETY: alive.
        let chunk = Chunk::of(unsafe { Obj::borrowed(data) });
        if !chunk.as_ref().is_empty() {
            return write_chunk(o, s, chunk);
        }
    }
    write_anything(o, s, data)
}

#[inline(never)]
fn write_anything(o: *mut PyObject, s: &State, data: *mut PyObject) -> R<()> {
    check_bytes_like(data)?;
    refuse_after_eof(s, "write")?;
    if is_bytes(data) {
        // SAFETY: alive.
        let chunk = Chunk::of(unsafe { Obj::borrowed(data) });
        if chunk.as_ref().is_empty() || dropped(s)? {
            return Ok(());
        }
        return write_chunk(o, s, chunk);
    }
    let view = View::new(data)?;
    let Some(rest) = send_or_copy(o, s, view.bytes())? else { return Ok(()) };
    drop(view);
    s.outbox.borrow_mut().push(rest);
    maybe_pause(o, s)
}

/// Writes bytes that are nobody's object: for what is encrypted. Nobody else's code runs while they are looked at.
pub fn write_slice(o: *mut PyObject, data: &[u8]) -> R<()> {
    let s = st(o);
    refuse_after_eof(s, "write")?;
    let Some(rest) = send_or_copy(o, s, data)? else { return Ok(()) };
    s.outbox.borrow_mut().push(rest);
    maybe_pause(o, s)
}

/// Sends bytes as far as they go now; the rest is copied, since its owner may change it.
fn send_or_copy(o: *mut PyObject, s: &State, data: &[u8]) -> R<Option<Chunk>> {
    if data.is_empty() || dropped(s)? {
        return Ok(None);
    }
    let mut sent = 0;
    if s.outbox.borrow().is_empty() {
        match send(s, data) {
            Sent::Bytes(n) => sent = n,
            Sent::WouldBlock => {}
            Sent::Failed(e) => return write_failed(o, s, &e).map(|()| None),
        }
    }
    if sent == data.len() {
        return Ok(None);
    }
    Ok(Some(Chunk::of(new_bytes(&data[sent..])?)))
}

#[inline(always)]
fn write_chunk(o: *mut PyObject, s: &State, chunk: Chunk) -> R<()> {
    if s.outbox.borrow().is_empty() {
        match send(s, chunk.as_ref()) {
            Sent::Bytes(n) if n == chunk.as_ref().len() => return Ok(()),
            Sent::Bytes(n) => s.outbox.borrow_mut().push_rest(chunk, n),
            Sent::WouldBlock => s.outbox.borrow_mut().push(chunk),
            Sent::Failed(e) => return write_failed(o, s, &e),
        }
    } else {
        s.outbox.borrow_mut().push(chunk);
    }
    maybe_pause(o, s)
}

#[cold]
fn write_failed(o: *mut PyObject, s: &State, e: &std::io::Error) -> R<()> {
    let text = format!("Fatal write error on {} transport", s.kind.get().name());
    if s.kind.get().is_pipe() {
        s.lost.set(s.lost.get() + 1);
    }
    fatal_error(o, os_error_object(e)?, &text)
}

/// `writelines`: everything in one gathered write where nothing waits.
pub fn writelines(o: *mut PyObject, list: *mut PyObject) -> R<()> {
    let s = st(o);
    // SAFETY: alive; a new list of the items, so that a generator is used up once.
    let items = unsafe { Obj::owned(ffi::PySequence_List(list))? };
    refuse_after_eof(s, "writelines")?;
    // SAFETY: a list nobody else has.
    let count = unsafe { ffi::PyList_GET_SIZE(items.as_ptr()) };
    let mut chunks = Vec::with_capacity(count as usize);
    for i in 0..count {
        // SAFETY: within the list.
        let item = unsafe { ffi::PyList_GET_ITEM(items.as_ptr(), i) };
        check_bytes_like(item)?;
        // SAFETY: alive.
        let bytes = if is_bytes(item) { unsafe { Obj::borrowed(item) } } else { new_bytes(View::new(item)?.bytes())? };
        chunks.push(Chunk::of(bytes));
    }
    if chunks.iter().all(|c| c.as_ref().is_empty()) || dropped(s)? {
        return Ok(());
    }
    let was_empty = {
        let mut outbox = s.outbox.borrow_mut();
        let was_empty = outbox.is_empty();
        for chunk in chunks {
            outbox.push(chunk);
        }
        was_empty
    };
    if was_empty {
        flush(o)?;
    }
    if s.lost.get() == 0 {
        maybe_pause(o, s)?;
    }
    Ok(())
}

/// Writes what waits, as far as the kernel takes it.
pub fn flush(o: *mut PyObject) -> R<()> {
    let s = st(o);
    loop {
        if s.lost.get() > 0 || !s.sock.is_set() {
            return Ok(());
        }
        let outcome = {
            let outbox = s.outbox.borrow();
            if outbox.is_empty() {
                break;
            }
            let slices: Vec<std::io::IoSlice<'_>> = outbox.slices(socket::MAX_GATHER).collect();
            match slices.as_slice() {
                [one] => send(s, one),
                many => socket::gather(s.fd.get(), many, s.kind.get() == Kind::Socket),
            }
        };
        match outcome {
            Sent::WouldBlock => return Ok(()),
            Sent::Failed(e) => {
                let waiting = s.outbox.borrow_mut().take_all();
                drop(waiting);
                write_failed(o, s, &e)?;
                return fail_empty_waiter(s, &e);
            }
            Sent::Bytes(n) => {
                let mut done = Vec::new();
                s.outbox.borrow_mut().advance(n, &mut done);
                drop(done);
                maybe_resume(o, s)?;
            }
        }
    }
    drained(o, s)
}

fn fail_empty_waiter(s: &State, e: &std::io::Error) -> R<()> {
    if let Some(waiter) = s.empty_waiter.obj() {
        let exc = os_error_object(e)?;
        call_method(globals().names.set_exception, &[waiter.as_ptr(), exc.as_ptr()])?;
    }
    Ok(())
}

/// The last byte is out: what waited for that happens now.
pub(super) fn drained(o: *mut PyObject, s: &State) -> R<()> {
    if let Some(waiter) = s.empty_waiter.obj() {
        let none = Obj::none();
        call_method(globals().names.set_result, &[waiter.as_ptr(), none.as_ptr()])?;
    }
    if s.closing.get() {
        if s.lost.get() == 0 {
            s.lost.set(1);
            return call_connection_lost_now(o, Obj::none());
        }
        return Ok(());
    }
    super::closing::rest_if_idle(s);
    if s.eof_written.get() {
        return finish_eof(o, s);
    }
    Ok(())
}

/// `write_eof`: half-closes once everything is out.
pub fn write_eof(o: *mut PyObject) -> R<()> {
    let s = st(o);
    if s.kind.get().is_pipe() {
        // A pipe's end of file is its closing.
        return super::closing::close(o);
    }
    if s.closing.get() || s.eof_written.replace(true) {
        return Ok(());
    }
    if s.outbox.borrow().is_empty() {
        return finish_eof(o, s);
    }
    Ok(())
}

fn finish_eof(o: *mut PyObject, s: &State) -> R<()> {
    match socket::shutdown_write(s.fd.get()) {
        Ok(()) => Ok(()),
        Err(e) if e.raw_os_error() == Some(libc::ENOTCONN) => Ok(()),
        Err(e) => fatal_error(o, os_error_object(&e)?, "Fatal write error on socket transport"),
    }
}

pub fn maybe_pause(o: *mut PyObject, s: &State) -> R<()> {
    if !s.registered.get() && s.started.get() && !s.outbox.borrow().is_empty() {
        super::closing::register(o, s)?;
    }
    let change = s.outbox.borrow_mut().check_pause();
    match change {
        FlowChange::Pause => tell(o, s, globals().names.pause_writing, "protocol.pause_writing() failed"),
        _ => Ok(()),
    }
}

pub(super) fn maybe_resume(o: *mut PyObject, s: &State) -> R<()> {
    let change = s.outbox.borrow_mut().check_resume();
    match change {
        FlowChange::Resume => tell(o, s, globals().names.resume_writing, "protocol.resume_writing() failed"),
        _ => Ok(()),
    }
}

/// A flow-control call; what it raises goes to the exception handler and stops nothing.
fn tell(o: *mut PyObject, s: &State, method: *mut PyObject, failed: &str) -> R<()> {
    let protocol = s.protocol.obj_or_none();
    if protocol.is_none() {
        return Ok(());
    }
    let Err(Raised) = call_method(method, &[protocol.as_ptr()]) else { return Ok(()) };
    let Some(exc) = take_raised() else { return Ok(()) };
    if is_interrupt(exc.as_ptr()) {
        return Err(raise_object(exc));
    }
    let n = &globals().names;
    let message = Obj::str(failed)?;
    let items =
        [(n.message, message.as_ptr()), (n.exception, exc.as_ptr()), (n.transport, o), (n.protocol, protocol.as_ptr())];
    match s.loop_.obj() {
        Some(loop_) => call_exception_handler(loop_.as_ptr(), &items),
        None => Ok(()),
    }
}
