//! The OpenSSL that Python's own `_ssl` module uses, called without the wrapper objects: a read or write through
//! `_ssl._SSLSocket` makes a bytes object of the largest size or a number, and an exception wherever nothing is there.
//!
//! The connection stays Python's: it is made by the user's `SSLContext`, which has set ciphers, callbacks and
//! certificates on it, and Python can go on using it through `ssl.SSLObject`. Here are only the calls that happen per
//! message. Where the library can't be reached (linked into the interpreter, another SSL library, an object that isn't
//! laid out as expected) there is no [`Connection`], and the caller goes through Python's methods.

use std::ffi::{CStr, CString};
use std::os::raw::{c_int, c_void};
use std::ptr::NonNull;

use pyo3::ffi::{self, PyObject, PyTypeObject};

/// OpenSSL's `SSL` and `BIO`, never looked into.
pub enum Ssl {}
pub enum Bio {}

/// The functions we call. All of them exist since OpenSSL 1.1.1.
pub struct Library {
    read: unsafe extern "C" fn(*mut Ssl, *mut c_void, c_int) -> c_int,
    write: unsafe extern "C" fn(*mut Ssl, *const c_void, c_int) -> c_int,
    error: unsafe extern "C" fn(*const Ssl, c_int) -> c_int,
    want: unsafe extern "C" fn(*const Ssl) -> c_int,
    has_pending: unsafe extern "C" fn(*const Ssl) -> c_int,
    read_bio: unsafe extern "C" fn(*const Ssl) -> *mut Bio,
    write_bio: unsafe extern "C" fn(*const Ssl) -> *mut Bio,
    bio_read: unsafe extern "C" fn(*mut Bio, *mut c_void, c_int) -> c_int,
    bio_write: unsafe extern "C" fn(*mut Bio, *const c_void, c_int) -> c_int,
    bio_pending: unsafe extern "C" fn(*mut Bio) -> usize,
    clear_errors: unsafe extern "C" fn(),
}

/// `SSL_get_error`'s answers.
const ERROR_WANT_READ: c_int = 2;
const ERROR_WANT_WRITE: c_int = 3;
/// `SSL_want`'s.
const WRITING: c_int = 2;
const READING: c_int = 3;

/// # Safety
/// `handle` is an open library; `T` is the function's C type.
unsafe fn symbol<T: Copy>(handle: *mut c_void, name: &CStr) -> Option<T> {
    assert!(size_of::<T>() == size_of::<*mut c_void>());
    // SAFETY: the caller's promise.
    let p = unsafe { libc::dlsym(handle, name.as_ptr()) };
    // SAFETY: a function pointer has the size and representation of the address; the caller names its type.
    (!p.is_null()).then(|| unsafe { std::mem::transmute_copy(&p) })
}

impl Library {
    /// The library behind the extension module `path`, which the interpreter has loaded: the symbols are looked up from
    /// the module, so that another libssl in the process is never taken for it.
    pub fn behind(path: &str) -> Option<Library> {
        let path = CString::new(path).ok()?;
        // SAFETY: a C string; NOLOAD only finds what is already there. The handle stays open for good.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
        if handle.is_null() {
            return None;
        }
        // SAFETY: an open library, and OpenSSL's documented signatures.
        unsafe {
            Some(Library {
                read: symbol(handle, c"SSL_read")?,
                write: symbol(handle, c"SSL_write")?,
                error: symbol(handle, c"SSL_get_error")?,
                want: symbol(handle, c"SSL_want")?,
                has_pending: symbol(handle, c"SSL_has_pending")?,
                read_bio: symbol(handle, c"SSL_get_rbio")?,
                write_bio: symbol(handle, c"SSL_get_wbio")?,
                bio_read: symbol(handle, c"BIO_read")?,
                bio_write: symbol(handle, c"BIO_write")?,
                bio_pending: symbol(handle, c"BIO_ctrl_pending")?,
                clear_errors: symbol(handle, c"ERR_clear_error")?,
            })
        }
    }
}

/// How a read or write went.
pub enum Outcome {
    Bytes(usize),
    /// More from the peer is needed first.
    Again,
    /// The end of the stream or an error: what exactly, Python's own method tells when it is called now.
    Other,
}

/// One connection's `SSL` and its two memory BIOs. Valid as long as the `_ssl._SSLSocket` it was found in.
#[derive(Clone, Copy)]
pub struct Connection {
    library: &'static Library,
    ssl: NonNull<Ssl>,
    incoming: NonNull<Bio>,
    outgoing: NonNull<Bio>,
}

/// The beginning of CPython's `PySSLSocket`, the same since 3.7.
#[repr(C)]
struct SocketHead {
    base: PyObject,
    socket: *mut PyObject,
    ssl: *mut Ssl,
    context: *mut PyObject,
}

/// The beginning of `PySSLMemoryBIO`.
#[repr(C)]
struct BioHead {
    base: PyObject,
    bio: *mut Bio,
}

/// Whether `o` is exactly of this class and large enough to be looked into.
///
/// # Safety
/// Both are alive.
unsafe fn is_exactly(o: *mut PyObject, class: *mut PyTypeObject, size: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { ffi::Py_TYPE(o) == class && (*class).tp_basicsize as usize >= size }
}

impl Connection {
    /// Finds the connection inside Python's objects, if they are laid out as this file believes: that is checked against
    /// what is known (no socket, this context, these BIOs).
    ///
    /// # Safety
    /// Everything passed is alive; the classes are `_ssl._SSLSocket` and `_ssl.MemoryBIO` of the module that `library`
    /// was found behind.
    pub unsafe fn inside(
        library: &'static Library,
        classes: (*mut PyTypeObject, *mut PyTypeObject),
        socket: *mut PyObject,
        context: *mut PyObject,
        bios: (*mut PyObject, *mut PyObject),
    ) -> Option<Connection> {
        // SAFETY: sizes are checked before anything is read, and known pointers before the unknown one is used.
        unsafe {
            if !is_exactly(socket, classes.0, size_of::<SocketHead>())
                || !is_exactly(bios.0, classes.1, size_of::<BioHead>())
                || !is_exactly(bios.1, classes.1, size_of::<BioHead>())
            {
                return None;
            }
            let head = &*socket.cast::<SocketHead>();
            if !head.socket.is_null() || head.context != context {
                return None;
            }
            let ssl = NonNull::new(head.ssl)?;
            let incoming = NonNull::new((*bios.0.cast::<BioHead>()).bio)?;
            let outgoing = NonNull::new((*bios.1.cast::<BioHead>()).bio)?;
            if (library.read_bio)(ssl.as_ptr()) != incoming.as_ptr()
                || (library.write_bio)(ssl.as_ptr()) != outgoing.as_ptr()
            {
                return None;
            }
            Some(Connection { library, ssl, incoming, outgoing })
        }
    }

    /// What a call that returned `n` means. The thread's error queue isn't cleared before each call, which would cost a
    /// tenth of it: where somebody else has left an error there, `SSL_want` still tells that only bytes are missing.
    #[inline]
    fn outcome(&self, n: c_int) -> Outcome {
        if n > 0 {
            return Outcome::Bytes(n as usize);
        }
        let ssl = self.ssl.as_ptr();
        // SAFETY: a valid connection, right after the call that failed.
        unsafe {
            match (self.library.error)(ssl, n) {
                ERROR_WANT_READ | ERROR_WANT_WRITE => Outcome::Again,
                _ if matches!((self.library.want)(ssl), READING | WRITING) => {
                    (self.library.clear_errors)();
                    Outcome::Again
                }
                _ => Outcome::Other,
            }
        }
    }

    /// Decrypts into `buffer`, at most one record. May call Python: the context's message callback.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> Outcome {
        let size = buffer.len().min(c_int::MAX as usize) as c_int;
        // SAFETY: a valid connection; at most `size` bytes are written into `buffer`.
        let n = unsafe { (self.library.read)(self.ssl.as_ptr(), buffer.as_mut_ptr().cast(), size) };
        self.outcome(n)
    }

    /// Encrypts all of `data`; memory BIOs take everything. Not for empty data.
    #[inline]
    pub fn write(&self, data: &[u8]) -> Outcome {
        let size = data.len().min(c_int::MAX as usize) as c_int;
        // SAFETY: a valid connection; `data` is only read from.
        let n = unsafe { (self.library.write)(self.ssl.as_ptr(), data.as_ptr().cast(), size) };
        self.outcome(n)
    }

    /// Whether a read could bring something: without asking, since an attempt in vain costs as much as a read.
    #[inline]
    pub fn may_have_data(&self) -> bool {
        // SAFETY: a valid connection.
        self.incoming_len() > 0 || unsafe { (self.library.has_pending)(self.ssl.as_ptr()) } != 0
    }

    /// Gives bytes from the network to the connection. False if there was no memory.
    #[inline]
    pub fn feed(&self, data: &[u8]) -> bool {
        let Ok(size) = c_int::try_from(data.len()) else { return false };
        // SAFETY: a valid BIO, which copies `data`.
        size == 0 || unsafe { (self.library.bio_write)(self.incoming.as_ptr(), data.as_ptr().cast(), size) } == size
    }

    pub fn incoming_len(&self) -> usize {
        // SAFETY: a valid BIO.
        unsafe { (self.library.bio_pending)(self.incoming.as_ptr()) }
    }

    pub fn outgoing_len(&self) -> usize {
        // SAFETY: a valid BIO.
        unsafe { (self.library.bio_pending)(self.outgoing.as_ptr()) }
    }

    /// Moves what is to be sent into the empty `into`.
    #[inline]
    pub fn drain(&self, into: &mut Vec<u8>) {
        let size = self.outgoing_len().min(c_int::MAX as usize);
        into.reserve(size);
        // SAFETY: the BIO writes at most `size` bytes into memory reserved for them, and tells how many.
        unsafe {
            let n = (self.library.bio_read)(self.outgoing.as_ptr(), into.as_mut_ptr().cast(), size as c_int);
            into.set_len(n.max(0) as usize);
        }
    }
}
