//! What `asyncio.current_task()`, `all_tasks()` and call graphs read, from CPython 3.14 on.
//!
//! There asyncio keeps its tasks in a list through the C structs, which lie (zeroed) at the front of ours, so everything
//! goes through its own functions. `registry.rs` is the same for earlier versions.

use std::ffi::c_void;

use pyo3::ffi::{self, PyObject};

use super::globals::attr;
use super::obj::call;
use super::{Obj, Raised, R};
use crate::event_loop::LoopCore;

pub struct Registry {
    register: *mut PyObject,
    enter: *mut PyObject,
    leave: *mut PyObject,
    swap: *mut PyObject,
    current: *mut PyObject,
    register_eager: *mut PyObject,
    unregister_eager: *mut PyObject,
    add_waiter: *mut PyObject,
    discard_waiter: *mut PyObject,
    /// Where in a C future the one that awaits it is kept; 0 if it could not be found.
    awaited_by: usize,
}

impl Registry {
    pub fn new(c: &Obj) -> R<Self> {
        let function = |name: &str| attr(c, name).map(Obj::into_ptr);
        let add_waiter = function("future_add_to_awaited_by")?;
        Ok(Registry {
            register: function("_register_task")?,
            enter: function("_enter_task")?,
            leave: function("_leave_task")?,
            swap: function("_swap_current_task")?,
            current: function("current_task")?,
            register_eager: function("_register_eager_task")?,
            unregister_eager: function("_unregister_eager_task")?,
            discard_waiter: function("future_discard_from_awaited_by")?,
            awaited_by: find_awaited_by(c, add_waiter)?,
            add_waiter,
        })
    }
}

/// Finds the field by trying: makes one C future awaited by another and looks where the pointer to it turned up.
///
/// Only trusted if it is the one place that changed from null to that pointer.
fn find_awaited_by(c: &Obj, add_waiter: *mut PyObject) -> R<usize> {
    let class = attr(c, "Future")?;
    // SAFETY: two bare futures (their memory is zeroed after the head), read within the size of their type.
    unsafe {
        let class: *mut ffi::PyTypeObject = class.as_ptr().cast();
        let (future, waiter) =
            (Obj::owned(ffi::PyType_GenericAlloc(class, 0))?, Obj::owned(ffi::PyType_GenericAlloc(class, 0))?);
        call(add_waiter, &[future.as_ptr(), waiter.as_ptr()])?;
        let word = std::mem::size_of::<*mut c_void>();
        let head = std::mem::size_of::<PyObject>();
        let size = (*class).tp_basicsize as usize;
        let at = |offset: usize| *future.as_ptr().cast::<u8>().add(offset).cast::<*mut PyObject>();
        let found: Vec<usize> = (head..size).step_by(word).filter(|o| at(*o) == waiter.as_ptr()).collect();
        Ok(if let [one] = found[..] { one } else { 0 })
    }
}

fn registry() -> &'static Registry {
    &super::globals::globals().registry
}

/// The task shows in `all_tasks()` until it is done or gone; the C type's dealloc takes it out.
pub fn register(task: *mut PyObject) -> R<()> {
    call(registry().register, &[task]).map(drop)
}

/// Nothing to do: `all_tasks()` leaves out what is done.
#[inline(always)]
pub fn unlist(_task: *mut PyObject) {}

/// A task's place in the list of earlier versions; nothing here.
#[repr(C)]
pub struct Link;

/// Every task is listed at once.
pub fn take_unlisted() -> R<Obj> {
    // SAFETY: a new list.
    unsafe { Obj::owned(ffi::PyList_New(0)) }
}

pub fn enter(_: Option<&LoopCore>, loop_: *mut PyObject, task: *mut PyObject) -> R<()> {
    call(registry().enter, &[loop_, task]).map(drop)
}

pub fn leave(_: Option<&LoopCore>, loop_: *mut PyObject, task: *mut PyObject) -> R<()> {
    call(registry().leave, &[loop_, task]).map(drop)
}

#[inline(always)]
pub fn settle(_: &LoopCore, _: *mut PyObject) {}

/// The task that runs on `loop_` now.
pub fn current(loop_: *mut PyObject) -> R<Option<Obj>> {
    Ok(Some(call(registry().current, &[loop_])?).filter(|task| !task.is_none()))
}

/// Makes `task` (or None) the current one; returns the one before, or None.
pub fn swap_current(loop_: *mut PyObject, task: *mut PyObject) -> R<Obj> {
    call(registry().swap, &[loop_, task])
}

pub fn register_eager(task: *mut PyObject) -> R<()> {
    call(registry().register_eager, &[task]).map(drop)
}

pub fn unregister_eager(task: *mut PyObject) -> R<()> {
    call(registry().unregister_eager, &[task]).map(drop)
}

/// `task` suspends on `future`: call graphs show it. `ours` says that `future` is one of our types.
#[inline(always)]
pub fn awaits(task: *mut PyObject, future: *mut PyObject, ours: bool) -> R<()> {
    let r = registry();
    if ours && r.awaited_by != 0 {
        // SAFETY: our types begin with the C struct; an empty field means that nothing awaits it, and then a single
        // waiter is stored as it is. The C type traverses and clears the field.
        unsafe {
            let field = future.cast::<u8>().add(r.awaited_by).cast::<*mut PyObject>();
            if (*field).is_null() {
                *field = ffi::Py_NewRef(task);
                return Ok(());
            }
        }
    }
    call(r.add_waiter, &[future, task]).map(drop)
}

/// The opposite of [`awaits`].
#[inline(always)]
pub fn awaits_no_more(task: *mut PyObject, future: *mut PyObject, ours: bool) -> R<()> {
    let r = registry();
    if ours && r.awaited_by != 0 {
        // SAFETY: as above; a set in the field is never the task itself.
        unsafe {
            let field = future.cast::<u8>().add(r.awaited_by).cast::<*mut PyObject>();
            if *field == task {
                *field = std::ptr::null_mut();
                ffi::Py_DECREF(task);
                return Ok(());
            }
        }
    }
    match call(r.discard_waiter, &[future, task]) {
        Ok(_) => Ok(()),
        Err(Raised) => Err(Raised),
    }
}
