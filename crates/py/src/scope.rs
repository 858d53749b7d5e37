//! Cancel scopes on tasks: delivers a scope's cancellation at suspensions, as often as needed and never in a spin.
//!
//! Rule 1: a task in an effectively cancelled scope is cancelled at every suspension until it leaves the scope, except at
//!         an await site that already got this scope's cancellation: there it is left to its own wake.
//! Rule 2: a task is only told while it is suspended; one that runs or has not begun is told at its next suspension.
//! Rule 3: what a task waits for is asked to cancel once per wait. If it refuses, or is done already, the task gets
//!         what it waited for.
//! Rule 4: a scope's cancellation never counts as a `Task.cancel` request, and a request is never taken for a scope's.
//!
//! The tree itself is `sched::CancelTree`, the scope object is in `cancel_scope.rs`.

use std::cell::{Cell, RefCell};
use std::os::raw::{c_int, c_void};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use sched::{Clock, ScopeId, TaskSlot};

use crate::await_site;
use crate::cancel_scope::{self, ScopePtr};
use crate::cancellation::{self, is_cancelled_error, Cancellation};
use crate::event_loop::LoopCore;
use crate::raw::globals::globals;
use crate::raw::obj::{call, getattr_opt, is_true};
use crate::raw::task::{self, TaskState};
use crate::raw::{future, registry, Obj, Slot, R};
use crate::structured::wait;

/// What became of the cancellation of the present wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Delivery {
    None = 0,
    /// What the task waits for agreed to be cancelled.
    Accepted,
    /// It refused; it is not asked again.
    Refused,
    /// The task waits for nothing but its turn: it is thrown when that comes.
    Throw,
}

/// Boxed: most tasks never have any.
type Sites = Box<Vec<(u64, u64)>>;

/// The cancel tree's side of a task; all-zero memory is "in no scope".
#[repr(C)]
pub struct TaskScope {
    /// `TaskSlot::to_raw`, or 0.
    slot: Cell<u32>,
    /// Invariant: false only if the task is in no scope and `request` is empty.
    active: Cell<bool>,
    /// Suspended since it entered a scope.
    parked: Cell<bool>,
    delivery: Cell<Delivery>,
    /// A scope's cancellation was thrown into the task since it was last in no cancelled scope.
    delivered: Cell<bool>,
    /// Its own waits are not interrupted by scopes: it waits for its nursery's children.
    holds: Cell<bool>,
    /// The Cancellation of a `Task.cancel` that is on its way.
    request: Slot,
    /// The Cancellation of the delivery.
    cause: Slot,
    /// Where a cancellation was delivered, oldest first: the scope's serial number and the site.
    sites: RefCell<Option<Sites>>,
}

/// How many sites are remembered; a task with more of them is interrupted again.
const SITES: usize = 64;

impl TaskScope {
    fn slot(&self) -> Option<TaskSlot> {
        TaskSlot::from_raw(self.slot.get())
    }

    /// The task's innermost scope.
    pub fn scope(&self, core: &LoopCore) -> Option<ScopeId> {
        core.cancel_tree.borrow().scope_of(self.slot()?)
    }

    /// The task's place, for operations on the tree that leave it where it is.
    pub fn place(&self) -> Option<TaskSlot> {
        self.slot()
    }

    /// Makes `scope` the task's innermost one (none: out of all scopes).
    pub fn move_to(&self, core: &LoopCore, task: *mut PyObject, scope: Option<ScopeId>) {
        let mut tree = core.cancel_tree.borrow_mut();
        let cancelled = match (self.slot(), scope) {
            (Some(slot), Some(scope)) => tree.move_task(slot, Some(scope)),
            (Some(slot), None) => {
                tree.leave_task(slot);
                self.slot.set(0);
                false
            }
            (None, Some(scope)) => {
                self.slot.set(tree.enter_task(TaskPtr(task), scope).to_raw());
                tree.is_effectively_cancelled(scope)
            }
            (None, None) => false,
        };
        self.update_active();
        if !cancelled {
            self.delivered.set(false);
            self.sites.replace(None);
        }
    }

    /// The Cancellation of a `Task.cancel` that is on its way.
    pub fn request(&self) -> Option<Obj> {
        self.request.obj()
    }

    fn update_active(&self) {
        self.active.set(self.slot.get() != 0 || self.request.is_set());
    }

    /// The task is done. Scopes that it has entered and not left lose their deadlines; they stay in the tree, so that whoever
    /// leaves them later is told whose they were.
    #[inline(always)]
    pub fn ended(&self, core: &LoopCore, task: *mut PyObject) -> R<()> {
        match self.slot() {
            Some(slot) => ended_in_scope(core, slot, task),
            None => Ok(()),
        }
    }

    /// The task is done or gone.
    #[inline(always)]
    pub fn leave(&self, core: Option<&LoopCore>) {
        if self.active.get() {
            self.leave_cold(core);
        }
    }

    #[cold]
    fn leave_cold(&self, core: Option<&LoopCore>) {
        if let (Some(core), Some(slot)) = (core, self.slot()) {
            core.cancel_tree.borrow_mut().leave_task(slot);
        }
        self.slot.set(0);
        self.active.set(false);
        self.parked.set(false);
        self.delivery.set(Delivery::None);
        self.sites.replace(None);
        let old = (self.request.take(), self.cause.take());
        drop(old);
    }

    /// # Safety
    /// The collector's visitor.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        // SAFETY: passed on.
        unsafe {
            match self.request.visit(visit, arg) {
                0 => self.cause.visit(visit, arg),
                r => r,
            }
        }
    }

    /// `Task.cancel` was called: what is thrown next is that request's, whatever a scope does meanwhile.
    pub fn note_request(&self, s: &TaskState, message: Option<&Obj>) -> R<()> {
        // SAFETY: attached.
        let py = unsafe { Python::assume_attached() };
        // A scope that cancels what its task awaits, and that is a task too: it is the scope's doing.
        let behalf = s.future.core().and_then(|core| core.cancels_for.obj());
        let info = match behalf {
            Some(cause) => Cancellation::on_behalf_of(py, &cause)?,
            None => Cancellation::requested(py, s.future.loop_.get(), message)?,
        };
        self.request.set(info.into_object(py)?);
        self.active.set(true);
        Ok(())
    }

    pub fn holds(&self) -> bool {
        self.holds.get()
    }

    /// Whether the task's own waits are out of scopes' reach.
    pub fn set_holds(&self, holds: bool) {
        self.holds.set(holds);
    }

    /// Whether a scope's cancellation reached the task since it was last in no cancelled scope.
    pub fn was_delivered(&self) -> bool {
        self.delivered.get()
    }

    /// The task is about to be resumed, with `exc` or without; returns what to resume it with.
    #[inline(always)]
    pub fn before_resume(&self, s: &TaskState, exc: Option<Obj>) -> R<Option<Obj>> {
        if !self.active.get() {
            return Ok(exc);
        }
        self.before_resume_in_scope(s, exc)
    }

    #[cold]
    fn before_resume_in_scope(&self, s: &TaskState, mut exc: Option<Obj>) -> R<Option<Obj>> {
        self.parked.set(false);
        let delivery = self.delivery.replace(Delivery::None);
        let (request, cause) = (self.request.take(), self.cause.take());
        self.update_active();
        if delivery == Delivery::Throw && exc.is_none() && self.is_cancelled(s) {
            exc = Some(call(globals().cancelled_error, &[])?);
        }
        let Some(thrown) = exc.as_ref().filter(|e| is_cancelled_error(e.as_ptr())) else {
            return Ok(exc);
        };
        // SAFETY: attached.
        let py = unsafe { Python::assume_attached() };
        if let Some(request) = request {
            cancellation::tag(py, thrown, &request)?;
            // A scope's cancellation came first, without the message by which others (anyio) know theirs.
            if let Some(reason) = Cancellation::of(py, &request).and_then(|info| info.reason_obj()) {
                cancellation::show_if_silent(thrown, &reason)?;
            }
        } else if let (Delivery::Accepted | Delivery::Throw, Some(cause)) = (delivery, cause) {
            self.delivered.set(true);
            cancellation::tag(py, thrown, &cause)?;
        }
        Ok(exc)
    }

    /// Whether the scopes around the task are cancelled.
    #[inline(always)]
    pub fn feels_cancelled(&self, s: &TaskState) -> bool {
        self.active.get() && self.is_cancelled(s)
    }

    fn is_cancelled(&self, s: &TaskState) -> bool {
        let Some(core) = s.future.core() else {
            return false;
        };
        let tree = core.cancel_tree.borrow();
        self.slot().and_then(|slot| tree.scope_of(slot)).is_some_and(|scope| tree.is_effectively_cancelled(scope))
    }

    /// The task has suspended: if its scope is cancelled, it is cancelled here, unless this site already was.
    #[inline(always)]
    pub fn after_suspend(&self, s: &TaskState) -> R<()> {
        if !self.active.get() {
            return Ok(());
        }
        self.after_suspend_in_scope(s)
    }

    #[cold]
    fn after_suspend_in_scope(&self, s: &TaskState) -> R<()> {
        let (Some(core), Some(slot)) = (s.future.core(), self.slot()) else {
            return Ok(());
        };
        self.parked.set(true);
        if let Some(expired) = expired(core, slot) {
            // It is the loop that notices, not the task.
            registry::without_current(core, s.future.loop_.get(), || cancel_scope::expire(&expired))?;
        }
        if self.is_cancelled(s) {
            self.deliver(s, core)?;
        }
        Ok(())
    }

    /// Cancels the task where it is suspended, on behalf of its scope. Not counted as a `Task.cancel` request.
    fn deliver(&self, s: &TaskState, core: &LoopCore) -> R<()> {
        if self.delivery.get() != Delivery::None || self.holds.get() || s.must_cancel.get() || s.future.is_done() {
            return Ok(());
        }
        let waiter = s.fut_waiter.obj();
        if let Some(waiter) = &waiter {
            if is_done(waiter)? {
                return Ok(());
            }
        }
        let Some((serial, scope)) = source(core, self.slot()) else {
            return Ok(());
        };
        let site = await_site::of(s.coro.obj())?;
        if self.sites.borrow().as_ref().is_some_and(|sites| sites.contains(&(serial, site))) {
            return Ok(());
        }
        let delivery = match waiter {
            Some(waiter) => {
                self.delivery.set(Delivery::Refused);
                let outer = core.cancels_for.replace(cancel_scope::cause(&scope)?.0);
                let accepted = future::cancel_any(waiter.as_ptr(), None);
                drop(core.cancels_for.replace(outer));
                if accepted? {
                    Delivery::Accepted
                } else {
                    return Ok(());
                }
            }
            None => Delivery::Throw,
        };
        self.delivery.set(delivery);
        self.remember((serial, site));
        let (cause, source) = cancel_scope::cause(&scope)?;
        drop(self.cause.replace(cause));
        if core.hooks.is_attached() {
            crate::recording::cancelled(core, s, source, self.cause.obj().as_ref());
        }
        Ok(())
    }

    fn remember(&self, site: (u64, u64)) {
        let mut sites = self.sites.borrow_mut();
        let sites = sites.get_or_insert_with(Default::default);
        if sites.len() == SITES {
            sites.remove(0);
        }
        sites.push(site);
    }
}

fn ended_in_scope(core: &LoopCore, slot: TaskSlot, task: *mut PyObject) -> R<()> {
    let mut at = core.cancel_tree.borrow().scope_of(slot);
    while let Some(scope) = at {
        let owner = {
            let tree = core.cancel_tree.borrow();
            at = tree.parent(scope);
            tree.owner(scope).object()
        };
        match owner {
            Some(owner) if cancel_scope::task_ended(&owner, task)? => {}
            _ => break,
        }
    }
    Ok(())
}

/// The CancelledError that a task would be thrown now by the scopes around it, saying whose it is.
pub fn cancelled_error_for(task: &Obj) -> R<Obj> {
    // SAFETY: attached; callers pass a task of ours.
    let (py, s) = unsafe { (Python::assume_attached(), task::state(task.as_ptr())) };
    let exc = call(globals().cancelled_error, &[])?;
    if let Some((_, scope)) = s.future.core().and_then(|core| source(core, s.scope.slot())) {
        if let Some(cause) = cancel_scope::cause(&scope)?.0 {
            cancellation::tag(py, &exc, &cause)?;
        }
    }
    Ok(exc)
}

/// The `Task.cancel` that is under way to `task` is the one that has raised `exc`: an await has held it back meanwhile.
pub fn same_request(task: &Obj, exc: &Obj) -> R<()> {
    // SAFETY: callers pass a task of ours.
    let s = unsafe { task::state(task.as_ptr()) };
    if let Some(info) = cancellation::info_of(exc.as_ptr())? {
        if s.scope.request.is_set() {
            s.scope.request.set(info);
        }
    }
    Ok(())
}

/// The scope whose cancellation a task feels: its serial number and object.
fn source(core: &LoopCore, slot: Option<TaskSlot>) -> Option<(u64, Obj)> {
    let tree = core.cancel_tree.borrow();
    let source = tree.source(tree.scope_of(slot?)?)?;
    Some((tree.serial(source), tree.owner(source).object()?))
}

/// The scope around a task whose deadline has passed although its timer has not fired yet.
fn expired(core: &LoopCore, slot: TaskSlot) -> Option<Obj> {
    let (next, deadline) = {
        let tree = core.cancel_tree.borrow();
        let scope = tree.scope_of(slot)?;
        let next = tree.next_to_expire(scope)?;
        if tree.is_effectively_cancelled(scope) {
            return None;
        }
        (tree.owner(next).object()?, tree.deadline(next))
    };
    // The clock may be Python code: no borrow is held.
    (deadline <= core.loop_clock().now()).then_some(next)
}

/// Whether something awaited is done: its wake is on the way.
fn is_done(waiter: &Obj) -> R<bool> {
    if wait::is_wait(waiter.as_ptr()) {
        // SAFETY: just checked.
        return Ok(!unsafe { wait::state(waiter.as_ptr()) }.is_queued());
    }
    if future::is_ours(waiter.as_ptr()) {
        // SAFETY: ours.
        return Ok(unsafe { future::state(waiter.as_ptr()) }.is_done());
    }
    match getattr_opt(waiter.as_ptr(), Obj::name("done")?.as_ptr())? {
        Some(done) => is_true(call(done.as_ptr(), &[])?.as_ptr()),
        None => Ok(false),
    }
}

/// A borrowed task in the cancel tree; the task leaves the tree before it goes.
#[derive(Clone, Copy)]
pub struct TaskPtr(pub *mut PyObject);

/// What the loop keeps: which tasks are in which scopes.
pub type Tree = sched::CancelTree<TaskPtr, ScopePtr>;

/// Tells tasks that their scope is now cancelled; those that run or have not begun find out at their next suspension.
pub fn tell(core: &LoopCore, tasks: Vec<TaskPtr>) -> R<()> {
    let tasks: Vec<Obj> = tasks
        .into_iter()
        // SAFETY: a task leaves the tree before it goes, so it is alive here; the references keep it so below.
        .map(|t| unsafe { Obj::borrowed(t.0) })
        .collect();
    for task in tasks {
        // SAFETY: what is in the tree is a task of ours.
        let s = unsafe { task::state(task.as_ptr()) };
        if s.scope.parked.get() && s.scope.is_cancelled(s) {
            s.scope.deliver(s, core)?;
        }
    }
    Ok(())
}
