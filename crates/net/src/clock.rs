//! The real clock: `CLOCK_MONOTONIC`, the one behind Python's `time.monotonic()`, so that both agree.

use sched::{Clock, Nanos};

#[derive(Debug, Default, Clone, Copy)]
pub struct Monotonic;

impl Clock for Monotonic {
    #[inline]
    fn now(&self) -> Nanos {
        let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `ts` is a valid place to write to; CLOCK_MONOTONIC exists on every system Segue runs on.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut ts) };
        ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
    }
}
