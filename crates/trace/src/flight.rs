//! The flight recorder's memory: the events of the last seconds, in bounded memory, and what there was when they begin.
//!
//! | part | |
//! |---|---|
//! | [`Window`] | the events |
//! | [`Alive`] | the tasks that were alive before the first of them: who they are, what they wait for, what they hold |
//! | [`files`] | writing them out: names, whole files only, how many |
//! | [`Limits`] | how often |
//!
//! A recording that begins in the middle of a program must not leave out the task that has waited since long before: it is the one that
//! is looked for. So an event that leaves the window is not forgotten, but made part of what there was.

mod alive;
pub mod files;
mod limits;

use std::collections::VecDeque;

use sched::Nanos;

use crate::event::{Event, Key, Kind, Text, SIZE};

pub use alive::Alive;
pub use limits::Limits;

/// Events in a piece: 64 KiB of them.
const PIECE: usize = 2048;
/// Bytes that an empty piece is said to take.
const OVERHEAD: usize = 64;
/// Nobody's clock is off by more.
const SLACK: Nanos = 1_000_000;

/// Events of one loop, in their order.
struct Piece {
    loop_number: u32,
    /// None of them is older.
    since: Nanos,
    events: Vec<Event>,
    /// So many of them have left the window.
    gone: usize,
}

impl Piece {
    fn rest(&self) -> &[Event] {
        &self.events[self.gone..]
    }
}

pub struct Window {
    pieces: VecDeque<Piece>,
    bytes: usize,
    most: usize,
    length: Nanos,
    /// It has all events from then on, and none from before.
    begin: Nanos,
    /// What came before then has been taken.
    taken: Nanos,
    before: Alive,
}

impl Window {
    /// The events of the last `length` nanoseconds, of more than `most` bytes the newest.
    pub fn new(length: Nanos, most: usize) -> Window {
        Window { pieces: VecDeque::new(), bytes: 0, most, length, begin: 0, taken: 0, before: Alive::default() }
    }

    /// Takes events that follow those which were taken before.
    pub fn push(&mut self, loop_number: u32, mut events: &[Event]) {
        while !events.is_empty() {
            let has_room =
                |last: &&mut Piece| last.loop_number == loop_number && last.events.len() < PIECE && last.gone == 0;
            let last = self.pieces.back_mut().filter(has_room);
            let room = last.as_ref().map_or(PIECE, |last| PIECE - last.events.len());
            let (now, later) = events.split_at(room.min(events.len()));
            match last {
                Some(last) => last.events.extend_from_slice(now),
                None => {
                    let since = self.taken.saturating_sub(SLACK);
                    self.pieces.push_back(Piece { loop_number, since, events: now.to_vec(), gone: 0 });
                    self.bytes += OVERHEAD;
                }
            }
            self.bytes += now.len() * SIZE;
            events = later;
        }
    }

    /// Everything that was written before `now` has been taken: what is too old, or too much, leaves.
    pub fn tick(&mut self, now: Nanos) {
        self.taken = now;
        self.begin = self.begin.max(now.saturating_sub(self.length));
        while self.bytes > self.most {
            let Some(first) = self.pieces.front() else { break };
            let last = first.events.last().map_or(0, Event::written);
            self.begin = self.begin.max(last.saturating_add(1));
            // All of it goes, whatever its times say.
            self.drop_first();
        }
        self.leave();
    }

    fn drop_first(&mut self) {
        if let Some(piece) = self.pieces.pop_front() {
            self.bytes = self.bytes.saturating_sub(OVERHEAD + piece.events.len() * SIZE);
            piece.rest().iter().for_each(|event| self.before.apply(piece.loop_number, event));
        }
    }

    /// What is older than the window's begin leaves it, of all loops.
    fn leave(&mut self) {
        let begin = self.begin;
        for piece in self.pieces.iter_mut().take_while(|piece| piece.since < begin) {
            while let Some(event) = piece.events.get(piece.gone).filter(|event| event.written() < begin) {
                self.before.apply(piece.loop_number, event);
                piece.gone += 1;
            }
        }
        while self.pieces.front().is_some_and(|first| first.rest().is_empty()) {
            self.drop_first();
        }
    }

    /// When it begins.
    pub fn begin(&self) -> Nanos {
        let first = self.pieces.iter().filter_map(|piece| piece.rest().first()).map(Event::written).min();
        self.begin.max(if self.before.is_empty() { first.unwrap_or(0) } else { 0 })
    }

    /// All of it as a recording: what there was, then the events. `take` gets some of one loop at a time.
    pub fn write<E>(&self, mut take: impl FnMut(u32, &[Event]) -> Result<(), E>) -> Result<(), E> {
        self.before.write(self.begin(), &mut take)?;
        self.pieces.iter().try_for_each(|piece| take(piece.loop_number, piece.rest()))
    }

    /// What a task's name and its coroutine are called. Looks at everything.
    pub fn name_of(&self, task: Key) -> (Text, Text) {
        let (mut name, mut coroutine) = self.before.name_of(task);
        for event in self.pieces.iter().flat_map(Piece::rest).filter(|event| event.task() == task) {
            match event.kind() {
                Some(Kind::Name) => name = event.c,
                Some(Kind::Spawn | Kind::Exists) => coroutine = event.c,
                _ => {}
            }
        }
        (name, coroutine)
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
