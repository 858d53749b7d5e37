//! The event record for Python: what `segue run --report` prints is read from here, and from nowhere else.
//!
//! A [`TaskLog`] has the tasks of as many loops as are attached to it; [`Recorder`] is what one loop's hooks tell. It keeps
//! words and numbers, never a task or an exception, so that recording changes no lifetime and no warning. With nothing
//! attached nothing here runs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList};
use sched::{Event, Instrument, Kind, SiteId, TaskId};
use trace::by_number::ByNumber;
use trace::tasks::{Key, Name, Outcome, Text};

use crate::event_loop::LoopCore;
use crate::failure;
use crate::places::Places;
use crate::raw::globals::globals;
use crate::raw::obj::{getattr_opt, is_interrupt, write_unraisable};
use crate::raw::task::{self, TaskState};
use crate::raw::{registry, Obj, R};

/// How many tasks that have ended are kept for themselves, unless said otherwise.
const LIMIT: usize = 100_000;
/// Coroutine names whose number is remembered.
const REMEMBERED: usize = 10_000;

/// The tasks of the loops attached to it.
#[pyclass(frozen, module = "segue._core")]
pub struct TaskLog {
    log: RefCell<trace::TaskLog>,
    places: Places,
    loops: Cell<u64>,
    /// Numbers of coroutines' names by the address of the name, which is kept alive.
    names: RefCell<ByNumber<usize, (Text, Obj)>>,
    /// Weak references to failed tasks: whether somebody has asked for their exception is seen when the log is read.
    failed: RefCell<Vec<(Key, Obj)>>,
    /// A WeakKeyDictionary: the keys of tasks that a task factory made of another type than ours.
    foreign: Py<PyAny>,
    has_foreign: Cell<bool>,
}

// SAFETY: reached only with the GIL held (`gil_used = true`), like the loops that it belongs to.
unsafe impl Sync for TaskLog {}
// SAFETY: as above.
unsafe impl Send for TaskLog {}

/// What every new loop of the process is attached to.
static EVERY_LOOP: PyOnceLock<Py<TaskLog>> = PyOnceLock::new();

/// One loop's sink.
pub struct Recorder {
    log: Py<TaskLog>,
    /// What the loop's task numbers are made unique with.
    base: u64,
}

impl Instrument for Recorder {
    fn record(&self, event: &Event) {
        if event.kind == Kind::Finish {
            let outcome = [Outcome::Finished, Outcome::Failed, Outcome::Cancelled][event.detail.min(2) as usize];
            self.log.get().log.borrow_mut().ended(self.base + event.task, outcome);
        }
    }
}

impl Recorder {
    fn new(py: Python<'_>, log: Py<TaskLog>) -> Rc<Self> {
        let loops = &log.bind(py).get().loops;
        loops.set(loops.get() + 1);
        let base = loops.get() << 40;
        Rc::new(Recorder { log, base })
    }

    /// The loop's running task; of another type than ours, if need be.
    fn current(&self, core: &LoopCore, loop_: *mut PyObject) -> PyResult<Key> {
        let current = core.hooks.current();
        if current != 0 {
            return Ok(self.base + current);
        }
        if !self.log.get().has_foreign.get() {
            return Ok(0);
        }
        let Some(running) = registry::current(loop_)? else { return Ok(0) };
        // SAFETY: attached.
        let py = unsafe { Python::assume_attached() };
        self.log.get().foreign.bind(py).call_method1("get", (running.bound(py), 0))?.extract()
    }

    fn started(&self, core: &LoopCore, loop_: *mut PyObject, id: TaskId, coro: &Obj, name: Name) -> SiteId {
        // SAFETY: attached.
        let py = unsafe { Python::assume_attached() };
        let parent = self.current(core, loop_).unwrap_or_else(|e| {
            e.write_unraisable(py, None);
            0
        });
        let log = self.log.get();
        if parent == 0 && log.ends_the_loop(py, coro) {
            return 0;
        }
        let coroutine = log.coroutine(coro);
        let site = log.places.caller(core.is_running(), |words| log.log.borrow_mut().number(&words.to_string()));
        log.log.borrow_mut().started(self.base + id, parent, name, coroutine, site);
        site
    }

    /// Words about how a task ended.
    fn note(&self, id: TaskId, why: &str, raised_at: &str) {
        let mut log = self.log.get().log.borrow_mut();
        let (why, raised_at) = (log.number(why), log.number(raised_at));
        if let Some(task) = log.task(self.base + id) {
            (task.what.why, task.what.raised_at) = (why, raised_at);
        }
    }

    fn note_failure(&self, id: TaskId, task: &Bound<'_, PyAny>, exc: &Bound<'_, PyAny>) -> PyResult<()> {
        let log = self.log.get();
        self.note(id, &failure::describe(exc)?, &log.places.raised_at(exc)?);
        // SAFETY: tasks can be weakly referenced.
        let weak = unsafe { Obj::owned(ffi::PyWeakref_NewRef(task.as_ptr(), std::ptr::null_mut()))? };
        let mut failed = log.failed.borrow_mut();
        if failed.len() < LIMIT {
            failed.push((self.base + id, weak));
        }
        Ok(())
    }
}

// ---- what the loop's parts tell, when somebody listens ----------------------------------------------------------------

fn of(s: &TaskState) -> Option<Rc<Recorder>> {
    let core = s.future.core()?;
    if !core.hooks.is_attached() {
        return None;
    }
    core.recorder.borrow().clone()
}

fn name_of(s: &TaskState) -> Name {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    match task::resolved_name(s) {
        task::Name::Object(name) => Name::Given(name.bound(py).to_string().into()),
        task::Name::Number(number) => Name::Number(number),
    }
}

/// A task of ours starts.
#[cold]
pub fn spawned(core: &LoopCore, o: *mut PyObject) {
    // SAFETY: a task of ours.
    let s = unsafe { task::state(o) };
    if let Some(recorder) = of(s) {
        recorder.started(core, s.future.loop_.get(), s.id.get(), &s.coro.obj_or_none(), name_of(s));
    }
}

/// A task ended with an exception, which is stored by now.
#[inline(always)]
pub fn failed(o: *mut PyObject, s: &TaskState, exc: &Obj) -> R<()> {
    if s.future.core().is_some_and(|core| core.hooks.is_attached()) {
        return ended_cold(o, s, exc, true);
    }
    Ok(())
}

/// A task ended with a CancelledError.
#[inline(always)]
pub fn cancelled(o: *mut PyObject, s: &TaskState, exc: &Obj) -> R<()> {
    if s.future.core().is_some_and(|core| core.hooks.is_attached()) {
        return ended_cold(o, s, exc, false);
    }
    Ok(())
}

/// The words of an exception come from the program's own code: an interrupt in it leaves the loop as anywhere.
#[cold]
fn ended_cold(o: *mut PyObject, s: &TaskState, exc: &Obj, failed: bool) -> R<()> {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    let Some(recorder) = of(s) else { return Ok(()) };
    // SAFETY: alive.
    let task = unsafe { Obj::borrowed(o) };
    let (task, exc) = (task.bound(py), exc.bound(py));
    let noted = if failed {
        recorder.note_failure(s.id.get(), &task, &exc)
    } else {
        failure::cancelled_by(&exc).map(|who| recorder.note(s.id.get(), &who, ""))
    };
    match noted {
        Err(e) if is_interrupt(e.value(py).as_ptr()) => Err(e.into()),
        Err(e) => {
            e.write_unraisable(py, Some(&task));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// A task got another name.
#[inline(always)]
pub fn renamed(s: &TaskState) {
    if s.future.core().is_some_and(|core| core.hooks.is_attached()) {
        if let Some(recorder) = of(s) {
            let name = name_of(s);
            if let Some(task) = recorder.log.get().log.borrow_mut().task(recorder.base + s.id.get()) {
                task.name = name;
            }
        }
    }
}

/// A task is gone and nobody has asked for its exception.
#[cold]
pub fn never_retrieved(s: &TaskState) {
    if let Some(recorder) = of(s) {
        if let Some(task) = recorder.log.get().log.borrow_mut().task(recorder.base + s.id.get()) {
            task.never_retrieved = true;
        }
    }
}

/// A task is gone before it has ended.
#[cold]
pub fn destroyed(s: &TaskState) {
    if let Some(recorder) = of(s) {
        recorder.note(s.id.get(), "destroyed while pending: nothing kept a reference to it", "");
    }
}

/// A task factory made a task that isn't of our type: its hooks are a done callback.
#[cold]
pub fn made_by_factory(core: &LoopCore, loop_: *mut PyObject, task: &Obj) {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    let Some(recorder) = core.recorder.borrow().clone() else { return };
    if let Err(e) = follow(core, loop_, &recorder, &task.bound(py)) {
        e.write_unraisable(py, Some(&task.bound(py)));
    }
}

fn follow(core: &LoopCore, loop_: *mut PyObject, recorder: &Rc<Recorder>, task: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = task.py();
    if !task.hasattr("get_coro")? || !task.hasattr("add_done_callback")? {
        return Ok(()); // some other awaitable
    }
    let id = core.hooks.next_task_id();
    let key = recorder.base + id;
    recorder.log.get().has_foreign.set(true);
    recorder.log.get().foreign.bind(py).set_item(task, key)?;
    let name = Name::Given(task.call_method0("get_name")?.to_string().into());
    let site = recorder.started(core, loop_, id, &Obj::from(task.call_method0("get_coro")?), name);
    core.hooks.spawn(id, site, 0);
    let followed = Followed { log: recorder.log.clone_ref(py), base: recorder.base, id };
    if task.call_method0("done")?.is_truthy()? {
        return followed.__call__(task); // it started eagerly and is through
    }
    task.call_method1("add_done_callback", (followed,)).map(drop)
}

/// The done callback of a task that isn't of our type.
#[pyclass(frozen, module = "segue._core")]
struct Followed {
    log: Py<TaskLog>,
    base: u64,
    id: TaskId,
}

#[pymethods]
impl Followed {
    fn __call__(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let recorder = Recorder { log: self.log.clone_ref(task.py()), base: self.base };
        let cancelled = task.call_method0("cancelled")?.is_truthy()?;
        // Not `exception()`: that would silence "exception was never retrieved".
        let exc = if cancelled { None } else { Some(task.getattr("_exception")?).filter(|e| !e.is_none()) };
        let outcome = match &exc {
            Some(_) => Outcome::Failed,
            None if cancelled => Outcome::Cancelled,
            None => Outcome::Finished,
        };
        let name = Name::Given(task.call_method0("get_name")?.to_string().into());
        {
            let mut log = self.log.get().log.borrow_mut();
            log.ended(self.base + self.id, outcome);
            if let Some(task) = log.task(self.base + self.id) {
                task.name = name;
            }
        }
        exc.map_or(Ok(()), |exc| recorder.note_failure(self.id, task, &exc))
    }
}

// ---- the log ----------------------------------------------------------------------------------------------------------

impl TaskLog {
    fn make(py: Python<'_>, limit: usize) -> PyResult<Py<TaskLog>> {
        let log = TaskLog {
            log: RefCell::new(trace::TaskLog::new(limit)),
            places: Places::new(py)?,
            loops: Cell::new(0),
            names: RefCell::default(),
            failed: RefCell::default(),
            foreign: py.import("weakref")?.getattr("WeakKeyDictionary")?.call0()?.unbind(),
            has_foreign: Cell::new(false),
        };
        Py::new(py, log)
    }

    /// The number of a coroutine's qualified name, or of its type's if it has none.
    fn coroutine(&self, coro: &Obj) -> Text {
        // SAFETY: attached.
        let py = unsafe { Python::assume_attached() };
        let name = match getattr_opt(coro.as_ptr(), globals().names.qualname) {
            Ok(Some(name)) => name,
            Ok(None) => match coro.bound(py).get_type().qualname() {
                Ok(name) => Obj::from(name.into_any()),
                Err(e) => {
                    e.write_unraisable(py, None);
                    return 0;
                }
            },
            Err(_) => {
                write_unraisable(coro.as_ptr());
                return 0;
            }
        };
        let address = name.as_ptr() as usize;
        if let Some((number, _)) = self.names.borrow().get(&address) {
            return *number;
        }
        let text = name.bound(py).to_string();
        let number = self.log.borrow_mut().number(&text);
        let old = if self.names.borrow().len() >= REMEMBERED { self.names.take() } else { ByNumber::default() };
        drop(old);
        self.names.borrow_mut().insert(address, (number, name));
        number
    }

    /// Whether it is what asyncio's runner shuts a loop down with, and no task of the program's.
    fn ends_the_loop(&self, py: Python<'_>, coro: &Obj) -> bool {
        let Ok(code) = coro.bound(py).getattr(pyo3::intern!(py, "cr_code")) else { return false };
        let name = code.getattr(pyo3::intern!(py, "co_name")).map(|n| n.to_string()).unwrap_or_default();
        name.starts_with("shutdown_") && self.places.is_of_the_loop(&Obj::from(code))
    }
}

#[pymethods]
impl TaskLog {
    /// A dict per task that is kept, in the order of their start: `id`, `parent` (0: none), `name`, `coroutine`, `site`
    /// ("file:line function"), `outcome` ("pending", "finished", "failed", "cancelled"), `why`, `raised_at`, `ended` (in
    /// which order; 0: not yet) and `never_retrieved`.
    fn tasks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.look_at_failed(py)?;
        let log = self.log.borrow();
        let out = PyList::empty(py);
        for task in log.tasks() {
            out.append(one(py, &log, task)?)?;
        }
        Ok(out)
    }

    /// A task's id, as in `tasks`; 0 for one that isn't recorded.
    fn id_of(&self, task: &Bound<'_, PyAny>) -> PyResult<Key> {
        if !task::is_ours(task.as_ptr()) {
            return self.foreign.bind(task.py()).call_method1("get", (task, 0))?.extract();
        }
        // SAFETY: ours.
        let s = unsafe { task::state(task.as_ptr()) };
        Ok(of(s).map_or(0, |recorder| recorder.base + s.id.get()))
    }

    /// The task with that id, as in `tasks`; None if it isn't kept.
    fn task<'py>(&self, py: Python<'py>, id: Key) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut log = self.log.borrow_mut();
        let Some(found) = log.task(id).cloned() else { return Ok(None) };
        one(py, &log, &found).map(Some)
    }

    /// A pending task's id, as in `tasks`, and where it is suspended: "file:line function", or "".
    fn suspended(&self, task: &Bound<'_, PyAny>) -> PyResult<(Key, String)> {
        if !task::is_ours(task.as_ptr()) {
            return Ok((0, String::new()));
        }
        // SAFETY: ours.
        let s = unsafe { task::state(task.as_ptr()) };
        let id = of(s).map_or(0, |recorder| recorder.base + s.id.get());
        Ok((id, self.places.suspended_at(&s.coro.obj_or_none().bound(task.py()))))
    }

    /// A dict per group of tasks that are only counted: `count`, and what they have in common, as in `tasks`.
    fn left_out<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let log = self.log.borrow();
        let out = PyList::empty(py);
        for (alike, count) in log.left_out() {
            let d = group(py, &log, alike)?;
            d.set_item("count", count)?;
            out.append(d)?;
        }
        Ok(out)
    }
}

impl TaskLog {
    /// Finds out which failed tasks that are still there nobody has asked for their exception.
    fn look_at_failed(&self, py: Python<'_>) -> PyResult<()> {
        let failed: Vec<(Key, Obj)> = self.failed.borrow().iter().map(|(key, weak)| (*key, weak.clone())).collect();
        for (key, weak) in failed {
            let task = weak.bound(py).call0()?;
            if !task.is_none() && task.getattr("_log_traceback")?.is_truthy()? {
                if let Some(task) = self.log.borrow_mut().task(key) {
                    task.never_retrieved = true;
                }
            }
        }
        Ok(())
    }
}

fn one<'py>(py: Python<'py>, log: &trace::TaskLog, task: &trace::tasks::Task) -> PyResult<Bound<'py, PyDict>> {
    let d = group(py, log, &task.what)?;
    d.set_item("id", task.key)?;
    d.set_item("parent", task.parent)?;
    match &task.name {
        Name::Given(name) => d.set_item("name", &**name)?,
        Name::Number(number) => d.set_item("name", format!("Task-{number}"))?,
    }
    d.set_item("ended", task.ended)?;
    d.set_item("never_retrieved", task.never_retrieved)?;
    Ok(d)
}

fn group<'py>(py: Python<'py>, log: &trace::TaskLog, what: &trace::tasks::Alike) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    d.set_item("coroutine", log.text(what.coroutine))?;
    d.set_item("site", log.text(what.site))?;
    let outcome = match what.outcome {
        Outcome::Pending => "pending",
        Outcome::Finished => "finished",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
    };
    d.set_item("outcome", outcome)?;
    d.set_item("why", log.text(what.why))?;
    d.set_item("raised_at", log.text(what.raised_at))?;
    Ok(d)
}

// ---- attaching --------------------------------------------------------------------------------------------------------

/// Attaches every loop that is made from now on, in any thread, to one log, and returns that. Once per process: a second
/// call returns the same.
#[pyfunction(name = "_record_every_loop")]
#[pyo3(signature = (limit = LIMIT))]
pub fn record_every_loop(py: Python<'_>, limit: usize) -> PyResult<Py<TaskLog>> {
    EVERY_LOOP.get_or_try_init(py, || TaskLog::make(py, limit)).map(|log| log.clone_ref(py))
}

/// A loop was made.
pub fn attach_if_asked(py: Python<'_>, core: &LoopCore) {
    if let Some(log) = EVERY_LOOP.get(py) {
        attach(core, Recorder::new(py, log.clone_ref(py)));
    }
}

fn attach(core: &LoopCore, recorder: Rc<Recorder>) {
    let old = core.recorder.replace(Some(recorder.clone()));
    debug_assert!(old.is_none());
    core.hooks.attach(recorder);
}
