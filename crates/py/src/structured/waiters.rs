//! A fair queue of waits: first come, first served, and whoever gives up leaves from the middle at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use pyo3::ffi;
use pyo3::{PyTraverseError, PyVisit};

use super::wait::{self, Wait};
use crate::job::visit_obj;
use crate::raw::Obj;

/// Invariant: the wait with ticket `first + i` is at index `i`; what left is a gap there, never at the front.
#[derive(Default)]
pub struct Waiters {
    items: RefCell<VecDeque<Option<Obj>>>,
    first: Cell<u64>,
    len: Cell<usize>,
}

/// The Wait behind a reference out of a queue.
pub fn wait_of(o: &Obj) -> &Wait {
    // SAFETY: only waits are put into queues; the reference keeps it alive.
    unsafe { wait::state(o.as_ptr()) }
}

impl Waiters {
    pub fn len(&self) -> usize {
        self.len.get()
    }

    pub fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    pub fn push(&self, wait: &Wait) {
        let mut items = self.items.borrow_mut();
        wait.ticket.set(self.first.get() + items.len() as u64);
        items.push_back(Some(wait.as_obj()));
        self.len.set(self.len.get() + 1);
    }

    /// The one that has waited longest.
    pub fn pop(&self) -> Option<Obj> {
        let mut items = self.items.borrow_mut();
        let found = items.pop_front()?;
        self.first.set(self.first.get() + 1);
        self.drop_gaps(&mut items);
        self.len.set(self.len.get() - 1);
        found
    }

    fn drop_gaps(&self, items: &mut VecDeque<Option<Obj>>) {
        while let Some(None) = items.front() {
            items.pop_front();
            self.first.set(self.first.get() + 1);
        }
    }

    /// Takes a wait that stands here out.
    pub fn remove(&self, wait: &Wait) {
        let mut items = self.items.borrow_mut();
        let Some(index) = wait.ticket.get().checked_sub(self.first.get()) else { return };
        let Some(place) = items.get_mut(index as usize) else { return };
        if place.as_ref().is_none_or(|o| o.as_ptr() != wait.as_ptr()) {
            return;
        }
        let taken = place.take();
        self.len.set(self.len.get() - 1);
        self.drop_gaps(&mut items);
        drop(items);
        drop(taken);
    }

    /// Those that stand here, first come first.
    pub fn all(&self) -> Vec<Obj> {
        self.items.borrow().iter().flatten().cloned().collect()
    }

    /// All at once; the queue is empty afterwards.
    pub fn take_all(&self) -> Vec<Obj> {
        let items = std::mem::take(&mut *self.items.borrow_mut());
        self.first.set(self.first.get() + items.len() as u64);
        self.len.set(0);
        items.into_iter().flatten().collect()
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // A collection cannot begin while the queue is borrowed: nothing is allocated through Python meanwhile.
        let Ok(items) = self.items.try_borrow() else { return Ok(()) };
        items.iter().flatten().try_for_each(|o| visit_obj(visit, o))
    }

    pub fn clear(&self) {
        drop(self.take_all());
    }
}

const _: () = assert!(std::mem::size_of::<Option<Obj>>() == std::mem::size_of::<*mut ffi::PyObject>());
