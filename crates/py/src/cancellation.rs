//! Why a task was cancelled: what hangs on every CancelledError that Segue throws.
//!
//! The line is worked out only when somebody asks. This file decides nothing about who catches what; `scope.rs` and
//! `cancel_scope.rs` do, by the tag that they find here.

use std::cell::Cell;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use sched::CancelSource;

use crate::job::visit_raw;
use crate::raw::globals::globals;
use crate::raw::obj::is_instance;
use crate::raw::task::Name;
use crate::raw::task_handle::TaskHandle;
use crate::raw::{registry, task, Obj, Raised, Slot, R};
use crate::site::{running_of_segue, Site};

/// What a program's object says of itself. If it can't, that must not get in the way of what is under way.
fn text_of(o: &Bound<'_, PyAny>, text: PyResult<Bound<'_, PyString>>) -> String {
    match text {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => match o.get_type().qualname() {
            Ok(name) => format!("<{name} that can't be shown>"),
            Err(_) => "<what can't be shown>".to_owned(),
        },
    }
}

/// Who cancelled a task, and why: `exc.cancellation` of the CancelledError that it sees.
#[pyclass(frozen, module = "segue")]
pub struct Cancellation {
    pub source: CancelSource,
    reason: Slot,
    asked_by: Option<Asker>,
    site: Option<Site>,
}

// SAFETY: as for LoopCore, everything is touched with the GIL held only (`gil_used = true`).
unsafe impl Sync for Cancellation {}
// SAFETY: as above.
unsafe impl Send for Cancellation {}

/// The task that asked. It isn't kept alive: an exception in flight may be all that is left of it.
#[derive(Clone)]
enum Asker {
    Ours(TaskHandle, Name),
    /// A weak reference.
    Others(Obj),
}

impl Asker {
    fn of(task: &Obj) -> R<Asker> {
        if task::is_ours(task.as_ptr()) {
            // SAFETY: just checked.
            let s = unsafe { task::state(task.as_ptr()) };
            return Ok(Asker::Ours(s.handed.handle(task), task::name_as_given(s)));
        }
        // SAFETY: tasks can be weakly referenced.
        unsafe { Ok(Asker::Others(Obj::owned(ffi::PyWeakref_NewRef(task.as_ptr(), std::ptr::null_mut()))?)) }
    }
}

/// Why a scope is cancelled: noted by whoever cancels it, and an object once somebody has to see it.
#[derive(Default)]
pub struct Cause {
    noted: Cell<Option<Cancellation>>,
    object: Slot,
    is_set: Cell<bool>,
}

pub enum Why {
    Noted(Cancellation),
    Object(Obj),
}

impl From<Cancellation> for Why {
    fn from(noted: Cancellation) -> Self {
        Why::Noted(noted)
    }
}

impl Cause {
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.is_set.get()
    }

    /// Once.
    pub fn set(&self, why: Why) {
        self.is_set.set(true);
        match why {
            Why::Noted(noted) => self.noted.set(Some(noted)),
            Why::Object(object) => self.object.set(object),
        }
    }

    /// The Cancellation, if there is one.
    pub fn object(&self, py: Python<'_>) -> PyResult<Option<Obj>> {
        if let Some(noted) = self.noted.take() {
            self.object.set(noted.into_object(py)?);
        }
        Ok(self.object.obj())
    }

    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let noted = self.noted.take();
        let seen = noted.as_ref().map_or(Ok(()), |noted| noted.visit(visit));
        self.noted.set(noted);
        seen?;
        visit_raw(visit, self.object.get())
    }

    /// Lets go of what was noted; the scope stays cancelled.
    pub fn clear(&self) {
        drop(self.noted.take());
        self.object.clear();
    }
}

impl Cancellation {
    /// `task`: who asked, if a task did.
    pub fn new(source: CancelSource, reason: Option<Obj>, task: Option<&Obj>, site: Option<Site>) -> R<Cancellation> {
        let asked_by = task.map(Asker::of).transpose()?;
        Ok(Cancellation { source, reason: Slot::from(reason), asked_by, site })
    }

    pub fn into_object(self, py: Python<'_>) -> PyResult<Obj> {
        Ok(Obj::from(Bound::new(py, self)?.into_any()))
    }

    /// What `Task.cancel` on a task of `loop_` is, asked for by whatever runs now.
    pub fn requested(py: Python<'_>, loop_: *mut PyObject, message: Option<&Obj>) -> R<Cancellation> {
        let site = Site::here();
        let reason = message.filter(|m| !m.is_none()).cloned();
        let task = registry::current(loop_)?;
        Self::new(requested_by(py, site.as_ref()), reason, task.as_ref(), site)
    }

    /// A scope cancels a task that one of its own awaits: a request to that task, by whoever cancelled the scope.
    pub fn on_behalf_of(py: Python<'_>, cause: &Obj) -> PyResult<Cancellation> {
        let Some(cause) = Self::of(py, cause) else {
            return Ok(Self::new(CancelSource::TaskCancel, None, None, None)?);
        };
        let text = format!("what awaits it was {}", cause.__str__(py)?);
        Ok(cause.for_others(py, CancelSource::TaskCancel, &text))
    }

    pub fn reason_obj(&self) -> Option<Obj> {
        self.reason.obj()
    }

    /// What a failing child, or the failing block, does to its nursery.
    pub fn failure(py: Python<'_>, exc: &Bound<'_, PyAny>, task: &Obj) -> PyResult<Why> {
        if let Some(of_exc) = cancellation(exc)? {
            return Self::passed_on(py, of_exc, task);
        }
        let reason = Obj::str(&format!("{} failed", text_of(exc, exc.repr())))?;
        Ok(Self::new(CancelSource::NurseryFailure, Some(reason), Some(task), Site::of_exception(exc)?)?.into())
    }

    /// A cancellation that has ended `task` goes on to the others: they are told who has asked for it.
    fn passed_on(py: Python<'_>, of_exc: Bound<'_, Cancellation>, task: &Obj) -> PyResult<Why> {
        let first = of_exc.get();
        if first.source.is_scoped() {
            return Ok(Why::Object(Obj::from(of_exc.into_any())));
        }
        let name = if task::is_ours(task.as_ptr()) { task::name(task.as_ptr())? } else { Obj::none() };
        let mut text = format!("task {} was cancelled by {}", name.bound(py).repr()?, first.source.name());
        if let Some(reason) = first.reason_text(py) {
            text += &format!(" ({reason})");
        }
        Ok(first.for_others(py, CancelSource::NurseryFailure, &text).into())
    }

    /// What follows from this one, for other tasks: who asked, and where, is the same.
    fn for_others(&self, py: Python<'_>, source: CancelSource, reason: &str) -> Cancellation {
        Cancellation {
            source,
            reason: Slot::from(Some(Obj::from(PyString::new(py, reason).into_any()))),
            asked_by: self.asked_by.clone(),
            site: self.site.as_ref().map(Site::clone_ref),
        }
    }

    /// Where it was asked for, as "file:line function".
    pub fn place_text(&self, py: Python<'_>) -> Option<String> {
        self.site.as_ref().and_then(|site| site.text(py).ok())
    }

    pub fn reason_text(&self, py: Python<'_>) -> Option<String> {
        self.reason.obj().map(|reason| text_of(&reason.bound(py), reason.bound(py).str()))
    }

    pub fn deadline(task: Option<&Obj>, site: Option<&Site>) -> R<Cancellation> {
        Self::new(CancelSource::Deadline, None, task, site.map(Site::clone_ref))
    }

    fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit_raw(visit, self.reason.get())?;
        match &self.asked_by {
            Some(Asker::Ours(_, Name::Object(name))) => visit_raw(visit, name.as_ptr()),
            _ => Ok(()),
        }
    }

    /// The Cancellation behind a reference of ours.
    pub fn of<'a>(py: Python<'a>, o: &Obj) -> Option<PyRef<'a, Cancellation>> {
        o.bound(py).extract::<PyRef<'a, Cancellation>>().ok()
    }
}

/// asyncio's runner cancels the main task on Ctrl-C and all tasks at its end, by plain `Task.cancel`.
fn requested_by(py: Python<'_>, site: Option<&Site>) -> CancelSource {
    static RUNNER: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();
    let known = RUNNER.get_or_try_init(py, || -> PyResult<_> {
        let runners = py.import("asyncio.runners")?;
        let at_sigint = runners.getattr("Runner")?.getattr("_on_sigint")?.getattr("__code__")?.unbind();
        Ok((at_sigint, runners.getattr("_cancel_all_tasks")?.getattr("__code__")?.unbind()))
    });
    match (known, site) {
        (Ok((at_sigint, _)), Some(s)) if s.is_in(at_sigint) => CancelSource::Signal,
        (Ok((_, at_end)), Some(s)) if s.is_in(at_end) => CancelSource::LoopShutdown,
        // `segue.trio.run` cancels its main task on Ctrl-C.
        _ if running_of_segue(py).is_some_and(|name| name == "_Run.interrupt_main") => CancelSource::Signal,
        _ => CancelSource::TaskCancel,
    }
}

#[pymethods]
impl Cancellation {
    /// "deadline", "scope.cancel", "nursery failure", "Task.cancel", "signal" or "loop shutdown".
    #[getter]
    fn source(&self) -> &'static str {
        self.source.name()
    }

    /// What was given to `cancel()`, or None.
    #[getter]
    fn reason(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.reason.obj().map(|r| r.bound(py).unbind())
    }

    /// The task that asked; None if no task did or it is gone.
    #[getter]
    fn task(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match &self.asked_by {
            Some(Asker::Ours(handle, _)) => Ok(handle.task().map(|task| task.bound(py).unbind())),
            Some(Asker::Others(weak)) => Ok(Some(weak.bound(py).call0()?.unbind()).filter(|t| !t.is_none(py))),
            None => Ok(None),
        }
    }

    /// The name that the asking task had.
    #[getter]
    fn task_name(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match &self.asked_by {
            Some(Asker::Ours(_, name)) => Ok(name.object()?.map(|name| name.bound(py).unbind())),
            _ => Ok(None),
        }
    }

    /// The file of the code that asked: of the call, of a failing child's exception, or where a scope whose deadline
    /// passed was entered.
    #[getter]
    fn filename(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.site.as_ref().map(|s| s.file(py)).transpose()
    }

    /// The line in that file.
    #[getter]
    fn lineno(&self) -> Option<i32> {
        self.site.as_ref().map(Site::line)
    }

    /// Whether a cancel scope is behind it, in contrast to a request to the task itself.
    #[getter]
    fn scoped(&self) -> bool {
        self.source.is_scoped()
    }

    fn __str__(&self, py: Python<'_>) -> PyResult<String> {
        let mut text = format!("cancelled by {}", self.source.name());
        if let Some(reason) = self.reason_text(py) {
            text += &format!(" ({reason})");
        }
        if let Some(name) = self.task_name(py).unwrap_or_else(|e| {
            e.write_unraisable(py, None);
            None
        }) {
            text += &format!(", task {}", text_of(name.bind(py), name.bind(py).repr()));
        }
        if let Some(site) = &self.site {
            text += &format!(", {}", site.text(py)?);
        }
        Ok(text)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<Cancellation: {}>", self.__str__(py)?))
    }

    /// Travels to another process as its text.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        Ok((py.get_type::<PyString>().into_any(), PyTuple::new(py, [self.__str__(py)?])?))
    }

    /// A reason is any object, also one that leads back here.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.visit(&visit)
    }

    fn __clear__(&self) {
        self.reason.clear();
    }
}

fn tag_name(_: Python<'_>) -> *mut PyObject {
    globals().names.tag
}

pub fn is_cancelled_error(exc: *mut PyObject) -> bool {
    is_instance(exc, globals().cancelled_error)
}

/// What `exc.name = value` does, in the exception's own field.
fn set_own_attribute(exc: &Obj, name: *mut PyObject, value: &Obj) -> R<()> {
    // SAFETY: callers pass exceptions, all of which begin with this structure; its dict is owned, or null until there is one.
    unsafe {
        let dict = &raw mut (*exc.as_ptr().cast::<ffi::PyBaseExceptionObject>()).dict;
        if (*dict).is_null() {
            *dict = Obj::owned(ffi::PyDict_New())?.into_ptr();
        }
        match ffi::PyDict_SetItem(*dict, name, value.as_ptr()) {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }
}

/// What was set so on `exc`, which may be anything.
fn own_attribute(exc: *mut PyObject, name: *mut PyObject) -> R<Option<Obj>> {
    // SAFETY: alive; the field is looked at after the check.
    unsafe {
        if ffi::PyExceptionInstance_Check(exc) == 0 {
            return Ok(None);
        }
        let dict = (*exc.cast::<ffi::PyBaseExceptionObject>()).dict;
        if dict.is_null() {
            return Ok(None);
        }
        let found = ffi::PyDict_GetItemWithError(dict, name);
        if found.is_null() && !ffi::PyErr_Occurred().is_null() {
            return Err(Raised);
        }
        Ok((!found.is_null()).then(|| Obj::borrowed(found)))
    }
}

/// Hangs `info` on an exception. One that a scope throws also shows it as its text.
pub fn tag(py: Python<'_>, exc: &Obj, info: &Obj) -> R<()> {
    set_own_attribute(exc, tag_name(py), info)?;
    if Cancellation::of(py, info).is_some_and(|i| i.source.is_scoped()) {
        show_if_silent(exc, info)?;
    }
    Ok(())
}

/// Makes something an exception's text, if it has none. In its own field: every task of a cancelled scope comes here.
pub fn show_if_silent(exc: &Obj, text: &Obj) -> R<()> {
    // SAFETY: callers pass exceptions, all of which begin with this structure; `args` is an owned tuple, or null while it is made.
    unsafe {
        let args = &raw mut (*exc.as_ptr().cast::<ffi::PyBaseExceptionObject>()).args;
        if !(*args).is_null() && ffi::PyTuple_GET_SIZE(*args) == 0 {
            let shown = Obj::tuple(&[text.as_ptr()])?;
            let old = args.replace(shown.into_ptr());
            drop(Obj::from_nullable(old));
        }
    }
    Ok(())
}

/// The Cancellation that hangs on an exception, if one does.
pub fn info_of(exc: *mut PyObject) -> R<Option<Obj>> {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    Ok(own_attribute(exc, tag_name(py))?.filter(|info| Cancellation::of(py, info).is_some()))
}

/// The source that hangs on an exception, if one does.
pub fn source_of(py: Python<'_>, exc: *mut PyObject) -> R<Option<CancelSource>> {
    let info = own_attribute(exc, tag_name(py))?;
    Ok(info.and_then(|i| Cancellation::of(py, &i).map(|c| c.source)))
}

/// Why this CancelledError was thrown, or None if Segue didn't throw it.
#[pyfunction]
pub fn cancellation<'py>(exc: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Cancellation>>> {
    let info = own_attribute(exc.as_ptr(), tag_name(exc.py()))?;
    Ok(info.and_then(|i| i.bound(exc.py()).cast_into::<Cancellation>().ok()))
}
