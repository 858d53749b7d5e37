//! What `asyncio.current_task()` and `asyncio.all_tasks()` read: asyncio's own tables, which we keep up to date.
//!
//! Tasks that are not done are linked in a list of ours; `segue._task_refs` moves them to asyncio's WeakSet when somebody
//! looks at it, so that a task which lives and ends unobserved costs no weak reference.

use std::cell::Cell;

use pyo3::ffi::{self, PyObject};

use super::globals::{attr, import};
#[cfg(Py_3_12)]
use super::obj::call;
use super::obj::{raise_object, take_raised, Raised};
use super::task_list::{self, List};
use super::{globals::repr, obj::runtime_error};
use super::{Obj, R};
use crate::event_loop::LoopCore;

pub use super::task_list::Link;

pub struct Registry {
    /// Tasks that asyncio's WeakSet doesn't list yet, and those that it does.
    unlisted: List,
    shown: List,
    /// asyncio's WeakSet asks us.
    installed: Cell<bool>,
    current: *mut PyObject,
    #[cfg(Py_3_12)]
    swap: *mut PyObject,
    #[cfg(Py_3_12)]
    eager_tasks: *mut PyObject,
}

impl Registry {
    pub fn new(c: &Obj) -> R<Self> {
        Ok(Registry {
            unlisted: List::new(),
            shown: List::new(),
            installed: Cell::new(false),
            current: attr(c, "_current_tasks")?.into_ptr(),
            #[cfg(Py_3_12)]
            swap: attr(c, "_swap_current_task")?.into_ptr(),
            #[cfg(Py_3_12)]
            eager_tasks: attr(c, "_eager_tasks")?.into_ptr(),
        })
    }
}

fn registry() -> &'static Registry {
    &super::globals::globals().registry
}

/// The task shows in `all_tasks()` until it is done or gone.
pub fn register(task: *mut PyObject) -> R<()> {
    looking_is_noticed()?;
    if !task_list::is_listed(task) {
        registry().unlisted.push(task);
    }
    Ok(())
}

/// Where the addresses of the first tasks of all lists are, for who reads them as memory.
pub fn heads() -> Vec<usize> {
    vec![registry().unlisted.head(), registry().shown.head()]
}

/// Whether [`take_unlisted`] is called before somebody gets to see all tasks.
#[inline(always)]
pub fn looking_is_noticed() -> R<bool> {
    let r = registry();
    if !r.installed.replace(true) {
        let module = import("segue._task_refs")?;
        super::obj::call(attr(&module, "install")?.as_ptr(), &[])?;
    }
    Ok(true)
}

/// The task is done.
#[inline(always)]
pub fn done(task: *mut PyObject) {
    unlist(task);
}

/// The task is done or gone: it need not be listed any more.
#[inline(always)]
pub fn unlist(task: *mut PyObject) {
    task_list::remove(task);
}

/// Takes all tasks out of the list, as a Python list: they are about to be listed in asyncio's WeakSet.
pub fn take_unlisted() -> R<Obj> {
    crate::structured::start::make_all_everywhere()?;
    // SAFETY: a new list; the tasks are alive while they are linked. A finaliser that runs meanwhile may unlink others,
    // so the first one is looked up anew each time.
    unsafe {
        let list = Obj::owned(ffi::PyList_New(0))?;
        loop {
            let task = registry().unlisted.first();
            if task.is_null() {
                return Ok(list);
            }
            let task = Obj::borrowed(task);
            unlist(task.as_ptr());
            registry().shown.push(task.as_ptr());
            if ffi::PyList_Append(list.as_ptr(), task.as_ptr()) != 0 {
                return Err(Raised);
            }
        }
    }
}

/// Who awaits a future is kept from 3.14 on.
#[inline(always)]
pub fn awaits(_task: *mut PyObject, _future: *mut PyObject, _ours: bool) -> R<()> {
    Ok(())
}

#[inline(always)]
pub fn awaits_no_more(_task: *mut PyObject, _future: *mut PyObject, _ours: bool) -> R<()> {
    Ok(())
}

/// Asyncio's dict of running tasks says that `task` runs on `loop_`.
///
/// On our loops a task stays in the dict after its step, until the next step or until anything else runs or the loop waits
/// ([`settle`]): steps that follow one another then cost one store each.
pub fn enter(core: Option<&LoopCore>, loop_: *mut PyObject, task: *mut PyObject) -> R<()> {
    let current = registry().current;
    let stale = core.is_some_and(|c| c.stale_current.replace(false));
    // SAFETY: a dict; both are alive and hashable.
    unsafe {
        if !stale {
            let running = ffi::PyDict_GetItemWithError(current, loop_);
            if !running.is_null() {
                return Err(runtime_error(&format!(
                    "Cannot enter into task {} while another task {} is being executed.",
                    repr(task),
                    repr(running)
                )));
            }
        }
        let status = match core {
            Some(core) if core.hash() != 0 => _PyDict_SetItem_KnownHash(current, loop_, task, core.hash()),
            _ => ffi::PyDict_SetItem(current, loop_, task),
        };
        match status {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }
}

extern "C" {
    /// What `_asyncio` itself uses for this dict.
    fn _PyDict_SetItem_KnownHash(
        dict: *mut PyObject,
        key: *mut PyObject,
        value: *mut PyObject,
        hash: ffi::Py_hash_t,
    ) -> std::os::raw::c_int;
    fn _PyDict_GetItem_KnownHash(dict: *mut PyObject, key: *mut PyObject, hash: ffi::Py_hash_t) -> *mut PyObject;
}

pub fn leave(core: Option<&LoopCore>, loop_: *mut PyObject, task: *mut PyObject) -> R<()> {
    let current = registry().current;
    // SAFETY: as `enter`.
    unsafe {
        if let Some(core) = core {
            core.stale_current.set(true);
            return Ok(());
        }
        let running = ffi::PyDict_GetItemWithError(current, loop_);
        if running != task {
            let name = if running.is_null() { "None".to_owned() } else { repr(running) };
            return Err(runtime_error(&format!("Leaving task {} does not match the current task {name}.", repr(task))));
        }
        match ffi::PyDict_DelItem(current, loop_) {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }
}

/// Something else than a task of ours is about to run on the loop: no task is current.
#[inline(always)]
pub fn settle(core: &LoopCore, loop_: *mut PyObject) {
    if core.stale_current.replace(false) {
        // SAFETY: a dict; the loop is alive and hashable.
        unsafe {
            if ffi::PyDict_DelItem(registry().current, loop_) != 0 {
                ffi::PyErr_Clear();
            }
        }
    }
}

/// Does something on `loop_`'s own behalf in the middle of a task's step: meanwhile no task is current.
pub fn without_current<T>(core: &LoopCore, loop_: *mut PyObject, act: impl FnOnce() -> R<T>) -> R<T> {
    let outer = current(loop_)?;
    settle(core, loop_);
    let (Some(outer), dict) = (outer, registry().current) else {
        return act();
    };
    // SAFETY: a dict; the loop is alive and hashable, and so is the task.
    unsafe {
        if ffi::PyDict_DelItem(dict, loop_) != 0 {
            return Err(Raised);
        }
        let result = act();
        let raised = take_raised();
        if ffi::PyDict_SetItem(dict, loop_, outer.as_ptr()) != 0 {
            return Err(Raised);
        }
        match raised {
            Some(exc) => Err(raise_object(exc)),
            None => result,
        }
    }
}

/// The task that runs on `loop_` now.
pub fn current(loop_: *mut PyObject) -> R<Option<Obj>> {
    let core = LoopCore::of(loop_);
    if core.is_some_and(|core| core.stale_current.get()) {
        return Ok(None);
    }
    // SAFETY: as `enter`; a borrowed reference, or null with or without an error.
    unsafe {
        let running = match core.map_or(0, LoopCore::hash) {
            0 => ffi::PyDict_GetItemWithError(registry().current, loop_),
            hash => _PyDict_GetItem_KnownHash(registry().current, loop_, hash),
        };
        if !running.is_null() {
            return Ok(Some(Obj::borrowed(running)).filter(|task| !task.is_none()));
        }
        if ffi::PyErr_Occurred().is_null() {
            Ok(None)
        } else {
            Err(Raised)
        }
    }
}

/// Makes `task` (or None) the current one; returns the one before, or None.
#[cfg(Py_3_12)]
pub fn swap_current(loop_: *mut PyObject, task: *mut PyObject) -> R<Obj> {
    call(registry().swap, &[loop_, task])
}

#[cfg(not(Py_3_12))]
pub fn swap_current(_: *mut PyObject, _: *mut PyObject) -> R<Obj> {
    Ok(Obj::none())
}

#[cfg(Py_3_12)]
pub fn register_eager(task: *mut PyObject) -> R<()> {
    // SAFETY: a set.
    match unsafe { ffi::PySet_Add(registry().eager_tasks, task) } {
        0 => Ok(()),
        _ => Err(Raised),
    }
}

#[cfg(Py_3_12)]
pub fn unregister_eager(task: *mut PyObject) -> R<()> {
    // SAFETY: a set.
    match unsafe { ffi::PySet_Discard(registry().eager_tasks, task) } {
        -1 => Err(Raised),
        _ => Ok(()),
    }
}

#[cfg(not(Py_3_12))]
pub fn register_eager(_: *mut PyObject) -> R<()> {
    Ok(())
}

#[cfg(not(Py_3_12))]
pub fn unregister_eager(_: *mut PyObject) -> R<()> {
    Ok(())
}
