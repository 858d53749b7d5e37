//! What waits to be written, and when the writer must pause.
//!
//! Rule 1: bytes leave in the order in which they came; a chunk leaves the outbox when its last byte was written.
//! Rule 2: above the high-water mark the writer pauses, at or below the low-water mark it resumes; the two alternate.
//! Datagrams are never cut: each is a chunk that leaves as a whole, counted with an overhead while it waits.
//! Rule 3: this file writes nothing and calls nobody; its caller writes [`Outbox::slices`] and reports what went out.

use std::collections::VecDeque;
use std::io::IoSlice;

/// What a change of the amount waiting means to the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowChange {
    None,
    Pause,
    Resume,
}

/// Asyncio's defaults: 64 KiB and a quarter of it.
pub const DEFAULT_HIGH: usize = 64 * 1024;

#[derive(Debug)]
pub struct Outbox<C> {
    chunks: VecDeque<C>,
    /// How much of the first chunk is already written.
    written: usize,
    /// Invariant: the sum of all chunks' lengths less `written`, and datagrams' overheads.
    waiting: usize,
    high: usize,
    low: usize,
    paused: bool,
}

impl<C: AsRef<[u8]>> Default for Outbox<C> {
    fn default() -> Self {
        Self {
            chunks: VecDeque::new(),
            written: 0,
            waiting: 0,
            high: DEFAULT_HIGH,
            low: DEFAULT_HIGH / 4,
            paused: false,
        }
    }
}

impl<C: AsRef<[u8]>> Outbox<C> {
    pub fn len(&self) -> usize {
        self.waiting
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// `(low, high)`, in bytes.
    pub fn limits(&self) -> (usize, usize) {
        (self.low, self.high)
    }

    /// Sets the marks. The caller has checked `low <= high`.
    pub fn set_limits(&mut self, low: usize, high: usize) {
        debug_assert!(low <= high);
        self.low = low;
        self.high = high;
    }

    /// Asyncio looks at the marks after a write and after moving them.
    pub fn check_pause(&mut self) -> FlowChange {
        if !self.paused && self.waiting > self.high {
            self.paused = true;
            return FlowChange::Pause;
        }
        FlowChange::None
    }

    /// ... and after bytes went out.
    pub fn check_resume(&mut self) -> FlowChange {
        if self.paused && self.waiting <= self.low {
            self.paused = false;
            return FlowChange::Resume;
        }
        FlowChange::None
    }

    pub fn push(&mut self, chunk: C) {
        let n = chunk.as_ref().len();
        if n > 0 {
            self.waiting += n;
            self.chunks.push_back(chunk);
        }
    }

    /// Adds a chunk whose first `written` bytes are already out. Only for an empty outbox.
    pub fn push_rest(&mut self, chunk: C, written: usize) {
        debug_assert!(self.chunks.is_empty() && written <= chunk.as_ref().len());
        let n = chunk.as_ref().len();
        if written < n {
            self.waiting += n - written;
            self.written = written;
            self.chunks.push_back(chunk);
        }
    }

    /// Adds a datagram, which may be empty; it counts for `overhead` bytes more than it has.
    pub fn push_datagram(&mut self, chunk: C, overhead: usize) {
        self.waiting += chunk.as_ref().len() + overhead;
        self.chunks.push_back(chunk);
    }

    /// Takes the datagram that is to be sent next.
    pub fn pop_datagram(&mut self, overhead: usize) -> Option<C> {
        let chunk = self.chunks.pop_front()?;
        self.waiting -= chunk.as_ref().len() + overhead;
        Some(chunk)
    }

    /// Puts back what `pop_datagram` gave: it doesn't fit yet.
    pub fn put_back_datagram(&mut self, chunk: C, overhead: usize) {
        self.waiting += chunk.as_ref().len() + overhead;
        self.chunks.push_front(chunk);
    }

    /// What to write next, at most `max` slices.
    pub fn slices(&self, max: usize) -> impl Iterator<Item = IoSlice<'_>> {
        let skip = self.written;
        self.chunks.iter().take(max).enumerate().map(move |(i, c)| {
            let bytes = c.as_ref();
            IoSlice::new(if i == 0 { &bytes[skip..] } else { bytes })
        })
    }

    /// `n` bytes went out. Fully written chunks are handed to `done`, to be dropped outside any borrow.
    pub fn advance(&mut self, mut n: usize, done: &mut Vec<C>) {
        debug_assert!(n <= self.waiting);
        self.waiting -= n;
        while n > 0 {
            let left = self.chunks[0].as_ref().len() - self.written;
            if n < left {
                self.written += n;
                return;
            }
            n -= left;
            self.written = 0;
            done.extend(self.chunks.pop_front());
        }
    }

    /// Empties the outbox; the chunks are for the caller to drop.
    pub fn take_all(&mut self) -> VecDeque<C> {
        self.waiting = 0;
        self.written = 0;
        std::mem::take(&mut self.chunks)
    }

    pub fn chunks(&self) -> impl Iterator<Item = &C> {
        self.chunks.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pause_and_resume_alternate() {
        let mut o = Outbox::default();
        o.set_limits(2, 5);
        o.push(b"abcdef".to_vec());
        assert_eq!(o.check_pause(), FlowChange::Pause);
        assert_eq!(o.check_pause(), FlowChange::None);
        let mut done = Vec::new();
        o.advance(3, &mut done);
        assert_eq!(o.check_resume(), FlowChange::None);
        o.advance(1, &mut done);
        assert_eq!(o.check_resume(), FlowChange::Resume);
        assert_eq!(o.check_resume(), FlowChange::None);
        assert!(done.is_empty());
        o.advance(2, &mut done);
        assert_eq!(done, [b"abcdef".to_vec()]);
    }

    #[test]
    fn datagrams_leave_whole_and_count_with_their_overhead() {
        let mut o = Outbox::default();
        o.push_datagram(b"".to_vec(), 8);
        o.push_datagram(b"abc".to_vec(), 8);
        assert_eq!((o.len(), o.is_empty()), (19, false));
        let first = o.pop_datagram(8).unwrap();
        assert_eq!((first.as_slice(), o.len()), (&b""[..], 11));
        o.put_back_datagram(first, 8);
        assert_eq!(o.pop_datagram(8), Some(b"".to_vec()));
        assert_eq!(o.pop_datagram(8), Some(b"abc".to_vec()));
        assert_eq!((o.pop_datagram(8), o.len(), o.is_empty()), (None, 0, true));
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_or_reordered(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..20),
                                        steps in proptest::collection::vec(0usize..30, 0..60)) {
            let mut o = Outbox::default();
            let mut sent = Vec::new();
            let mut input = chunks.iter();
            let mut done = Vec::new();
            for step in steps {
                if let Some(c) = input.next() { o.push(c.clone()); }
                let all: Vec<u8> = o.slices(3).flat_map(|s| s.to_vec()).collect();
                let n = step.min(all.len());
                sent.extend_from_slice(&all[..n]);
                o.advance(n, &mut done);
            }
            for c in input { o.push(c.clone()); }
            let rest: Vec<u8> = o.take_all().iter().flat_map(|c| c.clone()).collect();
            let everything: Vec<u8> = chunks.concat();
            prop_assert!(everything.starts_with(&sent));
            prop_assert!(everything.ends_with(&rest));
        }
    }
}
