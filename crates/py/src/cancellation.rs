//! Why a task was cancelled: what hangs on every CancelledError that Segue throws.
//!
//! The line is worked out only when somebody asks. This file decides nothing about who catches what; `scope.rs` and
//! `cancel_scope.rs` do, by the tag that they find here.

use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyTuple};
use sched::CancelSource;

use crate::raw::globals::globals;
use crate::raw::obj::{getattr_opt, is_instance, setattr};
use crate::raw::{registry, task, Obj, Slot, R};

/// A place in Python code; costs no more than two reads until it is looked at.
pub struct Site {
    code: Py<PyAny>,
    instruction: i32,
}

impl Site {
    /// Where the running Python code is, Segue's own nurseries and timeouts left out; None outside of any, and if the loop
    /// itself has made the call: what stands around its `run_forever` has nothing to do with it.
    pub fn here(py: Python<'_>) -> Option<Site> {
        // SAFETY: attached; a borrowed frame of the running thread, or null.
        let frame = unsafe { ffi::PyEval_GetFrame() };
        // SAFETY: as above.
        let mut frame = unsafe { Bound::from_borrowed_ptr_or_opt(py, frame.cast()) }?;
        loop {
            let p = frame.as_ptr().cast();
            // SAFETY: a frame that is alive; the code is a new reference.
            let code: Bound<'_, PyAny> = unsafe { Bound::from_owned_ptr(py, ffi::PyFrame_GetCode(p).cast()) };
            if is_own_code(&code) {
                if is_the_loop(&code) {
                    return None;
                }
                // SAFETY: as above; a new reference, or null for the outermost frame.
                let back = unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyFrame_GetBack(p).cast()) };
                if let Some(back) = back {
                    frame = back;
                    continue;
                }
            }
            // SAFETY: as above.
            return Some(Site { code: code.unbind(), instruction: unsafe { ffi::PyFrame_GetLasti(p) } });
        }
    }

    /// Where an exception was raised, as its traceback tells: the innermost line that isn't Segue's own.
    fn of_exception(exc: &Bound<'_, PyAny>) -> PyResult<Option<Site>> {
        let py = exc.py();
        let mut found = None;
        let mut tb = exc.getattr(intern!(py, "__traceback__"))?;
        while !tb.is_none() {
            let code = tb.getattr(intern!(py, "tb_frame"))?.getattr(intern!(py, "f_code"))?;
            if found.is_none() || !is_own_code(&code) {
                let instruction = tb.getattr(intern!(py, "tb_lasti"))?.extract()?;
                found = Some(Site { code: code.unbind(), instruction });
            }
            tb = tb.getattr(intern!(py, "tb_next"))?;
        }
        Ok(found)
    }

    fn file(&self, py: Python<'_>) -> PyResult<String> {
        self.code.bind(py).getattr(intern!(py, "co_filename"))?.extract()
    }

    fn line(&self) -> i32 {
        // SAFETY: a code object; any instruction offset is accepted.
        unsafe { ffi::PyCode_Addr2Line(self.code.as_ptr().cast(), self.instruction) }
    }

    pub fn text(&self, py: Python<'_>) -> PyResult<String> {
        let function: String = self.code.bind(py).getattr(intern!(py, "co_qualname"))?.extract()?;
        Ok(format!("{}:{} {function}", self.file(py)?, self.line()))
    }

    pub fn clone_ref(&self, py: Python<'_>) -> Site {
        Site { code: self.code.clone_ref(py), instruction: self.instruction }
    }
}

/// Codes that were found not to be Segue's own, each in the place that its address gives it: asked for every scope, most by the
/// same few. They are kept alive, so that no other code can have their address.
struct Foreign([Slot; 64]);
// SAFETY: touched with the GIL held only.
unsafe impl Sync for Foreign {}
static FOREIGN: Foreign = Foreign([const { Slot::new() }; 64]);

fn is_own_code(code: &Bound<'_, PyAny>) -> bool {
    let place = &FOREIGN.0[(code.as_ptr() as usize >> 5) % 64];
    if place.get() == code.as_ptr() {
        return false;
    }
    let own = is_own_file(code);
    if !own {
        place.set(Obj::from(code.clone()));
    }
    own
}

fn is_own_file(code: &Bound<'_, PyAny>) -> bool {
    let file = code.getattr(pyo3::intern!(code.py(), "co_filename"));
    let file = file.as_ref().ok().and_then(|f| f.cast::<PyString>().ok()).and_then(|f| f.to_str().ok());
    file.is_some_and(|f| own_folder(code.py()).is_some_and(|folder| f.starts_with(folder)))
}

/// Whether this is the method from which the loop calls everything else.
fn is_the_loop(code: &Bound<'_, PyAny>) -> bool {
    static RUN_FOREVER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = code.py();
    let found = RUN_FOREVER.get_or_try_init(py, || -> PyResult<_> {
        let class = py.import("segue._loop")?.getattr("EventLoop")?;
        Ok(class.getattr("run_forever")?.getattr("__code__")?.unbind())
    });
    found.is_ok_and(|found| code.is(found))
}

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

/// Where Segue's own Python code is, with a slash at the end.
fn own_folder(py: Python<'_>) -> Option<&str> {
    static FOLDER: PyOnceLock<String> = PyOnceLock::new();
    let folder = FOLDER.get_or_try_init(py, || -> PyResult<String> {
        let file: String = py.import("segue")?.getattr("__file__")?.extract()?;
        Ok(file.rsplit_once('/').map_or_else(String::new, |(folder, _)| format!("{folder}/")))
    });
    folder.ok().map(String::as_str).filter(|folder| !folder.is_empty())
}

/// Who cancelled a task, and why: `exc.cancellation` of the CancelledError that it sees.
#[pyclass(frozen, module = "segue")]
pub struct Cancellation {
    pub source: CancelSource,
    reason: Option<Py<PyAny>>,
    /// A weak reference, so that an exception in flight keeps no task alive.
    task: Option<Py<PyAny>>,
    task_name: Option<Py<PyAny>>,
    site: Option<Site>,
}

impl Cancellation {
    /// `task`: who asked, if a task did.
    pub fn make(
        py: Python<'_>,
        source: CancelSource,
        reason: Option<Py<PyAny>>,
        task: Option<&Obj>,
        site: Option<Site>,
    ) -> PyResult<Obj> {
        let mut info = Cancellation { source, reason, task: None, task_name: None, site };
        if let Some(task) = task {
            // SAFETY: tasks can be weakly referenced.
            let weak = unsafe { Obj::owned(ffi::PyWeakref_NewRef(task.as_ptr(), std::ptr::null_mut()))? };
            info.task = Some(weak.bound(py).unbind());
            if task::is_ours(task.as_ptr()) {
                info.task_name = Some(task::name(task.as_ptr())?.bound(py).unbind());
            }
        }
        Ok(Obj::from(Bound::new(py, info)?.into_any()))
    }

    /// What `Task.cancel` on a task of `loop_` is, asked for by whatever runs now.
    pub fn requested(py: Python<'_>, loop_: *mut PyObject, message: Option<&Obj>) -> PyResult<Obj> {
        let site = Site::here(py);
        let reason = message.filter(|m| !m.is_none()).map(|m| m.bound(py).unbind());
        let task = registry::current(loop_)?;
        Self::make(py, requested_by(py, site.as_ref()), reason, task.as_ref(), site)
    }

    /// A scope cancels a task that one of its own awaits: a request to that task, by whoever cancelled the scope.
    pub fn on_behalf_of(py: Python<'_>, cause: &Obj) -> PyResult<Obj> {
        let Some(cause) = Self::of(py, cause) else {
            return Self::make(py, CancelSource::TaskCancel, None, None, None);
        };
        let text = format!("what awaits it was {}", cause.__str__(py)?);
        let info = cause.for_others(py, CancelSource::TaskCancel, &text);
        Ok(Obj::from(Bound::new(py, info)?.into_any()))
    }

    pub fn reason_obj(&self, py: Python<'_>) -> Option<Obj> {
        self.reason.as_ref().map(|r| Obj::from(r.bind(py).clone()))
    }

    /// What a failing child, or the failing block, does to its nursery.
    pub fn failure(py: Python<'_>, exc: &Bound<'_, PyAny>, task: &Obj) -> PyResult<Obj> {
        if let Some(of_exc) = cancellation(exc)? {
            return Self::passed_on(py, of_exc, task);
        }
        let reason = PyString::new(py, &format!("{} failed", text_of(exc, exc.repr()))).into_any().unbind();
        Self::make(py, CancelSource::NurseryFailure, Some(reason), Some(task), Site::of_exception(exc)?)
    }

    /// A cancellation that has ended `task` goes on to the others: they are told who has asked for it.
    fn passed_on(py: Python<'_>, of_exc: Bound<'_, Cancellation>, task: &Obj) -> PyResult<Obj> {
        let first = of_exc.get();
        if first.source.is_scoped() {
            return Ok(Obj::from(of_exc.into_any()));
        }
        let name = if task::is_ours(task.as_ptr()) { task::name(task.as_ptr())? } else { Obj::none() };
        let mut text = format!("task {} was cancelled by {}", name.bound(py).repr()?, first.source.name());
        if let Some(reason) = &first.reason {
            text += &format!(" ({})", text_of(reason.bind(py), reason.bind(py).str()));
        }
        let info = first.for_others(py, CancelSource::NurseryFailure, &text);
        Ok(Obj::from(Bound::new(py, info)?.into_any()))
    }

    /// What follows from this one, for other tasks: who asked, and where, is the same.
    fn for_others(&self, py: Python<'_>, source: CancelSource, reason: &str) -> Cancellation {
        Cancellation {
            source,
            reason: Some(PyString::new(py, reason).into_any().unbind()),
            task: self.task.as_ref().map(|t| t.clone_ref(py)),
            task_name: self.task_name.as_ref().map(|n| n.clone_ref(py)),
            site: self.site.as_ref().map(|s| s.clone_ref(py)),
        }
    }

    /// Where it was asked for, as "file:line function".
    pub fn place_text(&self, py: Python<'_>) -> Option<String> {
        self.site.as_ref().and_then(|site| site.text(py).ok())
    }

    pub fn reason_text(&self, py: Python<'_>) -> Option<String> {
        self.reason.as_ref().map(|reason| text_of(reason.bind(py), reason.bind(py).str()))
    }

    pub fn deadline(py: Python<'_>, task: Option<&Obj>, site: Option<&Site>) -> PyResult<Obj> {
        Self::make(py, CancelSource::Deadline, None, task, site.map(|s| s.clone_ref(py)))
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
        (Ok((at_sigint, _)), Some(s)) if s.code.is(at_sigint) => CancelSource::Signal,
        (Ok((_, at_end)), Some(s)) if s.code.is(at_end) => CancelSource::LoopShutdown,
        _ if is_called_by_interrupt(py) => CancelSource::Signal,
        _ => CancelSource::TaskCancel,
    }
}

/// `segue.trio.run` cancels its main task on Ctrl-C.
fn is_called_by_interrupt(py: Python<'_>) -> bool {
    // SAFETY: attached; a borrowed frame or null; the code is a new reference.
    let name = unsafe {
        let frame = ffi::PyEval_GetFrame();
        if frame.is_null() {
            return false;
        }
        let code: Bound<'_, PyAny> = Bound::from_owned_ptr(py, ffi::PyFrame_GetCode(frame).cast());
        if !is_own_code(&code) {
            return false;
        }
        code.getattr(intern!(py, "co_qualname"))
    };
    name.is_ok_and(|name| name.eq("_Run.interrupt_main").unwrap_or(false))
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
        self.reason.as_ref().map(|r| r.clone_ref(py))
    }

    /// The task that asked; None if no task did or it is gone.
    #[getter]
    fn task(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match &self.task {
            Some(weak) => Ok(Some(weak.bind(py).call0()?.unbind()).filter(|t| !t.is_none(py))),
            None => Ok(None),
        }
    }

    /// The name that the asking task had.
    #[getter]
    fn task_name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.task_name.as_ref().map(|n| n.clone_ref(py))
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
        if let Some(reason) = &self.reason {
            text += &format!(" ({})", text_of(reason.bind(py), reason.bind(py).str()));
        }
        if let Some(name) = &self.task_name {
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
}

fn tag_name(_: Python<'_>) -> *mut PyObject {
    globals().names.tag
}

pub fn is_cancelled_error(exc: *mut PyObject) -> bool {
    is_instance(exc, globals().cancelled_error)
}

/// Hangs `info` on an exception. One that a scope throws also shows it as its text.
pub fn tag(py: Python<'_>, exc: &Obj, info: &Obj) -> R<()> {
    setattr(exc.as_ptr(), tag_name(py), info.as_ptr())?;
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
    Ok(getattr_opt(exc, tag_name(py))?.filter(|info| Cancellation::of(py, info).is_some()))
}

/// The source that hangs on an exception, if one does.
pub fn source_of(py: Python<'_>, exc: *mut PyObject) -> R<Option<CancelSource>> {
    let info = getattr_opt(exc, tag_name(py))?;
    Ok(info.and_then(|i| Cancellation::of(py, &i).map(|c| c.source)))
}

/// Why this CancelledError was thrown, or None if Segue didn't throw it.
#[pyfunction]
pub fn cancellation<'py>(exc: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Cancellation>>> {
    let info = getattr_opt(exc.as_ptr(), tag_name(exc.py()))?;
    Ok(info.and_then(|i| i.bound(exc.py()).cast_into::<Cancellation>().ok()))
}
