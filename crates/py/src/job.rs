//! What the ready queue holds.

use net::Readiness;
use pyo3::ffi;

use crate::raw::Obj;
use crate::structured::start::Note;

pub enum Job {
    /// A Handle made by `call_soon`.
    Handle(Obj),
    /// A TimerHandle that became due.
    Timer(Obj),
    /// The next step of a task: its first, or the one after a bare yield.
    Step(Obj),
    /// The first step of a nursery's task that may not be made yet.
    Start(Note),
    /// A step that throws.
    Throw { task: Obj, exc: Obj },
    /// What a task awaited is done.
    Wake { task: Obj, future: Obj },
    /// A future's callback.
    Callback { call: Obj, future: Obj, context: Obj },
    /// A cancel scope's deadline has come.
    Deadline(Obj),
    /// A descriptor is ready.
    Io { token: u64, ready: Readiness },
}

impl Job {
    /// The objects inside, for the garbage collector.
    pub fn visit(
        &self,
        f: &mut impl FnMut(&Obj) -> Result<(), pyo3::PyTraverseError>,
    ) -> Result<(), pyo3::PyTraverseError> {
        match self {
            Job::Handle(a) | Job::Timer(a) | Job::Step(a) | Job::Deadline(a) => f(a),
            Job::Start(note) => note.visit(f),
            Job::Throw { task, exc } => f(task).and_then(|()| f(exc)),
            Job::Wake { task, future } => f(task).and_then(|()| f(future)),
            Job::Callback { call, future, context } => f(call).and_then(|()| f(future)).and_then(|()| f(context)),
            Job::Io { .. } => Ok(()),
        }
    }
}

/// Shows pyo3's visitor a reference of ours.
pub fn visit_obj(visit: &pyo3::PyVisit<'_>, o: &Obj) -> Result<(), pyo3::PyTraverseError> {
    // SAFETY: Obj and Py<PyAny> are both transparent over a non-null object pointer; no reference count changes.
    let py: &pyo3::Py<pyo3::PyAny> = unsafe { &*(o as *const Obj).cast() };
    visit.call(py)
}

/// The same for a borrowed pointer, which may be null.
pub fn visit_raw(visit: &pyo3::PyVisit<'_>, p: *mut ffi::PyObject) -> Result<(), pyo3::PyTraverseError> {
    if p.is_null() {
        return Ok(());
    }
    // SAFETY: as above; `p` is not null and alive.
    let py: &pyo3::Py<pyo3::PyAny> = unsafe { &*(&p as *const *mut ffi::PyObject).cast() };
    visit.call(py)
}
