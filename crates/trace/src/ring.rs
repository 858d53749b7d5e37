//! A ring of events in fixed memory: one thread writes, others read, nobody waits for anybody and nothing is allocated.
//!
//! The memory is blocks of 64 KiB. The writer enters one block after the other; only then does it look what others are
//! doing, so that [`Writer::push`] is a comparison, the event's 32 bytes and one store that tells how far it has come.
//!
//! | | [`streaming`] | [`flight`] |
//! |---|---|---|
//! | who reads | one [`Reader`] empties it | nobody, until somebody wants to know |
//! | the next block is still full | the newest events are lost and counted; `Lost` says so once a block is free | the oldest are overwritten |
//!
//! Of both kinds a [`View`] can be taken to any thread: it copies what is in memory while the writer goes on.
//!
//! Why this is sound: the slots are atomic words, so that reading one that is being written is no data race. A `Reader`
//! lends out only events that the writer has published (`written`) and doesn't touch before they are given back (`read`).
//! A `View` makes sure afterwards that the writer had not entered the block that it copied (`entered`).

use std::alloc::{alloc_zeroed, handle_alloc_error, Layout};
use std::cell::Cell;
use std::sync::atomic::{fence, AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use sched::Nanos;

use crate::event::{Event, Kind, Words, SIZE};

pub const BLOCK: usize = 64 * 1024;
/// Bytes of the smallest ring.
pub const LEAST: usize = 4 * BLOCK;
const EVENTS: u64 = (BLOCK / SIZE) as u64;

/// An event's words.
#[repr(transparent)]
struct Slot([AtomicU64; SIZE / 8]);

impl Slot {
    #[inline(always)]
    fn store(&self, words: Words) {
        for (slot, word) in self.0.iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn load(&self) -> Event {
        Event::from_words(std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed)))
    }
}

/// On a line of the cache of its own: the writer and the reader each write one of these all the time.
#[repr(align(64))]
struct Alone(AtomicU64);

struct Ring {
    /// Event number `n`, from 0, is or was in slot `n % slots.len()`. Invariant: whole blocks, at least [`LEAST`].
    slots: Box<[Slot]>,
    streaming: bool,
    /// How many events there have been; lost ones have no number.
    written: Alone,
    /// How many of them the reader has given back. Never more than `written`.
    read: Alone,
    /// The number of the first event after the block that the writer is in: what was in the block before is gone.
    entered: AtomicU64,
    /// Events that found no room; of these, those that no `Lost` has told yet, and the time of the first.
    lost: AtomicU64,
    untold: AtomicU64,
    untold_since: AtomicU64,
    /// The writer is gone.
    closed: AtomicBool,
}

/// What became of the events so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// `Lost` among them.
    pub written: u64,
    /// Found no room.
    pub lost: u64,
    /// Written, but no longer there and read by nobody.
    pub overwritten: u64,
}

impl Ring {
    /// Takes address space; memory as it is written.
    fn new(memory: usize, streaming: bool) -> Arc<Ring> {
        let count = memory.max(LEAST) / BLOCK * (BLOCK / SIZE);
        let layout = Layout::array::<Slot>(count).expect("a ring fits into the address space");
        // SAFETY: the layout isn't empty. Zeroes are a valid value of atomics. What was allocated with a slice's layout by
        // the global allocator may be freed by a box of that slice.
        let slots = unsafe {
            let memory = alloc_zeroed(layout).cast::<Slot>();
            if memory.is_null() {
                handle_alloc_error(layout);
            }
            Box::from_raw(std::ptr::slice_from_raw_parts_mut(memory, count))
        };
        let zero = || AtomicU64::new(0);
        Arc::new(Ring {
            slots,
            streaming,
            written: Alone(zero()),
            read: Alone(zero()),
            entered: zero(),
            lost: zero(),
            untold: zero(),
            untold_since: zero(),
            closed: AtomicBool::new(false),
        })
    }

    fn size(&self) -> u64 {
        self.slots.len() as u64
    }

    fn index(&self, number: u64) -> usize {
        (number % self.size()) as usize
    }

    /// The number of the oldest event that is not overwritten.
    fn oldest(&self) -> u64 {
        self.entered.load(Ordering::Acquire).saturating_sub(self.size())
    }

    fn counts(&self) -> Counts {
        Counts {
            written: self.written.0.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            overwritten: if self.streaming { 0 } else { self.oldest() },
        }
    }

    /// None if no event was lost since that was last told.
    fn lost_since(&self) -> Option<Event> {
        let untold = self.untold.load(Ordering::Relaxed);
        let since = self.untold_since.load(Ordering::Relaxed);
        (untold > 0).then(|| Event::new(Kind::Lost, since, 0, untold, 0, 0))
    }
}

/// A ring of about `memory` bytes that a reader empties.
pub fn streaming(memory: usize) -> (Writer, Reader) {
    let ring = Ring::new(memory, true);
    (Writer::new(&ring), Reader { ring })
}

/// A ring that always has the last events, about `memory` bytes of them, up to a block less.
pub fn flight(memory: usize) -> (Writer, View) {
    let ring = Ring::new(memory, false);
    (Writer::new(&ring), View { ring })
}

/// May be moved to another thread, but is not used by two at once (it isn't `Sync`).
pub struct Writer {
    ring: Arc<Ring>,
    /// The number of the first event that is outside the block. Invariant: `written <= until`.
    until: Cell<u64>,
    /// An event's number plus this, wrapping, is its slot's index. Invariant: in range for `until - EVENTS .. until`.
    offset: Cell<usize>,
}

impl Writer {
    fn new(ring: &Arc<Ring>) -> Writer {
        Writer { ring: ring.clone(), until: Cell::new(0), offset: Cell::new(0) }
    }

    #[inline(always)]
    pub fn push(&self, event: Event) {
        let (ring, words) = (&*self.ring, event.to_words());
        let number = ring.written.0.load(Ordering::Relaxed);
        if number == self.until.get() {
            return self.push_into_next(words[0], words[1], words[2], words[3]);
        }
        let index = (number as usize).wrapping_add(self.offset.get());
        debug_assert!(index < ring.slots.len());
        // SAFETY: `number` is in the block that `enter` has set `offset` for: nobody else changes `written`, which is moved
        // by one here and never beyond `until`.
        unsafe { ring.slots.get_unchecked(index) }.store(words);
        ring.written.0.store(number + 1, Ordering::Release);
    }

    pub fn counts(&self) -> Counts {
        self.ring.counts()
    }

    /// Takes the words one by one, in registers: else every push would write the event into memory twice.
    #[cold]
    #[inline(never)]
    fn push_into_next(&self, at: u64, head: u64, a: u64, last: u64) {
        let (ring, event) = (&*self.ring, Event::from_words([at, head, a, last]));
        if !self.enter() {
            let untold = ring.untold.load(Ordering::Relaxed);
            if untold == 0 {
                ring.untold_since.store(event.at, Ordering::Relaxed);
            }
            ring.untold.store(untold + 1, Ordering::Relaxed);
            ring.lost.store(ring.lost.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            return;
        }
        if let Some(lost) = ring.lost_since() {
            ring.untold.store(0, Ordering::Relaxed);
            self.push(lost);
        }
        self.push(event);
    }

    /// Whether the next block could be entered.
    fn enter(&self) -> bool {
        let (ring, begin) = (&*self.ring, self.until.get());
        let end = begin + EVENTS;
        // Acquire: what the reader did with the events that it has given back is done before they are overwritten.
        if ring.streaming && end > ring.read.0.load(Ordering::Acquire) + ring.size() {
            return false;
        }
        self.until.set(end);
        self.offset.set(ring.index(begin).wrapping_sub(begin as usize));
        ring.entered.store(end, Ordering::Release);
        // Who sees anything of what is written from now on sees `entered` too, after a fence of its own.
        fence(Ordering::Release);
        true
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ring.closed.store(true, Ordering::Release);
    }
}

/// Empties a ring.
pub struct Reader {
    ring: Arc<Ring>,
}

impl Reader {
    /// Gives what there is now to `take`, oldest first, at most a block at a time, and makes room. Returns how many events.
    ///
    /// When the writer is gone, and events were lost that it had no more opportunity to tell, the last is a `Lost`.
    pub fn drain(&mut self, take: &mut dyn FnMut(&[Event])) -> u64 {
        let ring = &*self.ring;
        // In this order: what was written before the writer went is seen.
        let closed = ring.closed.load(Ordering::Acquire);
        let end = ring.written.0.load(Ordering::Acquire);
        let begin = ring.read.0.load(Ordering::Relaxed);
        let mut at = begin;
        while at < end {
            let count = (EVENTS - at % EVENTS).min(end - at);
            let slots = &ring.slots[ring.index(at)..][..count as usize];
            // SAFETY: a slot has an event's size and at least its alignment, and every value of it is an event. The writer has
            // published these (acquired above), and doesn't write to them before `read` is moved; `take` can't keep them.
            take(unsafe { std::slice::from_raw_parts(slots.as_ptr().cast::<Event>(), slots.len()) });
            at += count;
            ring.read.0.store(at, Ordering::Release);
        }
        let lost = if closed { ring.lost_since() } else { None };
        if let Some(lost) = lost {
            ring.untold.store(0, Ordering::Relaxed);
            take(&[lost]);
        }
        end - begin + u64::from(lost.is_some())
    }

    /// Whether the writer is gone: what the next `drain` gives is the last.
    pub fn is_closed(&self) -> bool {
        self.ring.closed.load(Ordering::Acquire)
    }

    pub fn counts(&self) -> Counts {
        self.ring.counts()
    }

    pub fn view(&self) -> View {
        View { ring: self.ring.clone() }
    }
}

/// Looks into a ring from any thread, at any time, and takes nothing out.
#[derive(Clone)]
pub struct View {
    ring: Arc<Ring>,
}

impl View {
    /// The events that are in memory, oldest first, without gaps.
    pub fn snapshot(&self) -> Vec<Event> {
        self.snapshot_since(0)
    }

    /// Those of them whose time is `since` or later.
    pub fn snapshot_since(&self, since: Nanos) -> Vec<Event> {
        let ring = &*self.ring;
        let mut events = Vec::new();
        let (mut at, mut end) = (ring.oldest(), ring.written.0.load(Ordering::Acquire));
        while at < end {
            let next = (at + EVENTS).min(end);
            let slots = &ring.slots[ring.index(at)..][..(next - at) as usize];
            events.extend(slots.iter().map(Slot::load).filter(|event| event.at >= since));
            // If one of them was of a later round, the writer's fence comes before it, and `entered` is seen.
            fence(Ordering::Acquire);
            if at < ring.oldest() {
                // Without this block the older ones would be followed by a gap.
                events.clear();
                (at, end) = (ring.oldest(), ring.written.0.load(Ordering::Acquire));
            } else {
                at = next;
            }
        }
        events
    }

    pub fn counts(&self) -> Counts {
        self.ring.counts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::thread;

    /// Its parts belong together, so that a torn one is found out.
    fn event(number: u64) -> Event {
        let part = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Event::new(Kind::Wake, number, part >> 8, part, part as u32, number as u32)
    }

    fn assert_whole(events: &[Event]) {
        for e in events {
            assert_eq!(*e, event(e.at));
        }
        assert!(events.windows(2).all(|pair| pair[0].at + 1 == pair[1].at));
    }

    fn drained(reader: &mut Reader) -> Vec<Event> {
        let mut events = Vec::new();
        let count = reader.drain(&mut |some| events.extend_from_slice(some));
        assert_eq!(count, events.len() as u64);
        events
    }

    #[test]
    fn the_newest_are_lost_and_the_ring_says_so_when_there_is_room() {
        let (writer, mut reader) = streaming(0);
        let room = 4 * EVENTS;
        for number in 0..room + 5 {
            writer.push(event(number));
        }
        assert_eq!(writer.counts(), Counts { written: room, lost: 5, overwritten: 0 });
        let first = drained(&mut reader);
        assert_eq!(first.len() as u64, room);
        assert_whole(&first);
        writer.push(event(room + 5));
        let lost = Event::new(Kind::Lost, room, 0, 5, 0, 0);
        assert_eq!(drained(&mut reader), [lost, event(room + 5)]);
        assert_eq!(reader.counts(), Counts { written: room + 2, lost: 5, overwritten: 0 });
        assert_eq!(drained(&mut reader), []);
    }

    #[test]
    fn what_was_lost_last_is_told_when_the_writer_is_gone() {
        let (writer, mut reader) = streaming(LEAST);
        for number in 0..4 * EVENTS + 3 {
            writer.push(event(number));
        }
        assert_eq!((drained(&mut reader).len() as u64, reader.is_closed()), (4 * EVENTS, false));
        drop(writer);
        assert!(reader.is_closed());
        assert_eq!(drained(&mut reader), [Event::new(Kind::Lost, 4 * EVENTS, 0, 3, 0, 0)]);
        assert_eq!(drained(&mut reader), []);
    }

    #[test]
    fn a_reader_that_panics_loses_nothing() {
        let (writer, mut reader) = streaming(LEAST);
        (0..10).for_each(|number| writer.push(event(number)));
        let panics = std::panic::AssertUnwindSafe(|| reader.drain(&mut |_| std::panic::resume_unwind(Box::new(()))));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(drained(&mut reader).len(), 10);
    }

    #[test]
    fn the_flight_recorder_has_the_newest() {
        let (writer, view) = flight(LEAST + 1);
        assert_eq!(view.snapshot(), []);
        for number in 0..10 * EVENTS + 1 {
            writer.push(event(number));
        }
        let events = view.snapshot();
        assert_whole(&events);
        assert_eq!((events[0].at, events.len() as u64), (7 * EVENTS, 3 * EVENTS + 1));
        assert_eq!(view.counts(), Counts { written: 10 * EVENTS + 1, lost: 0, overwritten: 7 * EVENTS });
        assert_eq!(view.snapshot_since(10 * EVENTS - 1), [event(10 * EVENTS - 1), event(10 * EVENTS)]);
    }

    #[test]
    fn a_reader_on_another_thread_gets_every_event_or_hears_how_many_it_did_not() {
        const COUNT: u64 = 1_000_000;
        let (writer, mut reader) = streaming(LEAST);
        let view = reader.view();
        let reading = thread::spawn(move || {
            let (mut next, mut lost) = (0, 0);
            loop {
                let closed = reader.is_closed();
                reader.drain(&mut |events| {
                    for e in events {
                        if e.kind() == Some(Kind::Lost) {
                            assert_eq!(e.at, next);
                            next += e.a;
                            lost += e.a;
                        } else {
                            assert_eq!(*e, event(next));
                            next += 1;
                        }
                    }
                });
                if closed {
                    return (next, lost, reader.counts());
                }
            }
        });
        for number in 0..COUNT {
            writer.push(event(number));
            // So that not nearly all are lost where both threads share a core.
            if number % (2 * EVENTS) == 0 {
                thread::yield_now();
                view.snapshot();
            }
        }
        drop(writer);
        let (next, lost, counts) = reading.join().unwrap();
        assert_eq!((next, lost), (COUNT, counts.lost));
    }

    #[test]
    fn a_snapshot_has_no_gaps_and_no_torn_events_while_the_writer_goes_on() {
        let (writer, view) = flight(LEAST);
        let looking: Vec<_> = (0..2)
            .map(|_| {
                let view = view.clone();
                thread::spawn(move || {
                    let mut newest = 0;
                    for _ in 0..300 {
                        let events = view.snapshot();
                        assert_whole(&events);
                        let last = events.last().map_or(0, |e| e.at);
                        assert!(last >= newest);
                        newest = last;
                    }
                })
            })
            .collect();
        let mut number = 0;
        while !looking.iter().all(|thread| thread.is_finished()) {
            for _ in 0..1000 {
                writer.push(event(number));
                number += 1;
            }
        }
        looking.into_iter().for_each(|thread| thread.join().unwrap());
        assert_whole(&view.snapshot());
    }

    #[derive(Debug, Clone)]
    enum Op {
        Push(u64),
        Drain,
        Look(u64),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            3 => (0u64..3 * EVENTS).prop_map(Op::Push),
            3 => (0u64..10).prop_map(Op::Push),
            2 => Just(Op::Drain),
            1 => (0u64..9 * EVENTS).prop_map(Op::Look)
        ];
        proptest::collection::vec(op, 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The model: a block is entered only if it is free, with a list of what was written and a number of what was read.
        #[test]
        fn streaming_behaves_as_a_list(blocks in 4u64..7, ops in ops()) {
            let (writer, mut reader) = streaming(blocks as usize * BLOCK);
            let (mut list, mut read, mut lost, mut untold, mut number) = (Vec::<Event>::new(), 0, 0, 0, 0);
            for op in ops {
                match op {
                    Op::Push(count) => for _ in 0..count {
                        writer.push(event(number));
                        let begin = list.len() as u64;
                        if begin % EVENTS == 0 && begin + EVENTS > read + blocks * EVENTS {
                            (lost, untold) = (lost + 1, untold + 1);
                        } else {
                            if untold > 0 {
                                list.push(Event::new(Kind::Lost, number - untold, 0, untold, 0, 0));
                                untold = 0;
                            }
                            list.push(event(number));
                        }
                        number += 1;
                    },
                    Op::Drain => {
                        prop_assert_eq!(&drained(&mut reader), &list[read as usize..]);
                        read = list.len() as u64;
                    }
                    Op::Look(_) => {
                        let seen = reader.view().snapshot();
                        prop_assert!(list.ends_with(&seen));
                        prop_assert!(seen.len() as u64 >= (list.len() as u64).min((blocks - 1) * EVENTS));
                    }
                }
                prop_assert_eq!(reader.counts(), Counts { written: list.len() as u64, lost, overwritten: 0 });
            }
        }

        #[test]
        fn a_flight_recorder_behaves_as_the_end_of_a_list(blocks in 4u64..7, ops in ops()) {
            let (writer, view) = flight(blocks as usize * BLOCK);
            let mut number = 0;
            for op in ops {
                let since = match op {
                    Op::Push(count) => {
                        (number..number + count).for_each(|number| writer.push(event(number)));
                        number += count;
                        0
                    }
                    Op::Drain => 0,
                    Op::Look(since) => since,
                };
                let gone = number.div_ceil(EVENTS).saturating_sub(blocks) * EVENTS;
                let expected: Vec<_> = (gone.max(since)..number).map(event).collect();
                prop_assert_eq!(view.snapshot_since(since), expected);
                prop_assert_eq!(view.counts(), Counts { written: number, lost: 0, overwritten: gone });
            }
        }
    }
}
