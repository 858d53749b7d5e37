//! Timers: sorted runs for what comes in order of its deadline (timeouts of one length do), one for each order of magnitude
//! of the delay, and a 4-ary heap for the rest that knows where each entry sits, so that a cancelled timer leaves at once.
//! When much of the heap is due at once it is sorted into a run of its own, which costs a fraction of popping one by one.
//!
//! Rule 1: entries fire in order of deadline; entries with the same deadline in the order in which they were added.
//! Rule 2: `cancel` gives the payload back immediately; nothing cancelled stays in memory.
//! Rule 3: a token is used up by firing or cancelling; an old token never reaches a newer entry.

use std::collections::VecDeque;

use crate::clock::Nanos;

/// Names one scheduled timer until it fires or is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerToken {
    slot: u32,
    generation: u32,
}

impl TimerToken {
    /// A token that names nothing.
    pub const NONE: TimerToken = TimerToken { slot: u32::MAX, generation: 0 };
}

#[derive(Debug, Clone, Copy)]
struct Node {
    when: Nanos,
    seq: u64,
    slot: u32,
    generation: u32,
}

impl Node {
    #[inline]
    fn before(&self, other: &Node) -> bool {
        (self.when, self.seq) < (other.when, other.seq)
    }
}

const IN_RUN: u32 = u32::MAX - 64;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// Where the entry sits in `heap`, or [`IN_RUN`] plus the number of its run. Meaningful only while `value` is some.
    position: u32,
    value: Option<T>,
}

/// Sorted by `(when, seq)`. A cancelled entry's node stays until it reaches the front or the run is mostly dead, but its
/// payload and slot are gone at once. Invariant: the front is alive.
#[derive(Debug, Default)]
struct Run {
    nodes: VecDeque<Node>,
    dead: usize,
}

/// One run for each power of two of the delay, from 65 µs up, and the last one for what came out of the heap together.
const RUNS: usize = 32;
const DUE: usize = RUNS - 1;

fn run_for(delay: Nanos) -> usize {
    (64 - (delay >> 16).leading_zeros() as usize).min(DUE - 1)
}

/// A heap smaller than this is popped one by one. Small in tests, so that short random runs come by.
const WORTH_SORTING: usize = if cfg!(test) { 4 } else { 64 };

/// See the module's rules.
#[derive(Debug)]
pub struct TimerHeap<T> {
    /// Invariant: a min-heap by `(when, seq)`; `slots[heap[i].slot].position == i`.
    heap: Vec<Node>,
    runs: [Run; RUNS],
    /// Bit `i` is set while `runs[i]` is not empty.
    busy_runs: u32,
    /// How many entries are alive.
    alive: usize,
    /// The latest time anybody told us; decides which run a new entry goes to.
    now: Nanos,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    next_seq: u64,
    /// What new slots start with, so that a token from before [`TimerHeap::forget_burst`] reaches nothing.
    first_generation: u32,
    /// Once so few entries are alive, it is worth looking for memory to give back.
    trim_below: usize,
}

impl<T> Default for TimerHeap<T> {
    fn default() -> Self {
        Self {
            heap: Vec::new(),
            runs: Default::default(),
            busy_runs: 0,
            alive: 0,
            now: 0,
            slots: Vec::new(),
            free: Vec::new(),
            next_seq: 0,
            first_generation: 0,
            trim_below: 0,
        }
    }
}

const ARITY: usize = 4;

/// More slots than this are a burst, whose memory is given back once it is over.
const BURST: usize = 65_536;

fn is_alive<T>(slots: &[Slot<T>], node: &Node) -> bool {
    slots.get(node.slot as usize).is_some_and(|s| s.generation == node.generation && s.value.is_some())
}

impl<T> TimerHeap<T> {
    pub fn len(&self) -> usize {
        self.alive
    }

    pub fn is_empty(&self) -> bool {
        self.alive == 0
    }

    /// The earliest entry, and which run it is in (none: the heap).
    #[inline]
    fn first(&self) -> Option<(&Node, Option<usize>)> {
        let mut best = self.heap.first().map(|node| (node, None));
        let mut busy = self.busy_runs;
        while busy != 0 {
            let i = busy.trailing_zeros() as usize;
            busy &= busy - 1;
            if let Some(node) = self.runs[i].nodes.front() {
                if best.is_none_or(|(b, _)| node.before(b)) {
                    best = Some((node, Some(i)));
                }
            }
        }
        best
    }

    /// The earliest entry's payload.
    pub fn first_value(&self) -> Option<&T> {
        self.first().and_then(|(node, _)| self.slots[node.slot as usize].value.as_ref())
    }

    /// The earliest deadline.
    #[inline]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.first().map(|(node, _)| node.when)
    }

    pub fn insert(&mut self, when: Nanos, value: T) -> TimerToken {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 timers fit in memory");
                self.slots.push(Slot { generation: self.first_generation, position: 0, value: None });
                slot
            }
        };
        let generation = self.slots[slot as usize].generation;
        let node = Node { when, seq: self.next_seq, slot, generation };
        self.next_seq += 1;
        self.alive += 1;
        self.trim_below = self.trim_below.max(self.alive / 8);
        self.slots[slot as usize].value = Some(value);
        let i = run_for(when.saturating_sub(self.now));
        if self.runs[i].nodes.back().is_none_or(|last| last.when <= when) {
            self.slots[slot as usize].position = IN_RUN + i as u32;
            self.runs[i].nodes.push_back(node);
            self.busy_runs |= 1 << i;
        } else {
            let at = self.heap.len();
            self.heap.push(node);
            self.sift_up(at);
        }
        TimerToken { slot, generation }
    }

    /// The payload of a timer that had neither fired nor been cancelled.
    pub fn cancel(&mut self, token: TimerToken) -> Option<T> {
        let slot = self.slots.get(token.slot as usize)?;
        if slot.generation != token.generation || slot.value.is_none() {
            return None;
        }
        if slot.position < IN_RUN {
            let at = slot.position as usize;
            return Some(self.remove_at(at));
        }
        let i = (slot.position - IN_RUN) as usize;
        let value = self.release(token.slot);
        self.runs[i].dead += 1;
        self.tidy(i);
        self.forget_burst_if_over();
        value
    }

    /// To be called before a series of `pop_due` with the same time: if an eighth or more of the heap is due, that part is
    /// sorted into the run [`DUE`].
    pub fn expect_due(&mut self, now: Nanos) {
        if self.heap.len() < WORTH_SORTING || !self.runs[DUE].nodes.is_empty() {
            return;
        }
        let count = self.count_due(0, now);
        if count < self.heap.len() / 8 {
            return;
        }
        let mut due = Vec::with_capacity(count);
        self.heap.retain(|node| {
            let stays = node.when > now;
            if !stays {
                due.push(*node);
            }
            stays
        });
        due.sort_unstable_by_key(|node| (u128::from(node.when) << 64) | u128::from(node.seq));
        for node in &due {
            self.slots[node.slot as usize].position = IN_RUN + DUE as u32;
        }
        self.runs[DUE].nodes = due.into();
        self.busy_runs |= 1 << DUE;
        for at in 0..self.heap.len() {
            self.place(at);
        }
        for at in (0..self.heap.len().div_ceil(ARITY)).rev() {
            self.sift_down(at);
        }
    }

    /// How many entries of the heap below `at` are due. They hang together at its top, so that nothing else is looked at
    /// but their children.
    fn count_due(&self, at: usize, now: Nanos) -> usize {
        if self.heap.get(at).is_none_or(|node| node.when > now) {
            return 0;
        }
        let children = at * ARITY + 1..=at * ARITY + ARITY;
        1 + children.map(|child| self.count_due(child, now)).sum::<usize>()
    }

    /// The earliest payload, if it is due at `now`.
    #[inline]
    pub fn pop_due(&mut self, now: Nanos) -> Option<T> {
        self.now = now;
        let (node, run) = self.first().filter(|(node, _)| node.when <= now)?;
        let Some(i) = run else {
            return Some(self.remove_at(0));
        };
        let slot = node.slot;
        self.runs[i].nodes.pop_front();
        let value = self.release(slot);
        self.tidy(i);
        self.forget_burst_if_over();
        value
    }

    /// Takes everything out, in no particular order.
    pub fn take_all(&mut self) -> Vec<T> {
        self.heap.clear();
        self.runs = Default::default();
        self.busy_runs = 0;
        let occupied: Vec<u32> =
            (0..self.slots.len() as u32).filter(|&i| self.slots[i as usize].value.is_some()).collect();
        occupied.into_iter().filter_map(|slot| self.release(slot)).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|s| s.value.as_ref())
    }

    /// Restores a run's invariant after one of its entries went.
    fn tidy(&mut self, i: usize) {
        let (run, slots) = (&mut self.runs[i], &self.slots);
        while run.nodes.front().is_some_and(|node| !is_alive(slots, node)) {
            run.nodes.pop_front();
            run.dead -= 1;
        }
        if run.dead > 64 && run.dead > run.nodes.len() / 2 {
            run.nodes.retain(|node| is_alive(slots, node));
            run.dead = 0;
        }
        if run.nodes.is_empty() {
            self.busy_runs &= !(1 << i);
        }
    }

    fn release(&mut self, slot: u32) -> Option<T> {
        let s = &mut self.slots[slot as usize];
        s.generation = s.generation.wrapping_add(1);
        let value = s.value.take();
        self.free.push(slot);
        self.alive -= usize::from(value.is_some());
        value
    }

    fn remove_at(&mut self, at: usize) -> T {
        let node = self.heap.swap_remove(at);
        if at < self.heap.len() {
            self.place(at);
            self.sift_down(at);
            self.sift_up(at);
        }
        let value = self.release(node.slot).expect("a heap entry's slot is occupied");
        self.forget_burst_if_over();
        value
    }

    #[inline]
    fn forget_burst_if_over(&mut self) {
        if self.slots.len() < BURST {
            return;
        }
        if self.is_empty() {
            self.forget_burst();
        } else if self.alive <= self.trim_below {
            self.trim();
        }
    }

    /// Gives back what lies behind the last slot in use. The next attempt comes when half as many are
    /// alive, so that all attempts together cost no more than the burst did.
    fn trim(&mut self) {
        let keep = self.slots.iter().rposition(|s| s.value.is_some()).map_or(0, |last| last + 1);
        let newest = self.slots[keep..].iter().map(|s| s.generation).max().unwrap_or(0);
        self.first_generation = self.first_generation.max(newest.wrapping_add(1));
        self.slots.truncate(keep);
        self.slots.shrink_to_fit();
        self.free.retain(|&slot| (slot as usize) < keep);
        self.free.shrink_to_fit();
        self.heap.shrink_to_fit();
        for run in &mut self.runs {
            let slots = &self.slots;
            run.nodes.retain(|node| is_alive(slots, node));
            run.nodes.shrink_to_fit();
            run.dead = 0;
        }
        self.trim_below = self.alive / 2;
    }

    /// Gives back the memory of a burst. Generations restart far from any token that is still around.
    fn forget_burst(&mut self) {
        let base = self.slots.iter().map(|s| s.generation).max().unwrap_or(0).wrapping_add(1);
        self.first_generation = base;
        self.slots.truncate(64);
        for s in &mut self.slots {
            s.generation = base;
        }
        self.slots.shrink_to(64);
        self.free = (0..self.slots.len() as u32).collect();
        self.heap.shrink_to(64);
        self.runs = Default::default();
        self.busy_runs = 0;
    }

    #[inline]
    fn place(&mut self, at: usize) {
        let slot = self.heap[at].slot;
        self.slots[slot as usize].position = at as u32;
    }

    fn sift_up(&mut self, mut at: usize) {
        let node = self.heap[at];
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if !node.before(&self.heap[parent]) {
                break;
            }
            self.heap[at] = self.heap[parent];
            self.place(at);
            at = parent;
        }
        self.heap[at] = node;
        self.place(at);
    }

    fn sift_down(&mut self, mut at: usize) {
        let node = self.heap[at];
        loop {
            let first = at * ARITY + 1;
            if first >= self.heap.len() {
                break;
            }
            let last = (first + ARITY).min(self.heap.len());
            let mut least = first;
            for child in first + 1..last {
                if self.heap[child].before(&self.heap[least]) {
                    least = child;
                }
            }
            if !self.heap[least].before(&node) {
                break;
            }
            self.heap[at] = self.heap[least];
            self.place(at);
            at = least;
        }
        self.heap[at] = node;
        self.place(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_deadlines_fire_in_order_of_insertion() {
        let mut t = TimerHeap::default();
        for i in 0..100 {
            t.insert(7, i);
        }
        let fired: Vec<_> = std::iter::from_fn(|| t.pop_due(7)).collect();
        assert_eq!(fired, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn an_old_token_reaches_nothing() {
        let mut t = TimerHeap::default();
        let a = t.insert(1, 'a');
        assert_eq!(t.cancel(a), Some('a'));
        let _b = t.insert(1, 'b');
        assert_eq!(t.cancel(a), None);
        assert_eq!(t.cancel(TimerToken::NONE), None);
        assert_eq!(t.len(), 1);
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let mut t = TimerHeap::default();
        let tokens: Vec<_> = (0..200_000u64).map(|i| t.insert(i, i)).collect();
        let stale = tokens[0];
        for token in tokens {
            assert!(t.cancel(token).is_some());
        }
        assert!(t.slots.capacity() <= 65_536);
        for i in 0..100 {
            t.insert(i, i);
        }
        assert_eq!(t.cancel(stale), None);
    }

    #[test]
    fn cancelled_timers_of_equal_length_keep_memory_flat() {
        let mut t = TimerHeap::default();
        t.insert(u64::MAX, 0);
        t.insert(0, 0);
        for i in 0..100_000u64 {
            let token = t.insert(1_000 + i, i);
            assert_eq!(t.cancel(token), Some(i));
        }
        assert_eq!(t.len(), 2);
        let nodes: usize = t.runs.iter().map(|r| r.nodes.len()).sum();
        assert!(nodes + t.heap.len() <= 200 && t.slots.len() <= 200);
    }

    #[test]
    fn a_burst_leaves_no_memory_behind_though_one_timer_stays() {
        let mut t = TimerHeap::default();
        t.insert(1 << 60, 0);
        let tokens: Vec<_> = (0..200_000u64).map(|i| t.insert((i * 7_919) % 1_000_003, i)).collect();
        let stale = tokens[199_999];
        for token in tokens {
            assert!(t.cancel(token).is_some());
        }
        assert!(t.slots.capacity() < BURST && t.heap.capacity() < BURST && t.free.capacity() < BURST);
        for i in 0..200_000 {
            t.insert(i, i);
        }
        assert_eq!(t.cancel(stale), None);
    }

    #[test]
    fn what_is_due_together_fires_in_order_and_the_rest_stays() {
        let mut t = TimerHeap::default();
        let when = |i: u64| (i * 7_919) % 5_000;
        let tokens: Vec<_> = (0..5_000u64).map(|i| t.insert(when(i), i)).collect();
        t.expect_due(2_499);
        for (i, token) in tokens.iter().enumerate().step_by(10) {
            assert_eq!(t.cancel(*token), Some(i as u64));
        }
        let fired: Vec<_> = std::iter::from_fn(|| t.pop_due(2_499)).collect();
        let mut expected: Vec<_> = (0..5_000u64).filter(|i| i % 10 != 0 && when(*i) < 2_500).collect();
        expected.sort_by_key(|i| (when(*i), *i));
        assert_eq!(fired, expected);
        let rest: Vec<_> = std::iter::from_fn(|| t.pop_due(5_000)).collect();
        let mut expected: Vec<_> = (0..5_000u64).filter(|i| i % 10 != 0 && when(*i) >= 2_500).collect();
        expected.sort_by_key(|i| (when(*i), *i));
        assert_eq!(rest, expected);
    }

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u64),
        Cancel(usize),
        Pop(u64),
        Expect(u64),
    }

    proptest! {
        #[test]
        fn behaves_as_a_sorted_list(ops in proptest::collection::vec(prop_oneof![
            (0u64..50).prop_map(Op::Insert), (0usize..200).prop_map(Op::Cancel), (0u64..50).prop_map(Op::Pop),
            (0u64..50).prop_map(Op::Expect)], 1..200))
        {
            let mut heap = TimerHeap::default();
            let mut model: Vec<(u64, usize)> = Vec::new();
            let mut tokens = Vec::new();
            for op in ops {
                match op {
                    Op::Insert(when) => {
                        let id = tokens.len();
                        tokens.push(heap.insert(when, id));
                        model.push((when, id));
                    }
                    Op::Cancel(i) if !tokens.is_empty() => {
                        let id = i % tokens.len();
                        let expected = model.iter().position(|&(_, m)| m == id).map(|p| model.remove(p).1);
                        prop_assert_eq!(heap.cancel(tokens[id]), expected);
                    }
                    Op::Cancel(_) => {}
                    Op::Expect(now) => heap.expect_due(now),
                    Op::Pop(now) => {
                        model.sort();
                        let expected = model.first().filter(|&&(when, _)| when <= now).map(|&(_, id)| id);
                        if expected.is_some() { model.remove(0); }
                        prop_assert_eq!(heap.pop_due(now), expected);
                    }
                }
                prop_assert_eq!(heap.len(), model.len());
                prop_assert_eq!(heap.next_deadline(), model.iter().map(|m| m.0).min());
            }
        }
    }
}
