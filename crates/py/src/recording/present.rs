//! What a loop does right now, for a thread that has no GIL: events tell of a step and a turn only when they are over.
//!
//! The loop's thread writes, the flight recorder's reads. All times are nanoseconds of `CLOCK_MONOTONIC`, 0 is "none".

use std::sync::atomic::{AtomicU64, Ordering};

use sched::Nanos;
use trace::event::Key;

#[derive(Default)]
pub struct Present {
    /// The turn that runs began then.
    turn: AtomicU64,
    /// The wait for the outside world was over then, and the GIL is not ours yet.
    gil: AtomicU64,
    task: AtomicU64,
    step: AtomicU64,
}

/// Why a loop does not look for what has happened outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Busy {
    Turn,
    /// Another thread has the GIL.
    WantsGil,
}

impl Present {
    #[inline]
    pub fn turn_begins(&self, at: Nanos) {
        self.turn.store(at, Ordering::Release);
    }

    #[inline]
    pub fn turn_ends(&self) {
        self.turn.store(0, Ordering::Release);
    }

    pub fn wants_gil(&self, at: Nanos) {
        self.gil.store(at, Ordering::Release);
    }

    pub fn has_gil(&self) {
        self.gil.store(0, Ordering::Release);
    }

    /// No task's step runs, and then this one: nobody sees one task with another's time.
    #[inline]
    pub fn step_begins(&self, at: Nanos, task: Key) {
        self.task.store(0, Ordering::Release);
        self.step.store(at, Ordering::Release);
        self.task.store(task, Ordering::Release);
    }

    #[inline]
    pub fn step_ends(&self) {
        self.task.store(0, Ordering::Release);
    }

    /// Since when the loop has not looked.
    pub fn busy(&self) -> Option<(Busy, Nanos)> {
        match (self.turn.load(Ordering::Acquire), self.gil.load(Ordering::Acquire)) {
            (0, 0) => None,
            (0, gil) => Some((Busy::WantsGil, gil)),
            (turn, _) => Some((Busy::Turn, turn)),
        }
    }

    /// The task whose step runs, and since when.
    pub fn step(&self) -> Option<(Key, Nanos)> {
        let task = self.task.load(Ordering::Acquire);
        let since = self.step.load(Ordering::Acquire);
        (task != 0 && task == self.task.load(Ordering::Acquire)).then_some((task, since))
    }
}
