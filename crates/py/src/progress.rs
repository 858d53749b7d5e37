//! How far a loop is, for who looks at the program from outside: it may be read by any thread, without the GIL.
//!
//! The loop's thread writes; all of it is a plain store each, most of which the loop needs for itself. [`each`] finds all loops of the
//! process. What a loop does is not here: `recording` has that, once somebody has asked.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use net::clock::{stamp, time_of, Stamp};
use sched::Nanos;

use crate::event_loop::LoopCore;

/// What the loop's thread is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Doing {
    /// It doesn't run.
    Nothing = 0,
    Jobs = 1,
    /// It waits for the outside world, without the GIL.
    Waiting = 2,
    /// The wait is over; another thread has the GIL.
    WantsGil = 3,
}

pub struct Progress {
    /// Unique in the process, as long as it doesn't make more than 65,535 loops: what keys of tasks begin with.
    pub number: u64,
    doing: AtomicU8,
    /// Counts the turns; the number of the one that runs, or of the last.
    turns: AtomicU64,
    /// Since the loop last looked whether to give way to other threads.
    jobs: AtomicU32,
    /// When it last began to do jobs after a wait, or looked whether to give way.
    seen: AtomicU64,
    log_next: AtomicU64,
    turn_times: Mutex<TurnTimes>,
}

impl Default for Progress {
    fn default() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let now = stamp();
        Progress {
            number: LAST.fetch_add(1, Relaxed) % 0xffff + 1,
            doing: AtomicU8::new(Doing::Nothing as u8),
            turns: AtomicU64::new(0),
            jobs: AtomicU32::new(0),
            seen: AtomicU64::new(now),
            log_next: AtomicU64::new(now.wrapping_add(FINEST)),
            turn_times: Mutex::new(TurnTimes { known: vec![(0, now)], finest: FINEST }),
        }
    }
}

impl Progress {
    #[inline(always)]
    pub fn turns(&self) -> u64 {
        self.turns.load(Relaxed)
    }

    /// A turn begins.
    #[inline(always)]
    pub fn turn(&self) {
        self.turns.store(self.turns.load(Relaxed) + 1, Relaxed);
    }

    /// One more job is done; how many since the last look.
    #[inline(always)]
    pub fn job(&self) -> u32 {
        let jobs = self.jobs.load(Relaxed) + 1;
        self.jobs.store(jobs, Relaxed);
        jobs
    }

    #[inline(always)]
    pub fn looked(&self) {
        self.jobs.store(0, Relaxed);
    }

    #[inline(always)]
    pub fn does(&self, doing: Doing) {
        self.doing.store(doing as u8, Relaxed);
    }

    /// The loop goes on with its jobs: after a wait, and now and then.
    #[inline(always)]
    pub fn goes_on(&self) {
        let now = stamp();
        self.does(Doing::Jobs);
        self.seen.store(now, Relaxed);
        if now.wrapping_sub(self.log_next.load(Relaxed)) as i64 >= 0 {
            self.note_turn(now);
        }
    }

    #[cold]
    fn note_turn(&self, now: Stamp) {
        let mut times = locked(&self.turn_times);
        times.add(self.turns(), now);
        self.log_next.store(now.wrapping_add(times.finest), Relaxed);
    }

    pub fn doing(&self) -> Doing {
        match self.doing.load(Relaxed) {
            1 => Doing::Jobs,
            2 => Doing::Waiting,
            3 => Doing::WantsGil,
            _ => Doing::Nothing,
        }
    }

    /// Changes with every job.
    pub fn position(&self) -> (u64, u32) {
        (self.turns(), self.jobs.load(Relaxed))
    }

    /// What runs now began later than this.
    pub fn seen(&self) -> Nanos {
        time_of(self.seen.load(Relaxed))
    }

    /// When a turn was, not exactly: within a tenth of a second or, of old ones, within a two-thousandth of how long that is ago.
    pub fn time_of_turn(&self, turn: u64) -> Nanos {
        let at = locked(&self.turn_times).of(turn);
        time_of(at)
    }

    /// When the loop was made.
    pub fn began(&self) -> Nanos {
        time_of(locked(&self.turn_times).known.first().map_or(0, |&(_, at)| at))
    }
}

/// A tenth of a second on most machines.
const FINEST: u64 = 1 << 28;
const MOST: usize = 4096;

/// Which turn was when: for now and then a turn, the older the fewer.
struct TurnTimes {
    /// In order. Never empty.
    known: Vec<(u64, Stamp)>,
    /// The least between two of them.
    finest: u64,
}

impl TurnTimes {
    fn add(&mut self, turn: u64, at: Stamp) {
        if self.known.len() >= MOST {
            let mut position = 0;
            self.known.retain(|_| {
                position += 1;
                position % 2 == 1
            });
            self.finest *= 2;
        }
        self.known.push((turn, at));
    }

    fn of(&self, turn: u64) -> Stamp {
        // The turn of an entry was going on when it was made; those before it were before.
        let after = self.known.partition_point(|&(known, _)| known < turn);
        self.known.get(after).or(self.known.last()).map_or(0, |&(_, at)| at)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A loop's address, for whoever has the lock that it is behind.
struct Listed(*const LoopCore);

// SAFETY: a LoopCore is Sync; the address is used only under the lock, which a loop waits for before it goes.
unsafe impl Send for Listed {}

static ALL: Mutex<Vec<Listed>> = Mutex::new(Vec::new());

/// A loop is whole.
pub fn list(core: &LoopCore) {
    locked(&ALL).push(Listed(core));
}

/// ... and goes.
pub fn unlist(core: &LoopCore) {
    locked(&ALL).retain(|listed| !std::ptr::eq(listed.0, core));
}

/// Tells `look` of every loop. It must not wait for the GIL, since the loops wait for it while they have that, and touches only what
/// other threads may.
pub fn each(mut look: impl FnMut(&LoopCore)) {
    for listed in locked(&ALL).iter() {
        // SAFETY: it takes itself out of the list before it goes.
        look(unsafe { &*listed.0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_have_their_times_and_old_ones_roughly() {
        let mut times = TurnTimes { known: vec![(0, 100)], finest: 10 };
        for turn in 1..20_000 {
            times.add(turn * 3, 100 + turn * 10);
        }
        assert!(times.known.len() <= MOST);
        for turn in [1, 500, 10_000, 30_000, 59_000] {
            let (said, real) = (times.of(turn), 100 + turn / 3 * 10);
            assert!(said >= real && said - real <= 10 * 10, "turn {turn}: {said}, not {real}");
        }
        assert_eq!(times.of(1_000_000), times.known.last().unwrap().1);
    }
}
