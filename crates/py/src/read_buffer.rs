//! One buffer per loop for everything that transports read: allocated once, then every message gets bytes of its exact
//! size, so that reading costs no page faults.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use net::socket::Received;
use pyo3::ffi;

use crate::raw::{Obj, Slot, R};

/// As much as asyncio reads at once.
const SIZE: usize = 256 * 1024;

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
    pub fn with<T>(&self, f: impl FnOnce(&mut [MaybeUninit<u8>]) -> T) -> T {
        // SAFETY: `f` does not re-enter, and only the loop's thread with the GIL comes here.
        let buffer = unsafe { &mut *self.buffer.get() };
        buffer.reserve_exact(SIZE);
        f(&mut buffer.spare_capacity_mut()[..SIZE])
    }

    /// Reads once and makes `bytes` of what came.
    pub fn read(&self, read: impl FnOnce(&mut [MaybeUninit<u8>]) -> Received) -> R<Read> {
        self.with(|buffer| match read(buffer) {
            Received::Bytes(n) => {
                // SAFETY: the kernel has initialised the first `n` bytes.
                let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), n) };
                Ok(Read::Bytes(self.to_bytes(bytes)?, n == buffer.len()))
            }
            other => Ok(Read::Nothing(other)),
        })
    }

    fn to_bytes(&self, bytes: &[u8]) -> R<Obj> {
        let size = bytes.len() as isize;
        // Tiny ones are cheap, and single characters are shared by the interpreter.
        if let Some(spare) = self.spare.take().filter(|_| size > 256) {
            // SAFETY: a `bytes` object that nobody but us refers to: whoever had it cannot see it change. Its cached
            // hash is forgotten.
            unsafe {
                let p = spare.as_ptr();
                if ffi::PyBytes_Size(p) == size && ffi::Py_REFCNT(p) == 1 {
                    std::ptr::copy_nonoverlapping(bytes.as_ptr(), ffi::PyBytes_AS_STRING(p) as *mut u8, bytes.len());
                    #[allow(deprecated)]
                    {
                        (*p.cast::<ffi::PyBytesObject>()).ob_shash = -1;
                    }
                    return Ok(spare);
                }
            }
        }
        // SAFETY: copies the slice.
        unsafe { Obj::owned(ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), size)) }
    }

    /// The reader has returned: bytes that it did not keep serve again.
    #[inline]
    pub fn give_back(&self, data: Obj) {
        // SAFETY: alive.
        if unsafe { ffi::Py_REFCNT(data.as_ptr()) } == 1 {
            self.spare.set(data);
        }
    }
}
