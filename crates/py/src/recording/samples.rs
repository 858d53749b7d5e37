//! Where the loops are, looked at again and again while somebody looks into the program: whether one is blocked, and since when.

use std::time::Instant;

use net::clock::Monotonic;
use sched::{Clock, Nanos};
use serde_json::Value;
use trace::event::{Key, LOOP_SHIFT};

use crate::progress::{self, Doing};

/// From then on a job that is still the same has blocked its loop.
const BLOCKED: Nanos = 100_000_000;
/// ... if it was seen to be the same for so long.
pub const SAME: Nanos = 50_000_000;

/// Where a loop was when it was last looked at.
pub struct Sample {
    pub number: u64,
    pub thread: u64,
    pub doing: Doing,
    pub position: (u64, u32),
    pub task: Key,
    /// It has been there since then; of the first look, at most.
    pub since: Nanos,
    /// It was seen to be there since then.
    seen: Nanos,
    is_there: bool,
    /// The thread's stack while it blocks, and when it was asked for.
    pub stack: Option<(Instant, (u64, u32), Value)>,
}

impl Sample {
    pub fn is_blocked(&self, now: Nanos) -> bool {
        self.seems_blocked(now) && now.saturating_sub(self.seen) >= SAME
    }

    /// It has been at one job for long, unless it has gone on since it was looked at.
    fn seems_blocked(&self, now: Nanos) -> bool {
        matches!(self.doing, Doing::Jobs | Doing::WantsGil) && now.saturating_sub(self.since) >= BLOCKED
    }
}

/// Of all loops that there are.
#[derive(Default)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    pub fn look(&mut self) {
        let now = Monotonic.now();
        self.0.iter_mut().for_each(|sample| sample.is_there = false);
        progress::each(|core| {
            let progress = &core.progress;
            let (doing, position) = (progress.doing(), progress.position());
            let task = match core.hooks.current() {
                0 => 0,
                task => progress.number << LOOP_SHIFT | task,
            };
            let thread = core.watch.thread_ident();
            match self.0.iter_mut().find(|sample| sample.number == progress.number) {
                Some(sample) => {
                    if (sample.doing, sample.position, sample.task) != (doing, position, task) {
                        (sample.since, sample.seen, sample.stack) = (now, now, None);
                    }
                    (sample.thread, sample.doing, sample.position, sample.task) = (thread, doing, position, task);
                    sample.is_there = true;
                }
                None => self.0.push(Sample {
                    number: progress.number,
                    thread,
                    doing,
                    position,
                    task,
                    since: progress.seen().min(now),
                    seen: now,
                    is_there: true,
                    stack: None,
                }),
            }
        });
        self.0.retain(|sample| sample.is_there);
    }

    /// Whether a loop has been at the same job for long: whoever has the GIL may keep it.
    pub fn is_stuck(&self) -> bool {
        let now = Monotonic.now();
        let is_stuck = |sample: &Sample| {
            matches!(sample.doing, Doing::Jobs | Doing::WantsGil) && now.saturating_sub(sample.seen) >= 2 * BLOCKED
        };
        self.0.iter().any(is_stuck)
    }

    /// Whether another look will say if a loop is blocked.
    pub fn is_open(&self) -> bool {
        let now = Monotonic.now();
        self.0.iter().any(|sample| sample.seems_blocked(now) && !sample.is_blocked(now))
    }
}
