//! Sums that stay when tasks are forgotten: by place of code, by what was waited for, by callback and by loop.

use std::hash::Hash;

use sched::Nanos;

use crate::by_number::ByNumber;
use crate::event::{Key, Object, Place, Text};

/// Different entries of a table; what comes later is summed up in the entry 0.
const MOST: usize = 10_000;

/// Two numbers of 32 bits as one.
pub fn pair(a: u32, b: u32) -> u64 {
    u64::from(a) << 32 | u64::from(b)
}

pub fn unpair(pair: u64) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

/// Tasks of one code, started at one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Code {
    pub started: u64,
    /// So many were alive at once.
    pub peak: u64,
    /// Steps of other tasks in which some were started, and the last of them.
    pub bursts: u64,
    pub last_burst: (Key, u32),
    pub finished: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub steps: u64,
    pub busy: Nanos,
    pub longest_step: Nanos,
    pub wakes: u64,
}

/// How often something took how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Took {
    pub count: u64,
    pub total: Nanos,
    pub longest: Nanos,
}

impl Took {
    pub fn add(&mut self, nanos: Nanos) {
        self.count += 1;
        self.total = self.total.saturating_add(nanos);
        self.longest = self.longest.max(nanos);
    }
}

/// Powers of two of nanoseconds that sums are told of: 1 µs, 4 µs, and so on to 17 s.
const BUCKETS: [usize; 13] = [10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34];

/// How many durations there were of each power of two, for medians and the like in fixed memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    counts: [u64; 64],
    pub took: Took,
}

impl Default for Spread {
    fn default() -> Self {
        Spread { counts: [0; 64], took: Took::default() }
    }
}

impl Spread {
    pub fn add(&mut self, nanos: Nanos) {
        self.counts[(64 - nanos.leading_zeros()).min(63) as usize] += 1;
        self.took.add(nanos);
    }

    /// How many were shorter than so many nanoseconds, for some numbers of them.
    pub fn shorter_than(&self) -> impl Iterator<Item = (Nanos, u64)> + '_ {
        let mut seen = 0;
        let of_bits = move |(bits, &count): (usize, &u64)| {
            seen += count;
            (bits, seen)
        };
        let shown = |(bits, seen)| BUCKETS.contains(&bits).then_some((1 << bits, seen));
        self.counts.iter().enumerate().map(of_bits).filter_map(shown)
    }

    /// At least this part of all durations is no longer than the answer, which is right to the next power of two.
    pub fn quantile(&self, part: f64) -> Nanos {
        let wanted = (self.took.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (bits, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return ((1u64 << bits) - 1).min(self.took.longest);
            }
        }
        self.took.longest
    }
}

/// One event loop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loop {
    pub number: u64,
    pub thread: Text,
    pub runs: bool,
    pub closed: bool,
    pub jobs: u64,
    pub waited: Nanos,
    pub turns: Spread,
    pub longest_turn_at: Nanos,
    /// From when a task is ready to when it runs.
    pub delays: Spread,
    pub lost: u64,
}

#[derive(Default)]
pub struct Totals {
    /// By coroutine and place of the start.
    pub code: ByNumber<u64, Code>,
    /// By what was waited for and where; what is [`Totals::TASK`] for the end of a task.
    pub waits: ByNumber<u64, Took>,
    /// By what was called and place.
    pub callbacks: ByNumber<u64, Took>,
    /// Queues: items at the last power of two, and the place of the put.
    pub queues: ByNumber<Object, (u32, Place)>,
}

impl Totals {
    pub const TASK: Text = Text::MAX;

    pub fn code(&mut self, coroutine: Text, place: Place) -> &mut Code {
        entry(&mut self.code, pair(coroutine, place))
    }

    pub fn wait(&mut self, what: Text, place: Place) -> &mut Took {
        entry(&mut self.waits, pair(what, place))
    }

    pub fn callback(&mut self, what: Text, place: Place) -> &mut Took {
        entry(&mut self.callbacks, pair(what, place))
    }

    pub fn queue(&mut self, object: Object, items: u32, place: Place) {
        *entry(&mut self.queues, object) = (items, place);
    }
}

fn entry<K: Hash + Eq + Default, V: Default>(table: &mut ByNumber<K, V>, key: K) -> &mut V {
    let key = if table.len() < MOST || table.contains_key(&key) { key } else { K::default() };
    table.entry(key).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_power_of_two() {
        let mut spread = Spread::default();
        assert_eq!(spread.quantile(0.5), 0);
        for nanos in 0..1000 {
            spread.add(nanos);
        }
        assert_eq!((spread.quantile(0.5), spread.quantile(0.99), spread.quantile(1.0)), (511, 999, 999));
        let shorter: Vec<_> = spread.shorter_than().collect();
        assert_eq!((shorter[0], shorter.len()), ((1024, 1000), 13));
        spread.add(1024);
        assert_eq!(spread.shorter_than().take(2).collect::<Vec<_>>(), [(1024, 1000), (4096, 1001)]);
        spread.add(u64::MAX);
        assert_eq!(spread.quantile(0.0), 0);
    }

    #[test]
    fn more_entries_than_fit_become_one() {
        let mut totals = Totals::default();
        for text in 1..=20_000 {
            totals.code(text, 1).started += 1;
        }
        assert_eq!(totals.code.len(), MOST + 1);
        assert_eq!(totals.code.values().map(|code| code.started).sum::<u64>(), 20_000);
        assert_eq!(totals.code[&0].started, 10_000);
    }
}
