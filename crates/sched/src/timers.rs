//! Timers: a 4-ary heap that knows where each entry sits, so that a cancelled timer leaves at once.
//!
//! Rule 1: entries fire in order of deadline; entries with the same deadline in the order in which they were added.
//! Rule 2: `cancel` gives the payload back immediately; nothing cancelled stays in memory.
//! Rule 3: a token is used up by firing or cancelling; an old token never reaches a newer entry.

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
}

impl Node {
    #[inline]
    fn before(&self, other: &Node) -> bool {
        (self.when, self.seq) < (other.when, other.seq)
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// Where the entry sits in `heap`. Meaningful only while `value` is some.
    position: u32,
    value: Option<T>,
}

/// See the module's rules.
#[derive(Debug)]
pub struct TimerHeap<T> {
    /// Invariant: a min-heap by `(when, seq)`; `slots[heap[i].slot].position == i`.
    heap: Vec<Node>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    next_seq: u64,
    /// What new slots start with, so that a token from before [`TimerHeap::forget_burst`] reaches nothing.
    first_generation: u32,
}

impl<T> Default for TimerHeap<T> {
    fn default() -> Self {
        Self { heap: Vec::new(), slots: Vec::new(), free: Vec::new(), next_seq: 0, first_generation: 0 }
    }
}

const ARITY: usize = 4;

impl<T> TimerHeap<T> {
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The earliest deadline.
    #[inline]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.heap.first().map(|n| n.when)
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
        self.slots[slot as usize].value = Some(value);
        let seq = self.next_seq;
        self.next_seq += 1;
        let at = self.heap.len();
        self.heap.push(Node { when, seq, slot });
        self.sift_up(at);
        TimerToken { slot, generation: self.slots[slot as usize].generation }
    }

    /// The payload of a timer that had neither fired nor been cancelled.
    pub fn cancel(&mut self, token: TimerToken) -> Option<T> {
        let slot = self.slots.get(token.slot as usize)?;
        if slot.generation != token.generation || slot.value.is_none() {
            return None;
        }
        let at = slot.position as usize;
        Some(self.remove_at(at))
    }

    /// The earliest payload, if it is due at `now`.
    #[inline]
    pub fn pop_due(&mut self, now: Nanos) -> Option<T> {
        match self.heap.first() {
            Some(node) if node.when <= now => Some(self.remove_at(0)),
            _ => None,
        }
    }

    /// Takes everything out, in no particular order.
    pub fn take_all(&mut self) -> Vec<T> {
        let mut out = Vec::with_capacity(self.heap.len());
        while let Some(node) = self.heap.pop() {
            out.extend(self.release(node.slot));
        }
        out
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.heap.iter().filter_map(|n| self.slots[n.slot as usize].value.as_ref())
    }

    fn release(&mut self, slot: u32) -> Option<T> {
        let s = &mut self.slots[slot as usize];
        s.generation = s.generation.wrapping_add(1);
        let value = s.value.take();
        self.free.push(slot);
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
        if self.heap.is_empty() && self.slots.capacity() > 65_536 {
            self.forget_burst();
        }
        value
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

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u64),
        Cancel(usize),
        Pop(u64),
    }

    proptest! {
        #[test]
        fn behaves_as_a_sorted_list(ops in proptest::collection::vec(prop_oneof![
            (0u64..50).prop_map(Op::Insert), (0usize..200).prop_map(Op::Cancel), (0u64..50).prop_map(Op::Pop)], 1..200))
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
