//! The task log: every task that has not ended, and of the others as many as fit, with what became of each.
//!
//! It knows no clock, no loop and no language: the binding says who was started and how it ended, in words. Memory is
//! bounded by the tasks that live at the same time and by `limit`, not by how many a program starts: what no longer fits
//! is counted together with what is like it ([`Alike`]), and its children become its parent's.

use std::collections::HashMap;
use std::rc::Rc;

use crate::by_number::ByNumber;

/// Names a task in the process; 0 is none.
pub type Key = u64;
/// Words, by their number in [`TaskLog::text`]; 0 is none, or more than are kept.
pub type Text = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Pending,
    Finished,
    Failed,
    Cancelled,
}

/// A task's name: given, or the number that the default one is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    Given(Box<str>),
    Number(u64),
}

/// What tasks have in common that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Alike {
    pub coroutine: Text,
    /// Where it was started.
    pub site: Text,
    pub outcome: Outcome,
    /// The exception; of a cancelled task who asked for it; of a pending one what became of it.
    pub why: Text,
    /// Where the exception was raised.
    pub raised_at: Text,
}

#[derive(Debug, Clone)]
pub struct Task {
    pub key: Key,
    pub parent: Key,
    pub name: Name,
    pub what: Alike,
    /// Its place in the order in which tasks ended; 0 while pending.
    pub ended: u64,
    /// It failed, and is gone without anybody having asked for its exception.
    pub never_retrieved: bool,
}

/// The nearest ancestors of a task that is kept for itself are kept with it: so many.
const ANCESTORS: u8 = 16;
/// Different groups of tasks that are only counted; more of them become one.
const GROUPS: usize = 10_000;

pub struct TaskLog {
    limit: usize,
    /// In the order of their start, so that a parent comes before its children.
    tasks: Vec<Task>,
    places: ByNumber<Key, usize>,
    /// How many there may be before the next tidying.
    full_at: usize,
    last_end: u64,
    left_out: HashMap<Alike, u64>,
    texts: Vec<Rc<str>>,
    numbers: HashMap<Rc<str>, Text>,
}

impl TaskLog {
    /// `limit`: about how many tasks that have ended, and how many different texts, are kept.
    pub fn new(limit: usize) -> Self {
        TaskLog {
            limit,
            tasks: Vec::new(),
            places: ByNumber::default(),
            full_at: limit,
            last_end: 0,
            left_out: HashMap::new(),
            texts: vec!["".into()],
            numbers: HashMap::from([("".into(), 0)]),
        }
    }

    pub fn number(&mut self, text: &str) -> Text {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        if self.texts.len() > self.limit {
            return 0;
        }
        let (number, text): (_, Rc<str>) = (self.texts.len() as Text, text.into());
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    pub fn text(&self, number: Text) -> &str {
        &self.texts[number as usize]
    }

    pub fn started(&mut self, key: Key, parent: Key, name: Name, coroutine: Text, site: Text) {
        if self.tasks.len() >= self.full_at {
            self.tidy();
        }
        let what = Alike { coroutine, site, outcome: Outcome::Pending, why: 0, raised_at: 0 };
        self.places.insert(key, self.tasks.len());
        self.tasks.push(Task { key, parent, name, what, ended: 0, never_retrieved: false });
    }

    /// The task, unless it was never started here or is only counted by now.
    pub fn task(&mut self, key: Key) -> Option<&mut Task> {
        self.places.get(&key).map(|&place| &mut self.tasks[place])
    }

    pub fn ended(&mut self, key: Key, outcome: Outcome) {
        let last_end = self.last_end + 1;
        if let Some(task) = self.task(key) {
            task.what.outcome = outcome;
            task.ended = last_end;
            self.last_end = last_end;
        }
    }

    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Tasks that are no longer in `tasks`, counted.
    pub fn left_out(&self) -> impl Iterator<Item = (&Alike, u64)> {
        self.left_out.iter().map(|(alike, &count)| (alike, count))
    }

    /// Leaves only half as many as fit: pending and failed tasks with their nearest ancestors, then the newest.
    fn tidy(&mut self) {
        let parents: Vec<Option<usize>> = self.tasks.iter().map(|t| self.places.get(&t.parent).copied()).collect();
        let mut wanted = vec![0u8; self.tasks.len()];
        let mut failed_left = self.limit / 4;
        for (place, task) in self.tasks.iter().enumerate() {
            let keep = match task.what.outcome {
                Outcome::Pending => true,
                Outcome::Failed if failed_left > 0 => {
                    failed_left -= 1;
                    true
                }
                _ => false,
            };
            wanted[place] = if keep { ANCESTORS } else { 0 };
        }
        for place in (0..self.tasks.len()).rev() {
            if let Some(parent) = parents[place] {
                wanted[parent] = wanted[parent].max(wanted[place].saturating_sub(1));
            }
        }
        let mut room = (self.limit / 2).saturating_sub(wanted.iter().filter(|&&w| w > 0).count());
        for w in wanted.iter_mut().rev().filter(|w| **w == 0) {
            if room == 0 {
                break;
            }
            room -= 1;
            *w = 1;
        }
        // What each task's children hang on from now on.
        let mut stands_for: Vec<Key> = Vec::with_capacity(self.tasks.len());
        let mut kept = Vec::with_capacity(self.limit);
        for (place, mut task) in std::mem::take(&mut self.tasks).into_iter().enumerate() {
            task.parent = parents[place].map_or(0, |parent| stands_for[parent]);
            if wanted[place] > 0 {
                stands_for.push(task.key);
                kept.push(task);
                continue;
            }
            stands_for.push(task.parent);
            let mut alike = task.what;
            if self.left_out.len() >= GROUPS && !self.left_out.contains_key(&alike) {
                alike = Alike { coroutine: 0, site: 0, why: 0, raised_at: 0, ..alike };
            }
            *self.left_out.entry(alike).or_default() += 1;
        }
        self.places = kept.iter().enumerate().map(|(place, task)| (task.key, place)).collect();
        self.full_at = self.limit.max(2 * kept.len());
        self.tasks = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(log: &mut TaskLog, key: Key, parent: Key) {
        let work = log.number("work");
        log.started(key, parent, Name::Number(key), work, 0);
    }

    fn total(log: &TaskLog) -> u64 {
        log.tasks().len() as u64 + log.left_out().map(|(_, count)| count).sum::<u64>()
    }

    #[test]
    fn any_number_of_tasks_takes_the_memory_of_a_thousand() {
        let mut log = TaskLog::new(1000);
        start(&mut log, 1, 0);
        for key in 2..=100_000 {
            start(&mut log, key, 1);
            log.ended(key, Outcome::Finished);
            assert!(log.tasks().len() <= 1001);
        }
        assert_eq!(total(&log), 100_000);
        assert_eq!((log.tasks()[0].key, log.tasks()[1].parent), (1, 1));
        assert_eq!(log.left_out().count(), 1);
    }

    #[test]
    fn a_chain_in_which_each_starts_the_next_is_bounded_too() {
        let mut log = TaskLog::new(1000);
        for key in 1..=100_000 {
            start(&mut log, key, key - 1);
            log.ended(key - 1, Outcome::Finished);
            assert!(log.tasks().len() <= 1001);
        }
        assert_eq!(total(&log), 100_000);
        let tasks = log.tasks();
        assert_eq!((tasks[0].parent, tasks[0].what.outcome), (0, Outcome::Finished));
        assert!(tasks.windows(2).all(|pair| pair[1].parent == pair[0].key));
    }

    #[test]
    fn failed_and_pending_tasks_stay_with_their_ancestors() {
        let mut log = TaskLog::new(100);
        start(&mut log, 1, 0);
        start(&mut log, 2, 1);
        start(&mut log, 3, 2);
        start(&mut log, 4, 1);
        log.ended(3, Outcome::Failed);
        log.ended(2, Outcome::Finished);
        log.ended(1, Outcome::Finished);
        for key in 5..1000 {
            start(&mut log, key, 0);
            log.ended(key, Outcome::Finished);
        }
        let oldest: Vec<_> = log.tasks().iter().map(|t| (t.key, t.parent)).take(4).collect();
        assert_eq!(oldest, [(1, 0), (2, 1), (3, 2), (4, 1)]);
        assert_eq!(log.task(3).map(|t| t.ended), Some(1));
    }

    #[test]
    fn more_failures_than_fit_are_counted_by_what_they_have_in_common() {
        let mut log = TaskLog::new(100);
        let why = log.number("ValueError: no");
        for key in 1..=1000 {
            start(&mut log, key, 0);
            log.ended(key, Outcome::Failed);
            log.task(key).unwrap().what.why = why;
        }
        assert!(log.tasks().len() <= 101);
        assert_eq!(total(&log), 1000);
        assert_eq!(log.tasks()[0].key, 1);
        assert!(log.left_out().all(|(alike, _)| (alike.outcome, alike.why) == (Outcome::Failed, why)));
    }

    #[test]
    fn tasks_that_all_live_are_all_kept() {
        let mut log = TaskLog::new(10);
        for key in 1..=1000 {
            start(&mut log, key, 0);
        }
        assert_eq!(log.tasks().len(), 1000);
        assert_eq!(log.left_out().count(), 0);
    }

    #[test]
    fn more_texts_than_fit_are_none() {
        let mut log = TaskLog::new(2);
        assert_eq!([log.number("a"), log.number("b"), log.number("c"), log.number("a")], [1, 2, 0, 1]);
        assert_eq!((log.text(2), log.text(0)), ("b", ""));
    }
}
