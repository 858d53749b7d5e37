//! `segue.CapacityLimiter`: a sack of tokens, of which every borrower can have one.
//!
//! https://trio.readthedocs.io/en/stable/reference-core.html#trio.CapacityLimiter

use std::cell::Cell;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PySet};
use pyo3::{PyTraverseError, PyVisit};

use super::wait::{self, Checkpoint, Operation, Wait};
use super::waiters::{wait_of, Waiters};
use super::{current_task, errors, leave_now, of, raise, statistics, to_python, Exit};
use crate::job::visit_raw;
use crate::raw::obj::{runtime_error, Raised};
use crate::raw::{Obj, Slot, R};
use crate::recording;

/// A sack of tokens: every borrower (by default the task) can have one, and waits while there is none.
///
/// `total_tokens` (an int or infinity) can be changed at any time. `async with limiter:` acquires and releases.
#[pyclass(frozen, module = "segue", weakref)]
pub struct CapacityLimiter {
    /// Infinity, or a whole number.
    total: Cell<f64>,
    /// The set of borrowers.
    borrowers: Slot,
    waiters: Waiters,
}

// SAFETY: touched with the GIL held only (`gil_used = true`).
unsafe impl Sync for CapacityLimiter {}
// SAFETY: as above.
unsafe impl Send for CapacityLimiter {}

static ACQUIRE: Operation =
    Operation { name: "CapacityLimiter.acquire", checkpoint: Checkpoint::Full, attempt, leave, abort: None, undo };

fn owner(wait: &Wait) -> &CapacityLimiter {
    // SAFETY: made by `acquire_for`; the wait keeps its owner alive.
    unsafe { of(wait.owner.get()) }
}

/// Whom the token is for: the payload, or else the task.
fn borrower(wait: &Wait) -> Obj {
    wait.payload.obj().unwrap_or_else(|| wait.task_obj())
}

fn attempt(wait: &Wait) -> R<Option<Obj>> {
    let limiter = owner(wait);
    if limiter.try_acquire(&borrower(wait))? {
        recording::tell_task_holds(borrower(wait).as_ptr(), wait.owner.get(), NAME);
        return Ok(Some(Obj::none()));
    }
    limiter.waiters.push(wait);
    Ok(None)
}

fn leave(wait: &Wait) {
    owner(wait).waiters.remove(wait);
}

fn undo(wait: &Wait, _: Obj) -> R<()> {
    let limiter = owner(wait);
    if limiter.give_back(&borrower(wait))? {
        recording::tell_task_releases(borrower(wait).as_ptr(), wait.owner.get());
        limiter.wake_waiters()?;
    }
    Ok(())
}

/// As recordings name it.
const NAME: &str = "CapacityLimiter";
const TWICE: &str = "this borrower is already holding one of this CapacityLimiter's tokens";

impl CapacityLimiter {
    fn borrowed(&self) -> usize {
        // SAFETY: a set, emptied by the collector only.
        unsafe { ffi::PySet_Size(self.borrowers.get()).max(0) as usize }
    }

    fn has(&self, borrower: &Obj) -> R<bool> {
        // SAFETY: a set; the borrower is alive. Hashing and comparing may run Python.
        match unsafe { ffi::PySet_Contains(self.borrowers.get(), borrower.as_ptr()) } {
            -1 => Err(Raised),
            n => Ok(n == 1),
        }
    }

    fn is_available(&self) -> bool {
        (self.borrowed() as f64) < self.total.get()
    }

    fn add(&self, borrower: &Obj) -> R<()> {
        // SAFETY: as above.
        match unsafe { ffi::PySet_Add(self.borrowers.get(), borrower.as_ptr()) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    fn try_acquire(&self, borrower: &Obj) -> R<bool> {
        if self.has(borrower)? {
            return Err(runtime_error(TWICE));
        }
        if !self.is_available() || !self.waiters.is_empty() {
            return Ok(false);
        }
        self.add(borrower)?;
        Ok(true)
    }

    fn give_back(&self, borrower: &Obj) -> R<bool> {
        // SAFETY: as above.
        match unsafe { ffi::PySet_Discard(self.borrowers.get(), borrower.as_ptr()) } {
            -1 => Err(Raised),
            n => Ok(n == 1),
        }
    }

    fn wake_waiters(&self) -> R<()> {
        while self.is_available() {
            let Some(next) = self.waiters.pop() else { break };
            let next = wait_of(&next);
            let borrower = borrower(next);
            if self.has(&borrower)? {
                let _ = runtime_error(TWICE);
                if let Some(exc) = crate::raw::obj::take_raised() {
                    next.fail(exc)?;
                }
                continue;
            }
            self.add(&borrower)?;
            recording::tell_task_holds(borrower.as_ptr(), next.owner.get(), NAME);
            next.wake(Obj::none())?;
        }
        Ok(())
    }

    fn acquire_for(slf: &Bound<'_, Self>, borrower: Option<Obj>) -> PyResult<Py<PyAny>> {
        Ok(to_python(slf.py(), &wait::new(&ACQUIRE, slf.as_ptr(), borrower)?))
    }

    fn release_for(slf: &Bound<'_, Self>, borrower: &Obj) -> PyResult<()> {
        let this = slf.get();
        if !this.give_back(borrower)? {
            return Err(runtime_error("this borrower isn't holding any of this CapacityLimiter's tokens").into());
        }
        recording::tell_task_releases(borrower.as_ptr(), slf.as_ptr());
        Ok(this.wake_waiters()?)
    }

    fn number(py: Python<'_>, n: f64) -> PyResult<Py<PyAny>> {
        match n.is_infinite() {
            true => Ok(n.into_pyobject(py)?.into_any().unbind()),
            false => Ok((n as i64).into_pyobject(py)?.into_any().unbind()),
        }
    }
}

fn checked_total(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let total = value.extract::<f64>().ok();
    let total = total.filter(|t| value.is_instance_of::<PyInt>() || *t == f64::INFINITY);
    match total {
        None => Err(PyTypeError::new_err("total_tokens must be an int or math.inf")),
        Some(total) if total < 0.0 => Err(PyValueError::new_err("total_tokens must be >= 0")),
        Some(total) => Ok(total),
    }
}

#[pymethods]
impl CapacityLimiter {
    #[new]
    fn new(py: Python<'_>, total_tokens: &Bound<'_, PyAny>) -> PyResult<Self> {
        let borrowers = Slot::default();
        borrowers.set(Obj::from(PySet::empty(py)?.into_any()));
        Ok(CapacityLimiter { total: Cell::new(checked_total(total_tokens)?), borrowers, waiters: Waiters::default() })
    }

    /// How many tokens there are. Making it larger wakes tasks that wait; making it smaller takes none back.
    #[getter]
    fn get_total_tokens(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Self::number(py, self.total.get())
    }

    #[setter]
    fn set_total_tokens(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.total.set(checked_total(value)?);
        Ok(self.wake_waiters()?)
    }

    /// How many tokens are borrowed.
    #[getter]
    fn borrowed_tokens(&self) -> usize {
        self.borrowed()
    }

    /// How many tokens are left; below zero if `total_tokens` was made smaller than what is borrowed.
    #[getter]
    fn available_tokens(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Self::number(py, self.total.get() - self.borrowed() as f64)
    }

    /// Take a token if that needs no waiting; else WouldBlock. RuntimeError if the task has one.
    fn acquire_nowait(slf: &Bound<'_, Self>) -> PyResult<()> {
        let task = current_task("CapacityLimiter.acquire_nowait()")?;
        Self::acquire_on_behalf_of_nowait(slf, task.bound(slf.py()))
    }

    /// The same for another borrower: any object that can be hashed.
    fn acquire_on_behalf_of_nowait(slf: &Bound<'_, Self>, borrower: Bound<'_, PyAny>) -> PyResult<()> {
        let borrower = Obj::from(borrower);
        match slf.get().try_acquire(&borrower)? {
            true => {
                recording::tell_task_holds(borrower.as_ptr(), slf.as_ptr(), NAME);
                Ok(())
            }
            false => Err(raise(&errors()?.would_block, None).into()),
        }
    }

    /// Take a token, waiting while there is none. A checkpoint. Cancel-safe. RuntimeError if the task has one.
    fn acquire(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::acquire_for(slf, None)
    }

    /// The same for another borrower: any object that can be hashed.
    fn acquire_on_behalf_of(slf: &Bound<'_, Self>, borrower: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Self::acquire_for(slf, Some(Obj::from(borrower)))
    }

    /// Put the task's token back. RuntimeError if it has none.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::release_for(slf, &current_task("CapacityLimiter.release()")?)
    }

    /// The same for another borrower.
    fn release_on_behalf_of(slf: &Bound<'_, Self>, borrower: Bound<'_, PyAny>) -> PyResult<()> {
        Self::release_for(slf, &Obj::from(borrower))
    }

    /// An object with `borrowed_tokens`, `total_tokens`, `borrowers` and `tasks_waiting`.
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let borrowers = self.borrowers.obj_or_none();
        // SAFETY: a set.
        let list = unsafe { Obj::owned(ffi::PySequence_List(borrowers.as_ptr()))? };
        let total = Self::number(py, self.total.get())?;
        let (borrowed, waiting) = (Obj::int(self.borrowed() as i64)?, Obj::int(self.waiters.len() as i64)?);
        let values = [borrowed.as_ptr(), total.as_ptr(), list.as_ptr(), waiting.as_ptr()];
        statistics(py, "CapacityLimiterStatistics", &values)
    }

    /// Who waits, and for whom. For tests.
    #[getter]
    fn _pending_borrowers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let pending = PyDict::new(py);
        for wait in self.waiters.all() {
            let wait = wait_of(&wait);
            pending.set_item(wait.task_obj().bound(py), borrower(wait).bound(py))?;
        }
        Ok(pending)
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::acquire_for(slf, None)
    }

    fn __aexit__(slf: &Bound<'_, Self>, _kind: Exit<'_>, _exc: Exit<'_>, _tb: Exit<'_>) -> PyResult<Py<PyAny>> {
        Self::release(slf)?;
        leave_now(slf.py())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let this = slf.get();
        let total = Self::number(slf.py(), this.total.get())?;
        let (at, borrowed, waiting) = (slf.as_ptr() as usize, this.borrowed(), this.waiters.len());
        Ok(format!("<segue.CapacityLimiter at {at:#x}, {borrowed}/{total} with {waiting} waiting>"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit_raw(&visit, self.borrowers.get())?;
        self.waiters.traverse(&visit)
    }

    fn __clear__(&self) {
        self.waiters.clear();
        // SAFETY: a set; it stays, so that every method finds one.
        unsafe { ffi::PySet_Clear(self.borrowers.get()) };
    }
}
