//! A Python `socket.socket` seen from Rust: its descriptor, family and timeout without a call of a Python method.
//!
//! The C struct behind a socket is private to CPython, though `_ssl` reads it across modules and it has been the same in
//! every version so far. So it is never trusted: the first use makes a socket and compares each field with what the
//! socket's own methods say. If anything differs, [`of`] says None for every socket, and callers take Python's way.
//! It says None for subclasses too, since they may override any method, and so may what a program has put in the place of
//! `socket.socket` itself: the class has to be the standard library's own, with `_socket.socket`'s methods.

use std::os::fd::RawFd;
use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject};

use crate::raw::args::text_of;
use crate::raw::globals::{attr, import};
use crate::raw::obj::{call, call_method};
use crate::raw::{Obj, Raised, R};

/// What follows the object header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Fields {
    pub fd: c_int,
    pub family: c_int,
    pub kind: c_int,
    pub proto: c_int,
    _error_handler: *mut c_void,
    /// In nanoseconds; 0 is non-blocking, negative is blocking.
    pub timeout: i64,
}

const HEADER: usize = std::mem::size_of::<PyObject>();

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Not looked at yet, or there was no descriptor left to look with.
    Unknown,
    AsExpected,
    Different,
}

static mut SOCKET: *mut PyObject = std::ptr::null_mut();
static mut LAYOUT: Layout = Layout::Unknown;
/// None: not looked at yet.
static mut IS_STDLIB: Option<bool> = None;

/// `socket.socket`.
pub fn class() -> R<*mut PyObject> {
    // SAFETY: with the GIL held; written once, kept forever.
    unsafe {
        if SOCKET.is_null() {
            SOCKET = attr(&import("socket")?, "socket")?.into_ptr();
        }
        Ok(SOCKET)
    }
}

/// What the class must have from `_socket.socket`, unchanged: what is done here without calling it.
const INHERITED: [&str; 8] = ["recv", "recv_into", "recvfrom", "recvfrom_into", "send", "sendto", "_accept", "fileno"];

/// Whether an object is a `socket.socket` as the standard library made it, not one of another class.
pub fn is_plain(o: *mut PyObject) -> R<bool> {
    // SAFETY: alive; all with the GIL held.
    unsafe {
        if ffi::Py_TYPE(o).cast() != class()? {
            return Ok(false);
        }
        if let Some(known) = IS_STDLIB {
            return Ok(known);
        }
        let found = is_stdlib(&Obj::borrowed(class()?))?;
        IS_STDLIB = Some(found);
        Ok(found)
    }
}

fn is_stdlib(class: &Obj) -> R<bool> {
    let base = attr(&import("_socket")?, "socket")?;
    let module = attr(class, "__module__")?;
    // SAFETY: alive.
    if unsafe { ffi::PyUnicode_Check(module.as_ptr()) } == 0 || text_of(module.as_ptr())? != "socket" {
        return Ok(false);
    }
    // SAFETY: a type object, ready, whose bases are a tuple with at least one item.
    let only_base = unsafe {
        let bases = (*class.as_ptr().cast::<ffi::PyTypeObject>()).tp_bases;
        (ffi::PyTuple_GET_SIZE(bases) == 1).then(|| ffi::PyTuple_GET_ITEM(bases, 0))
    };
    if only_base != Some(base.as_ptr()) {
        return Ok(false);
    }
    for name in INHERITED {
        if attr(class, name)?.as_ptr() != attr(&base, name)?.as_ptr() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The fields of a plain `socket.socket`; None for any other object.
#[inline(always)]
pub fn of(o: *mut PyObject) -> R<Option<Fields>> {
    // SAFETY: `o` is alive, and an exact instance of the class whose layout was checked. All with the GIL held.
    unsafe {
        if ffi::Py_TYPE(o).cast() != class()? || LAYOUT != Layout::AsExpected && !look()? {
            return Ok(None);
        }
        Ok(Some(fields(o)))
    }
}

#[cold]
fn look() -> R<bool> {
    // SAFETY: with the GIL held; the class is alive.
    unsafe {
        if LAYOUT == Layout::Unknown {
            let class = Obj::borrowed(class()?);
            LAYOUT = if is_stdlib(&class)? { check(&class)? } else { Layout::Different };
        }
        Ok(LAYOUT == Layout::AsExpected)
    }
}

/// # Safety
/// `o` is a socket object with at least as much memory as the header and the fields.
unsafe fn fields(o: *mut PyObject) -> Fields {
    // SAFETY: the caller's promise.
    unsafe { o.cast::<u8>().add(HEADER).cast::<Fields>().read() }
}

fn check(class: &Obj) -> R<Layout> {
    let base = attr(&import("_socket")?, "socket")?;
    // SAFETY: a type object.
    let size = unsafe { (*base.as_ptr().cast::<ffi::PyTypeObject>()).tp_basicsize } as usize;
    if size < HEADER + std::mem::size_of::<Fields>() {
        return Ok(Layout::Different);
    }
    let (family, kind) = (Obj::int(libc::AF_UNIX.into())?, Obj::int(libc::SOCK_DGRAM.into())?);
    let sock = match call(class.as_ptr(), &[family.as_ptr(), kind.as_ptr()]) {
        Ok(sock) => sock,
        Err(Raised) => {
            // SAFETY: always allowed.
            unsafe { ffi::PyErr_Clear() };
            return Ok(Layout::Unknown);
        }
    };
    let says = |method: &str, args: &[*mut PyObject]| -> R<Obj> {
        let all: Vec<_> = std::iter::once(sock.as_ptr()).chain(args.iter().copied()).collect();
        call_method(Obj::name(method)?.as_ptr(), &all)
    };
    let set = |seconds: f64| says("settimeout", &[Obj::float(seconds)?.as_ptr()]).map(drop);
    // SAFETY: large enough, as checked above.
    let fields = || unsafe { fields(sock.as_ptr()) };
    // SAFETY: an int.
    let fd = unsafe { ffi::PyLong_AsLong(says("fileno", &[])?.as_ptr()) } as RawFd;
    set(7.25)?;
    let waiting = fields();
    set(0.0)?;
    let not_waiting = fields();
    says("settimeout", &[Obj::none().as_ptr()])?;
    let blocking = fields();
    says("close", &[])?;
    let closed = fields();
    let same = [&waiting, &not_waiting, &blocking]
        .iter()
        .all(|f| (f.fd, f.family, f.kind, f.proto) == (fd, libc::AF_UNIX, libc::SOCK_DGRAM, 0));
    let timeouts = waiting.timeout == 7_250_000_000 && not_waiting.timeout == 0 && blocking.timeout < 0;
    Ok(if same && timeouts && closed.fd == -1 { Layout::AsExpected } else { Layout::Different })
}

/// `socket.socket(family, kind, proto, fileno=fd)` for a non-blocking descriptor: knowing the first three saves the system
/// calls that find them out, and `SOCK_NONBLOCK` in the kind tells the object what the descriptor is.
pub fn adopt(family: *mut PyObject, kind: *mut PyObject, proto: *mut PyObject, fd: RawFd) -> R<Obj> {
    let made = Obj::int(fd.into()).and_then(|fd| call(class()?, &[family, kind, proto, fd.as_ptr()]));
    if made.is_err() {
        // SAFETY: the caller's own, and nobody else has seen it.
        unsafe { libc::close(fd) };
    }
    made
}
