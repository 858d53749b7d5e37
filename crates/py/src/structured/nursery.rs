//! A nursery's hot paths: starting a task, and noticing that one has ended.
//!
//! `segue.Nursery` (Python, `_nursery.py`) is a subclass: opening, `start()`, leaving and what becomes of exceptions is there.
//! A task knows its nursery (`TaskState::nursery`); when it ends, `task_step.rs` comes here.

use std::cell::Cell;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyFrozenSet, PyList, PyListMethods, PySet};
use pyo3::{PyTraverseError, PyVisit};

use super::start;
use super::wait::{self, Checkpoint, Operation, Wait};
use super::{of, to_python};
use sched::CancelSource;

use crate::cancel_scope::CancelScope;
use crate::cancellation::{is_cancelled_error, source_of};
use crate::event_loop::LoopCore;
use crate::fast_method;
use crate::job::visit_raw;
use crate::raw::args::Args;
use crate::raw::heap_type::{add_method, fast};
use crate::raw::obj::{call, call_method, runtime_error, take_raised, type_error, Raised};
use crate::raw::task::{self, FirstStep, New, TaskState};
use crate::raw::{Obj, Slot, R};

/// What `segue.Nursery` builds on.
#[pyclass(frozen, subclass, module = "segue._core", weakref)]
pub struct NurseryCore {
    scope: Slot,
    parent: Slot,
    loop_: Slot,
    /// The set of tasks that still run.
    children: Slot,
    /// Children that are started and not made yet; see `start.rs`.
    noted: Cell<usize>,
    /// The list of what the children, and the block itself, raised.
    exceptions: Slot,
    /// Calls of `start()` that are not over.
    starting: Cell<u32>,
    body_runs: Cell<bool>,
    /// What children raise stays with them.
    ignores_failures: Cell<bool>,
    /// A child that is cancelled by a plain `Task.cancel()` has failed too: somebody wants all the results.
    needs_all: Cell<bool>,
    closed: Cell<bool>,
    /// The task that opened it has ended without leaving it.
    abandoned: Cell<bool>,
    /// The Wait of the parent task, which waits for the children.
    waiting: Slot,
}

// SAFETY: touched with the GIL held only (`gil_used = true`).
unsafe impl Sync for NurseryCore {}
// SAFETY: as above.
unsafe impl Send for NurseryCore {}

static ALL_ENDED: Operation = Operation {
    name: "Nursery.__aexit__",
    checkpoint: Checkpoint::No,
    attempt: wait_for_all,
    leave: |wait| {
        let nursery = nursery_of(wait);
        if nursery.waiting.get() == wait.as_ptr() {
            nursery.waiting.clear();
        }
    },
    abort: None,
    undo: |_, _| Ok(()),
};

fn nursery_of(wait: &Wait) -> &NurseryCore {
    // SAFETY: made by `_all_ended`; the wait keeps its owner alive.
    unsafe { of(wait.owner.get()) }
}

fn wait_for_all(wait: &Wait) -> R<Option<Obj>> {
    let nursery = nursery_of(wait);
    if nursery.closed.get() {
        return Ok(Some(Obj::none()));
    }
    nursery.waiting.set(wait.as_obj());
    Ok(None)
}

fn set_change(outcome: i32) -> R<()> {
    match outcome {
        -1 => Err(Raised),
        _ => Ok(()),
    }
}

impl NurseryCore {
    /// A plain `Task.cancel()` ends only that task, unless all are needed.
    fn child_failed(&self, exc: &Obj, task: *mut PyObject) -> R<()> {
        // SAFETY: attached.
        let py = unsafe { Python::assume_attached() };
        if is_cancelled_error(exc.as_ptr()) && !source_of(py, exc.as_ptr())?.is_some_and(CancelSource::is_scoped) {
            // SAFETY: the scope is a CancelScope.
            let scope: &CancelScope = unsafe { of(self.scope.get()) };
            // In a cancelled scope it is a library's way of passing that on.
            if !self.needs_all.get() || scope.is_effective() {
                return Ok(());
            }
        }
        self.add(exc, task)
    }

    fn add(&self, exc: &Obj, task: *mut PyObject) -> R<()> {
        // SAFETY: a list; the scope is a CancelScope; the task is alive.
        unsafe {
            set_change(ffi::PyList_Append(self.exceptions.get(), exc.as_ptr()))?;
            of::<CancelScope>(self.scope.get()).cancel_for_failure(exc, &Obj::borrowed(task))
        }
    }

    fn close_if_done(&self) -> R<()> {
        // SAFETY: a set, emptied by the collector only.
        let running = unsafe { ffi::PySet_Size(self.children.get()) };
        let ended = !self.body_runs.get() && running == 0 && self.noted.get() == 0 && self.starting.get() == 0;
        if !ended || self.closed.replace(true) {
            return Ok(());
        }
        if let Some(waiting) = self.waiting.take() {
            // SAFETY: `wait_for_all` has put a Wait there.
            unsafe { wait::state(waiting.as_ptr()) }.wake(Obj::none())?;
        }
        Ok(())
    }

    fn core(&self) -> R<&LoopCore> {
        LoopCore::of(self.loop_.get()).ok_or_else(|| runtime_error("this nursery's loop is gone"))
    }

    /// Makes the tasks that are only noted: somebody looks at the children.
    fn make_noted(&self) -> R<()> {
        match self.noted.get() {
            0 => Ok(()),
            _ => start::make_all(self.core()?),
        }
    }

    /// Makes a child that runs `coro`. The caller has checked that the nursery is open.
    fn spawn(&self, o: *mut PyObject, core: &LoopCore, child: Child) -> R<Obj> {
        let Child { function, coro, name, context, first_step } = child;
        let new =
            New { coro: coro.as_ptr(), loop_: self.loop_.get(), name, named_after: function, context, first_step };
        let task = match task::new_on(core, &new) {
            Ok(task) => task,
            Err(Raised) => {
                let exc = take_raised();
                let _ = call_method(crate::raw::globals::globals().names.close, &[coro.as_ptr()]);
                return Err(exc.map_or(Raised, crate::raw::obj::raise_object));
            }
        };
        // SAFETY: just made; the nursery's scope is a CancelScope; a set.
        unsafe {
            let s = task::state(task.as_ptr());
            of::<CancelScope>(self.scope.get()).adopt(core, &task)?;
            set_change(ffi::PySet_Add(self.children.get(), task.as_ptr()))?;
            s.nursery.set(Obj::borrowed(o));
            if core.hooks.is_attached() {
                crate::recording::child(core, s, self.scope.get() as u64);
            }
        }
        Ok(task)
    }
}

struct Child {
    /// What the coroutine was made of, after which the task is named; null if it is named by its number.
    function: *mut PyObject,
    coro: Obj,
    /// As it was given, or null.
    name: *mut PyObject,
    /// Null: a copy of the current one.
    context: *mut PyObject,
    first_step: FirstStep,
}

/// The child that was noted for `nursery`, which does not run yet.
pub fn begin_noted(
    core: &LoopCore,
    nursery: &Obj,
    function: &Obj,
    coro: Obj,
    name: *mut PyObject,
    context: &Obj,
) -> R<Obj> {
    let (function, context) = (function.as_ptr(), context.as_ptr());
    let child = Child { function, coro, name, context, first_step: FirstStep::ByCaller };
    // SAFETY: notes are made by `start_soon`.
    unsafe { of::<NurseryCore>(nursery.as_ptr()) }.spawn(nursery.as_ptr(), core, child)
}

/// A child is noted no more. What hindered making it is the nursery's failure, as if the child had raised it.
pub fn noted_is_made(nursery: &Obj, made: R<Obj>) -> R<Option<Obj>> {
    // SAFETY: notes are made by `start_soon`.
    let nursery: &NurseryCore = unsafe { of(nursery.as_ptr()) };
    nursery.noted.set(nursery.noted.get() - 1);
    match made {
        Ok(task) => Ok(Some(task)),
        Err(Raised) => {
            if let Some(exc) = take_raised() {
                nursery.add(&exc, nursery.parent.obj_or_none().as_ptr())?;
            }
            nursery.close_if_done().map(|()| None)
        }
    }
}

/// The number of a nursery's scope in recordings.
pub fn scope_of(nursery: &Obj) -> u64 {
    // SAFETY: what is in a task's slot is a nursery.
    unsafe { of::<NurseryCore>(nursery.as_ptr()) }.scope.get() as u64
}

/// A task that has opened nurseries, or is a nursery's child, has ended, `exc` being what it raised.
pub fn task_ended(task: *mut PyObject, s: &TaskState, exc: Option<&Obj>) -> R<()> {
    let nurseries = s.nurseries.take();
    // SAFETY: a list.
    if nurseries.as_ref().is_some_and(|list| unsafe { ffi::PyList_Size(list.as_ptr()) } > 0) {
        drop(s.nurseries.replace(nurseries));
        return left_open(task, s, exc);
    }
    child_ended(task, s, exc)
}

/// The task has ended inside of nurseries: what runs in them is cancelled, and the task has failed.
#[cold]
fn left_open(task: *mut PyObject, s: &TaskState, exc: Option<&Obj>) -> R<()> {
    let left_open = crate::raw::globals::attr(&crate::raw::globals::import("segue._nursery")?, "_left_open")?;
    let none = Obj::none();
    let failure = call(left_open.as_ptr(), &[task, exc.unwrap_or(&none).as_ptr()])?;
    child_ended(task, s, Some(&failure))
}

/// A child has ended, `exc` being what it raised.
fn child_ended(task: *mut PyObject, s: &TaskState, exc: Option<&Obj>) -> R<()> {
    let Some(o) = s.nursery.obj() else { return Ok(()) };
    // SAFETY: what is in the slot is a nursery; the children are a set.
    let nursery: &NurseryCore = unsafe { of(o.as_ptr()) };
    // SAFETY: a set, and a task that is alive.
    set_change(unsafe { ffi::PySet_Discard(nursery.children.get(), task) })?;
    let told = match exc.filter(|_| !nursery.ignores_failures.get()) {
        Some(exc) => {
            s.future.log_traceback.set(false);
            nursery.child_failed(exc, task)
        }
        None => Ok(()),
    };
    // Whatever went wrong, the block must not wait for a task that has ended.
    match told {
        Ok(()) => nursery.close_if_done(),
        Err(Raised) => {
            let failure = crate::raw::obj::take_raised();
            if nursery.close_if_done().is_err() {
                crate::raw::obj::write_unraisable(task);
            }
            Err(failure.map_or(Raised, crate::raw::obj::raise_object))
        }
    }
}

/// `coro` is no coroutine: says what was probably meant.
#[cold]
fn not_a_coroutine(function: *mut PyObject, found: Option<&Obj>) -> Raised {
    let complain = || -> R<Obj> {
        let explain = crate::raw::globals::attr(&crate::raw::globals::import("segue._nursery")?, "_not_async")?;
        let found = found.cloned().unwrap_or_else(Obj::none);
        call(explain.as_ptr(), &[function, found.as_ptr()])
    };
    match complain() {
        Ok(exc) => crate::raw::obj::raise_object(exc),
        Err(raised) => raised,
    }
}

fn start_soon(o: *mut PyObject, args: Args) -> R<Obj> {
    // SAFETY: a method of the class.
    let nursery: &NurseryCore = unsafe { of(o) };
    let mut name = std::ptr::null_mut();
    for (key, value) in args.keywords() {
        if crate::raw::args::text_of(key)? != "name" {
            return Err(type_error("start_soon() takes no keyword argument but `name`; use functools.partial"));
        }
        name = value;
    }
    let Some((&function, rest)) = args.positional().split_first() else {
        return Err(type_error("start_soon() needs an async function"));
    };
    if nursery.closed.get() {
        return Err(runtime_error("Nursery is closed to new arrivals"));
    }
    let core = nursery.core()?;
    if start::note(core, o, function, rest, name)? {
        nursery.noted.set(nursery.noted.get() + 1);
        return Ok(Obj::none());
    }
    // SAFETY: alive.
    let coro = unsafe {
        if ffi::PyCoro_CheckExact(function) != 0 {
            return Err(not_a_coroutine(function, None));
        }
        match call(function, rest) {
            Ok(coro) => coro,
            // Calling what isn't callable, or isn't async: perhaps there is more to say.
            Err(Raised)
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_TypeError) != 0 && ffi::PyCallable_Check(function) == 0 =>
            {
                ffi::PyErr_Clear();
                return Err(not_a_coroutine(function, None));
            }
            Err(Raised) => return Err(Raised),
        }
    };
    // SAFETY: alive.
    let plain = unsafe { ffi::PyCoro_CheckExact(coro.as_ptr()) != 0 } || wait::is_wait(coro.as_ptr());
    if !plain
        && !crate::raw::obj::is_true(call(crate::raw::globals::globals().iscoroutine, &[coro.as_ptr()])?.as_ptr())?
    {
        return Err(not_a_coroutine(function, Some(&coro)));
    }
    let child = Child { function, coro, name, context: std::ptr::null_mut(), first_step: FirstStep::Soon };
    nursery.spawn(o, core, child)?;
    Ok(Obj::none())
}
fast_method!(m_start_soon, start_soon);

#[pymethods]
impl NurseryCore {
    #[new]
    fn new(scope: Bound<'_, CancelScope>, parent: Bound<'_, PyAny>, r#loop: Bound<'_, PyAny>) -> PyResult<Self> {
        let nursery = NurseryCore {
            scope: Slot::default(),
            parent: Slot::default(),
            loop_: Slot::default(),
            children: Slot::default(),
            exceptions: Slot::default(),
            noted: Cell::new(0),
            starting: Cell::new(0),
            body_runs: Cell::new(true),
            ignores_failures: Cell::new(false),
            needs_all: Cell::new(false),
            closed: Cell::new(false),
            abandoned: Cell::new(false),
            waiting: Slot::default(),
        };
        nursery.children.set(Obj::from(PySet::empty(scope.py())?.into_any()));
        nursery.exceptions.set(Obj::from(PyList::empty(scope.py()).into_any()));
        nursery.scope.set(Obj::from(scope.into_any()));
        nursery.parent.set(Obj::from(parent));
        nursery.loop_.set(Obj::from(r#loop));
        if let Some(core) = LoopCore::of(nursery.loop_.get()).filter(|core| core.hooks.is_attached()) {
            if task::is_ours(nursery.parent.get()) {
                // SAFETY: just checked.
                let host = unsafe { task::state(nursery.parent.get()) };
                crate::recording::scope_opened(core, host, nursery.scope.get() as u64, true);
            }
        }
        Ok(nursery)
    }

    /// The scope around the block and all its tasks.
    #[getter]
    fn cancel_scope(&self, py: Python<'_>) -> Py<PyAny> {
        to_python(py, &self.scope.obj_or_none())
    }

    /// The tasks that still run.
    #[getter]
    fn child_tasks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyFrozenSet>> {
        self.make_noted()?;
        let children = self.children.obj_or_none();
        let children: Vec<Bound<'py, PyAny>> = children.bound(py).try_iter()?.collect::<PyResult<_>>()?;
        PyFrozenSet::new(py, children)
    }

    /// The task that opened the nursery.
    #[getter]
    fn parent_task(&self, py: Python<'_>) -> Py<PyAny> {
        to_python(py, &self.parent.obj_or_none())
    }

    /// The block was entered (True) or is left: the parent task's list of nurseries.
    fn _listed(slf: &Bound<'_, Self>, open: bool) -> PyResult<()> {
        let parent = slf.get().parent.obj_or_none();
        if !task::is_ours(parent.as_ptr()) {
            return Ok(());
        }
        // SAFETY: just checked.
        let nurseries = &unsafe { task::state(parent.as_ptr()) }.nurseries;
        if !nurseries.is_set() {
            nurseries.set(Obj::from(PyList::empty(slf.py()).into_any()));
        }
        let list = nurseries.obj_or_none();
        let list = list.bound(slf.py());
        let list = list.cast::<PyList>()?;
        match (open, list.index(slf)) {
            (true, _) => list.append(slf),
            (false, Ok(index)) => list.del_item(index),
            (false, Err(_)) => Ok(()),
        }
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.closed.get()
    }

    /// Wait until the body and all tasks have ended.
    fn _all_ended(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Ok(to_python(slf.py(), &wait::new(&ALL_ENDED, slf.as_ptr(), None)?))
    }

    /// Something that a child or the block itself raised; the others are cancelled for it.
    fn _add(&self, exc: Bound<'_, PyAny>, task: Bound<'_, PyAny>) -> PyResult<()> {
        Ok(self.add(&Obj::from(exc), task.as_ptr())?)
    }

    /// The list of what was raised; it is the caller's.
    fn _take_exceptions(&self, py: Python<'_>) -> Py<PyAny> {
        to_python(py, &self.exceptions.replace(Some(Obj::from(PyList::empty(py).into_any()))).unwrap_or_else(Obj::none))
    }

    /// What children raise from now on stays with them: whoever asks them gets it, and if nobody does it is logged.
    fn _ignore_failures(&self) {
        self.ignores_failures.set(true);
    }

    /// A child that is cancelled by a plain `Task.cancel()` counts as failed from now on.
    fn _need_all(&self) {
        self.needs_all.set(true);
    }

    /// The task that opened the nursery has ended in it: nobody waits for the children, and no more are taken.
    fn _abandon(&self) {
        self.abandoned.set(true);
        self.ignores_failures.set(true);
        self.closed.set(true);
    }

    #[getter]
    fn _abandoned(&self) -> bool {
        self.abandoned.get()
    }

    fn _body_ended(&self) -> PyResult<()> {
        self.body_runs.set(false);
        Ok(self.close_if_done()?)
    }

    /// A call of `start()` begins (1) or is over (-1).
    fn _starting(&self, change: i32) -> PyResult<()> {
        self.starting.set(self.starting.get().saturating_add_signed(change));
        Ok(self.close_if_done()?)
    }

    /// Starts a coroutine that was made of `function` (None: the task is called by its number); returns the task.
    #[pyo3(signature = (function, coro, name, /))]
    fn _spawn(
        slf: &Bound<'_, Self>,
        function: Bound<'_, PyAny>,
        coro: Bound<'_, PyAny>,
        name: Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let function = if function.is_none() { std::ptr::null_mut() } else { function.as_ptr() };
        let (coro, name, context) = (Obj::from(coro), name.as_ptr(), std::ptr::null_mut());
        let child = Child { function, coro, name, context, first_step: FirstStep::Soon };
        let task = slf.get().spawn(slf.as_ptr(), slf.get().core()?, child)?;
        Ok(to_python(slf.py(), &task))
    }

    /// Gives all children, and the scopes they have opened, to another nursery.
    fn _hand_over_to(&self, other: &Bound<'_, NurseryCore>) -> PyResult<()> {
        let py = other.py();
        self.make_noted()?;
        // SAFETY: set by `new`.
        let (from, to) = unsafe { (of::<CancelScope>(self.scope.get()), &other.get().scope) };
        from.move_contents(&to.obj_or_none())?;
        let children = self.children.obj_or_none();
        for child in children.bound(py).try_iter()?.collect::<PyResult<Vec<_>>>()? {
            // SAFETY: children are tasks of ours; two sets.
            unsafe {
                let s = task::state(child.as_ptr());
                s.nursery.set(Obj::borrowed(other.as_ptr()));
                s.eventual_nursery.clear();
                set_change(ffi::PySet_Add(other.get().children.get(), child.as_ptr()))?;
            }
        }
        // SAFETY: a set.
        unsafe { ffi::PySet_Clear(self.children.get()) };
        Ok(self.close_if_done()?)
    }

    fn _check_open(&self) -> PyResult<()> {
        match self.closed.get() {
            true => Err(PyRuntimeError::new_err("Nursery is closed to new arrivals")),
            false => Ok(()),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for slot in [&self.scope, &self.parent, &self.loop_, &self.children, &self.exceptions, &self.waiting] {
            visit_raw(&visit, slot.get())?;
        }
        Ok(())
    }

    /// The set of children stays, so that every method finds one.
    fn __clear__(&self) {
        self.waiting.clear();
        self.parent.clear();
        // SAFETY: a set.
        unsafe { ffi::PySet_Clear(self.children.get()) };
        // SAFETY: a list, which stays for the same reason.
        let cleared = unsafe { ffi::PyList_SetSlice(self.exceptions.get(), 0, isize::MAX, std::ptr::null_mut()) };
        debug_assert_eq!(cleared, 0);
    }
}

pub fn add_methods(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let class: *mut ffi::PyTypeObject = m.getattr("NurseryCore")?.into_ptr().cast();
    let doc = c"start_soon($self, async_fn, /, *args, name=None)\n--\n\nStart `async_fn(*args)` as a task of this nursery. It runs at least up to its first suspension.\n\nRaises RuntimeError if the nursery is closed, TypeError if `async_fn(*args)` is no coroutine.";
    Ok(add_method(class, fast(c"start_soon", m_start_soon, doc))?)
}
