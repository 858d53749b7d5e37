//! `segue.Lock` and `StrictFIFOLock`: one task at a time, first come, first served.
//!
//! https://trio.readthedocs.io/en/stable/reference-core.html#trio.Lock

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::parking_lot::{self, add_breaker, remove_breaker, ParkingLot};
use super::wait::{self, Checkpoint, Operation, Wait};
use super::waiters::wait_of;
use super::{current_task, errors, leave_now, of, raise, statistics, to_python, Exit};
use crate::job::visit_raw;
use crate::raw::obj::runtime_error;
use crate::raw::task;
use crate::raw::{Obj, Slot, R};
use crate::recording;

/// One task at a time may have it; only that task can release it. `async with lock:` acquires and releases.
///
/// If its owner ends without releasing it, everybody who waits for it gets BrokenResourceError.
#[pyclass(frozen, subclass, module = "segue", weakref)]
pub struct Lock {
    /// The ParkingLot of those who wait.
    lot: Slot,
    /// The task that has it.
    owner: Slot,
}

// SAFETY: touched with the GIL held only (`gil_used = true`).
unsafe impl Sync for Lock {}
// SAFETY: as above.
unsafe impl Send for Lock {}

static ACQUIRE: Operation = Operation {
    name: "Lock.acquire",
    checkpoint: Checkpoint::Full,
    attempt,
    leave: parking_lot::leave,
    abort: None,
    undo,
};

/// For who reads a Wait as memory: the operation of those that wait for a lock, and where in a lock its owner is.
pub fn fields(py: Python<'_>) -> PyResult<(usize, usize)> {
    let sample = Bound::new(py, Lock::new(py)?)?;
    let owner = std::ptr::from_ref(&sample.get().owner) as usize;
    Ok((std::ptr::from_ref(&ACQUIRE) as usize, owner - sample.as_ptr() as usize))
}

fn lock_of(wait: &Wait) -> &Lock {
    // SAFETY: made by `Lock::acquire`; the wait keeps its owner alive.
    unsafe { of(wait.owner.get()) }
}

fn attempt(wait: &Wait) -> R<Option<Obj>> {
    let lock = lock_of(wait);
    if lock.try_acquire(&wait.task_obj())? {
        return Ok(Some(Obj::none()));
    }
    parking_lot::queue(wait, &lock.lot.obj_or_none())?;
    Ok(None)
}

fn undo(wait: &Wait, _: Obj) -> R<()> {
    let lock = lock_of(wait);
    if lock.owner.get() == wait.task.get() {
        lock.hand_on()?;
    }
    Ok(())
}

impl Lock {
    fn waiting(&self) -> &ParkingLot {
        // SAFETY: set by `new` and emptied by the collector only.
        unsafe { of(self.lot.get()) }
    }

    /// Whether the task, which isn't the owner, now is.
    fn try_acquire(&self, task: &Obj) -> R<bool> {
        if self.owner.get() == task.as_ptr() {
            return Err(runtime_error("attempt to re-acquire an already held Lock"));
        }
        if self.owner.is_set() || !self.waiting().waiters.is_empty() {
            return Ok(false);
        }
        self.give_to(task.clone());
        Ok(true)
    }

    fn give_to(&self, task: Obj) {
        // SAFETY: only tasks of ours wait and acquire.
        let s = unsafe { task::state(task.as_ptr()) };
        add_breaker(s, self.lot.obj_or_none());
        recording::tell_holds(s, self.lot.get(), "Lock");
        self.owner.set(task);
    }

    /// From its owner to whoever has waited longest.
    fn hand_on(&self) -> R<()> {
        let owner = self.owner.take();
        if let Some(owner) = &owner {
            // SAFETY: as above.
            let s = unsafe { task::state(owner.as_ptr()) };
            remove_breaker(s, self.lot.get());
            recording::tell_releases(s, self.lot.get());
        }
        if let Some(next) = self.waiting().waiters.pop() {
            self.give_to(wait_of(&next).task_obj());
            wait_of(&next).wake(Obj::none())?;
        }
        Ok(())
    }
}

#[pymethods]
impl Lock {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let lot = Obj::from(Bound::new(py, ParkingLot::of_lock())?.into_any());
        let slot = Slot::default();
        slot.set(lot);
        Ok(Lock { lot: slot, owner: Slot::default() })
    }

    /// Whether a task has it.
    fn locked(&self) -> bool {
        self.owner.is_set()
    }

    /// Acquire it if that needs no waiting; else WouldBlock. RuntimeError if the task has it already.
    fn acquire_nowait(&self) -> PyResult<()> {
        match self.try_acquire(&current_task("Lock.acquire_nowait()")?)? {
            true => Ok(()),
            false => Err(raise(&errors()?.would_block, None).into()),
        }
    }

    /// Acquire it, waiting as long as others have it. A checkpoint. Cancel-safe: a task that is cancelled doesn't have it.
    ///
    /// RuntimeError if the task has it already, BrokenResourceError if its owner ended without releasing it.
    fn acquire(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Ok(to_python(slf.py(), &wait::new(&ACQUIRE, slf.as_ptr(), None)?))
    }

    /// Give it to whoever has waited longest. RuntimeError if the task doesn't have it.
    fn release(&self) -> PyResult<()> {
        if self.owner.get() != current_task("Lock.release()")?.as_ptr() {
            return Err(PyRuntimeError::new_err("can't release a Lock you don't own"));
        }
        Ok(self.hand_on()?)
    }

    /// An object with `locked`, `owner` and `tasks_waiting`.
    fn statistics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let waiting = Obj::int(self.waiting().waiters.len() as i64)?;
        let owner = self.owner.obj_or_none();
        statistics(py, "LockStatistics", &[Obj::bool(self.locked()).as_ptr(), owner.as_ptr(), waiting.as_ptr()])
    }

    /// The task that has it, or None.
    #[getter]
    fn _owner(&self, py: Python<'_>) -> Py<PyAny> {
        to_python(py, &self.owner.obj_or_none())
    }

    #[getter]
    fn _lot(&self, py: Python<'_>) -> Py<PyAny> {
        to_python(py, &self.lot.obj_or_none())
    }

    fn __aenter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::acquire(slf)
    }

    fn __aexit__(&self, py: Python<'_>, _kind: Exit<'_>, _exc: Exit<'_>, _tb: Exit<'_>) -> PyResult<Py<PyAny>> {
        self.release()?;
        leave_now(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let this = slf.get();
        let name = slf.get_type().name()?.to_string();
        Ok(match this.locked() {
            true => {
                let n = this.waiting().waiters.len();
                format!("<locked {name} object at {:#x} with {n} waiters>", slf.as_ptr() as usize)
            }
            false => format!("<unlocked {name} object at {:#x}>", slf.as_ptr() as usize),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit_raw(&visit, self.lot.get())?;
        visit_raw(&visit, self.owner.get())
    }

    /// The lot stays: it is what others are queued in, and it breaks its own cycles.
    fn __clear__(&self) {
        self.owner.clear();
    }
}
