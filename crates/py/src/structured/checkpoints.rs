//! The awaits that wait for nothing: they let others run, or a cancellation be raised, or both.
//!
//! https://trio.readthedocs.io/en/stable/reference-lowlevel.html#low-level-blocking-functions

use pyo3::prelude::*;

use super::to_python;
use super::wait::{self, Checkpoint, Operation, Wait};
use crate::raw::{Obj, R};

fn at_once(_: &Wait) -> R<Option<Obj>> {
    Ok(Some(Obj::none()))
}

const fn operation(name: &'static str, checkpoint: Checkpoint) -> Operation {
    Operation { name, checkpoint, attempt: at_once, leave: |_| (), abort: None, undo: |_, _| Ok(()) }
}

/// Suspends once as a task that isn't in any queue: scopes throw when its turn comes.
static CHECKPOINT: Operation = operation("checkpoint", Checkpoint::Plain);
static SHIELDED: Operation = operation("cancel_shielded_checkpoint", Checkpoint::Shielded);
static IF_CANCELLED: Operation = operation("checkpoint_if_cancelled", Checkpoint::IfCancelled);

/// Waits for nothing but a cancellation.
pub static FOREVER: Operation = Operation {
    name: "sleep_forever",
    checkpoint: Checkpoint::No,
    attempt: |_| Ok(None),
    leave: |_| (),
    abort: None,
    undo: |_, _| Ok(()),
};

fn new(py: Python<'_>, operation: &'static Operation) -> PyResult<Py<PyAny>> {
    Ok(to_python(py, &wait::new(operation, std::ptr::null_mut(), None)?))
}

/// Let other tasks run; raises Cancelled if the task is cancelled.
///
/// https://trio.readthedocs.io/en/stable/reference-lowlevel.html#trio.lowlevel.checkpoint
#[pyfunction]
pub fn checkpoint(py: Python<'_>) -> PyResult<Py<PyAny>> {
    new(py, &CHECKPOINT)
}

/// Let other tasks run, whatever the scopes around say.
#[pyfunction]
pub fn cancel_shielded_checkpoint(py: Python<'_>) -> PyResult<Py<PyAny>> {
    new(py, &SHIELDED)
}

/// Raise Cancelled if the task is cancelled; else do nothing, not even let others run.
#[pyfunction]
pub fn checkpoint_if_cancelled(py: Python<'_>) -> PyResult<Py<PyAny>> {
    new(py, &IF_CANCELLED)
}

/// Wait until cancelled. RuntimeError if somebody wakes the task by `lowlevel.reschedule`.
///
/// https://trio.readthedocs.io/en/stable/reference-core.html#trio.sleep_forever
#[pyfunction]
pub fn sleep_forever(py: Python<'_>) -> PyResult<Py<PyAny>> {
    new(py, &FOREVER)
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(checkpoint, m)?)?;
    m.add_function(wrap_pyfunction!(sleep_forever, m)?)?;
    m.add_function(wrap_pyfunction!(cancel_shielded_checkpoint, m)?)?;
    m.add_function(wrap_pyfunction!(checkpoint_if_cancelled, m)?)
}
