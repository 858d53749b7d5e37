//! What is known of one task. 144 bytes with its entry in the index: there may be a million.

use sched::Nanos;

use crate::event::{Key, Object, Place, Text};

/// The end of what has not ended.
pub const NEVER: Nanos = Nanos::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    Running,
    Ready,
    Waiting,
    Finished,
    Failed,
    Cancelled,
}

impl State {
    pub const ALL: [State; 6] =
        [State::Running, State::Ready, State::Waiting, State::Finished, State::Failed, State::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Ready => "ready",
            State::Waiting => "waiting",
            State::Finished => "finished",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
    }

    pub fn is_pending(self) -> bool {
        self.outcome() == Outcome::Pending
    }

    pub fn outcome(self) -> Outcome {
        match self {
            State::Running | State::Ready | State::Waiting => Outcome::Pending,
            State::Finished => Outcome::Finished,
            State::Failed => Outcome::Failed,
            State::Cancelled => Outcome::Cancelled,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Outcome {
    Pending,
    Finished,
    Failed,
    Cancelled,
}

impl Outcome {
    pub const ALL: [Outcome; 4] = [Outcome::Pending, Outcome::Finished, Outcome::Failed, Outcome::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            Outcome::Pending => "pending",
            Outcome::Finished => "finished",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// How many tasks there are of each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes([u64; 4]);

impl Outcomes {
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub fn add(&mut self, outcome: Outcome, count: u64) {
        self.0[outcome as usize] += count;
    }

    pub fn remove(&mut self, outcome: Outcome) {
        self.0[outcome as usize] = self.0[outcome as usize].saturating_sub(1);
    }

    /// A pending one has ended.
    pub fn ended(&mut self, outcome: Outcome) {
        self.0[Outcome::Pending as usize] = self.0[Outcome::Pending as usize].saturating_sub(1);
        self.add(outcome, 1);
    }

    pub fn add_all(&mut self, others: &Outcomes) {
        for (mine, theirs) in self.0.iter_mut().zip(others.0) {
            *mine += theirs;
        }
    }
}

/// What kind of thing a task waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum WaitsFor {
    /// It suspended and nothing more is known.
    Unknown,
    Object,
    Task,
}

/// What else is true of a task (`Task::flags`).
pub mod flag {
    /// Its start isn't in the recording: it is known from a later event.
    pub const STUB: u8 = 1;
    /// It was already there when the recording began.
    pub const EXISTED: u8 = 2;
    /// Its exception was never retrieved.
    pub const UNHEARD: u8 = 4;
    /// It was destroyed while it was pending.
    pub const DESTROYED: u8 = 8;
    /// Whoever started it is no longer kept; `parent` is the nearest ancestor that is.
    pub const ORPHAN: u8 = 16;
    /// It has said what it waits for in the step that isn't over yet.
    pub const WAITED: u8 = 32;
}

#[derive(Debug, Clone, Copy)]
pub struct Task {
    pub key: Key,
    pub parent: Key,
    /// The scope it belongs to, or 0.
    pub nursery: Object,
    pub begin: Nanos,
    /// Or [`NEVER`].
    pub end: Nanos,
    /// Since when it is in its state.
    pub since: Nanos,
    /// When it was last made ready to run.
    pub ready: Nanos,
    pub busy: Nanos,
    /// The number of what it waits for, or waited for last: an object's or a task's.
    pub waits_for: u64,
    pub woken_by: Key,
    pub woken_at: Place,
    pub name: Text,
    pub coroutine: Text,
    pub started_at: Place,
    pub wait_what: Text,
    pub wait_at: Place,
    pub why: Text,
    pub raised_at: Place,
    pub steps: u32,
    pub wakes: u32,
    /// Its place in [`super::groups::Groups`].
    pub group: u32,
    /// Its place in the model's list of cancellations, from 1; 0 if nobody cancelled it.
    pub cancel: u32,
    pub state: State,
    pub wait: WaitsFor,
    pub woken_by_cause: u8,
    pub flags: u8,
}

impl Task {
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Who asked for a task's cancellation; of several requests, the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancel {
    pub at: Nanos,
    /// The task that asked, or 0.
    pub by: Key,
    pub place: Place,
    /// `sched::CancelSource`.
    pub source: u32,
    pub why: Text,
    pub scope: Object,
    /// How often it was asked for.
    pub count: u32,
}

/// A cancel scope or a nursery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    pub host: Key,
    pub place: Place,
    pub is_nursery: bool,
    pub opened: Nanos,
    /// Or [`NEVER`].
    pub closed: Nanos,
    /// It caught its own cancellation.
    pub caught: bool,
}

/// What tasks hold: a lock, a limiter, a semaphore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    pub what: Text,
    /// In the order in which they got it; twice if one got it twice.
    pub holders: Vec<Holder>,
    /// Who waited first for what the present holder has, and since when.
    pub first_waiter: Option<(Key, Nanos)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub task: Key,
    pub since: Nanos,
    pub place: Place,
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_task_takes_at_most_144_bytes() {
        assert!(std::mem::size_of::<super::Task>() <= 136, "{}", std::mem::size_of::<super::Task>());
    }
}
