//! The last events of a loop as the hooks tell them, oldest overwritten first, with a count of what was lost. Recordings use
//! [`crate::ring`].

use std::cell::{Cell, RefCell};

use sched::{Clock, Event, Instrument, Nanos};

/// An event and when it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamped {
    pub at: Nanos,
    pub event: Event,
}

/// Attach it to a loop's [`sched::Hooks`]. Recording never allocates once the ring is full, and never blocks.
pub struct Ring<C> {
    clock: C,
    capacity: usize,
    events: RefCell<Vec<Stamped>>,
    /// How many events were recorded in all; the next one goes to `total % capacity`.
    total: Cell<u64>,
}

impl<C: Clock> Ring<C> {
    /// `capacity` in events, at least 1. Memory is taken as events come.
    pub fn new(clock: C, capacity: usize) -> Self {
        Self { clock, capacity: capacity.max(1), events: RefCell::default(), total: Cell::new(0) }
    }

    /// How many events were overwritten.
    pub fn dropped(&self) -> u64 {
        self.total.get().saturating_sub(self.capacity as u64)
    }

    pub fn total(&self) -> u64 {
        self.total.get()
    }

    /// The events that are still there, oldest first.
    pub fn snapshot(&self) -> Vec<Stamped> {
        let events = self.events.borrow();
        let first = if events.len() < self.capacity { 0 } else { (self.total.get() % self.capacity as u64) as usize };
        events[first..].iter().chain(&events[..first]).copied().collect()
    }
}

impl<C: Clock> Instrument for Ring<C> {
    #[inline]
    fn record(&self, event: Event) {
        let stamped = Stamped { at: self.clock.now(), event };
        let mut events = self.events.borrow_mut();
        if events.len() < self.capacity {
            events.push(stamped);
        } else {
            let at = (self.total.get() % self.capacity as u64) as usize;
            events[at] = stamped;
        }
        self.total.set(self.total.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sched::clock::Virtual;
    use sched::Kind;

    fn event(task: u64) -> Event {
        Event::new(Kind::Wake, task, 0, 0)
    }

    #[test]
    fn the_oldest_go_first_and_are_counted() {
        let ring = Ring::new(Virtual::default(), 3);
        for task in 1..=5 {
            ring.record(event(task));
        }
        let tasks: Vec<_> = ring.snapshot().iter().map(|s| s.event.task).collect();
        assert_eq!(tasks, [3, 4, 5]);
        assert_eq!((ring.total(), ring.dropped()), (5, 2));
    }
}
