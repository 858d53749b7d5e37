//! One buffer per loop for everything that transports read: allocated once, then every message gets bytes of its exact
//! size, so that reading costs no page faults.

use std::cell::{Cell, UnsafeCell};
use std::os::fd::RawFd;

use net::socket::{self, Received};
use pyo3::ffi;

use crate::raw::{Obj, Slot, R};

/// As much as asyncio reads at once.
pub const SIZE: usize = 256 * 1024;

/// Messages up to this length are not kept for the next one.
const TINY: usize = 256;

/// After so many shorter messages in a row, the last one's memory serves for the next instead of the large one's.
const KEPT_FOR: u32 = 16;

#[derive(Default)]
pub struct ReadBuffer {
    buffer: UnsafeCell<Vec<u8>>,
    /// The last message, if its reader let go of it: the next one of the same size is put into it.
    spare: Slot,
    /// How many messages in a row were shorter than the spare one.
    shorter: Cell<u32>,
}

/// What a read brought, as Python sees it.
pub enum Read {
    /// The bytes, and what is known to follow them.
    Bytes(Obj, Next),
    Nothing(Received),
}

/// What follows the bytes of a read.
pub enum Next {
    /// The kernel had less than we asked for: only the end of the stream can follow.
    OnlyEof,
    /// All that we asked for came.
    Perhaps,
    /// This was read already.
    Is(Received),
}

impl Next {
    pub fn after(count: usize, asked: usize) -> Next {
        if count == asked {
            Next::Perhaps
        } else {
            Next::OnlyEof
        }
    }
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
    pub fn read(&self, fd: RawFd, is_socket: bool) -> R<Read> {
        if let Some(spare) = self.take_spare() {
            return self.read_into(spare, fd, is_socket);
        }
        self.with(|buffer| match socket::read(fd, is_socket, buffer) {
            Received::Bytes(n) => Ok(Read::Bytes(new_bytes(&buffer[..n])?, Next::after(n, buffer.len()))),
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
        new_bytes(bytes)
    }

    /// Reads straight into the last message's memory, as most are of one size: no copy. The byte behind it, where `bytes` have a
    /// zero, is offered too: it tells a message of that size from the beginning of a larger one.
    #[inline]
    fn read_into(&self, spare: Obj, fd: RawFd, is_socket: bool) -> R<Read> {
        let size = len(&spare);
        let asked = SIZE.min(size + 1);
        // SAFETY: an exact `bytes` object that nobody else refers to, whose memory ends with one byte more than its size.
        let room = unsafe { std::slice::from_raw_parts_mut(ffi::PyBytes_AS_STRING(spare.as_ptr()) as *mut u8, asked) };
        match socket::read(fd, is_socket, room) {
            Received::Bytes(n) if n == size => {
                self.shorter.set(0);
                Ok(Read::Bytes(spare, Next::after(n, asked)))
            }
            Received::Bytes(n) if n < size => {
                let data = new_bytes(&room[..n])?;
                self.shorter.set(self.shorter.get() + 1);
                if self.shorter.get() < KEPT_FOR {
                    self.spare.set(spare);
                }
                Ok(Read::Bytes(data, Next::OnlyEof))
            }
            Received::Bytes(_) => self.read_rest(room, fd, is_socket),
            other => {
                self.spare.set(spare);
                Ok(Read::Nothing(other))
            }
        }
    }

    /// The message is larger than the last one, and `room` has its beginning. Both parts become one `bytes`.
    #[inline(never)]
    fn read_rest(&self, room: &[u8], fd: RawFd, is_socket: bool) -> R<Read> {
        self.shorter.set(0);
        self.with(|buffer| {
            let (first, rest) = buffer.split_at_mut(room.len());
            first.copy_from_slice(room);
            if rest.is_empty() {
                return Ok(Read::Bytes(new_bytes(first)?, Next::Perhaps));
            }
            let asked = rest.len();
            let (n, next) = match socket::read(fd, is_socket, rest) {
                Received::Bytes(n) => (n, Next::after(n, asked)),
                other => (0, Next::Is(other)),
            };
            Ok(Read::Bytes(new_bytes(&buffer[..room.len() + n])?, next))
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

    /// The reader has returned: bytes that it did not keep serve again, unless larger ones wait for that. Tiny ones are cheap,
    /// and single characters are shared by the interpreter.
    #[inline]
    pub fn give_back(&self, data: Obj) {
        // SAFETY: alive, and `bytes`.
        let (count, size) = unsafe { (ffi::Py_REFCNT(data.as_ptr()), ffi::Py_SIZE(data.as_ptr()) as usize) };
        if count == 1 && size > TINY && !self.spare.is_set() {
            self.spare.set(data);
        }
    }
}

fn len(bytes: &Obj) -> usize {
    // SAFETY: alive, and `bytes`.
    unsafe { ffi::Py_SIZE(bytes.as_ptr()) as usize }
}

fn new_bytes(data: &[u8]) -> R<Obj> {
    // SAFETY: the memory is copied.
    unsafe { Obj::owned(ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len() as isize)) }
}
