//! `segue.lowlevel.wait_task_rescheduled`: a wait whose end is somebody else's whole business.
//!
//! https://trio.readthedocs.io/en/stable/reference-lowlevel.html#trio.lowlevel.wait_task_rescheduled

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::wait::{self, Checkpoint, Operation, Wait};
use super::{checkpoints, parking_lot, to_python};
use crate::raw::globals::{attr, import, repr};
use crate::raw::obj::{call, getattr_opt, is_true, runtime_error, take_raised};
use crate::raw::{task, Obj, R};

/// The payload is the abort function.
static RESCHEDULED: Operation = Operation {
    name: "wait_task_rescheduled",
    checkpoint: Checkpoint::No,
    attempt: |_| Ok(None),
    leave: |_| (),
    abort: Some(abort),
    undo: |_, _| Ok(()),
};

/// Asks the abort function whether the wait may end with a cancellation.
fn abort(wait: &Wait) -> R<bool> {
    let ask = attr(&import("segue._lowlevel")?, "_ask_to_abort")?;
    let (function, task) = (wait.payload.obj_or_none(), wait.task_obj());
    is_true(call(ask.as_ptr(), &[function.as_ptr(), task.as_ptr()])?.as_ptr())
}

/// Put the current task to sleep until somebody calls `reschedule` with it.
///
/// If it is cancelled meanwhile, `abort_func(raise_cancel)` is called, once: it returns `Abort.SUCCEEDED` if nobody is going to
/// reschedule the task, which then raises Cancelled, or `Abort.FAILED` if somebody will, for which the task goes on waiting.
#[pyfunction]
fn wait_task_rescheduled(py: Python<'_>, abort_func: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    Ok(to_python(py, &wait::new(&RESCHEDULED, std::ptr::null_mut(), Some(Obj::from(abort_func)))?))
}

/// Let a task that waits here go on with `next_send`: an `outcome.Value` or `outcome.Error`, None by default.
///
/// RuntimeError if the task doesn't wait in `wait_task_rescheduled` or a parking lot.
#[pyfunction]
#[pyo3(signature = (task, next_send = None))]
fn reschedule(task: &Bound<'_, PyAny>, next_send: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    if !task::is_ours(task.as_ptr()) {
        return Err(PyTypeError::new_err(format!("reschedule() needs a segue.Task, not {}", repr(task.as_ptr()))));
    }
    // SAFETY: just checked.
    let waiter = unsafe { task::state(task.as_ptr()) }.fut_waiter.obj();
    let waiter = waiter.filter(|w| wait::is_wait(w.as_ptr()));
    // SAFETY: just checked.
    let waiting = waiter.as_ref().map(|w| unsafe { wait::state(w.as_ptr()) }).filter(|w| w.is_queued());
    if let Some(sleeping) = waiting.filter(|w| w.is_a(&checkpoints::FOREVER)) {
        let _ = runtime_error("should never have been rescheduled!");
        return Ok(take_raised().map_or(Ok(()), |exc| sleeping.fail(exc))?);
    }
    let Some(waiting) = waiting.filter(|w| w.is_a(&RESCHEDULED) || w.is_a(&parking_lot::PARK)) else {
        return Err(PyRuntimeError::new_err(format!("{} does not wait to be rescheduled", repr(task.as_ptr()))));
    };
    if waiting.is_a(&parking_lot::PARK) {
        parking_lot::leave(waiting);
    }
    let Some(outcome) = next_send else { return Ok(waiting.wake(Obj::none())?) };
    let py = task.py();
    match getattr_opt(outcome.as_ptr(), pyo3::intern!(py, "error").as_ptr())? {
        Some(error) => Ok(waiting.fail(error)?),
        None => Ok(waiting.wake(Obj::from(outcome.getattr(pyo3::intern!(py, "value"))?))?),
    }
}

/// The CancelledError that the scopes around a task throw into it now. For `raise_cancel`.
#[pyfunction]
fn _cancelled_error_for(task: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let py = task.py();
    Ok(to_python(py, &crate::scope::cancelled_error_for(&Obj::from(task))?))
}

/// `Task.cancel()` for a request that an await of the task has held back until now: `exc` is what it had raised there.
#[pyfunction]
fn _cancel_again(task: Bound<'_, PyAny>, exc: Bound<'_, PyAny>) -> PyResult<()> {
    let py = task.py();
    if !task::is_ours(task.as_ptr()) {
        return Err(PyTypeError::new_err("only a segue.Task can be cancelled again"));
    }
    task.call_method0(pyo3::intern!(py, "uncancel"))?;
    let args = exc.getattr(pyo3::intern!(py, "args"))?.cast_into::<PyTuple>()?;
    task.call_method1(pyo3::intern!(py, "cancel"), args)?;
    Ok(crate::scope::same_request(&Obj::from(task), &Obj::from(exc))?)
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(wait_task_rescheduled, m)?)?;
    m.add_function(wrap_pyfunction!(_cancelled_error_for, m)?)?;
    m.add_function(wrap_pyfunction!(_cancel_again, m)?)?;
    m.add_function(wrap_pyfunction!(reschedule, m)?)
}
