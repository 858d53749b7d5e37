//! What `asyncio.current_task()`, `all_tasks()` and call graphs read, from CPython 3.14 on.
//!
//! There asyncio keeps its tasks in a list through the C structs, which lie (zeroed) at the front of ours, so everything
//! goes through its own functions. `registry.rs` is the same for earlier versions.

use std::cell::Cell;
use std::ffi::c_void;

use pyo3::ffi::{self, PyObject};

use super::globals::attr;
use super::obj::{call, raise_object, take_raised};
use super::task_list::{self, List};
use super::{Obj, Raised, R};
use crate::event_loop::LoopCore;

pub struct Registry {
    /// All that are not done; asyncio's own list is found by nobody without the GIL.
    all: List,
    register: *mut PyObject,
    unregister: *mut PyObject,
    enter: *mut PyObject,
    leave: *mut PyObject,
    swap: *mut PyObject,
    current: *mut PyObject,
    register_eager: *mut PyObject,
    unregister_eager: *mut PyObject,
    looking_is_noticed: Cell<Option<bool>>,
    add_waiter: *mut PyObject,
    discard_waiter: *mut PyObject,
    /// Where in a C future the one that awaits it is kept; 0 if it could not be found.
    awaited_by: usize,
    shown: Option<Shown>,
}

/// Where a C task keeps what debuggers of other processes read (`python -m asyncio ps`).
struct Shown {
    coro: usize,
    name: usize,
    is_task: usize,
}

impl Registry {
    pub fn new(c: &Obj) -> R<Self> {
        let function = |name: &str| attr(c, name).map(Obj::into_ptr);
        let add_waiter = function("future_add_to_awaited_by")?;
        let awaited_by = find_awaited_by(c, add_waiter)?;
        Ok(Registry {
            all: List::new(),
            register: function("_register_task")?,
            unregister: function("_unregister_task")?,
            enter: function("_enter_task")?,
            leave: function("_leave_task")?,
            swap: function("_swap_current_task")?,
            current: function("current_task")?,
            register_eager: function("_register_eager_task")?,
            unregister_eager: function("_unregister_eager_task")?,
            discard_waiter: function("future_discard_from_awaited_by")?,
            looking_is_noticed: Cell::new(None),
            awaited_by,
            shown: find_shown(c, awaited_by)?,
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

/// Finds the fields by looking through a task of asyncio's; None unless each is found in exactly one place.
fn find_shown(c: &Obj, awaited_by: usize) -> R<Option<Shown>> {
    let sample = call(attr(&super::globals::import("segue._sample_task")?, "make")?.as_ptr(), &[])?;
    // SAFETY: a tuple of three; everything is read within the size of the task's type, and lives until the end.
    unsafe {
        let item = |i| ffi::PyTuple_GET_ITEM(sample.as_ptr(), i);
        let (task, coro, name) = (item(0), item(1), item(2));
        let future = Obj::owned(ffi::PyType_GenericAlloc(attr(c, "Future")?.as_ptr().cast(), 0))?;
        let head = std::mem::size_of::<PyObject>();
        let size = (*ffi::Py_TYPE(task)).tp_basicsize as usize;
        let find = |wanted: *mut PyObject| -> Option<usize> {
            let at = |offset: &usize| *task.cast::<u8>().add(*offset).cast::<*mut PyObject>() == wanted;
            let mut found = (head..size).step_by(std::mem::size_of::<*mut c_void>()).filter(at);
            found.next().filter(|_| found.next().is_none())
        };
        // `PyObject *awaited_by; enum state; char is_task;`: 1 in a task, 0 in a future.
        let is_task = awaited_by + std::mem::size_of::<*mut c_void>() + std::mem::size_of::<std::os::raw::c_int>();
        let byte = |o: *mut PyObject| *o.cast::<u8>().add(is_task);
        let known = awaited_by != 0 && byte(task) == 1 && byte(future.as_ptr()) == 0;
        Ok(match (find(coro), find(name)) {
            (Some(coro), Some(name)) if known => Some(Shown { coro, name, is_task }),
            _ => None,
        })
    }
}

/// Writes a task's coroutine and name (a number stands for the default name) where debuggers of other processes look.
/// The C type traverses and clears the fields.
pub fn show(task: *mut PyObject, coro: *mut PyObject, name: Obj) {
    let Some(shown) = &registry().shown else {
        return;
    };
    // SAFETY: our tasks begin with the C struct, in which the two fields are owned references or null.
    unsafe {
        let at = |offset: usize| task.cast::<u8>().add(offset);
        let old_coro = at(shown.coro).cast::<*mut PyObject>().replace(ffi::Py_NewRef(coro));
        let old_name = at(shown.name).cast::<*mut PyObject>().replace(name.into_ptr());
        *at(shown.is_task) = 1;
        drop((Obj::from_nullable(old_coro), Obj::from_nullable(old_name)));
    }
}

fn registry() -> &'static Registry {
    &super::globals::globals().registry
}

/// The task shows in `all_tasks()` until it is done or gone; the C type's dealloc takes it out.
pub fn register(task: *mut PyObject) -> R<()> {
    if !task_list::is_listed(task) {
        registry().all.push(task);
    }
    call(registry().register, &[task]).map(drop)
}

/// Whether [`take_unlisted`] is called before somebody gets to see all tasks.
pub fn looking_is_noticed() -> R<bool> {
    if let Some(known) = registry().looking_is_noticed.get() {
        return Ok(known);
    }
    let module = super::globals::import("segue._task_refs")?;
    let answer = super::obj::is_true(call(attr(&module, "install")?.as_ptr(), &[])?.as_ptr())?;
    registry().looking_is_noticed.set(Some(answer));
    Ok(answer)
}

/// The task is done. `all_tasks()` would leave it out, but debuggers show what is listed.
pub fn done(task: *mut PyObject) {
    task_list::remove(task);
    if call(registry().unregister, &[task]).is_err() {
        super::obj::write_unraisable(task);
    }
}

/// The task goes: the C type's dealloc takes it out of its list.
#[inline(always)]
pub fn unlist(task: *mut PyObject) {
    task_list::remove(task);
}

pub use super::task_list::Link;

/// Where the address of the first task is, for who reads it as memory.
pub fn heads() -> Vec<usize> {
    vec![registry().all.head()]
}

/// Every task is listed once it is made.
pub fn take_unlisted() -> R<Obj> {
    crate::structured::start::make_all_everywhere()?;
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

/// Does something on `loop_`'s own behalf in the middle of a task's step: meanwhile no task is current.
pub fn without_current<T>(_: &LoopCore, loop_: *mut PyObject, act: impl FnOnce() -> R<T>) -> R<T> {
    let outer = swap_current(loop_, Obj::none().as_ptr())?;
    let result = act();
    let raised = take_raised();
    swap_current(loop_, outer.as_ptr())?;
    match raised {
        Some(exc) => Err(raise_object(exc)),
        None => result,
    }
}

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
