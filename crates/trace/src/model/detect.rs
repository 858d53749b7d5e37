//! What is noticed while events come, since it can't be seen afterwards: who waited for whom when a deadlock closed, a task that only
//! wakes itself, a lock that was held for long, what a task waited for when it was cancelled.
//!
//! [`crate::warning`] makes warnings of it, and of what the model knows anyway. All tables here are bounded.

use std::collections::HashSet;

use sched::Nanos;

use crate::by_number::ByNumber;
use crate::event::{cause, Key, Object, Place, Text};
use crate::warning::{fact, Code, OWN};

use super::spins::Spins;
use super::task::{Held, State, Task, WaitsFor};
use super::{Model, Warning};

/// A step or callback that takes this long blocks the loop.
pub const BLOCKED: Nanos = 100_000_000;
/// ... also if the watchdog, which tells blocks of other programs from its own, has seen nothing of it.
const SURELY_BLOCKED: Nanos = 1_000_000_000;
/// So long a lock is held, its holder waiting for something else, and so long another task waits for it.
const HELD_LONG: Nanos = 500_000_000;
/// So many items in a queue without bound, put in so many turns of the loop, are too many.
const GROWN: u32 = 256;
const GROWN_TURNS: u64 = 16;
const MOST: usize = 10_000;
const MOST_AWAITED: usize = 1_000_000;
/// A circle of more tasks isn't looked for.
const LONGEST_CIRCLE: usize = 200;

#[derive(Default)]
pub struct Detected {
    pub raised: Vec<Warning>,
    pub deadlocks: Vec<Deadlock>,
    pub stuck: Vec<Stuck>,
    pub held_long: Vec<HeldLong>,
    pub grown: Vec<Grown>,
    pub spins: Spins,
    /// Who set, notified or put something last, and how often.
    pub signals: ByNumber<Object, Signals>,
    /// Places where tasks are started that nobody keeps.
    pub dropping: HashSet<Place>,
    /// Places where tasks are started by themselves.
    pub bare: HashSet<Place>,
    /// Where the code of callbacks begins, by their names.
    pub callbacks: ByNumber<Text, Place>,
    /// Tasks that another task has waited for.
    pub awaited: HashSet<Key>,
    /// Locks and semaphores that are released by others than who has taken them.
    pub handed_over: HashSet<Object>,
    /// When a task began to wait for an object the last time.
    waits: ByNumber<Object, LastWait>,
    /// The facts about the cancellation that follows.
    about_cancel: Option<(Key, u64)>,
    /// Of tasks that hold something: their longest wait meanwhile.
    slow: ByNumber<Key, Slow>,
}

/// Tasks that wait for each other, each for the next one and the last for the first (or all for all, with semaphores).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlock {
    pub at: Nanos,
    pub tasks: Vec<InCircle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InCircle {
    pub task: Key,
    /// What it waits for, and where.
    pub on: WaitsFor,
    pub waits_for: u64,
    pub what: Text,
    pub place: Place,
    /// Who has that.
    pub holder: Key,
    pub held_at: Place,
}

/// A task that waited when it was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck {
    pub at: Nanos,
    pub task: Key,
    pub since: Nanos,
    pub on: WaitsFor,
    pub waits_for: u64,
    pub what: Text,
    pub place: Place,
    pub source: u32,
    pub by: Key,
    /// Bits of [`fact`].
    pub facts: u64,
    /// What it held that somebody else waited for.
    pub blocks: Option<Blocks>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    pub what: Text,
    pub held_at: Place,
    pub waiter: Key,
    pub waits_at: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLong {
    pub at: Nanos,
    pub holder: Key,
    pub held: Nanos,
    pub held_at: Place,
    pub what: Text,
    /// The longest wait of the holder meanwhile.
    pub slow: Slow,
    /// The task that waited for the lock.
    pub waiter: Key,
    pub waited: Nanos,
}

/// A queue without bound that has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grown {
    pub at: Nanos,
    pub task: Key,
    pub place: Place,
    pub items: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Slow {
    pub nanos: Nanos,
    pub place: Place,
    pub what: Text,
    pub on: Option<WaitsFor>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signals {
    pub count: u64,
    /// In so many turns of the loop.
    pub turns: u64,
    last_turn: u64,
    pub last: Nanos,
    pub by: Key,
    pub place: Place,
}

#[derive(Debug, Clone, Copy, Default)]
struct LastWait {
    at: Nanos,
}

impl Detected {
    pub fn raise(&mut self, warning: Warning) {
        match warning.code {
            fact::DROPPED_SITE => {
                self.dropping.insert(warning.place);
            }
            fact::BARE_SITE => {
                self.bare.insert(warning.place);
            }
            fact::CALLBACK if self.callbacks.len() < MOST => {
                self.callbacks.insert(warning.nanos as Text, warning.place);
            }
            fact::YIELDS => self.spins.yields(warning.task, warning.place),
            fact::CANCEL => self.about_cancel = Some((warning.task, warning.nanos)),
            _ if self.raised.len() < MOST => {
                if warning.code == Code::NeverYields.number() {
                    // It was noticed as a block first.
                    let is_the_same = |seen: &Warning| (seen.at, seen.task) == (warning.at, warning.task);
                    self.raised.retain(|seen| !(is_the_same(seen) && seen.code == Code::LoopBlocked.number()));
                }
                self.raised.push(warning);
            }
            _ => {}
        }
    }

    /// Released by a task that doesn't hold it: then nobody knows who will release it.
    pub fn hand_over(&mut self, object: Object) {
        if self.handed_over.len() < MOST {
            self.handed_over.insert(object);
        }
    }

    pub fn signal(&mut self, at: Nanos, by: Key, object: Object, place: Place) {
        if self.signals.len() < MOST || self.signals.contains_key(&object) {
            let turn = self.spins.turns();
            let signals = self.signals.entry(object).or_default();
            let is_new = signals.count == 0 || signals.last_turn != turn;
            *signals = Signals {
                count: signals.count + 1,
                turns: signals.turns + u64::from(is_new),
                last_turn: turn,
                last: at,
                by,
                place,
            };
        }
    }

    /// A queue without bound has grown to so many items. (Of asyncio's queues the watch tells it.)
    pub fn grown(&mut self, at: Nanos, task: Key, object: Object, place: Place, items: u32) {
        let slowly = self.signals.get(&object).is_some_and(|signals| signals.turns >= GROWN_TURNS);
        if object >= OWN && items >= GROWN && slowly && self.grown.len() < MOST {
            self.grown.push(Grown { at, task, place, items });
        }
    }

    /// When somebody last began to wait for an object.
    pub fn last_wait(&self, object: Object) -> Nanos {
        self.waits.get(&object).map_or(0, |wait| wait.at)
    }
}

impl Model {
    pub fn detected(&self) -> &Detected {
        &self.detected
    }

    /// A step is over. `woken_by_others`: somebody or something else made it run.
    pub(super) fn detect_step(&mut self, at: Nanos, key: Key, took: Nanos, how: u32) {
        if took >= BLOCKED {
            self.blocked(at, key, took);
        }
        let Some(task) = self.index.get(key).map(|position| &self.tasks[position]) else { return };
        self.detected.spins.step(task, at, took, how);
    }

    pub(super) fn detect_callback(&mut self, at: Nanos, took: Nanos, what: Text, by: u32) {
        if took >= BLOCKED {
            self.blocked(at, 0, took);
        }
        self.detected.spins.woken(by);
        if by == cause::CALLBACK {
            self.detected.spins.callback(what, at, took);
        }
    }

    /// Something ran for long: what the watchdog saw of it meanwhile has the place; where it saw nothing, there is none.
    fn blocked(&mut self, at: Nanos, key: Key, took: Nanos) {
        let seen = self.detected.raised.iter().rposition(|seen| seen.at < at).map_or(0, |before| before + 1);
        let meanwhile = &mut self.detected.raised[seen..];
        let mut is_known = false;
        let mut call_at = None;
        for warning in meanwhile.iter_mut().filter(|warning| warning.task == key) {
            let code = Code::from_number(warning.code);
            if matches!(code, Some(Code::LoopBlocked | Code::BlockedByNativeCode | Code::NeverYields)) {
                warning.nanos = took;
                is_known = true;
            }
            if code == Some(Code::BlockingCall) {
                (is_known, call_at) = (true, Some(warning.place));
            }
        }
        if let Some(place) = call_at {
            // The call says better what blocks than that something does.
            let is_the_same = |seen: &Warning| (seen.task, seen.place) == (key, place);
            self.detected.raised.retain(|seen| !(is_the_same(seen) && seen.code == Code::LoopBlocked.number()));
        }
        if !is_known && took >= SURELY_BLOCKED {
            let code = Code::LoopBlocked.number();
            self.detected.raise(Warning { at, task: key, nanos: took, place: 0, code, text: 0 });
        }
    }

    /// A task has begun to wait: did that close a circle?
    pub(super) fn detect_wait(&mut self, at: Nanos, position: usize) {
        let task = &self.tasks[position];
        if task.wait == WaitsFor::Task && self.detected.awaited.len() < MOST_AWAITED {
            self.detected.awaited.insert(task.waits_for);
        }
        if task.wait == WaitsFor::Object {
            let object = task.waits_for;
            if let Some(held) = self.held.get_mut(&object) {
                held.first_waiter.get_or_insert((task.key, at));
            }
            if self.detected.waits.len() < MOST || self.detected.waits.contains_key(&object) {
                self.detected.waits.insert(object, LastWait { at });
            }
        }
        if self.detected.deadlocks.len() < MOST / 100 {
            if let Some(tasks) = self.circle(position) {
                self.detected.deadlocks.push(Deadlock { at, tasks });
            }
        }
    }

    /// Whom a waiting task waits for: those who hold what it wants, or the task itself. None if that isn't known.
    fn waits_for_whom<'m>(&'m self, task: &'m Task) -> Option<(Vec<Key>, Option<&'m Held>)> {
        match task.wait {
            _ if task.state != State::Waiting => None,
            WaitsFor::Unknown => None,
            WaitsFor::Task => Some((vec![task.waits_for], None)),
            WaitsFor::Object if self.detected.handed_over.contains(&task.waits_for) => None,
            WaitsFor::Object => {
                let held = self.held.get(&task.waits_for)?;
                Some((held.holders.iter().map(|holder| holder.task).collect(), Some(held)))
            }
        }
    }

    /// All that the task waits for, directly and not, if each of them waits for others among them: none can ever go on.
    fn circle(&self, position: usize) -> Option<Vec<InCircle>> {
        let mut seen = vec![position];
        let mut tasks = Vec::new();
        let mut next = 0;
        let mut closes = false;
        while next < seen.len() {
            let task = &self.tasks[seen[next]];
            next += 1;
            let (whom, held) = self.waits_for_whom(task)?;
            if whom.is_empty() || seen.len() > LONGEST_CIRCLE {
                return None;
            }
            for &other in &whom {
                let other = self.index.get(other)?;
                if !self.tasks[other].state.is_pending() {
                    return None;
                }
                closes |= other == position;
                if !seen.contains(&other) {
                    seen.push(other);
                }
            }
            let holder = held.and_then(|held| held.holders.first());
            tasks.push(InCircle {
                task: task.key,
                on: task.wait,
                waits_for: task.waits_for,
                what: task.wait_what,
                place: task.wait_at,
                holder: whom[0],
                held_at: holder.map_or(0, |holder| holder.place),
            });
        }
        closes.then_some(tasks)
    }

    /// A task that holds something has waited.
    pub(super) fn detect_end_of_wait(&mut self, at: Nanos, position: usize) {
        if self.detected.slow.is_empty() {
            return;
        }
        let task = &self.tasks[position];
        if let Some(slow) = self.detected.slow.get_mut(&task.key) {
            let nanos = at.saturating_sub(task.since);
            if nanos > slow.nanos {
                *slow = Slow { nanos, place: task.wait_at, what: task.wait_what, on: Some(task.wait) };
            }
        }
    }

    pub(super) fn detect_hold(&mut self, key: Key, object: Object) {
        if self.detected.slow.len() < MOST {
            self.detected.slow.insert(key, Slow::default());
        }
        let still_waits = |task: &Task| {
            task.state == State::Waiting && task.wait == WaitsFor::Object && task.waits_for == object && task.key != key
        };
        let first = self.held.get(&object).and_then(|held| held.first_waiter).filter(|first| first.0 != key);
        let first = first.filter(|first| self.task(first.0).is_some_and(still_waits));
        if let Some(held) = self.held.get_mut(&object) {
            held.first_waiter = first;
        }
    }

    /// Before a holder is taken out.
    pub(super) fn detect_release(&mut self, at: Nanos, key: Key, object: Object, place: usize) {
        let Some(held) = self.held.get(&object) else { return };
        let Some(holder) = held.holders.get(place) else { return };
        let slow = self.detected.slow.remove(&key).unwrap_or_default();
        let Some((waiter, since)) = held.first_waiter else { return };
        let waited = at.saturating_sub(since.max(holder.since));
        let still_waits =
            self.task(waiter).is_some_and(|task| task.state == State::Waiting && task.waits_for == object);
        let is_a_lock = held.holders.len() == 1;
        let nanos = at.saturating_sub(holder.since);
        if is_a_lock
            && still_waits
            && waited >= HELD_LONG
            && slow.nanos >= HELD_LONG
            && self.detected.held_long.len() < MOST
        {
            let (held_at, what) = (holder.place, held.what);
            let long = HeldLong { at, holder: holder.task, held: nanos, held_at, what, slow, waiter, waited };
            self.detected.held_long.push(long);
        }
    }

    /// What the task holds that another one waits for.
    pub fn blocks(&self, key: Key) -> Option<Blocks> {
        if !self.detected.slow.contains_key(&key) {
            return None;
        }
        self.held.iter().find_map(|(&object, held)| {
            let holder = held.holders.iter().find(|holder| holder.task == key)?;
            let waiter = self.task(held.first_waiter?.0)?;
            let waits = waiter.state == State::Waiting && waiter.waits_for == object;
            // Who gives up lets all tasks be cancelled, one after the other.
            let just_waited = |stuck: &Stuck| stuck.task == waiter.key && stuck.waits_for == object;
            let last = self.detected.stuck.iter().rev().take(LONGEST_CIRCLE);
            (waits || last.into_iter().any(just_waited)).then_some(Blocks {
                what: held.what,
                held_at: holder.place,
                waiter: waiter.key,
                waits_at: waiter.wait_at,
            })
        })
    }

    /// A task is asked to cancel: what did it wait for?
    pub(super) fn detect_cancel(&mut self, at: Nanos, position: usize, by: Key, source: u32) {
        let task = &self.tasks[position];
        let facts = match self.detected.about_cancel.take() {
            Some((key, facts)) if key == task.key => facts,
            _ => 0,
        };
        if task.state == State::Waiting && self.detected.stuck.len() < MOST {
            let stuck = Stuck {
                at,
                task: task.key,
                since: task.since,
                on: task.wait,
                waits_for: task.waits_for,
                what: task.wait_what,
                place: task.wait_at,
                source,
                by,
                facts,
                blocks: self.blocks(task.key),
            };
            self.detected.stuck.push(stuck);
        }
    }
}
