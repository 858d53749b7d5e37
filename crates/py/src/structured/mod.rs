//! What tasks wait for in Trio's style: locks, events, channels, parking lots; and the tasks of a nursery.
//!
//! | file | |
//! |---|---|
//! | [`wait`] | the awaitable behind every operation here |
//! | [`waiters`] | the queue that waits stand in |
//! | [`checkpoints`] | the awaits that wait for nothing |
//! | [`parking_lot`] | `ParkingLot`, and tasks that break lots when they end |
//! | [`event`], [`lock`], [`semaphore`], [`limiter`], [`channel`] | one kind of object each |
//! | [`reschedule`] | a wait that Python code ends |
//! | [`nursery`] | starting a nursery's tasks, and noticing their end |
//! | [`start`] | tasks that are started and haven't begun |
//!
//! Semantics: Trio's, https://trio.readthedocs.io/en/stable/reference-core.html#synchronizing-and-communicating-between-tasks.
//! Cancelling is decided elsewhere (`scope.rs`); here it only takes a wait out of its queue.

pub mod channel;
pub mod checkpoints;
pub mod event;
pub mod limiter;
pub mod lock;
pub mod nursery;
pub mod parking_lot;
pub mod reschedule;
pub mod semaphore;
pub mod start;
pub mod wait;
pub mod waiters;

use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::sync::PyOnceLock;
use pyo3::PyClass;

use crate::raw::globals::{attr, import};
use crate::raw::obj::call;
use crate::raw::{Obj, Raised, R};

pub use crate::cancel_scope::current;

/// The Rust side of an object of the class `T`.
///
/// # Safety
/// `o` is an instance of `T` that outlives the reference.
pub unsafe fn of<'a, T: PyClass<Frozen = True> + Sync>(o: *mut PyObject) -> &'a T {
    // SAFETY: attached; the caller's promise.
    unsafe {
        let py = Python::assume_attached();
        let o: &'a T = &*std::ptr::from_ref(Bound::from_borrowed_ptr(py, o).cast_unchecked::<T>().get());
        o
    }
}

/// The exceptions that are raised here, defined in Python.
pub struct Errors {
    pub would_block: Obj,
    pub closed: Obj,
    pub broken: Obj,
    pub end_of_channel: Obj,
}

// SAFETY: classes, which live as long as the process; touched with the GIL held.
unsafe impl Sync for Errors {}
// SAFETY: as above.
unsafe impl Send for Errors {}

pub fn errors() -> R<&'static Errors> {
    static ERRORS: PyOnceLock<Errors> = PyOnceLock::new();
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    ERRORS.get_or_try_init(py, || {
        let module = import("segue._errors")?;
        Ok(Errors {
            would_block: attr(&module, "WouldBlock")?,
            closed: attr(&module, "ClosedResourceError")?,
            broken: attr(&module, "BrokenResourceError")?,
            end_of_channel: attr(&module, "EndOfChannel")?,
        })
    })
}

/// Raises an exception class, with a text or without.
pub fn raise(class: &Obj, text: Option<&str>) -> Raised {
    match exception(class, text) {
        Ok(exc) => crate::raw::obj::raise_object(exc),
        Err(raised) => raised,
    }
}

pub fn exception(class: &Obj, text: Option<&str>) -> R<Obj> {
    match text {
        Some(text) => call(class.as_ptr(), &[Obj::str(text)?.as_ptr()]),
        None => call(class.as_ptr(), &[]),
    }
}

/// An object of `segue._statistics`, made of positional values.
pub fn statistics(py: Python<'_>, class: &str, values: &[*mut PyObject]) -> PyResult<Py<PyAny>> {
    let class = attr(&import("segue._statistics")?, class)?;
    Ok(call(class.as_ptr(), values)?.bound(py).clone().unbind())
}

/// The task that runs now.
pub fn current_task(what: &str) -> R<Obj> {
    Ok(current(what)?.1)
}

/// For Python: as an object.
pub fn to_python(py: Python<'_>, o: &Obj) -> Py<PyAny> {
    o.bound(py).clone().unbind()
}

/// `async with x:` leaves without suspending.
pub fn leave_now(py: Python<'_>) -> PyResult<Py<PyAny>> {
    static NOTHING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    // One for all: it has no state.
    Ok(NOTHING.get_or_try_init(py, || wait::nothing().map(|o| to_python(py, &o)))?.clone_ref(py))
}

/// An argument of `__aexit__`, which nobody looks at.
pub type Exit<'a> = &'a Bound<'a, PyAny>;

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    wait::make_type()?;
    // SAFETY: a type that lives as long as the process.
    m.add("Wait", unsafe { Bound::from_borrowed_ptr(m.py(), wait::class().cast()) })?;
    m.add_class::<parking_lot::ParkingLot>()?;
    m.add_class::<event::Event>()?;
    m.add_class::<lock::Lock>()?;
    m.add_class::<semaphore::Semaphore>()?;
    m.add_class::<limiter::CapacityLimiter>()?;
    m.add_class::<channel::MemorySendChannel>()?;
    m.add_class::<channel::MemoryReceiveChannel>()?;
    m.add_class::<nursery::NurseryCore>()?;
    nursery::add_methods(m)?;
    checkpoints::add_to(m)?;
    parking_lot::add_to(m)?;
    reschedule::add_to(m)?;
    m.add_function(wrap_pyfunction!(channel::open_channel, m)?)
}
