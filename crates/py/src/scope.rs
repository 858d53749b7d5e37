//! Cancel scopes on tasks: delivers a scope's cancellation at suspensions, as often as needed and never in a spin.
//!
//! A task in an effectively cancelled scope is cancelled at every suspension until it leaves the scope, with one
//! exception: at an await site that already swallowed a delivery it is left to its own wake
//! (rule 1 of structured concurrency). The tree itself is `sched::CancelTree`.

use std::cell::{Cell, RefCell};

use pyo3::ffi::PyObject;
use sched::{CancelSource, ScopeId, TaskSlot};

use crate::event_loop::LoopCore;
use crate::raw::globals::globals;
use crate::raw::obj::{getattr_opt, is_instance, setattr};
use crate::raw::task::{self, TaskState};
use crate::raw::{Obj, R};

/// The cancel tree's side of a task; all-zero memory is "in no scope".
#[repr(C)]
pub struct TaskScope {
    /// `TaskSlot::to_raw`, or 0.
    slot: Cell<u32>,
    /// A scope's cancellation is on its way into the task.
    delivering: Cell<bool>,
    /// The sites that swallowed a delivery of the present scope, oldest first.
    swallowed: RefCell<Option<Box<Vec<u64>>>>,
}

/// How many swallowing sites are remembered; a task with more of them is interrupted again.
const SITES: usize = 64;

impl TaskScope {
    pub fn slot(&self) -> Option<TaskSlot> {
        TaskSlot::from_raw(self.slot.get())
    }

    /// The task's innermost scope.
    pub fn scope(&self, core: &LoopCore) -> Option<ScopeId> {
        core.cancel_tree.borrow().scope_of(self.slot()?)
    }

    /// Makes `scope` the task's innermost one (none: out of all scopes).
    pub fn move_to(&self, core: &LoopCore, task: *mut PyObject, scope: Option<ScopeId>) {
        self.swallowed.replace(None);
        let mut tree = core.cancel_tree.borrow_mut();
        match (self.slot(), scope) {
            (Some(slot), Some(scope)) => {
                tree.move_task(slot, Some(scope));
            }
            (Some(slot), None) => {
                tree.leave_task(slot);
                self.slot.set(0);
            }
            (None, Some(scope)) => self.slot.set(tree.enter_task(TaskPtr(task), scope).to_raw()),
            (None, None) => {}
        }
    }

    /// The task is done or gone.
    #[inline(always)]
    pub fn leave(&self, core: Option<&LoopCore>) {
        if self.slot.get() == 0 {
            return;
        }
        if let (Some(core), Some(slot)) = (core, self.slot()) {
            core.cancel_tree.borrow_mut().leave_task(slot);
        }
        self.slot.set(0);
        self.swallowed.replace(None);
    }

    /// The task is about to be resumed, with `exc` or without.
    #[inline(always)]
    pub fn before_resume(&self, exc: Option<&Obj>) {
        if self.slot.get() == 0 || !self.delivering.replace(false) {
            return;
        }
        if let Some(exc) = exc.filter(|e| is_instance(e.as_ptr(), globals().cancelled_error)) {
            tag(exc);
        }
    }

    /// The task has suspended: if its scope is cancelled, it is cancelled here, unless this site swallowed it before.
    #[inline(always)]
    pub fn after_suspend(&self, o: *mut PyObject, s: &TaskState) -> R<()> {
        if self.slot.get() == 0 {
            return Ok(());
        }
        self.after_suspend_in_scope(o, s)
    }

    fn after_suspend_in_scope(&self, o: *mut PyObject, s: &TaskState) -> R<()> {
        let Some(core) = s.future.core() else {
            return Ok(());
        };
        let cancelled = {
            let tree = core.cancel_tree.borrow();
            self.slot().and_then(|slot| tree.scope_of(slot)).is_some_and(|scope| tree.is_effectively_cancelled(scope))
        };
        if !cancelled || s.future.is_done() {
            return Ok(());
        }
        self.deliver(o, s, core)
    }

    /// Cancels the task where it is suspended, on behalf of its scope. Not counted as a `Task.cancel` request.
    pub fn deliver(&self, o: *mut PyObject, s: &TaskState, core: &LoopCore) -> R<()> {
        if self.delivering.get() || s.must_cancel.get() || s.future.is_done() {
            return Ok(());
        }
        let site = site_of(s)?;
        if let Some(site) = site {
            let mut swallowed = self.swallowed.borrow_mut();
            let sites = swallowed.get_or_insert_with(Default::default);
            if sites.contains(&site) {
                return Ok(());
            }
            if sites.len() == SITES {
                sites.remove(0);
            }
            sites.push(site);
        }
        self.delivering.set(true);
        core.hooks.cancel(s.id.get(), CancelSource::ScopeCancel);
        task::deliver(o, None)
    }
}

/// A borrowed task in the cancel tree; the task leaves the tree before it goes.
#[derive(Clone, Copy)]
pub struct TaskPtr(pub *mut PyObject);

/// Tells tasks that their scope is now cancelled. A task that has not run yet or is running is left to its next suspension.
pub fn tell(core: &LoopCore, tasks: Vec<TaskPtr>) -> R<()> {
    let tasks: Vec<Obj> = tasks
        .into_iter()
        // SAFETY: a task leaves the tree before it goes, so it is alive here; the references keep it so below.
        .map(|t| unsafe { Obj::borrowed(t.0) })
        .collect();
    for task in tasks {
        // SAFETY: what is in the tree is a task of ours.
        let s = unsafe { task::state(task.as_ptr()) };
        let waiting = s.fut_waiter.is_set();
        let queued_after_a_yield = !waiting && s.scope.has_run(s)?;
        if waiting || queued_after_a_yield {
            s.scope.deliver(task.as_ptr(), s, core)?;
        }
    }
    Ok(())
}

impl TaskScope {
    /// Whether the task is suspended somewhere inside its coroutine, in contrast to not begun or running.
    fn has_run(&self, s: &TaskState) -> R<bool> {
        Ok(site_of(s)?.is_some())
    }
}

const TAG: &str = "_segue_scope_cancel";

fn tag(exc: &Obj) {
    if let Ok(name) = Obj::str(TAG) {
        if setattr(exc.as_ptr(), name.as_ptr(), Obj::bool(true).as_ptr()).is_err() {
            crate::raw::obj::write_unraisable(exc.as_ptr());
        }
    }
}

/// Whether a CancelledError came from a scope (any scope), in contrast to `Task.cancel`.
pub fn is_tagged(exc: *mut PyObject) -> R<bool> {
    let name = Obj::str(TAG)?;
    Ok(getattr_opt(exc, name.as_ptr())?.is_some())
}

/// Where the task is suspended: a hash over the code and instruction of each frame of its await chain.
/// None if the coroutine has not started, is running, or tells nothing about itself.
fn site_of(s: &TaskState) -> R<Option<u64>> {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut found = false;
    let mut at = s.coro.obj();
    for _ in 0..200 {
        let Some(frame_owner) = at else { break };
        let Some((code, instruction, running)) = frame_of(&frame_owner)? else {
            break;
        };
        if running || instruction < 0 {
            return Ok(None);
        }
        found = true;
        for part in [code, instruction as u64] {
            hash = (hash ^ part).wrapping_mul(0x0000_0100_0000_01b3);
        }
        at = awaited_by(&frame_owner)?;
    }
    Ok(found.then_some(hash))
}

fn text_attr(o: &Obj, name: &str) -> R<Option<Obj>> {
    Ok(getattr_opt(o.as_ptr(), Obj::str(name)?.as_ptr())?.filter(|v| !v.is_none()))
}

/// The code object's address, the instruction, and whether the frame is running: of a coroutine, generator or async generator.
fn frame_of(o: &Obj) -> R<Option<(u64, i64, bool)>> {
    for prefix in ["cr", "gi", "ag"] {
        let Some(code) = text_attr(o, &format!("{prefix}_code"))? else {
            continue;
        };
        let Some(frame) = text_attr(o, &format!("{prefix}_frame"))? else {
            return Ok(None);
        };
        let running = text_attr(o, &format!("{prefix}_running"))?;
        let running = running.is_some_and(|r| crate::raw::obj::is_true(r.as_ptr()).unwrap_or(false));
        let instruction = text_attr(&frame, "f_lasti")?;
        // SAFETY: an int; -1 on anything else, with the error cleared.
        let instruction = instruction.map_or(-1, |i| unsafe {
            let n = pyo3::ffi::PyLong_AsLongLong(i.as_ptr());
            pyo3::ffi::PyErr_Clear();
            n
        });
        let suspended = text_attr(o, &format!("{prefix}_suspended"))?;
        let suspended = suspended.is_none_or(|r| crate::raw::obj::is_true(r.as_ptr()).unwrap_or(true));
        return Ok(Some((code.as_ptr() as u64, if suspended { instruction } else { -1 }, running)));
    }
    Ok(None)
}

fn awaited_by(o: &Obj) -> R<Option<Obj>> {
    for name in ["cr_await", "gi_yieldfrom", "ag_await"] {
        if let Some(inner) = text_attr(o, name)? {
            return Ok(Some(inner));
        }
    }
    Ok(None)
}
