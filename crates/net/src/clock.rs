//! The real clock: `CLOCK_MONOTONIC`, the one behind Python's `time.monotonic()`, so that both agree.

use std::cell::Cell;
use std::sync::OnceLock;

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

/// The same time for a tenth of the price, for the recorder: the processor's counter, put right by the real clock every few
/// milliseconds, where the processor has one that runs evenly. Never goes back.
#[derive(Debug)]
pub struct Counter {
    /// Nanoseconds per tick, times 2^32; 0 where there is no such counter.
    rate: Cell<u64>,
    ticks: Cell<u64>,
    nanos: Cell<Nanos>,
    /// After so many ticks the real clock is asked.
    trust: Cell<u64>,
}

/// How long the counter is trusted, in nanoseconds; also keeps the products below 2^64.
const TRUST: u64 = 10_000_000;

impl Default for Counter {
    fn default() -> Self {
        let rate = rate();
        Counter {
            rate: Cell::new(rate),
            trust: Cell::new(trusted(rate)),
            nanos: Cell::new(Monotonic.now()),
            ticks: Cell::new(ticks()),
        }
    }
}

impl Clock for Counter {
    #[inline(always)]
    fn now(&self) -> Nanos {
        let passed = ticks().wrapping_sub(self.ticks.get());
        if passed < self.trust.get() {
            return self.nanos.get() + ((passed * self.rate.get()) >> 32);
        }
        self.ask()
    }
}

impl Counter {
    #[cold]
    #[inline(never)]
    fn ask(&self) -> Nanos {
        let (now, ticks) = (Monotonic.now(), ticks());
        let rate = self.rate.get();
        if rate == 0 {
            return now;
        }
        let (passed, real) = (ticks.wrapping_sub(self.ticks.get()), now.saturating_sub(self.nanos.get()));
        // What was said last is not taken back; long silences tell the rate best.
        let said = self.nanos.get() + ((passed.min(self.trust.get()) * rate) >> 32);
        if passed > self.trust.get() && real > TRUST / 2 {
            let better = ((u128::from(real) << 32) / u128::from(passed)) as u64;
            // Another rate than the first by more than a thousandth is the counter's end: a suspended machine, a bad counter.
            if better.abs_diff(rate) < rate / 1000 {
                self.rate.set(better);
            }
        }
        self.trust.set(trusted(self.rate.get()));
        self.ticks.set(ticks);
        self.nanos.set(now.max(said.min(now + TRUST)));
        self.nanos.get()
    }
}

fn trusted(rate: u64) -> u64 {
    match rate {
        0 => 0,
        rate => ((u128::from(TRUST) << 32) / u128::from(rate)) as u64,
    }
}

/// A moment as the processor counts it or, where it doesn't, as the clock does: [`time_of`] makes a time of it.
pub type Stamp = u64;

/// For where a clock would cost too much and a time is seldom asked for. Doesn't measure the counter's rate.
#[inline(always)]
pub fn stamp() -> Stamp {
    if cfg!(target_arch = "x86_64") {
        return ticks();
    }
    Monotonic.now()
}

/// The time of a stamp that isn't old enough for the counter to have gone round; with a counter that doesn't run evenly, roughly.
pub fn time_of(stamp: Stamp) -> Nanos {
    if cfg!(not(target_arch = "x86_64")) {
        return stamp;
    }
    static RATE: OnceLock<u64> = OnceLock::new();
    let rate = *RATE.get_or_init(|| match rate() {
        0 => measured(),
        rate => rate,
    });
    let (now, passed) = (Monotonic.now(), ticks().wrapping_sub(stamp));
    // Processors may differ by a few ticks: what is in the future is now.
    let passed = if passed as i64 > 0 { passed } else { 0 };
    now.saturating_sub(((u128::from(passed) * u128::from(rate)) >> 32) as u64)
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn ticks() -> u64 {
    0
}

/// Measured once per process; 0 if the counter doesn't run evenly or isn't there.
fn rate() -> u64 {
    static RATE: OnceLock<u64> = OnceLock::new();
    *RATE.get_or_init(|| if runs_evenly() { measured() } else { 0 })
}

#[cfg(target_arch = "x86_64")]
fn runs_evenly() -> bool {
    use std::arch::x86_64::__cpuid;
    // "Invariant TSC": leaf 0x80000007, EDX bit 8.
    __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & 1 << 8 != 0
}

#[cfg(not(target_arch = "x86_64"))]
fn runs_evenly() -> bool {
    false
}

/// The median of a few, since a thread can lose its processor between two looks.
fn measured() -> u64 {
    let mut found: [u64; 5] = std::array::from_fn(|_| measured_once());
    found.sort_unstable();
    found[2]
}

fn measured_once() -> u64 {
    let (nanos, begin) = (Monotonic.now(), ticks());
    let (passed, spent) = loop {
        let (now, at) = (Monotonic.now(), ticks());
        if now - nanos >= 200_000 {
            break (now - nanos, at.wrapping_sub(begin));
        }
        std::hint::spin_loop();
    };
    if spent == 0 {
        return 0;
    }
    ((u128::from(passed) << 32) / u128::from(spent)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_has_a_time() {
        let (before, at) = (Monotonic.now(), stamp());
        std::thread::sleep(std::time::Duration::from_millis(30));
        let said = time_of(at);
        // Loosely: a thread can lose its processor.
        assert!(said + 5_000_000 >= before && said <= Monotonic.now() - 20_000_000, "{said} for {before}");
    }

    #[test]
    fn the_counter_keeps_the_clocks_time_and_never_goes_back() {
        let counter = Counter::default();
        let mut last = 0;
        let end = Monotonic.now() + 60_000_000;
        loop {
            let before = Monotonic.now();
            let now = counter.now();
            assert!(now >= last);
            last = now;
            // A thread can lose its processor between the two looks; both sides only bound it loosely.
            assert!(now + 1_000_000 >= before, "{now} is far behind {before}");
            if before >= end {
                break;
            }
        }
    }
}
