//! `segue.Event`: something that happens once, and everybody who waits for it goes on.
//!
//! https://trio.readthedocs.io/en/stable/reference-core.html#trio.Event

use std::cell::Cell;

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::wait::{self, Checkpoint, Operation, Wait};
use super::waiters::{wait_of, Waiters};
use super::{of, statistics, to_python};
use crate::raw::{Obj, R};
use crate::recording;

/// Something that happens once; it cannot be undone. Waiting for what has happened is a checkpoint only.
#[pyclass(frozen, module = "segue", weakref)]
#[derive(Default)]
pub struct Event {
    happened: Cell<bool>,
    waiters: Waiters,
}

// SAFETY: touched with the GIL held only (`gil_used = true`).
unsafe impl Sync for Event {}
// SAFETY: as above.
unsafe impl Send for Event {}

static WAIT: Operation =
    Operation { name: "Event.wait", checkpoint: Checkpoint::Full, attempt, leave, abort: None, undo: |_, _| Ok(()) };

fn owner(wait: &Wait) -> &Event {
    // SAFETY: made by `Event::wait`; the wait keeps its owner alive.
    unsafe { of(wait.owner.get()) }
}

fn attempt(wait: &Wait) -> R<Option<Obj>> {
    let event = owner(wait);
    if event.happened.get() {
        return Ok(Some(Obj::none()));
    }
    event.waiters.push(wait);
    Ok(None)
}

fn leave(wait: &Wait) {
    owner(wait).waiters.remove(wait);
}

#[pymethods]
impl Event {
    #[new]
    fn new() -> Self {
        Event::default()
    }

    /// Whether it has happened.
    fn is_set(&self) -> bool {
        self.happened.get()
    }

    /// Let it happen: everybody who waits is woken.
    fn set(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        recording::tell_signal(slf.as_ptr());
        this.happened.set(true);
        for wait in this.waiters.take_all() {
            wait_of(&wait).wake(Obj::none())?;
        }
        Ok(())
    }

    /// Wait until it happens. A checkpoint if it has happened already. Cancel-safe.
    fn wait(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Ok(to_python(slf.py(), &wait::new(&WAIT, slf.as_ptr(), None)?))
    }

    /// Nearly always a mistake: an event is an object like any other.
    fn __bool__(&self) -> PyResult<bool> {
        Err(PyNotImplementedError::new_err("an Event has no truth value; did you mean event.is_set()?"))
    }

    /// An object with `tasks_waiting`.
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        statistics(py, "EventStatistics", &[Obj::int(self.waiters.len() as i64)?.as_ptr()])
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.waiters.traverse(&visit)
    }

    fn __clear__(&self) {
        self.waiters.clear();
    }
}
