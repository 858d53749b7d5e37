//! Tasks in a list, linked through themselves: it costs a task a few stores to be in one. `registry` has them; `recording::peek` reads
//! them from another thread, as memory that may change under its eyes.

use std::cell::Cell;

use pyo3::ffi::PyObject;

pub struct List {
    /// Borrowed: a task leaves the list before it goes.
    first: Cell<*mut PyObject>,
}

/// A task's place in a list; all-zero memory is in none.
#[repr(C)]
pub struct Link {
    next: Cell<*mut PyObject>,
    previous: Cell<*mut PyObject>,
    list: Cell<*const List>,
}

/// Where the links are, for who reads them as memory.
pub const NEXT: usize = std::mem::offset_of!(Link, next);

fn link<'a>(task: *mut PyObject) -> &'a Link {
    // SAFETY: only called with tasks of ours, which are alive while they are linked.
    unsafe { &super::task::state(task).link }
}

impl List {
    pub const fn new() -> List {
        List { first: Cell::new(std::ptr::null_mut()) }
    }

    #[cfg(not(Py_3_14))]
    pub fn first(&self) -> *mut PyObject {
        self.first.get()
    }

    /// Where the address of the first is, for who reads it as memory.
    pub fn head(&self) -> usize {
        self.first.as_ptr() as usize
    }

    /// The list doesn't move as long as a task is in it.
    #[inline(always)]
    pub fn push(&self, task: *mut PyObject) {
        let l = link(task);
        debug_assert!(l.list.get().is_null());
        l.list.set(self);
        let first = self.first.replace(task);
        l.previous.set(std::ptr::null_mut());
        l.next.set(first);
        if !first.is_null() {
            link(first).previous.set(task);
        }
    }
}

/// Whether a task is in a list.
#[inline(always)]
pub fn is_listed(task: *mut PyObject) -> bool {
    !link(task).list.get().is_null()
}

/// The task leaves the list that it is in, if it is in one.
#[inline(always)]
pub fn remove(task: *mut PyObject) {
    let l = link(task);
    let list = l.list.replace(std::ptr::null());
    if list.is_null() {
        return;
    }
    let (previous, next) = (l.previous.get(), l.next.get());
    if previous.is_null() {
        // SAFETY: lists outlive their tasks.
        unsafe { &*list }.first.set(next);
    } else {
        link(previous).next.set(next);
    }
    if !next.is_null() {
        link(next).previous.set(previous);
    }
}
