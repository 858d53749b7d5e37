//! Tasks and callbacks that go on by themselves all the time, and only look whether something has happened.

use std::collections::HashSet;

use sched::Nanos;

use crate::by_number::ByNumber;
use crate::event::{cause, step, Key, Place, Text};

use super::task::Task;

/// Steps in so many turns after each other, each short and woken by nobody else, for so long, are a spin. (A recorded turn is what the
/// loop does between two looks outside, of which it leaves out some when nothing can have happened.)
const SPIN_STEPS: u32 = 500;
const SPIN_TIME: Nanos = 100_000_000;
/// Steps that take longer do something (or the system let other programs run: some may).
const SPIN_STEP: Nanos = 40_000;
/// A timer that comes so soon is none.
const AT_ONCE: Nanos = 300_000;
/// Who doesn't run for so many turns of the loop makes a pause. (Not so long: the system may have let others run.)
const SPIN_PAUSE: u64 = 4;
/// Microseconds: when the loop has waited for so long, it had nothing to do.
const IDLE: u32 = 20;
const MOST: usize = 10_000;

#[derive(Default)]
pub struct Spins {
    /// Each once, by task or by a callback's name.
    found: Vec<Spun>,
    /// Where tasks let others run again and again; 0 if they do so between the items of a `for`, and so come to an end.
    yields_at: ByNumber<Key, Place>,
    /// Tasks that a timer of no time has woken.
    at_once: HashSet<Key>,
    /// The task that has just woken or started another one: it doesn't only look.
    acts: Key,
    spinning: ByNumber<u64, Spin>,
    /// Turns so far, and those before which the loop waited or that had something of I/O.
    turns: u64,
    other_turns: u64,
    is_other: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spun {
    pub task: Key,
    /// The callback's name, where it is no task.
    pub callback: Text,
    pub since: Nanos,
    pub nanos: Nanos,
    pub steps: u64,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, Default)]
struct Spin {
    steps: u32,
    /// Of them, those that took long.
    long: u32,
    since: Nanos,
    /// The turn that its last step was in.
    turn: u64,
    /// `other_turns` when it began.
    other_turns: u64,
    /// Where in `found` it is, from 1.
    reported: u32,
}

impl Spins {
    pub fn found(&self) -> &[Spun] {
        &self.found
    }

    pub fn turns(&self) -> u64 {
        self.turns
    }

    pub fn turn(&mut self, waited: u32) {
        self.turns += 1;
        self.other_turns += u64::from(waited >= IDLE || self.is_other);
        self.is_other = false;
    }

    /// Something was woken by what is outside of the program's code.
    pub fn woken(&mut self, by: u32) {
        // Timers of no time at all are a way to spin, and the others let the loop wait.
        self.is_other |= matches!(by, cause::IO | cause::THREAD | cause::DEADLINE);
    }

    /// A timer has woken a task that has waited for so long.
    pub fn timed(&mut self, task: Key, waited: Nanos) {
        if waited < AT_ONCE {
            self.at_once.insert(task);
        }
    }

    /// A task has woken or started another one.
    pub fn acts(&mut self, task: Key) {
        self.acts = task;
    }

    /// A task lets others run again and again, at this place.
    pub fn yields(&mut self, task: Key, place: Place) {
        if self.yields_at.len() < MOST || self.yields_at.contains_key(&task) {
            self.yields_at.insert(task, place);
        }
    }

    /// A task's step is over.
    pub fn step(&mut self, task: &Task, at: Nanos, took: Nanos, how: u32) {
        let key = task.key;
        let acts = std::mem::take(&mut self.acts) == key;
        let at_once = !self.at_once.is_empty() && self.at_once.remove(&key);
        let by_itself = match u32::from(task.woken_by_cause) {
            _ if how == step::YIELDS => true,
            cause::ITSELF | cause::CALLBACK => true,
            cause::TASK => task.woken_by == key,
            cause::TIMER => at_once,
            _ => false,
        };
        let yields_at = self.yields_at.get(&key).copied();
        if by_itself && !acts && how != step::ENDS && yields_at != Some(0) {
            let place = if how == step::YIELDS { yields_at.unwrap_or(0) } else { task.wait_at };
            self.goes_on(key, at, took, Spun { task: key, place, ..Spun::default() });
        } else if !self.spinning.is_empty() {
            self.spinning.remove(&key);
        }
    }

    /// A callback that a callback or task has scheduled is over.
    pub fn callback(&mut self, what: Text, at: Nanos, took: Nanos) {
        if what != 0 {
            self.goes_on(u64::MAX ^ u64::from(what), at, took, Spun { callback: what, ..Spun::default() });
        }
    }

    /// A task or callback went on by itself.
    fn goes_on(&mut self, of: u64, at: Nanos, took: Nanos, spun: Spun) {
        let over = at.saturating_add(took);
        if self.spinning.len() >= MOST {
            self.spinning.clear();
        }
        let (turn, other_turns) = (self.turns, self.other_turns);
        let spin = self.spinning.entry(of).or_default();
        if spin.steps == 0 || turn.saturating_sub(spin.turn) > SPIN_PAUSE {
            *spin = Spin { since: at, other_turns, ..Spin::default() };
        } else if spin.turn == turn {
            return;
        }
        spin.steps = spin.steps.saturating_add(1);
        spin.long += u32::from(took > SPIN_STEP);
        spin.turn = turn;
        let nanos = over.saturating_sub(spin.since);
        let others = u64::from(spin.long) + other_turns - spin.other_turns;
        if spin.steps < SPIN_STEPS || nanos < SPIN_TIME || others > u64::from(spin.steps) / 10 {
            return;
        }
        let spun = Spun { since: spin.since, nanos, steps: spin.steps.into(), ..spun };
        match spin.reported {
            0 if self.found.len() < MOST => {
                self.found.push(spun);
                spin.reported = self.found.len() as u32;
            }
            0 => {}
            known => self.found[known as usize - 1] = spun,
        }
    }
}
