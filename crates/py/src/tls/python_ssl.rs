//! What TLS needs from Python's `ssl` and asyncio, looked up once, when the first connection is made.

use std::cell::UnsafeCell;

use pyo3::ffi::{PyObject, PyTypeObject};

use super::openssl::Library;
use crate::raw::args::text_of;
use crate::raw::globals::{attr, import};
use crate::raw::obj::{call_method, getattr_opt, runtime_error, take_raised};
use crate::raw::{Obj, Raised, R};

pub struct PythonSsl {
    pub ssl_error: *mut PyObject,
    pub certificate_error: *mut PyObject,
    /// What means "wait for more from the peer": `SSLWantReadError` and, as asyncio has it, `SSLSyscallError`.
    pub want_read: *mut PyObject,
    pub syscall_error: *mut PyObject,
    pub memory_bio: *mut PyObject,
    /// `ssl.SSLObject`, and its methods that we go around where nobody has overridden them.
    ssl_object: Obj,
    read: Obj,
    write: Obj,
    pub socket_class: *mut PyTypeObject,
    pub bio_class: *mut PyTypeObject,
    pub library: Option<Library>,
    /// `asyncio.sslproto._create_transport_context(server_side, server_hostname)`: the context for `ssl=True`.
    pub default_context: *mut PyObject,
    pub handshake_timeout: Obj,
    pub shutdown_timeout: Obj,
}

struct Place(UnsafeCell<Option<PythonSsl>>);
// SAFETY: written once with the GIL held, and only read afterwards.
unsafe impl Sync for Place {}
static PLACE: Place = Place(UnsafeCell::new(None));

pub fn python_ssl() -> R<&'static PythonSsl> {
    // SAFETY: see `Place`; the shared reference is dropped before anything is written.
    if let Some(found) = unsafe { (*PLACE.0.get()).as_ref() } {
        return Ok(found);
    }
    let new = PythonSsl::look_up()?;
    // SAFETY: attached; looking up may have let another thread come here first, whose value then stays.
    Ok(unsafe { (*PLACE.0.get()).get_or_insert(new) })
}

impl PythonSsl {
    fn look_up() -> R<Self> {
        let Ok(ssl) = import("ssl") else {
            drop(take_raised());
            return Err(runtime_error("stdlib ssl module not available"));
        };
        let c = import("_ssl")?;
        let constants = import("asyncio.constants")?;
        let ssl_object = attr(&ssl, "SSLObject")?;
        Ok(PythonSsl {
            ssl_error: attr(&ssl, "SSLError")?.into_ptr(),
            certificate_error: attr(&ssl, "CertificateError")?.into_ptr(),
            want_read: attr(&ssl, "SSLWantReadError")?.into_ptr(),
            syscall_error: attr(&ssl, "SSLSyscallError")?.into_ptr(),
            memory_bio: attr(&ssl, "MemoryBIO")?.into_ptr(),
            read: attr(&ssl_object, "read")?,
            write: attr(&ssl_object, "write")?,
            ssl_object,
            socket_class: attr(&c, "_SSLSocket")?.into_ptr().cast(),
            bio_class: attr(&c, "MemoryBIO")?.into_ptr().cast(),
            library: library_behind(&c)?,
            default_context: attr(&import("asyncio.sslproto")?, "_create_transport_context")?.into_ptr(),
            handshake_timeout: attr(&constants, "SSL_HANDSHAKE_TIMEOUT")?,
            shutdown_timeout: attr(&constants, "SSL_SHUTDOWN_TIMEOUT")?,
        })
    }

    /// Whether an SSL object reads and writes with `ssl.SSLObject`'s own methods, which only pass on to `_sslobj`.
    pub fn reads_and_writes_plainly(&self, object: &Obj) -> R<bool> {
        // SAFETY: alive; a type is an object.
        let class = unsafe { Obj::borrowed(pyo3::ffi::Py_TYPE(object.as_ptr()).cast()) };
        if class.as_ptr() == self.ssl_object.as_ptr() {
            return Ok(true);
        }
        let same = |name: &str, own: &Obj| -> R<bool> {
            let found = getattr_opt(class.as_ptr(), Obj::name(name)?.as_ptr())?;
            Ok(found.is_some_and(|f| f.as_ptr() == own.as_ptr()))
        };
        Ok(same("read", &self.read)? && same("write", &self.write)?)
    }
}

/// None where `_ssl` is part of the interpreter, which then has OpenSSL inside, too.
fn library_behind(module: &Obj) -> R<Option<Library>> {
    let Some(path) = getattr_opt(module.as_ptr(), Obj::str("__file__")?.as_ptr())? else { return Ok(None) };
    match text_of(path.as_ptr()) {
        Ok(path) => Ok(Library::behind(path)),
        Err(Raised) => {
            drop(take_raised());
            Ok(None)
        }
    }
}

/// Calls a method by its text, for what happens once per connection.
pub fn call_named(object: *mut PyObject, method: &str, args: &[*mut PyObject]) -> R<Obj> {
    let name = Obj::name(method)?;
    let mut all = Vec::with_capacity(args.len() + 1);
    all.push(object);
    all.extend_from_slice(args);
    call_method(name.as_ptr(), &all)
}
