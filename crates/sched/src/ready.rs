//! The ready queue: first in, first out, and a turn runs only what was ready when it began, so that a job
//! which keeps scheduling itself cannot starve I/O.

use std::cell::RefCell;
use std::collections::VecDeque;

/// FIFO of jobs. Methods take `&self` because running a job schedules more of them;
/// no borrow is ever held while a job runs or is dropped.
#[derive(Debug)]
pub struct ReadyQueue<J> {
    jobs: RefCell<VecDeque<J>>,
}

impl<J> Default for ReadyQueue<J> {
    fn default() -> Self {
        Self { jobs: RefCell::new(VecDeque::with_capacity(64)) }
    }
}

impl<J> ReadyQueue<J> {
    #[inline]
    pub fn push(&self, job: J) {
        self.jobs.borrow_mut().push_back(job);
    }

    #[inline]
    pub fn pop(&self) -> Option<J> {
        self.jobs.borrow_mut().pop_front()
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.jobs.borrow().len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.jobs.borrow().is_empty()
    }

    /// Takes everything out, for a loop that is being closed. The caller drops it outside any borrow.
    pub fn take_all(&self) -> VecDeque<J> {
        std::mem::take(&mut *self.jobs.borrow_mut())
    }

    /// Gives back the memory of a burst once it is over.
    pub fn shrink_if_idle(&self) {
        if let Ok(mut jobs) = self.jobs.try_borrow_mut() {
            if jobs.is_empty() && jobs.capacity() > 65_536 {
                jobs.shrink_to(64);
            }
        }
    }

    /// Looks at every job, oldest first; for the garbage collector and for debugging.
    /// Stops and says so if the queue is being changed right now.
    pub fn try_for_each<E>(&self, mut f: impl FnMut(&J) -> Result<(), E>) -> Result<bool, E> {
        match self.jobs.try_borrow() {
            Ok(jobs) => jobs.iter().try_for_each(&mut f).map(|()| true),
            Err(_) => Ok(false),
        }
    }
}
