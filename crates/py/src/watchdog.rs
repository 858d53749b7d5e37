//! What a watchdog thread may look at without the GIL: which thread runs the loop and since when the present callback runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// All times are `CLOCK_MONOTONIC` nanoseconds; 0 is "none".
#[derive(Debug)]
pub struct Watch {
    thread: AtomicU64,
    busy_since: AtomicU64,
    limit: AtomicU64,
}

impl Default for Watch {
    fn default() -> Self {
        Watch { thread: AtomicU64::new(0), busy_since: AtomicU64::new(0), limit: AtomicU64::new(100_000_000) }
    }
}

impl Watch {
    pub fn thread(&self, ident: u64) {
        self.thread.store(ident, Ordering::Relaxed);
    }

    pub fn limit(&self, nanos: u64) {
        self.limit.store(nanos, Ordering::Relaxed);
    }

    #[inline(always)]
    pub fn busy(&self, since: u64) {
        self.busy_since.store(since, Ordering::Relaxed);
    }

    #[inline(always)]
    pub fn idle(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// `(thread, busy since, limit)`.
    pub fn read(&self) -> (u64, u64, u64) {
        let load = |a: &AtomicU64| a.load(Ordering::Relaxed);
        (load(&self.thread), load(&self.busy_since), load(&self.limit))
    }
}
