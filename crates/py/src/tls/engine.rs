//! Bytes in, bytes out: one connection of the user's `SSLContext`, driven through its two memory BIOs.
//!
//! There are two ways to read and write: OpenSSL directly (see [`super::openssl`]) and the methods of Python's objects.
//! They can be mixed at any time, since both act on the same connection. Everything rare takes Python's way: handshake,
//! shutdown, and whatever didn't simply work, so that every exception is the one that Python raises.

use std::cell::Cell;
use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject};

use super::openssl::{Connection, Outcome};
use super::python_ssl::{call_named, python_ssl};
use crate::raw::globals::attr;
use crate::raw::obj::{call, call_kw, getattr, raise_object, runtime_error, take_raised};
use crate::raw::{Obj, Raised, Slot, R};

/// What a read brought.
#[derive(PartialEq, Eq, Debug)]
pub enum Got {
    Bytes(usize),
    /// Nothing complete is there now.
    Nothing,
    /// The peer's close_notify.
    End,
}

/// The largest record's content: a read brings no more at once.
pub const RECORD: usize = 16 * 1024;

#[derive(Default)]
pub struct Engine {
    direct: Cell<Option<Connection>>,
    /// The user's `ssl.SSLObject`.
    pub object: Slot,
    /// Its `_sslobj`, or itself if its class reads or writes in ways of its own.
    raw: Slot,
    incoming: Slot,
    outgoing: Slot,
}

pub fn bytes_of(data: &[u8]) -> R<Obj> {
    // SAFETY: copies the slice.
    unsafe { Obj::owned(ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len() as isize)) }
}

fn number(o: &Obj) -> R<usize> {
    // SAFETY: alive; an error leaves the indicator set.
    let n = unsafe { ffi::PyLong_AsSsize_t(o.as_ptr()) };
    // SAFETY: attached.
    if n < 0 && !unsafe { ffi::PyErr_Occurred() }.is_null() {
        return Err(Raised);
    }
    Ok(n.max(0) as usize)
}

impl Engine {
    /// Makes the connection: `context.wrap_bio(...)`.
    pub fn open(&self, context: &Obj, server_side: bool, server_hostname: &Obj) -> R<()> {
        let ssl = python_ssl()?;
        let incoming = call(ssl.memory_bio, &[])?;
        let outgoing = call(ssl.memory_bio, &[])?;
        let wrap = attr(context, "wrap_bio")?;
        let names = Obj::tuple(&[Obj::name("server_side")?.as_ptr(), Obj::name("server_hostname")?.as_ptr()])?;
        let server_side = Obj::bool(server_side);
        let args = [incoming.as_ptr(), outgoing.as_ptr(), server_side.as_ptr(), server_hostname.as_ptr()];
        let object = call_kw(wrap.as_ptr(), &args, names.as_ptr())?;
        let mut raw = object.clone();
        if ssl.reads_and_writes_plainly(&object)? {
            raw = attr(&object, "_sslobj")?;
            if let Some(library) = &ssl.library {
                let its_context = attr(&raw, "context")?;
                // SAFETY: all alive; classes and library are of the same module.
                let found = unsafe {
                    Connection::inside(
                        library,
                        (ssl.socket_class, ssl.bio_class),
                        raw.as_ptr(),
                        its_context.as_ptr(),
                        (incoming.as_ptr(), outgoing.as_ptr()),
                    )
                };
                self.direct.set(found);
            }
        }
        self.raw.set(raw);
        self.object.set(object);
        self.incoming.set(incoming);
        self.outgoing.set(outgoing);
        Ok(())
    }

    /// Whether reads and writes go to OpenSSL without Python in between.
    pub fn is_direct(&self) -> bool {
        self.direct.get().is_some()
    }

    fn slot(slot: &Slot) -> R<Obj> {
        slot.obj().ok_or_else(|| runtime_error("TLS connection is closed"))
    }

    /// Takes bytes from the network without calling Python, or hands back an object for [`Engine::feed_object`].
    #[inline]
    pub fn feed(&self, data: &[u8]) -> R<Option<Obj>> {
        match self.direct.get() {
            Some(connection) if connection.feed(data) => Ok(None),
            _ => bytes_of(data).map(Some),
        }
    }

    /// Takes a bytes-like object from the network.
    pub fn feed_object(&self, data: *mut PyObject) -> R<()> {
        call_named(Self::slot(&self.incoming)?.as_ptr(), "write", &[data]).map(drop)
    }

    /// Decrypts into `buffer`; at most one record.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> R<Got> {
        if let Some(connection) = self.direct.get() {
            if !connection.may_have_data() {
                return Ok(Got::Nothing);
            }
            match connection.read(buffer) {
                Outcome::Bytes(n) => return Ok(Got::Bytes(n)),
                Outcome::Again => return Ok(Got::Nothing),
                Outcome::Other => {}
            }
        }
        self.read_through_python(buffer)
    }

    #[cold]
    fn read_through_python(&self, buffer: &mut [u8]) -> R<Got> {
        let size = Obj::int(buffer.len().min(RECORD) as i64)?;
        let data = match call_named(Self::slot(&self.raw)?.as_ptr(), "read", &[size.as_ptr()]) {
            Ok(data) => data,
            Err(Raised) => return wants_more().map(|()| Got::Nothing),
        };
        let (mut p, mut n) = (std::ptr::null_mut(), 0);
        // SAFETY: fails cleanly for what is not bytes; the content is copied while `data` is alive.
        unsafe {
            if ffi::PyBytes_AsStringAndSize(data.as_ptr(), &mut p, &mut n) != 0 {
                return Err(Raised);
            }
            let data = std::slice::from_raw_parts(p.cast::<u8>(), n as usize);
            let Some(into) = buffer.get_mut(..data.len()) else {
                return Err(runtime_error("SSLObject.read() returned more than was asked for"));
            };
            into.copy_from_slice(data);
        }
        Ok(if n == 0 { Got::End } else { Got::Bytes(n as usize) })
    }

    /// Encrypts; returns how much was taken, None if the peer has to say something first. Not for empty data.
    #[inline]
    pub fn write(&self, data: &[u8]) -> R<Option<usize>> {
        if let Some(connection) = self.direct.get() {
            match connection.write(data) {
                Outcome::Bytes(n) => return Ok(Some(n)),
                Outcome::Again => return Ok(None),
                Outcome::Other => {}
            }
        }
        let bytes = bytes_of(data)?;
        match call_named(Self::slot(&self.raw)?.as_ptr(), "write", &[bytes.as_ptr()]) {
            Ok(n) => Ok(Some(number(&n)?.min(data.len())).filter(|n| *n > 0)),
            Err(Raised) => wants_more().map(|()| None),
        }
    }

    /// Ciphertext that came in and wasn't read yet, in bytes.
    pub fn incoming_len(&self) -> R<usize> {
        match self.direct.get() {
            Some(connection) => Ok(connection.incoming_len()),
            None => pending(&self.incoming),
        }
    }

    /// Ciphertext that is to be sent, in bytes.
    #[inline]
    pub fn outgoing_len(&self) -> R<usize> {
        match self.direct.get() {
            Some(connection) => Ok(connection.outgoing_len()),
            None => pending(&self.outgoing),
        }
    }

    /// Moves what is to be sent into the empty `into`.
    #[inline]
    pub fn drain(&self, into: &mut Vec<u8>) -> R<()> {
        if let Some(connection) = self.direct.get() {
            connection.drain(into);
            return Ok(());
        }
        let Some(outgoing) = self.outgoing.obj() else { return Ok(()) };
        let data = call_named(outgoing.as_ptr(), "read", &[])?;
        let (mut p, mut n) = (std::ptr::null_mut(), 0);
        // SAFETY: fails cleanly for what is not bytes; copied while `data` is alive.
        unsafe {
            if ffi::PyBytes_AsStringAndSize(data.as_ptr(), &mut p, &mut n) != 0 {
                return Err(Raised);
            }
            into.extend_from_slice(std::slice::from_raw_parts(p.cast::<u8>(), n as usize));
        }
        Ok(())
    }

    /// `SSLObject.do_handshake()`: true when it is complete, false when the peer has to say something first.
    pub fn handshake(&self) -> R<bool> {
        self.step("do_handshake")
    }

    /// `SSLObject.unwrap()`: true once both sides have said close_notify.
    pub fn unwrap(&self) -> R<bool> {
        self.step("unwrap")
    }

    fn step(&self, method: &str) -> R<bool> {
        match call_named(Self::slot(&self.object)?.as_ptr(), method, &[]) {
            Ok(_) => Ok(true),
            Err(Raised) => wants_more().map(|()| false),
        }
    }

    /// # Safety
    /// The collector's visitor.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        for slot in self.slots() {
            // SAFETY: passed on.
            let r = unsafe { slot.visit(visit, arg) };
            if r != 0 {
                return r;
            }
        }
        0
    }

    fn slots(&self) -> [&Slot; 4] {
        [&self.object, &self.raw, &self.incoming, &self.outgoing]
    }

    /// Lets go of the connection, first of the pointers into it.
    pub fn clear(&self) {
        self.direct.set(None);
        for slot in self.slots() {
            slot.clear();
        }
    }
}

fn pending(bio: &Slot) -> R<usize> {
    match bio.obj() {
        Some(bio) => number(&getattr(bio.as_ptr(), Obj::name("pending")?.as_ptr())?),
        None => Ok(0),
    }
}

/// Whether the raised exception only means that the peer has to say something first; any other stays raised.
#[cold]
fn wants_more() -> R<()> {
    let ssl = python_ssl()?;
    // SAFETY: both classes are alive; comparing with the raised exception.
    let again = unsafe {
        ffi::PyErr_ExceptionMatches(ssl.want_read) != 0 || ffi::PyErr_ExceptionMatches(ssl.syscall_error) != 0
    };
    match take_raised() {
        Some(exc) if !again => Err(raise_object(exc)),
        _ => Ok(()),
    }
}
