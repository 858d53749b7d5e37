//! `segue.lowlevel.ParkingLot`: a fair queue of tasks that wait to be woken, which others build on.
//!
//! A task can be made a *breaker* of lots: when it ends, whoever waits there is told instead of waiting forever. Locks do that
//! with their owners.
//!
//! https://trio.readthedocs.io/en/stable/reference-lowlevel.html#trio.lowlevel.ParkingLot

use std::cell::RefCell;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{PyTraverseError, PyVisit};

use super::wait::{self, Checkpoint, Operation, Wait};
use super::waiters::{wait_of, Waiters};
use super::{current_task, errors, exception, of, raise, statistics, to_python};
use crate::job::visit_obj;
use crate::raw::globals::repr;
use crate::raw::task::{self, TaskState};
use crate::raw::{Obj, R};
use crate::recording;

/// A fair queue of tasks that wait to be woken.
#[pyclass(frozen, module = "segue.lowlevel", weakref)]
#[derive(Default)]
pub struct ParkingLot {
    pub waiters: Waiters,
    broken_by: RefCell<Vec<Obj>>,
    /// A lock's, whose owner breaks it.
    of_lock: bool,
}

// SAFETY: touched with the GIL held only (`gil_used = true`).
unsafe impl Sync for ParkingLot {}
// SAFETY: as above.
unsafe impl Send for ParkingLot {}

pub static PARK: Operation = Operation {
    name: "ParkingLot.park",
    checkpoint: Checkpoint::No,
    attempt: park,
    leave,
    abort: None,
    undo: |_, _| Ok(()),
};

fn park(wait: &Wait) -> R<Option<Obj>> {
    let lot = wait.owner.obj_or_none();
    queue(wait, &lot)?;
    Ok(None)
}

/// Puts a wait into a lot, or raises if the lot is broken.
pub fn queue(wait: &Wait, lot: &Obj) -> R<()> {
    // SAFETY: callers pass a lot.
    let lot_state: &ParkingLot = unsafe { of(lot.as_ptr()) };
    if let Some(text) = lot_state.why_broken() {
        return Err(raise(&errors()?.broken, Some(&text)));
    }
    wait.queue.set(lot.clone());
    lot_state.waiters.push(wait);
    Ok(())
}

/// Takes a wait out of the lot that it stands in.
pub fn leave(wait: &Wait) {
    if let Some(lot) = wait.queue.obj() {
        // SAFETY: `queue` has put a lot there.
        unsafe { of::<ParkingLot>(lot.as_ptr()) }.waiters.remove(wait);
    }
}

impl ParkingLot {
    pub fn of_lock() -> ParkingLot {
        ParkingLot { of_lock: true, ..Default::default() }
    }

    fn why_broken(&self) -> Option<String> {
        let breakers = self.broken_by.borrow();
        let first = breakers.first()?.clone();
        let all: Vec<String> = breakers.iter().map(|t| repr(t.as_ptr())).collect();
        drop(breakers);
        Some(match self.of_lock {
            true => format!("Owner of this lock exited without releasing: {}", repr(first.as_ptr())),
            false => format!("Attempted to park in parking lot broken by [{}]", all.join(", ")),
        })
    }

    /// Everybody who waits fails, and so does everybody who comes.
    fn break_for(&self, task: &Obj) -> R<()> {
        self.broken_by.borrow_mut().push(task.clone());
        if self.broken_by.borrow().len() > 1 {
            return Ok(());
        }
        let name = repr(task.as_ptr());
        let text = match self.of_lock {
            true => format!("Owner of this lock exited without releasing: {name}"),
            false => format!("Parking lot broken by {name}"),
        };
        for wait in self.waiters.take_all() {
            wait_of(&wait).fail(exception(&errors()?.broken, Some(&text))?)?;
        }
        Ok(())
    }

    /// How many of those that wait `count` means.
    fn how_many(&self, count: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
        let Some(count) = count else { return Ok(self.waiters.len().min(1)) };
        if let Ok(n) = count.extract::<i64>() {
            return Ok(self.waiters.len().min(n.max(0) as usize));
        }
        match count.extract::<f64>() {
            Ok(f) if f.is_infinite() => Ok(self.waiters.len()),
            _ => Err(PyValueError::new_err("Cannot pop a non-integer number of tasks.")),
        }
    }
}

#[pymethods]
impl ParkingLot {
    #[new]
    fn new() -> Self {
        ParkingLot::default()
    }

    /// Wait until woken. BrokenResourceError if the lot is or gets broken. Cancel-safe.
    fn park(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Ok(to_python(slf.py(), &wait::new(&PARK, slf.as_ptr(), None)?))
    }

    /// Wake the `count` tasks that have waited longest (a number, or infinity); returns them.
    #[pyo3(signature = (*, count = None))]
    fn unpark<'py>(slf: &Bound<'py, Self>, count: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyList>> {
        let (py, this) = (slf.py(), slf.get());
        recording::tell_signal(slf.as_ptr());
        let n = this.how_many(count.as_ref())?;
        let woken = PyList::empty(py);
        for _ in 0..n {
            let Some(wait) = this.waiters.pop() else { break };
            woken.append(wait_of(&wait).task_obj().bound(py))?;
            wait_of(&wait).wake(Obj::none())?;
        }
        Ok(woken)
    }

    /// Wake all tasks; returns them.
    fn unpark_all<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let (py, this) = (slf.py(), slf.get());
        Self::unpark(slf, Some(this.waiters.len().into_pyobject(py)?.into_any()))
    }

    /// Move the `count` tasks that have waited longest to the end of another lot.
    #[pyo3(signature = (new_lot, *, count = None))]
    fn repark(slf: &Bound<'_, Self>, new_lot: &Bound<'_, PyAny>, count: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let this = slf.get();
        let Ok(target) = new_lot.cast::<ParkingLot>() else {
            return Err(PyTypeError::new_err("new_lot must be a ParkingLot"));
        };
        recording::tell_signal(slf.as_ptr());
        for _ in 0..this.how_many(count.as_ref())? {
            let Some(wait) = this.waiters.pop() else { break };
            wait_of(&wait).queue.set(Obj::from(target.clone().into_any()));
            target.get().waiters.push(wait_of(&wait));
        }
        Ok(())
    }

    /// Move all tasks to the end of another lot.
    fn repark_all(slf: &Bound<'_, Self>, new_lot: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        Self::repark(slf, new_lot, Some(this.waiters.len().into_pyobject(py)?.into_any()))
    }

    /// Let everybody who waits here, now and later, fail with BrokenResourceError; `task` (default: the current one) is named
    /// as the reason.
    #[pyo3(signature = (task = None))]
    fn break_lot(&self, task: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let task = match task {
            Some(task) => Obj::from(task),
            None => current_task("ParkingLot.break_lot()")?,
        };
        Ok(self.break_for(&task)?)
    }

    /// The tasks that broke the lot.
    #[getter]
    fn broken_by<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.broken_by.borrow().iter().map(|t| t.bound(py)))
    }

    /// How many tasks wait: an object with `tasks_waiting`.
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        statistics(py, "ParkingLotStatistics", &[Obj::int(self.waiters.len() as i64)?.as_ptr()])
    }

    fn __len__(&self) -> usize {
        self.waiters.len()
    }

    fn __bool__(&self) -> bool {
        !self.waiters.is_empty()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.waiters.traverse(&visit)?;
        match self.broken_by.try_borrow() {
            Ok(tasks) => tasks.iter().try_for_each(|t| visit_obj(&visit, t)),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        self.waiters.clear();
        drop(self.broken_by.take());
    }
}

// ---- breakers -----------------------------------------------------------------------------------------------------

/// The task is made a breaker of the lot.
pub fn add_breaker(s: &TaskState, lot: Obj) {
    let mut lots = s.breaks.take().unwrap_or_default();
    lots.push(lot);
    s.breaks.set(Some(lots));
}

/// Takes that back; False if it wasn't one.
pub fn remove_breaker(s: &TaskState, lot: *mut PyObject) -> bool {
    let Some(mut lots) = s.breaks.take() else { return false };
    let found = lots.iter().rposition(|l| l.as_ptr() == lot);
    let removed = found.map(|i| lots.remove(i));
    // The list is kept for the next lock of this task.
    s.breaks.set(Some(lots));
    removed.is_some()
}

/// A task has ended: the lots that it was to break.
#[cold]
pub fn task_ended(task: *mut PyObject, s: &TaskState) -> R<()> {
    // SAFETY: alive.
    let task = unsafe { Obj::borrowed(task) };
    for lot in s.breaks.take().into_iter().flat_map(|lots| lots.into_iter()) {
        // SAFETY: only lots are put there.
        unsafe { of::<ParkingLot>(lot.as_ptr()) }.break_for(&task)?;
    }
    Ok(())
}

fn checked<'a>(task: &'a Bound<'_, PyAny>) -> PyResult<&'a TaskState> {
    if !task::is_ours(task.as_ptr()) {
        return Err(PyTypeError::new_err(format!("a segue.Task was expected, got {}", repr(task.as_ptr()))));
    }
    // SAFETY: just checked; the caller holds it.
    Ok(unsafe { task::state(task.as_ptr()) })
}

/// When `task` ends, `lot` is broken by it. BrokenResourceError if the task has ended already.
#[pyfunction]
fn add_parking_lot_breaker(task: &Bound<'_, PyAny>, lot: &Bound<'_, ParkingLot>) -> PyResult<()> {
    let s = checked(task)?;
    if s.future.is_done() {
        return Err(raise(&errors()?.broken, Some("Attempted to add already exited task as lot breaker.")).into());
    }
    add_breaker(s, Obj::from(lot.clone().into_any()));
    Ok(())
}

/// Take `add_parking_lot_breaker` back. RuntimeError if there is nothing to take back.
#[pyfunction]
fn remove_parking_lot_breaker(task: &Bound<'_, PyAny>, lot: &Bound<'_, ParkingLot>) -> PyResult<()> {
    match remove_breaker(checked(task)?, lot.as_ptr()) {
        true => Ok(()),
        false => Err(PyRuntimeError::new_err("Attempted to remove task as breaker for a lot it is not registered for")),
    }
}

/// The lots that a task would break if it ended now. For tests.
#[pyfunction]
fn _lots_broken_by<'py>(task: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    let s = checked(task)?;
    let lots = s.breaks.take();
    let list = PyList::new(task.py(), lots.iter().flat_map(|l| l.iter()).map(|l| l.bound(task.py())));
    s.breaks.set(lots);
    list
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(add_parking_lot_breaker, m)?)?;
    m.add_function(wrap_pyfunction!(remove_parking_lot_breaker, m)?)?;
    m.add_function(wrap_pyfunction!(_lots_broken_by, m)?)
}
