//! `segue.Semaphore`: a number that tasks take from and give to, and that never falls below zero.
//!
//! https://trio.readthedocs.io/en/stable/reference-core.html#trio.Semaphore

use std::cell::Cell;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyInt;
use pyo3::{PyTraverseError, PyVisit};

use super::wait::{self, Checkpoint, Operation, Wait};
use super::waiters::{wait_of, Waiters};
use super::{errors, leave_now, of, raise, statistics, to_python, Exit};
use crate::raw::{Obj, R};
use crate::recording;

/// A number that `acquire` takes one from and `release` gives one to; `acquire` waits while it is zero.
///
/// With `max_value`, releasing beyond it is a ValueError. `async with semaphore:` acquires and releases.
#[pyclass(frozen, module = "segue", weakref)]
pub struct Semaphore {
    value: Cell<i64>,
    max: Option<i64>,
    /// Invariant: empty unless `value` is 0.
    waiters: Waiters,
}

// SAFETY: touched with the GIL held only (`gil_used = true`).
unsafe impl Sync for Semaphore {}
// SAFETY: as above.
unsafe impl Send for Semaphore {}

static ACQUIRE: Operation =
    Operation { name: "Semaphore.acquire", checkpoint: Checkpoint::Full, attempt, leave, abort: None, undo };

fn owner(wait: &Wait) -> &Semaphore {
    // SAFETY: made by `Semaphore::acquire`; the wait keeps its owner alive.
    unsafe { of(wait.owner.get()) }
}

fn attempt(wait: &Wait) -> R<Option<Obj>> {
    let semaphore = owner(wait);
    if semaphore.take_one() {
        tell_taken(wait);
        return Ok(Some(Obj::none()));
    }
    semaphore.waiters.push(wait);
    Ok(None)
}

fn leave(wait: &Wait) {
    owner(wait).waiters.remove(wait);
}

fn undo(wait: &Wait, _: Obj) -> R<()> {
    recording::tell_task_releases(wait.task.get(), wait.owner.get());
    owner(wait).give_one()
}

fn tell_taken(wait: &Wait) {
    recording::tell_task_holds(wait.task.get(), wait.owner.get(), "Semaphore");
}

impl Semaphore {
    fn take_one(&self) -> bool {
        let value = self.value.get();
        if value > 0 {
            self.value.set(value - 1);
        }
        value > 0
    }

    fn give_one(&self) -> R<()> {
        match self.waiters.pop() {
            Some(next) => {
                tell_taken(wait_of(&next));
                wait_of(&next).wake(Obj::none())
            }
            None => {
                self.value.set(self.value.get() + 1);
                Ok(())
            }
        }
    }
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (initial_value, *, max_value = None))]
    fn new(initial_value: &Bound<'_, PyAny>, max_value: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Ok(initial) = initial_value.cast::<PyInt>() else {
            return Err(PyTypeError::new_err("initial_value must be an int"));
        };
        let initial: i64 = initial.extract()?;
        if initial < 0 {
            return Err(PyValueError::new_err("initial value must be >= 0"));
        }
        let max = match max_value {
            None => None,
            Some(max) => match max.cast::<PyInt>() {
                Ok(max) => Some(max.extract::<i64>()?),
                Err(_) => return Err(PyTypeError::new_err("max_value must be None or an int")),
            },
        };
        if max.is_some_and(|max| max < initial) {
            return Err(PyValueError::new_err("max_values must be >= initial_value"));
        }
        Ok(Semaphore { value: Cell::new(initial), max, waiters: Waiters::default() })
    }

    /// How many more can acquire without waiting.
    #[getter]
    fn value(&self) -> i64 {
        self.value.get()
    }

    /// What `value` may not exceed, or None.
    #[getter]
    fn max_value(&self) -> Option<i64> {
        self.max
    }

    /// Acquire if that needs no waiting; else WouldBlock.
    fn acquire_nowait(slf: &Bound<'_, Self>) -> PyResult<()> {
        match slf.get().take_one() {
            true => {
                recording::tell_running_holds(slf.as_ptr(), "Semaphore");
                Ok(())
            }
            false => Err(raise(&errors()?.would_block, None).into()),
        }
    }

    /// Take one, waiting while there is none. A checkpoint. Cancel-safe: a task that is cancelled has taken none.
    fn acquire(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Ok(to_python(slf.py(), &wait::new(&ACQUIRE, slf.as_ptr(), None)?))
    }

    /// Give one back: to whoever has waited longest, if anybody does. ValueError beyond `max_value`.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.waiters.is_empty() && this.max == Some(this.value.get()) {
            return Err(PyValueError::new_err("semaphore released too many times"));
        }
        recording::tell_running_releases(slf.as_ptr());
        Ok(this.give_one()?)
    }

    /// An object with `tasks_waiting`.
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        statistics(py, "ParkingLotStatistics", &[Obj::int(self.waiters.len() as i64)?.as_ptr()])
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::acquire(slf)
    }

    fn __aexit__(slf: &Bound<'_, Self>, _kind: Exit<'_>, _exc: Exit<'_>, _tb: Exit<'_>) -> PyResult<Py<PyAny>> {
        Self::release(slf)?;
        leave_now(slf.py())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> String {
        let this = slf.get();
        let max = this.max.map(|max| format!(", max_value={max}")).unwrap_or_default();
        format!("<segue.Semaphore({}{max}) at {:#x}>", this.value.get(), slf.as_ptr() as usize)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.waiters.traverse(&visit)
    }

    fn __clear__(&self) {
        self.waiters.clear();
    }
}
