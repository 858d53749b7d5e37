//! One buffer per loop for everything that transports read: allocated once, then every message gets bytes of its exact
//! size, so that reading costs no page faults.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// As much as asyncio reads at once.
const SIZE: usize = 256 * 1024;

#[derive(Default)]
pub struct ReadBuffer(UnsafeCell<Vec<u8>>);

impl ReadBuffer {
    /// Lends the buffer to `f`, which must not call Python (and so cannot come here again).
    pub fn with<T>(&self, f: impl FnOnce(&mut [MaybeUninit<u8>]) -> T) -> T {
        // SAFETY: `f` does not re-enter, and only the loop's thread with the GIL comes here.
        let buffer = unsafe { &mut *self.0.get() };
        buffer.reserve_exact(SIZE);
        f(&mut buffer.spare_capacity_mut()[..SIZE])
    }
}
