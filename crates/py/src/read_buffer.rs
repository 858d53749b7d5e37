//! One buffer per loop for everything that transports read: allocated once, then every message gets bytes of its exact
//! size, so that reading costs no page faults.

use std::cell::UnsafeCell;
use std::os::fd::RawFd;

use net::socket::{self, Received};
use pyo3::ffi;

use crate::raw::{Obj, Slot, R};

/// As much as asyncio reads at once.
pub const SIZE: usize = 256 * 1024;

/// Messages up to this length are not kept for the next one.
const TINY: usize = 256;

#[derive(Default)]
pub struct ReadBuffer {
    buffer: UnsafeCell<Vec<u8>>,
    /// The last message, if its reader let go of it: the next one of the same size is put into it.
    spare: Slot,
}

/// What a read brought, as Python sees it.
pub enum Read {
    /// The bytes, and whether they filled the buffer (then more may be there).
    Bytes(Obj, bool),
    Nothing(Received),
}

impl ReadBuffer {
    /// Lends the buffer to `f`, which must not call Python (and so cannot come here again).
    #[inline]
    pub fn with<T>(&self, f: impl FnOnce(&mut [u8]) -> T) -> T {
        // SAFETY: `f` does not re-enter, and only the loop's thread with the GIL comes here.
        let buffer = unsafe { &mut *self.buffer.get() };
        if buffer.is_empty() {
            *buffer = vec![0; SIZE];
        }
        f(buffer)
    }

    /// Reads once from a descriptor and makes `bytes` of what came.
    #[inline]
    pub fn read(&self, fd: RawFd) -> R<Read> {
        if let Some(spare) = self.take_spare() {
            return self.read_into(spare, fd);
        }
        self.with(|buffer| match socket::read(fd, buffer) {
            Received::Bytes(n) => Ok(Read::Bytes(new_bytes(&buffer[..n], &[])?, n == buffer.len())),
            other => Ok(Read::Nothing(other)),
        })
    }

    /// `bytes` with this content, in the last message's memory if they are of one size.
    #[inline]
    pub fn to_bytes(&self, bytes: &[u8]) -> R<Obj> {
        if bytes.len() > TINY {
            if let Some(spare) = self.take_spare() {
                // SAFETY: an exact `bytes` object of this size that nobody else refers to.
                unsafe {
                    if ffi::Py_SIZE(spare.as_ptr()) as usize == bytes.len() {
                        let to = ffi::PyBytes_AS_STRING(spare.as_ptr()) as *mut u8;
                        std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
                        return Ok(spare);
                    }
                }
            }
        }
        new_bytes(bytes, &[])
    }

    /// Reads straight into the last message's memory, as most are of one size: no copy. What is more goes into the buffer.
    #[inline]
    fn read_into(&self, spare: Obj, fd: RawFd) -> R<Read> {
        // SAFETY: an exact `bytes` object of this size that nobody else refers to.
        let first = unsafe {
            let size = ffi::Py_SIZE(spare.as_ptr()) as usize;
            std::slice::from_raw_parts_mut(ffi::PyBytes_AS_STRING(spare.as_ptr()) as *mut u8, size)
        };
        self.with(|buffer| match socket::read_both(fd, first, buffer) {
            Received::Bytes(n) if n == first.len() => Ok(Read::Bytes(spare, false)),
            Received::Bytes(n) => {
                let rest = n.saturating_sub(first.len());
                let data = new_bytes(&first[..n - rest], &buffer[..rest])?;
                if rest == 0 {
                    self.give_back(spare);
                }
                Ok(Read::Bytes(data, rest == buffer.len()))
            }
            other => {
                self.give_back(spare);
                Ok(Read::Nothing(other))
            }
        })
    }

    /// The spare message, if nobody else refers to it: whoever had it cannot see it change. Its cached hash is forgotten.
    #[inline]
    fn take_spare(&self) -> Option<Obj> {
        let spare = self.spare.take()?;
        // SAFETY: an exact `bytes` object; ours alone if the count is 1.
        unsafe {
            if ffi::Py_REFCNT(spare.as_ptr()) != 1 {
                return None;
            }
            #[allow(deprecated)]
            {
                (*spare.as_ptr().cast::<ffi::PyBytesObject>()).ob_shash = -1;
            }
        }
        Some(spare)
    }

    /// The reader has returned: bytes that it did not keep serve again. Tiny ones are cheap, and single characters are
    /// shared by the interpreter.
    #[inline]
    pub fn give_back(&self, data: Obj) {
        // SAFETY: alive, and `bytes`.
        let (count, size) = unsafe { (ffi::Py_REFCNT(data.as_ptr()), ffi::Py_SIZE(data.as_ptr()) as usize) };
        if count == 1 && size > TINY {
            self.spare.set(data);
        }
    }
}

/// `bytes` of two parts.
fn new_bytes(first: &[u8], second: &[u8]) -> R<Obj> {
    // SAFETY: new memory that is as long as both parts together, filled before anybody sees it.
    unsafe {
        let data = Obj::owned(ffi::PyBytes_FromStringAndSize(std::ptr::null(), (first.len() + second.len()) as isize))?;
        let to = ffi::PyBytes_AS_STRING(data.as_ptr()) as *mut u8;
        std::ptr::copy_nonoverlapping(first.as_ptr(), to, first.len());
        std::ptr::copy_nonoverlapping(second.as_ptr(), to.add(first.len()), second.len());
        Ok(data)
    }
}
