//! `segue.CancelScope`: what a `with` block is to the cancel tree.
//!
//! | stage | in the tree | `cancel()` | deadline |
//! |---|---|---|---|
//! | new | no | noted for the entry | noted; a relative one starts at the entry |
//! | entered | yes | reaches every task inside at once | if it has passed, cancelled; else a timer of the loop |
//! | left | no | nothing | nothing |
//!
//! Semantics: Trio's `CancelScope` (https://trio.readthedocs.io, "Cancellation and timeouts"). What a task in a scope
//! feels is in `scope.rs`, which exceptions a scope may catch in `catching.rs`.

use std::cell::Cell;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{PyTraverseError, PyVisit};
use sched::clock::nanos_from_secs;
use sched::{CancelSource, ScopeId, TimerToken};

use crate::cancellation::{Cancellation, Cause, Why};
use crate::catching;
use crate::event_loop::{running, LoopCore};
use crate::job::{visit_raw, Job};
use crate::raw::globals::{attr, import};
use crate::raw::obj::{call, raise_object, runtime_error, take_raised, write_unraisable};
use crate::raw::task::{self, TaskState};
use crate::raw::{globals::repr, registry, Obj, Raised, Slot, R};
use crate::scope::{self, TaskPtr};
use crate::site::Site;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Entered,
    Left,
}

/// A borrowed scope object in the cancel tree; the object closes its scope before it goes.
#[derive(Clone, Copy)]
pub struct ScopePtr(*mut PyObject);

impl Default for ScopePtr {
    fn default() -> Self {
        ScopePtr(std::ptr::null_mut())
    }
}

impl ScopePtr {
    pub fn object(self) -> Option<Obj> {
        // SAFETY: not null means in the tree, and what is in the tree is alive.
        (!self.0.is_null()).then(|| unsafe { Obj::borrowed(self.0) })
    }
}

/// A block of code that can be cancelled as a whole: `with segue.CancelScope() as scope: ...`.
///
/// Once cancelled, by `cancel()` or its deadline, every suspension inside raises `segue.Cancelled` until the block is
/// left, in the task that entered it and in the tasks of nurseries opened inside; the block's end catches it.
#[pyclass(frozen, module = "segue", weakref)]
pub struct CancelScope {
    stage: Cell<Stage>,
    /// `ScopeId::to_raw` while entered, else 0.
    id: Cell<u32>,
    /// Seconds on the loop's clock; infinity for none.
    deadline: Cell<f64>,
    /// Seconds from the entry on; infinity for none. Meaningful while new.
    relative: Cell<f64>,
    shield: Cell<bool>,
    caught: Cell<bool>,
    timer: Cell<TimerToken>,
    /// `Task.cancelling()` at the entry.
    requests: Cell<i64>,
    /// Set once cancelled.
    cause: Cause,
    /// While entered: the loop and the task that entered.
    loop_: Slot,
    host: Slot,
    entered_at: Cell<Option<Site>>,
    /// Where the deadline was set, if that was later.
    deadline_set_at: Cell<Option<Site>>,
}

// SAFETY: as for LoopCore, everything is touched with the GIL held only (`gil_used = true`).
unsafe impl Sync for CancelScope {}
// SAFETY: as above.
unsafe impl Send for CancelScope {}

/// asyncio's function that returns the running loop or None.
fn running_loop(py: Python<'_>) -> PyResult<&Py<PyAny>> {
    static RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    RUNNING.get_or_try_init(py, || Ok(py.import("asyncio.events")?.getattr("_get_running_loop")?.unbind()))
}

/// The reason of a cancellation that leaving scopes out of order causes.
fn misnested() -> R<Option<Obj>> {
    Ok(Some(Obj::str("misnesting")?))
}

/// The running loop and the task that runs on it; `what` asks for them.
#[inline]
pub fn current(what: &str) -> R<(Obj, Obj)> {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    let Some(loop_) = running() else {
        return Err(no_loop(what, &call(running_loop(py)?.as_ptr(), &[])?));
    };
    match registry::current(loop_.as_ptr())? {
        Some(task) if task::is_ours(task.as_ptr()) => Ok((loop_, task)),
        task => Err(no_task(what, task)),
    }
}

#[cold]
fn no_loop(what: &str, found: &Obj) -> Raised {
    let found =
        if found.is_none() { "no event loop runs".to_owned() } else { format!("it is {}", repr(found.as_ptr())) };
    runtime_error(&format!(
        "{what} needs a running Segue event loop (it must be called from async context), and {found}. Start the program with \
         segue.run() or `segue run`."
    ))
}

#[cold]
fn no_task(what: &str, found: Option<Obj>) -> Raised {
    match found {
        Some(task) => runtime_error(&format!(
            "{what} needs a segue.Task, and the current task is {}, made by a task factory",
            repr(task.as_ptr())
        )),
        None => runtime_error(&format!("{what} must be called from async context: inside a task")),
    }
}

fn state<'a>(task: &Obj) -> &'a TaskState {
    // SAFETY: callers have checked that it is a task of ours and hold it.
    unsafe { task::state(task.as_ptr()) }
}

fn seconds_now(core: &LoopCore) -> R<f64> {
    core.seconds()
}

fn check_deadline(value: f64, name: &str) -> PyResult<f64> {
    if value.is_nan() {
        return Err(PyValueError::new_err(format!("{name} must not be NaN")));
    }
    Ok(value)
}

fn check_relative(value: f64, name: &str) -> PyResult<f64> {
    if check_deadline(value, "relative deadline")? < 0.0 {
        return Err(PyValueError::new_err(format!("{name} must be non-negative")));
    }
    Ok(value)
}

/// An error of ours in the place of `exc`, which stays visible as its context.
fn chained(error: PyErr, py: Python<'_>, exc: Option<Bound<'_, PyAny>>) -> PyResult<Obj> {
    let error = error.into_value(py).into_bound(py);
    if let Some(exc) = exc {
        error.setattr("__context__", exc)?;
    }
    Ok(Obj::from(error.into_any()))
}

impl CancelScope {
    fn core(&self) -> Option<&LoopCore> {
        LoopCore::of(self.loop_.get())
    }

    fn id(&self) -> Option<ScopeId> {
        ScopeId::from_raw(self.id.get())
    }

    fn is_cancelled(&self) -> bool {
        self.cause.is_set()
    }

    /// Cancels, if it isn't yet, and tells the tasks inside.
    fn cancel_for(&self, why: impl Into<Why>) -> R<()> {
        if self.is_cancelled() {
            return Ok(());
        }
        self.cause.set(why.into());
        self.disarm();
        if let (Some(core), Some(id)) = (self.core(), self.id()) {
            let told = core.cancel_tree.borrow_mut().cancel(id);
            scope::tell(core, told)?;
        }
        Ok(())
    }

    fn expire(&self) -> R<()> {
        let (set, entered) = (self.deadline_set_at.take(), self.entered_at.take());
        let cause = Cancellation::deadline(self.host.obj().as_ref(), set.as_ref().or(entered.as_ref()));
        self.deadline_set_at.set(set);
        self.entered_at.set(entered);
        self.cancel_for(cause?)
    }

    fn disarm(&self) {
        if let Some(core) = self.core() {
            drop(core.scheduler.cancel_timer(self.timer.replace(TimerToken::NONE)));
        }
    }

    /// Makes the tree and the loop's timers agree with the deadline.
    fn arm(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        this.disarm();
        let (Some(core), Some(id)) = (this.core(), this.id()) else {
            return Ok(());
        };
        let deadline = this.deadline.get();
        let when = if deadline == f64::INFINITY { sched::cancel::NEVER } else { nanos_from_secs(deadline) };
        core.cancel_tree.borrow_mut().set_deadline(id, when);
        if this.is_cancelled() || deadline == f64::INFINITY {
            return Ok(());
        }
        // One that has passed is for the next turn, or for the task's next suspension, if that is earlier.
        let job = Job::Deadline(Obj::from(slf.clone().into_any()));
        this.timer.set(core.scheduler.call_at(when, job));
        Ok(())
    }

    /// The error for leaving a scope that isn't the current task's innermost one; None if it is.
    /// A scope of another task stays open; one of this task's that isn't innermost is taken out of the middle.
    fn misnesting(slf: &Bound<'_, Self>, task: Option<&Obj>) -> PyResult<Option<PyErr>> {
        let this = slf.get();
        let host = this.host.obj_or_none();
        let innermost = match (task, this.core()) {
            (Some(task), Some(core)) => {
                let inner = state(task).scope.scope(core);
                if inner == this.id() && task.as_ptr() == host.as_ptr() {
                    return Ok(None);
                }
                inner.and_then(|inner| core.cancel_tree.borrow().owner(inner).object())
            }
            _ => None,
        };
        let show = |o: &Option<Obj>| o.as_ref().map_or_else(|| "no scope".to_owned(), |o| repr(o.as_ptr()));
        let text = match task {
            Some(task) if task.as_ptr() == host.as_ptr() => format!(
                "Cancel scope stack corrupted: {} was left in {}, which is still within its child {}, entered later and still open. \
                 Leave cancel scopes and nurseries in the reverse order of entering them.",
                repr(slf.as_ptr()),
                repr(task.as_ptr()),
                show(&innermost)
            ),
            _ => format!(
                "Cancel scope stack corrupted: {} was entered in {} and left from unrelated {} (whose innermost scope is {}). \
                 Leave cancel scopes and nurseries in the task that entered them.",
                repr(slf.as_ptr()),
                repr(host.as_ptr()),
                task.map_or_else(|| "no task".to_owned(), |t| repr(t.as_ptr())),
                show(&innermost)
            ),
        };
        Ok(Some(PyRuntimeError::new_err(text)))
    }

    /// Leaves the scope with `exc`, if there is one; returns what of it goes on.
    fn close(slf: &Bound<'_, Self>, exc: Option<Bound<'_, PyAny>>) -> PyResult<Option<Obj>> {
        let this = slf.get();
        if this.stage.get() != Stage::Entered {
            let state = match this.stage.get() {
                Stage::Left => "which had already been exited",
                _ => "which is not entered",
            };
            let text = format!("Cancel scope stack corrupted: cannot leave {}, {state}", repr(slf.as_ptr()));
            return Ok(Some(chained(PyRuntimeError::new_err(text), slf.py(), exc)?));
        }
        let (Some(id), Some(host)) = (this.id(), this.host.obj()) else {
            return Ok(exc.map(Obj::from));
        };
        let task = registry::current(this.loop_.get())?.filter(|t| task::is_ours(t.as_ptr()));
        let wrong = Self::misnesting(slf, task.as_ref())?;
        let catches = this.core().is_some_and(|core| core.cancel_tree.borrow().catches(id));
        let left = match (wrong, exc) {
            (Some(error), exc) => {
                if task.as_ref().is_some_and(|t| t.as_ptr() == host.as_ptr()) {
                    this.abandon_inner(slf.py(), &host)?;
                    this.leave(None)?;
                }
                return Ok(Some(chained(error, slf.py(), exc)?));
            }
            (None, Some(exc)) if catches => {
                let (caught, rest) = catching::split(exc, &host, this.requests.get())?;
                this.caught.set(caught);
                rest
            }
            (None, exc) => exc.map(Obj::from),
        };
        let has_others = this.core().is_some_and(|core| {
            let place = state(&host).scope.place();
            core.cancel_tree.borrow().has_others(id, place)
        });
        if has_others && !this.is_cancelled() {
            // A nursery's, left by hand: nobody will wait for its tasks.
            this.cancel_for(Cancellation::new(CancelSource::ScopeCancel, misnested()?, None, None)?)?;
        }
        this.leave(Some(&host))?;
        Ok(left)
    }

    /// The scope is left although inner ones of the same task are open: what is in them is cancelled, since nobody knows any more
    /// what it belongs to.
    fn abandon_inner(&self, py: Python<'_>, host: &Obj) -> PyResult<()> {
        let (Some(core), Some(id)) = (self.core(), self.id()) else { return Ok(()) };
        let inner = {
            let tree = core.cancel_tree.borrow();
            let innermost = state(host).scope.place().and_then(|place| tree.scope_of(place));
            innermost.and_then(|at| tree.child_towards(id, at)).and_then(|child| tree.owner(child).object())
        };
        let Some(inner) = inner else { return Ok(()) };
        let cause = Cancellation::new(CancelSource::ScopeCancel, misnested()?, Some(host), Site::here())?;
        let inner = inner.bound(py);
        Ok(inner.cast::<CancelScope>()?.get().cancel_for(cause)?)
    }

    /// Whether a task inside would be cancelled now.
    pub fn is_effective(&self) -> bool {
        match (self.core(), self.id()) {
            (Some(core), Some(id)) => core.cancel_tree.borrow().is_effectively_cancelled(id),
            _ => false,
        }
    }

    /// The time on the clock of the scope's loop, or of the one that runs.
    fn seconds_of_loop(&self, py: Python<'_>) -> PyResult<f64> {
        match self.core() {
            Some(core) => Ok(seconds_now(core)?),
            None => current_time(py),
        }
    }

    /// A child of this scope's nursery, or the nursery's block, failed with `exc`.
    pub fn cancel_for_failure(&self, exc: &Obj, task: &Obj) -> R<()> {
        if self.is_cancelled() {
            return Ok(());
        }
        // SAFETY: attached.
        let py = unsafe { Python::assume_attached() };
        self.cancel_for(Cancellation::failure(py, &exc.bound(py), task)?)
    }

    /// Puts a task of ours that has not begun into this scope.
    pub fn adopt(&self, core: &LoopCore, task: &Obj) -> R<()> {
        let Some(id) = self.id() else {
            return Err(runtime_error("only a scope that is entered can have tasks"));
        };
        state(task).scope.move_to(core, task.as_ptr(), Some(id));
        Ok(())
    }

    /// Moves the tasks and scopes inside to `other`, a scope too; only the task that entered this one stays.
    pub fn move_contents(&self, other: &Obj) -> PyResult<()> {
        // SAFETY: attached.
        let py = unsafe { Python::assume_attached() };
        let other = other.bound(py);
        let other = other.cast::<CancelScope>()?;
        let (Some(core), Some(from), Some(to), Some(host)) =
            (self.core(), self.id(), other.get().id(), self.host.obj())
        else {
            return Err(PyRuntimeError::new_err("both scopes must be entered"));
        };
        let told: Vec<TaskPtr> = core.cancel_tree.borrow_mut().move_contents(from, to, state(&host).scope.place());
        Ok(scope::tell(core, told)?)
    }

    /// Out of the tree; `host` then is in the scope around this one.
    fn leave(&self, host: Option<&Obj>) -> R<()> {
        self.disarm();
        self.stage.set(Stage::Left);
        let Some(id) = ScopeId::from_raw(self.id.replace(0)) else {
            return Ok(());
        };
        let held = (self.loop_.take(), self.host.take());
        let Some(core) = held.0.as_ref().and_then(|l| LoopCore::of(l.as_ptr())) else {
            return Ok(());
        };
        if let Some(host) = host {
            let parent = core.cancel_tree.borrow().parent(id);
            state(host).scope.move_to(core, host.as_ptr(), parent);
        }
        let told = core.cancel_tree.borrow_mut().close(id);
        let result = scope::tell(core, told);
        drop(held);
        result
    }

    /// The object goes while its scope is still open: a `with` block that was never left.
    fn abandon(&self) {
        if self.id.get() == 0 {
            return;
        }
        let saved = take_raised();
        if self.leave(None).is_err() {
            write_unraisable(std::ptr::null_mut());
        }
        if let Some(saved) = saved {
            raise_object(saved);
        }
    }
}

impl Drop for CancelScope {
    fn drop(&mut self) {
        self.abandon();
    }
}

#[pymethods]
impl CancelScope {
    /// `deadline`: seconds on the loop's clock (`segue.current_time()`); `relative_deadline`: seconds from the entry on.
    #[new]
    #[pyo3(signature = (*, deadline = f64::INFINITY, relative_deadline = f64::INFINITY, shield = false))]
    fn new(deadline: f64, relative_deadline: f64, shield: bool) -> PyResult<Self> {
        check_deadline(deadline, "deadline")?;
        check_relative(relative_deadline, "timeout")?;
        if deadline != f64::INFINITY && relative_deadline != f64::INFINITY {
            return Err(PyValueError::new_err("Cannot specify both a deadline and a relative deadline"));
        }
        Ok(CancelScope {
            stage: Cell::new(Stage::New),
            id: Cell::new(0),
            deadline: Cell::new(deadline),
            relative: Cell::new(relative_deadline),
            shield: Cell::new(shield),
            caught: Cell::new(false),
            timer: Cell::new(TimerToken::NONE),
            requests: Cell::new(0),
            cause: Cause::default(),
            loop_: Slot::default(),
            host: Slot::default(),
            entered_at: Cell::new(None),
            deadline_set_at: Cell::new(None),
        })
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let this = slf.get();
        if this.stage.get() != Stage::New {
            return Err(PyRuntimeError::new_err(format!(
                "{} was entered before. Each CancelScope may only be used for a single 'with' block; make a new one",
                repr(slf.as_ptr())
            )));
        }
        let (loop_, task) = current("a CancelScope")?;
        let Some(core) = LoopCore::of(loop_.as_ptr()) else {
            return Err(PyRuntimeError::new_err("a CancelScope needs a running Segue event loop"));
        };
        if this.relative.get() != f64::INFINITY {
            this.deadline.set(seconds_now(core)? + this.relative.get());
        }
        let s = state(&task);
        let parent = s.scope.scope(core);
        let id = {
            let mut tree = core.cancel_tree.borrow_mut();
            let id = tree.open(parent, this.shield.get());
            tree.set_owner(id, ScopePtr(slf.as_ptr()));
            if this.is_cancelled() {
                // Nobody is inside yet, so nobody is to be told.
                tree.cancel(id);
            }
            id
        };
        this.requests.set(s.cancel_requests.get());
        this.entered_at.set(Site::here());
        this.id.set(id.to_raw());
        this.stage.set(Stage::Entered);
        s.scope.move_to(core, task.as_ptr(), Some(id));
        if core.hooks.is_attached() {
            crate::recording::scope_opened(core, s, slf.as_ptr() as u64, false);
        }
        this.loop_.set(loop_);
        this.host.set(task);
        if this.deadline.get() != f64::INFINITY {
            let late = match this.relative.get() {
                f64::INFINITY => this.deadline.get() <= seconds_now(core)?,
                left => left <= 0.0,
            };
            if late && !this.is_cancelled() {
                this.expire()?;
            }
            Self::arm(slf)?;
        }
        Ok(slf.clone())
    }

    #[pyo3(signature = (_type, exc, _traceback, /))]
    fn __exit__(
        slf: &Bound<'_, Self>,
        _type: &Bound<'_, PyAny>,
        exc: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        Self::_close(slf, exc.clone(), exc.clone())
    }

    /// Leaves the scope with the exception `exc` (or None) while the interpreter handles `handled` (or None). True: nothing
    /// goes on; False: `handled` does. Whatever else goes on is raised, with the `__context__` that it has.
    #[pyo3(signature = (exc, handled, /))]
    fn _close(slf: &Bound<'_, Self>, exc: Bound<'_, PyAny>, handled: Bound<'_, PyAny>) -> PyResult<bool> {
        let exc = (!exc.is_none()).then_some(exc);
        let recorded =
            slf.get().core().filter(|core| core.hooks.is_attached()).map(|core| (core, slf.get().host.obj()));
        let left = Self::close(slf, exc)?;
        if let Some((core, Some(host))) = recorded {
            let caught = slf.get().caught.get();
            crate::recording::scope_closed(core, state(&host).id.get(), slf.as_ptr() as u64, caught);
        }
        match left {
            None => Ok(true),
            Some(left) if left.as_ptr() == handled.as_ptr() => Ok(false),
            Some(left) => Err(raise_object(left).into()),
        }
    }

    /// Cancels everything inside, now and until the scope is left. `reason` shows in the Cancelled that is raised.
    /// A scope that isn't entered yet is cancelled from its entry on; cancelling twice changes nothing.
    #[pyo3(signature = (reason = None))]
    fn cancel(&self, py: Python<'_>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        if self.is_cancelled() {
            return Ok(());
        }
        let loop_ = self.loop_.obj().or_else(running);
        let task = match &loop_ {
            Some(loop_) => registry::current(loop_.as_ptr())?,
            None => None,
        };
        let reason = reason.map(|reason| Obj::from(reason.into_bound(py)));
        let cause = Cancellation::new(CancelSource::ScopeCancel, reason, task.as_ref(), Site::here())?;
        Ok(self.cancel_for(cause)?)
    }

    /// Whether the scope was cancelled: by `cancel()`, or by its deadline. Says nothing of whether anybody noticed.
    #[getter]
    fn cancel_called(&self, py: Python<'_>) -> PyResult<bool> {
        let may_expire = self.stage.get() != Stage::Left && self.deadline.get() != f64::INFINITY;
        if may_expire
            && !self.is_cancelled()
            && time_if_any(py, self.core())?.is_some_and(|now| now >= self.deadline.get())
        {
            self.expire()?;
        }
        Ok(self.is_cancelled())
    }

    /// Whether the scope's end caught a cancellation. A block that finishes all its work in time doesn't cause one.
    #[getter]
    fn cancelled_caught(&self) -> bool {
        self.caught.get()
    }

    /// Why the scope was cancelled, or None.
    #[getter]
    fn cancellation(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        Ok(self.cause.object(py)?.map(|c| c.bound(py).unbind()))
    }

    /// When the scope cancels itself: seconds on the loop's clock, infinity for never. Can be moved at any time.
    #[getter]
    fn get_deadline(&self) -> PyResult<f64> {
        if self.stage.get() == Stage::New && self.relative.get() != f64::INFINITY {
            return Err(PyRuntimeError::new_err("Unentered relative cancel scope does not have an absolute deadline"));
        }
        Ok(self.deadline.get())
    }

    #[setter]
    fn set_deadline(slf: &Bound<'_, Self>, value: f64) -> PyResult<()> {
        let this = slf.get();
        check_deadline(value, "deadline")?;
        if this.stage.get() == Stage::New && this.relative.get() != f64::INFINITY {
            return Err(PyRuntimeError::new_err("Unentered relative cancel scope does not have an absolute deadline"));
        }
        this.deadline.set(value);
        this.deadline_set_at.set(Site::here());
        Self::arm(slf)
    }

    /// Seconds from the entry to the deadline; once entered, the seconds that are left.
    #[getter]
    fn get_relative_deadline(&self, py: Python<'_>) -> PyResult<f64> {
        match self.stage.get() {
            Stage::New if self.deadline.get() != f64::INFINITY => {
                Err(PyRuntimeError::new_err("Unentered non-relative cancel scope does not have a relative deadline"))
            }
            Stage::New => Ok(self.relative.get()),
            _ => Ok(self.deadline.get() - self.seconds_of_loop(py)?),
        }
    }

    #[setter]
    fn set_relative_deadline(slf: &Bound<'_, Self>, value: f64) -> PyResult<()> {
        let this = slf.get();
        check_relative(value, "relative deadline")?;
        match this.stage.get() {
            Stage::New if this.deadline.get() != f64::INFINITY => {
                Err(PyRuntimeError::new_err("Unentered non-relative cancel scope does not have a relative deadline"))
            }
            Stage::New => {
                this.relative.set(value);
                Ok(())
            }
            _ => {
                this.deadline.set(this.seconds_of_loop(slf.py())? + value);
                this.deadline_set_at.set(Site::here());
                Self::arm(slf)
            }
        }
    }

    /// Whether cancellations from outside are kept out. Takes effect at once, in both directions.
    #[getter]
    fn get_shield(&self) -> bool {
        self.shield.get()
    }

    #[setter]
    fn set_shield(&self, value: bool) -> PyResult<()> {
        self.shield.set(value);
        if let (Some(core), Some(id)) = (self.core(), self.id()) {
            let told = core.cancel_tree.borrow_mut().set_shield(id, value);
            scope::tell(core, told)?;
        }
        Ok(())
    }

    /// Whether the waits of the task that entered are left alone (its nursery waits for the children).
    fn _hold(&self, holds: bool) {
        if let Some(host) = self.host.obj() {
            state(&host).scope.set_holds(holds);
        }
    }

    /// Whether a task inside would be cancelled now.
    fn _is_effective(&self) -> bool {
        self.is_effective()
    }

    /// Whether the deadline is relative; None once the scope is entered.
    #[getter]
    fn is_relative(&self) -> Option<bool> {
        (self.stage.get() == Stage::New).then(|| self.relative.get() != f64::INFINITY)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = "<segue.CancelScope, ".to_owned();
        text += match self.stage.get() {
            Stage::New => "unbound",
            Stage::Entered => "active",
            Stage::Left => "exited",
        };
        if self.is_cancelled() {
            text += ", cancelled";
        } else if self.deadline.get().is_finite() && self.stage.get() != Stage::Left {
            if let Some(now) = time_if_any(py, self.core())? {
                let left = self.deadline.get() - now;
                text += &match left >= 0.0 {
                    true => format!(", deadline is {left:.2} seconds from now"),
                    false => format!(", deadline is {:.2} seconds ago", -left),
                };
            }
        }
        let site = self.entered_at.take();
        let entered = site.as_ref().map(|s| s.text(py)).transpose();
        self.entered_at.set(site);
        if let Some(place) = entered? {
            text += &format!(", entered at {place}");
        }
        Ok(text + ">")
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.cause.visit(&visit)?;
        visit_raw(&visit, self.loop_.get())?;
        visit_raw(&visit, self.host.get())
    }

    fn __clear__(&self) {
        self.abandon();
        self.cause.clear();
    }
}

/// A deadline's timer fired.
pub fn deadline_reached(o: &Obj) -> R<()> {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    let scope = o.bound(py).cast_into::<CancelScope>().map_err(PyErr::from)?;
    let scope = scope.get();
    scope.timer.set(TimerToken::NONE);
    scope.expire()
}

/// A task met the deadline of the scope `o` before its timer fired.
pub fn expire(o: &Obj) -> R<()> {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    o.bound(py).cast::<CancelScope>().map_err(PyErr::from)?.get().expire()
}

/// `task` has ended in the scope `o`: if it had entered it, the deadline would only keep the two alive. False if it hadn't.
pub fn task_ended(o: &Obj, task: *mut PyObject) -> R<bool> {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    let scope = o.bound(py).cast_into::<CancelScope>().map_err(PyErr::from)?;
    let scope = scope.get();
    let entered = scope.host.get() == task;
    if entered {
        scope.disarm();
    }
    Ok(entered)
}

/// The Cancellation of a cancelled scope.
pub fn cause(o: &Obj) -> R<(Option<Obj>, CancelSource)> {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    let cause = o.bound(py).cast::<CancelScope>().map_err(PyErr::from)?.get().cause.object(py)?;
    let source = cause.as_ref().and_then(|c| Cancellation::of(py, c).map(|c| c.source));
    Ok((cause, source.unwrap_or(CancelSource::ScopeCancel)))
}

/// The loop's time: of the scope's loop, or of the one that runs in this thread.
fn time_if_any(py: Python<'_>, core: Option<&LoopCore>) -> PyResult<Option<f64>> {
    let running = call(running_loop(py)?.as_ptr(), &[])?;
    match (core, LoopCore::of(running.as_ptr())) {
        (_, Some(core)) => Ok(Some(seconds_now(core)?)),
        (Some(core), None) if core.is_on_its_thread() => Ok(Some(seconds_now(core)?)),
        _ => Ok(None),
    }
}

/// The time on the running loop's clock, in seconds: what deadlines are measured in.
#[pyfunction]
pub fn current_time(py: Python<'_>) -> PyResult<f64> {
    let loop_ = call(getattr_running()?.as_ptr(), &[])?;
    match LoopCore::of(loop_.as_ptr()) {
        Some(core) => Ok(seconds_now(core)?),
        None => loop_.bound(py).call_method0(pyo3::intern!(py, "time"))?.extract(),
    }
}

fn getattr_running() -> R<Obj> {
    attr(&import("asyncio.events")?, "get_running_loop")
}

/// When the current task will be cancelled by the scopes around it, in seconds on the loop's clock: infinity for never,
/// minus infinity if it is cancelled already.
#[pyfunction]
pub fn current_effective_deadline(py: Python<'_>) -> PyResult<f64> {
    let (loop_, task) = current("current_effective_deadline()")?;
    let Some(core) = LoopCore::of(loop_.as_ptr()) else {
        return Ok(f64::INFINITY);
    };
    let Some(scope) = state(&task).scope.scope(core) else {
        return Ok(f64::INFINITY);
    };
    let owner = {
        let tree = core.cancel_tree.borrow();
        if tree.is_effectively_cancelled(scope) {
            return Ok(f64::NEG_INFINITY);
        }
        tree.next_to_expire(scope).and_then(|s| tree.owner(s).object())
    };
    match owner {
        Some(owner) => Ok(owner.bound(py).cast::<CancelScope>()?.get().deadline.get()),
        None => Ok(f64::INFINITY),
    }
}
