//! One turn of the loop: wait for the outside world, collect what became due, run what was ready.
//!
//! The order is asyncio's: jobs that were ready before the wait, then I/O, then timers; a turn runs what is in the
//! queue when its running phase begins and leaves what those jobs schedule to the next turn.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use crate::clock::{Clock, Nanos};
use crate::ready::ReadyQueue;
use crate::timers::{TimerHeap, TimerToken};

/// After a turn of so many jobs it is worth looking for memory to give back.
const BURST: usize = 4096;

/// How long a driver may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Only look.
    Poll,
    /// At most this long.
    For(Duration),
    /// Until something happens.
    Forever,
}

/// The outside world. The reactor is one; a simulated network is another. Only a driver may block.
pub trait Driver<J> {
    type Error;
    /// Waits as told and pushes a job for everything that happened.
    fn wait(&self, wait: Wait, ready: &ReadyQueue<J>) -> Result<(), Self::Error>;
    /// Asked once the timers that are due have been collected; an error leaves the turn before any job has run.
    fn before_jobs(&self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// What a job says about the rest of the turn.
pub enum Flow<E> {
    Continue,
    /// Leave the turn now with this error; the jobs not yet run stay in the queue.
    Break(E),
}

/// Ready queue and timers together; `&self` throughout since running a job schedules more.
pub struct Scheduler<J> {
    pub ready: ReadyQueue<J>,
    timers: RefCell<TimerHeap<J>>,
    stopping: Cell<bool>,
}

impl<J> Default for Scheduler<J> {
    fn default() -> Self {
        Self { ready: ReadyQueue::default(), timers: RefCell::default(), stopping: Cell::new(false) }
    }
}

impl<J> Scheduler<J> {
    pub fn call_at(&self, when: Nanos, job: J) -> TimerToken {
        self.timers.borrow_mut().insert(when, job)
    }

    /// Returns the job so that the caller drops it outside the borrow.
    pub fn cancel_timer(&self, token: TimerToken) -> Option<J> {
        self.timers.borrow_mut().cancel(token)
    }

    pub fn timer_count(&self) -> usize {
        self.timers.borrow().len()
    }

    /// Looks at the timer that is due next.
    pub fn next_timer<R>(&self, look: impl FnOnce(&J) -> R) -> Option<R> {
        self.timers.borrow().first_value().map(look)
    }

    /// Asks the loop to leave after the turn that is running, or after one turn if none is.
    pub fn set_stopping(&self, stopping: bool) {
        self.stopping.set(stopping);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Looks at every scheduled timer's job; false if the heap is being changed right now.
    pub fn try_for_each_timer<E>(&self, mut f: impl FnMut(&J) -> Result<(), E>) -> Result<bool, E> {
        match self.timers.try_borrow() {
            Ok(timers) => timers.iter().try_for_each(&mut f).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Everything that was waiting, for a loop that is being closed.
    pub fn take_all(&self) -> Vec<J> {
        let mut all: Vec<J> = self.ready.take_all().into();
        all.extend(self.timers.borrow_mut().take_all());
        all
    }

    /// How long the driver may wait now.
    pub fn next_wait(&self, clock: &impl Clock) -> Wait {
        if self.stopping.get() || !self.ready.is_empty() {
            return Wait::Poll;
        }
        // A clock may be the program's own: no borrow is held while it is asked.
        let deadline = self.timers.borrow().next_deadline();
        match deadline {
            None => Wait::Forever,
            Some(when) => match when.saturating_sub(clock.now()) {
                0 => Wait::Poll,
                ns => Wait::For(Duration::from_nanos(ns)),
            },
        }
    }

    /// One turn. `run` is called once per job; a job that breaks leaves the rest for later.
    pub fn turn<D: Driver<J>>(
        &self,
        clock: &impl Clock,
        driver: &D,
        mut run: impl FnMut(J) -> Flow<D::Error>,
    ) -> Result<(), D::Error> {
        let wait = self.next_wait(clock);
        driver.wait(wait, &self.ready)?;
        self.collect_due(clock);
        driver.before_jobs()?;
        let count = self.ready.len();
        for _ in 0..count {
            // The queue can be emptied by a job that closes the loop.
            let Some(job) = self.ready.pop() else { break };
            if let Flow::Break(error) = run(job) {
                return Err(error);
            }
        }
        if count >= BURST {
            self.ready.shrink_if_idle();
        }
        Ok(())
    }

    fn collect_due(&self, clock: &impl Clock) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let now = clock.now();
        let mut timers = self.timers.borrow_mut();
        timers.expect_due(now);
        while let Some(job) = timers.pop_due(now) {
            self.ready.push(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Virtual;
    use std::convert::Infallible;

    struct Dummy<'a> {
        clock: &'a Virtual,
        io: RefCell<Vec<u32>>,
        waits: RefCell<Vec<Wait>>,
    }

    impl Driver<u32> for Dummy<'_> {
        type Error = Infallible;
        fn wait(&self, wait: Wait, ready: &ReadyQueue<u32>) -> Result<(), Infallible> {
            self.waits.borrow_mut().push(wait);
            if let Wait::For(d) = wait {
                self.clock.advance(d.as_nanos() as u64);
            }
            for job in self.io.borrow_mut().drain(..) {
                ready.push(job);
            }
            Ok(())
        }
    }

    #[test]
    fn ready_then_io_then_timers_and_new_jobs_wait_for_the_next_turn() {
        let clock = Virtual::default();
        let driver = Dummy { clock: &clock, io: RefCell::new(vec![20]), waits: RefCell::default() };
        let s = Scheduler::default();
        s.ready.push(10);
        s.call_at(0, 30);
        let seen = RefCell::new(Vec::new());
        let mut run = |job| {
            seen.borrow_mut().push(job);
            if job == 10 {
                s.ready.push(11);
            }
            Flow::Continue
        };
        s.turn(&clock, &driver, &mut run).unwrap();
        assert_eq!(*seen.borrow(), [10, 20, 30]);
        s.turn(&clock, &driver, &mut run).unwrap();
        assert_eq!(*seen.borrow(), [10, 20, 30, 11]);
    }

    #[test]
    fn the_driver_waits_exactly_for_the_next_timer() {
        let clock = Virtual::default();
        let driver = Dummy { clock: &clock, io: RefCell::default(), waits: RefCell::default() };
        let s = Scheduler::default();
        s.call_at(500, 1);
        let mut fired = 0;
        s.turn(&clock, &driver, |_| {
            fired += 1;
            Flow::Continue
        })
        .unwrap();
        assert_eq!(fired, 1);
        assert_eq!(*driver.waits.borrow(), [Wait::For(Duration::from_nanos(500))]);
        assert_eq!(s.next_wait(&clock), Wait::Forever);
        s.set_stopping(true);
        assert_eq!(s.next_wait(&clock), Wait::Poll);
    }

    #[test]
    fn a_break_leaves_the_rest_in_the_queue() {
        struct Idle;
        impl Driver<u32> for Idle {
            type Error = &'static str;
            fn wait(&self, _: Wait, _: &ReadyQueue<u32>) -> Result<(), &'static str> {
                Ok(())
            }
        }
        let s = Scheduler::default();
        s.ready.push(1);
        s.ready.push(2);
        let r = s.turn(&Virtual::default(), &Idle, |_| Flow::Break("interrupt"));
        assert_eq!(r, Err("interrupt"));
        assert_eq!(s.ready.len(), 1);
    }
}
