//! What `asyncio.current_task()` and `asyncio.all_tasks()` read: asyncio's own tables, which we keep up to date.
//!
//! `all_tasks` iterates a WeakSet of Python code; a task enters it here as a weak reference put straight into its set,
//! with a callback of ours that leaves it the way WeakSet's own does.

use pyo3::ffi::{self, PyObject};

use super::globals::{attr, import};
#[cfg(Py_3_12)]
use super::obj::call;
use super::obj::{guard, Raised};
#[cfg(not(Py_3_14))]
use super::{globals::repr, obj::runtime_error};
use super::{Obj, R};
use crate::event_loop::LoopCore;

pub struct Registry {
    /// The set of weak references inside `asyncio.tasks`' WeakSet of tasks.
    data: *mut PyObject,
    /// WeakSet's iteration guard: while it isn't empty, removals are put off. Null where WeakSet has none.
    iterating: *mut PyObject,
    pending_removals: *mut PyObject,
    gone: *mut PyObject,
    #[cfg(not(Py_3_14))]
    current: *mut PyObject,
    #[cfg(Py_3_14)]
    enter: *mut PyObject,
    #[cfg(Py_3_14)]
    leave: *mut PyObject,
    #[cfg(Py_3_12)]
    swap: *mut PyObject,
    #[cfg(Py_3_12)]
    eager_tasks: *mut PyObject,
}

static mut GONE: ffi::PyMethodDef = ffi::PyMethodDef {
    ml_name: c"task_is_gone".as_ptr(),
    ml_meth: ffi::PyMethodDefPointer { PyCFunction: task_is_gone },
    ml_flags: ffi::METH_O,
    ml_doc: std::ptr::null(),
};

impl Registry {
    pub fn new(c: &Obj) -> R<Self> {
        let _ = c;
        let tasks = import("asyncio.tasks")?;
        let set = attr(&tasks, if cfg!(Py_3_12) { "_scheduled_tasks" } else { "_all_tasks" })?;
        let opt = |name: &str| -> R<*mut PyObject> {
            let name = Obj::str(name)?;
            Ok(super::obj::getattr_opt(set.as_ptr(), name.as_ptr())?.map_or(std::ptr::null_mut(), Obj::into_ptr))
        };
        Ok(Registry {
            data: attr(&set, "data")?.into_ptr(),
            iterating: opt("_iterating")?,
            pending_removals: opt("_pending_removals")?,
            // SAFETY: the definition is static and never changed.
            gone: unsafe {
                Obj::owned(ffi::PyCMethod_New(
                    &raw mut GONE,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                ))?
                .into_ptr()
            },
            #[cfg(not(Py_3_14))]
            current: attr(c, "_current_tasks")?.into_ptr(),
            #[cfg(Py_3_14)]
            enter: attr(c, "_enter_task")?.into_ptr(),
            #[cfg(Py_3_14)]
            leave: attr(c, "_leave_task")?.into_ptr(),
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

unsafe extern "C" fn task_is_gone(_: *mut PyObject, reference: *mut PyObject) -> *mut PyObject {
    guard(std::ptr::null_mut(), || {
        let r = registry();
        // SAFETY: a set, a set and a list that live as long as the process.
        unsafe {
            let put_off = !r.iterating.is_null() && ffi::PySet_Size(r.iterating) > 0;
            let status = if put_off {
                ffi::PyList_Append(r.pending_removals, reference)
            } else {
                ffi::PySet_Discard(r.data, reference)
            };
            if status < 0 {
                return Err(Raised);
            }
        }
        Ok(Obj::none().into_ptr())
    })
}

/// The task shows in `all_tasks()` until it is done or gone.
pub fn register(task: *mut PyObject) -> R<()> {
    let r = registry();
    // SAFETY: `task` is alive and weakly referenceable; `data` is a set.
    unsafe {
        let reference = Obj::owned(ffi::PyWeakref_NewRef(task, r.gone))?;
        match ffi::PySet_Add(r.data, reference.as_ptr()) {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }
}

/// Nothing to do now: `all_tasks()` leaves out what is done.
#[inline(always)]
pub fn finished(_task: *mut PyObject) {}

/// Asyncio's dict of running tasks says that `task` runs on `loop_`.
///
/// On our loops a task that suspends stays in the dict until the next step or until anything else runs
/// ([`settle`]): steps that follow one another then cost one store each.
#[cfg(not(Py_3_14))]
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
        match ffi::PyDict_SetItem(current, loop_, task) {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }
}

#[cfg(not(Py_3_14))]
pub fn leave(core: Option<&LoopCore>, loop_: *mut PyObject, task: *mut PyObject, done: bool) -> R<()> {
    let current = registry().current;
    // SAFETY: as `enter`.
    unsafe {
        if let Some(core) = core {
            core.stale_current.set(true);
            // A task that is done must not be kept alive by the dict.
            if done && ffi::PyDict_SetItem(current, loop_, ffi::Py_None()) != 0 {
                return Err(Raised);
            }
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
#[cfg(not(Py_3_14))]
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

#[cfg(Py_3_14)]
#[inline(always)]
pub fn settle(_: &LoopCore, _: *mut PyObject) {}

#[cfg(Py_3_14)]
pub fn enter(_: Option<&LoopCore>, loop_: *mut PyObject, task: *mut PyObject) -> R<()> {
    call(registry().enter, &[loop_, task]).map(drop)
}

#[cfg(Py_3_14)]
pub fn leave(_: Option<&LoopCore>, loop_: *mut PyObject, task: *mut PyObject, _: bool) -> R<()> {
    call(registry().leave, &[loop_, task]).map(drop)
}

/// The task that runs on `loop_` now.
#[cfg(not(Py_3_14))]
pub fn current(loop_: *mut PyObject) -> R<Option<Obj>> {
    if LoopCore::of(loop_).is_some_and(|core| core.stale_current.get()) {
        return Ok(None);
    }
    // SAFETY: as `enter`; a borrowed reference, or null with or without an error.
    unsafe {
        let running = ffi::PyDict_GetItemWithError(registry().current, loop_);
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

#[cfg(Py_3_14)]
pub fn current(loop_: *mut PyObject) -> R<Option<Obj>> {
    let current_task = attr(&import("asyncio.tasks")?, "current_task")?;
    Ok(Some(call(current_task.as_ptr(), &[loop_])?).filter(|t| !t.is_none()))
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
