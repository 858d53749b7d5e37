//! Events: what a recording is made of. 32 bytes each; the table of what each says is in `docs/design/recording.md`.
//!
//! The hooks of a loop tell the recorder, the recorder writes [`Event`]s into a ring, everybody else reads them.

use sched::Nanos;

/// Names a task in the process: its loop's number in the bits from [`LOOP_SHIFT`] on, its number in the loop below; 0 is none.
pub type Key = u64;
/// A word or sentence in the recording's table; 0 is none.
pub type Text = u32;
/// In a `Name`'s text: the number below is that of a default name, "Task-12".
pub const NUMBERED: Text = 1 << 31;
/// In a `Callback`'s place: there is none, and the number below says why it runs, as a `Wake`'s cause does.
pub const CALLED_BY: Place = 1 << 31;
/// A place in the source in the recording's table; 0 is unknown.
pub type Place = u32;
/// A future, lock, queue or scope; 0 is none.
pub type Object = u64;

pub const LOOP_SHIFT: u32 = 40;
const TASK_BITS: u32 = 56;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Loop = 1,
    Turn = 2,
    Spawn = 3,
    Exists = 4,
    Name = 5,
    Child = 6,
    Step = 7,
    Wait = 8,
    WaitTask = 9,
    Wake = 10,
    Cancel = 11,
    Why = 12,
    Finish = 13,
    Unheard = 14,
    Callback = 15,
    ScopeOpen = 16,
    ScopeClose = 17,
    Hold = 18,
    Release = 19,
    Queue = 20,
    Warning = 21,
    Lost = 22,
}

impl Kind {
    /// In the order of their numbers, from 1.
    pub const ALL: [Kind; 22] = [
        Kind::Loop,
        Kind::Turn,
        Kind::Spawn,
        Kind::Exists,
        Kind::Name,
        Kind::Child,
        Kind::Step,
        Kind::Wait,
        Kind::WaitTask,
        Kind::Wake,
        Kind::Cancel,
        Kind::Why,
        Kind::Finish,
        Kind::Unheard,
        Kind::Callback,
        Kind::ScopeOpen,
        Kind::ScopeClose,
        Kind::Hold,
        Kind::Release,
        Kind::Queue,
        Kind::Warning,
        Kind::Lost,
    ];

    pub fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(number).wrapping_sub(1)).copied()
    }
}

/// How a step ended (`Step`'s `c`).
pub mod step {
    pub const YIELDS: u32 = 0;
    pub const WAITS: u32 = 1;
    pub const ENDS: u32 = 2;
    /// It still runs: it is the last there is of the task.
    pub const RUNS: u32 = 3;
}

/// Who woke a task (`Wake`'s `c`).
pub mod cause {
    pub const TASK: u32 = 1;
    pub const IO: u32 = 2;
    pub const TIMER: u32 = 3;
    pub const CALLBACK: u32 = 4;
    pub const THREAD: u32 = 5;
    pub const DEADLINE: u32 = 6;
    pub const ITSELF: u32 = 7;
}

/// How a task ended (`Finish`'s `c`).
pub mod outcome {
    pub const RESULT: u32 = 0;
    pub const EXCEPTION: u32 = 1;
    pub const CANCELLED: u32 = 2;
}

/// What a loop does (`Loop`'s `c`).
pub mod phase {
    pub const RUNS: u32 = 0;
    pub const STOPS: u32 = 1;
    pub const CLOSED: u32 = 2;
}

/// What a scope is (`ScopeOpen`'s `c`).
pub mod scope {
    pub const CANCEL_SCOPE: u32 = 1;
    pub const NURSERY: u32 = 2;
}

/// What a `Release` is (its `c`).
pub mod release {
    /// A holder gives back what it has.
    pub const RELEASED: u32 = 0;
    /// An event was set, a condition notified, an item put: whoever waits for the object is woken, and nobody held it.
    pub const SIGNAL: u32 = 1;
}

/// One entry, as it lies in memory and in files (little-endian).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Event {
    pub at: Nanos,
    head: u64,
    pub a: u64,
    pub b: u32,
    pub c: u32,
}

pub const SIZE: usize = std::mem::size_of::<Event>();
pub(crate) type Words = [u64; SIZE / 8];

impl Event {
    #[inline(always)]
    pub fn new(kind: Kind, at: Nanos, task: Key, a: u64, b: u32, c: u32) -> Event {
        Event { at, head: (kind as u64) << TASK_BITS | (task & ((1 << TASK_BITS) - 1)), a, b, c }
    }

    /// None for what a newer Segue has written.
    #[inline]
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_number((self.head >> TASK_BITS) as u8)
    }

    #[inline]
    pub fn task(&self) -> Key {
        self.head & ((1 << TASK_BITS) - 1)
    }

    /// As readers have it: what names no task has the key of its loop.
    pub fn in_loop(self, loop_number: u32) -> Event {
        match self.kind() {
            Some(kind @ (Kind::Loop | Kind::Turn | Kind::Lost)) => {
                Event::new(kind, self.at, u64::from(loop_number) << LOOP_SHIFT, self.a, self.b, self.c)
            }
            _ => self,
        }
    }

    /// When it was written: of what takes time, its end. Events of one loop are in this order.
    pub fn written(&self) -> Nanos {
        match self.kind() {
            Some(Kind::Step | Kind::Turn | Kind::Callback) => self.at.saturating_add(self.a),
            _ => self.at,
        }
    }

    /// As it lies in memory. From the fields and not from memory: reading a word right after its halves were written is slow.
    #[inline(always)]
    pub(crate) fn to_words(self) -> Words {
        let (low, high) = if cfg!(target_endian = "little") { (self.b, self.c) } else { (self.c, self.b) };
        [self.at, self.head, self.a, u64::from(high) << 32 | u64::from(low)]
    }

    #[inline(always)]
    pub(crate) fn from_words([at, head, a, last]: Words) -> Event {
        let (low, high) = (last as u32, (last >> 32) as u32);
        let (b, c) = if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
        Event { at, head, a, b, c }
    }

    pub fn to_bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[0..8].copy_from_slice(&self.at.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.head.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.a.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.b.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.c.to_le_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; SIZE]) -> Event {
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let short = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Event { at: long(0), head: long(8), a: long(16), b: short(24), c: short(28) }
    }
}

/// What the two tables hold: written before the first event that uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Definition {
    Text { number: Text, text: Box<str> },
    Place { number: Place, file: Text, line: u32, function: Text, owner: Owner },
}

/// Whose code a place is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Owner {
    #[default]
    Program = 0,
    Library = 1,
    /// asyncio's, Segue's or the interpreter's.
    Loop = 2,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_32_bytes_and_comes_back_as_it_was() {
        assert_eq!(SIZE, 32);
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number + 1);
            let event = Event::new(kind, 1 << 60, (3 << LOOP_SHIFT) + 17, u64::MAX, 5, 7);
            let again = Event::from_bytes(&event.to_bytes());
            assert_eq!((again, again.kind(), again.task()), (event, Some(kind), (3 << LOOP_SHIFT) + 17));
            assert_eq!(Event::from_words(event.to_words()), event);
            assert_eq!(event.to_words().map(u64::to_ne_bytes).as_flattened()[24..28], 5u32.to_ne_bytes());
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::from_number(23), None);
    }
}
