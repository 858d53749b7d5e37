//! The loop's Rust side. Python's `segue.EventLoop` is this class and asyncio's `SelectorEventLoop`: what asyncio does in
//! plain Python once per connection or less often (opening, resolving, argument checks) is inherited from it; everything
//! that happens per callback, per task or per message is here or in the types it uses.
//!
//! All state is touched with the GIL held; the loop lets go of it in one place, in `waiting`.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use net::clock::Monotonic;
use pyo3::exceptions::{PyAttributeError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use sched::{Clock, Flow, Hooks, Scheduler};

use crate::io::{Direction, Io, Watcher};
use crate::job::{visit_obj, visit_raw, Job};
use crate::overrides::Overrides;
use crate::progress::{self, Doing, Progress};
use crate::raw::obj::{call, os_error, runtime_error};
use crate::raw::{contexts, frame_layout, globals::globals, handle, registry, task, Obj, Raised, Slot, R};
use crate::recorder::Recorder;
use crate::waiting::{FallibleWaiter, Waiter};

/// While jobs keep coming, how often the interpreter gets its chance to switch threads: nanoseconds.
const GIVE_WAY_EVERY: u64 = 1_000_000;

/// How many jobs may run before the clock is asked whether that time is over.
const JOBS_PER_LOOK: u32 = 64;

/// While jobs keep coming, after how many such looks contexts that did not serve again are let go: 4,096 jobs.
const LOOKS_PER_CLEARING: u32 = 64;

/// How many callbacks may wait before other threads that schedule more are held back; at which of their calls, so that a call
/// costs no more than asyncio's system call does while the loop is stuck; and for how long.
const CROWDED: usize = 4096;
const CALLS_PER_PAUSE: u32 = 64;
const PAUSE_WHEN_CROWDED: Duration = Duration::from_micros(50);

thread_local! {
    /// The loop object whose turns this thread runs, or null.
    static RUNNING: Cell<*mut PyObject> = const { Cell::new(std::ptr::null_mut()) };
}

/// The loop of ours that runs in this thread.
#[inline(always)]
pub fn running() -> Option<Obj> {
    let loop_ = RUNNING.get();
    // SAFETY: alive, since its turns run now.
    (!loop_.is_null()).then(|| unsafe { Obj::borrowed(loop_) })
}

#[pyclass(frozen, subclass, module = "segue._core")]
pub struct LoopCore {
    pub scheduler: Scheduler<Job>,
    pub hooks: Hooks,
    pub io: Io,
    pub cancel_tree: RefCell<crate::scope::Tree>,
    pub clock: Monotonic,
    pub debug: Cell<bool>,
    pub overrides: Overrides,
    /// Steps and callbacks of futures go through `loop.call_soon`: debug mode, or somebody has overridden it.
    pub through_call_soon: Cell<bool>,
    pub recorder: RefCell<Option<Rc<Recorder>>>,
    /// Where a recording's events of this loop go.
    pub sink: RefCell<Option<Rc<crate::recording::Sink>>>,
    /// The buffer that every transport of this loop reads into.
    pub read_buffer: crate::read_buffer::ReadBuffer,
    /// Room for the datagrams that one event brings; taken out while it is used.
    pub datagrams: Cell<Option<Box<net::datagram::Batch>>>,
    pub tls_buffers: crate::tls::buffers::Buffers,
    pub contexts: contexts::Pool,
    pub starts: crate::structured::start::Starts,
    closed: Cell<bool>,
    /// The thread that runs the loop (as `threading.get_ident`); 0 while it doesn't run.
    thread: Cell<u64>,
    task_factory: Slot,
    pub slow_callback_duration: Cell<f64>,
    /// The dict of running tasks still names a task that has suspended; see `registry::settle`.
    pub stale_current: Cell<bool>,
    hash: Cell<ffi::Py_hash_t>,
    /// Something was written, watched or closed since the last look for I/O.
    pub io_touched: Cell<bool>,
    pub skipped_polls: Cell<u32>,
    looks: Cell<u32>,
    /// While a scope cancels what a task waits for: the scope's Cancellation.
    pub cancels_for: Slot,
    /// How far it is.
    pub progress: Progress,
    crowded_calls: Cell<u32>,
    last_gave_way: Cell<u64>,
    /// What the watchdog of debug mode looks at.
    pub watch: std::sync::Arc<crate::watchdog::Watch>,
    watchdog: RefCell<Option<crate::watchdog::Guard>>,
}

// SAFETY: Python code reaches the loop only with the GIL held, and so does all of ours (`gil_used = true`); what other
// threads touch without it (the waker, `watch`) is Sync by itself.
unsafe impl Sync for LoopCore {}
// SAFETY: as above.
unsafe impl Send for LoopCore {}

impl LoopCore {
    /// The Rust side of a loop object, if it is one of ours.
    #[inline(always)]
    pub fn of<'a>(o: *mut PyObject) -> Option<&'a LoopCore> {
        if o.is_null() {
            return None;
        }
        // SAFETY: alive; the cast follows the type check. The reference is used while the caller keeps the loop alive.
        unsafe {
            if ffi::PyType_IsSubtype(ffi::Py_TYPE(o), globals().loop_type) == 0 {
                return None;
            }
            Some(Self::of_unchecked(o))
        }
    }

    /// # Safety
    /// `o` is an instance of this class.
    #[inline(always)]
    pub unsafe fn of_unchecked<'a>(o: *mut PyObject) -> &'a LoopCore {
        // SAFETY: the caller's promise; a frozen class has no borrow flag.
        unsafe {
            let py = Python::assume_attached();
            let bound = std::mem::ManuallyDrop::new(Bound::from_borrowed_ptr(py, o));
            ffi::Py_DECREF(o);
            &*(bound.cast_unchecked::<LoopCore>().get() as *const LoopCore)
        }
    }

    /// `hash(loop)`, known while the loop runs.
    pub fn hash(&self) -> ffi::Py_hash_t {
        self.hash.get()
    }

    #[inline(always)]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    #[inline(always)]
    pub fn is_running(&self) -> bool {
        self.thread.get() != 0
    }

    #[inline(always)]
    pub fn push(&self, job: Job) {
        self.scheduler.ready.push(job);
    }

    /// The collector sees what waits on a loop that doesn't run.
    #[inline(always)]
    pub fn show_unless_running(&self, handle: &Obj) {
        if !self.is_running() {
            handle::show_to_collector(handle);
        }
    }

    /// The loop stops running: what waits on it may from now on be garbage together with it.
    fn show_all_to_collector(&self) {
        let show = |job: &Job| {
            match job {
                Job::Handle(handle) | Job::Timer(handle) => handle::show_to_collector(handle),
                Job::Step(task) => task::show_to_collector(task.as_ptr()),
                _ => {}
            }
            Ok::<(), std::convert::Infallible>(())
        };
        // Nothing changes them here, so that both are seen in full.
        let (Ok(_), Ok(_)) = (self.scheduler.ready.try_for_each(show), self.scheduler.try_for_each_timer(show));
    }

    /// A task's awaited future is done.
    #[inline(always)]
    pub fn wake(&self, task: Obj, future: Obj) {
        if self.hooks.is_attached() {
            // SAFETY: a task of ours.
            self.hooks.wake(unsafe { task::state(task.as_ptr()) }.id.get());
        }
        if self.overrides.has_task_hook() {
            self.overrides.tell_of_task("scheduled", task.as_ptr());
        }
        self.push(Job::Wake { task, future });
    }

    pub fn check_closed(&self) -> R<()> {
        if self.closed.get() {
            return Err(runtime_error("Event loop is closed"));
        }
        Ok(())
    }

    /// A loop that came here through `fork` would change its parent's poller.
    pub fn check_process(&self) -> R<()> {
        if self.io.is_inherited() {
            return Err(runtime_error(
                "This event loop was created in the parent process and came here through fork. \
                 Create a new one in the child: asyncio.run() or segue.new_event_loop().",
            ));
        }
        Ok(())
    }

    pub fn is_on_its_thread(&self) -> bool {
        self.thread.get() == thread_ident()
    }

    fn check_thread(&self) -> R<()> {
        let running = self.thread.get();
        if running != 0 && running != thread_ident() {
            return Err(runtime_error("Non-thread-safe operation invoked on an event loop other than the current one"));
        }
        Ok(())
    }

    /// Python's signal handlers run here.
    fn check_signals(&self) -> R<()> {
        // SAFETY: attached.
        match unsafe { ffi::PyErr_CheckSignals() } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// In debug mode a watchdog says which line blocks while it blocks.
    fn watch_if_debug(&self) -> PyResult<()> {
        let wanted = self.debug.get();
        let running = self.watchdog.borrow().is_some();
        if wanted && !running {
            *self.watchdog.borrow_mut() = Some(crate::watchdog::start(self.watch.clone()).map_err(|e| os_error(&e))?);
        } else if !wanted {
            drop(self.watchdog.take());
        }
        Ok(())
    }

    /// A thread that schedules without a pause is faster than the loop, which shares the GIL with it: the queue would
    /// grow without an end. Where asyncio's writes to its self-pipe at every call, ours pauses now and then once many callbacks wait.
    #[inline]
    pub fn hold_back_if_crowded(&self) {
        if self.scheduler.ready.len() > CROWDED {
            self.hold_back();
        }
    }

    #[cold]
    fn hold_back(&self) {
        let running = self.thread.get();
        if running == 0 || running == thread_ident() {
            return;
        }
        let calls = self.crowded_calls.get().wrapping_add(1);
        self.crowded_calls.set(calls);
        if calls % CALLS_PER_PAUSE != 0 {
            return;
        }
        // SAFETY: attached; nothing of Python or of the loop is touched until the thread is attached again.
        unsafe {
            let state = ffi::PyEval_SaveThread();
            std::thread::sleep(PAUSE_WHEN_CROWDED);
            ffi::PyEval_RestoreThread(state);
        }
    }

    /// After each job: every now and then other threads and signal handlers get their chance, also if no job ever enters
    /// Python code.
    #[inline(always)]
    fn after_job(&self) -> R<()> {
        if self.progress.job() < JOBS_PER_LOOK {
            return Ok(());
        }
        self.give_way_if_due()
    }

    /// The interpreter hands the GIL to a thread that has waited its switch interval, and runs signal handlers and the
    /// collector, when Python code is entered. Letting go of the GIL for a moment instead is no fair exchange: the thread
    /// that is told so usually comes too late, and starts waiting for its interval anew.
    #[cold]
    #[inline(never)]
    fn give_way_if_due(&self) -> R<()> {
        self.progress.looked();
        let looks = self.looks.get().wrapping_add(1);
        self.looks.set(looks);
        if looks % LOOKS_PER_CLEARING == 0 {
            self.contexts.drop_unused();
        }
        let now = self.clock.now();
        if now.saturating_sub(self.last_gave_way.get()) < GIVE_WAY_EVERY {
            return Ok(());
        }
        self.last_gave_way.set(now);
        self.progress.goes_on();
        let result = call(globals().python_function, &[]).map(drop);
        self.hooks.resume();
        result
    }

    fn turn(&self, slf: *mut PyObject) -> R<()> {
        self.progress.turn();
        let waiter = Waiter(self, slf);
        let run = |job| match self.run_job(slf, job) {
            Flow::Continue => self.after_job().map_or_else(Flow::Break, |()| Flow::Continue),
            leave => leave,
        };
        if self.scheduler.ready.is_empty() {
            // The turn may wait. A handler that runs now may schedule something, which the wait then takes into account.
            self.check_signals()?;
        }
        if self.overrides.turn() {
            self.scheduler.turn(&self.loop_clock(), &FallibleWaiter(waiter), run)
        } else {
            self.scheduler.turn(&self.clock, &waiter, run)
        }
    }

    fn tell_phase(&self, phase: u32) {
        if self.hooks.is_attached() {
            crate::recording::session::loop_phase(self, phase);
        }
    }

    fn look_for_overrides(&self, slf: *mut PyObject) -> R<()> {
        self.overrides.look(slf)?;
        self.through_call_soon.set(self.debug.get() || self.overrides.call_soon());
        Ok(())
    }

    /// `object.__setattr__`, or `__delattr__` for a null value.
    fn set_attribute(&self, slf: *mut PyObject, name: *mut PyObject, value: *mut PyObject) -> R<()> {
        // SAFETY: all alive, or null to delete.
        if unsafe { ffi::PyObject_GenericSetAttr(slf, name, value) } != 0 {
            return Err(Raised);
        }
        if crate::overrides::is_watched(name)? {
            self.look_for_overrides(slf)?;
        }
        Ok(())
    }
}

pub fn thread_ident() -> u64 {
    // SAFETY: always allowed.
    unsafe { ffi::PyThread_get_thread_ident() as u64 }
}

/// A descriptor number, or an object with `fileno()`; `ValueError` for what is neither, as `selectors` has it.
pub fn descriptor(o: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    // SAFETY: alive.
    let number = if unsafe { ffi::PyLong_Check(o.as_ptr()) } != 0 { o.clone() } else { fileno_of(o)? };
    if let Ok(fd @ 0..) = number.extract::<RawFd>() {
        return Ok(fd);
    }
    if number.lt(0)? {
        return Err(PyValueError::new_err(format!("Invalid file descriptor: {number}")));
    }
    // What is no C int is refused with epoll's own words.
    // SAFETY: alive; -1 with an error.
    match unsafe { ffi::PyObject_AsFileDescriptor(number.as_ptr()) } {
        -1 => Err(Raised.into()),
        fd => Ok(fd),
    }
}

/// `int(file.fileno())`; a closed file and what is no file are invalid, other errors are the file's own.
fn fileno_of<'py>(o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = o.py();
    let int = py.get_type::<pyo3::types::PyInt>();
    let number = o.call_method0(pyo3::intern!(py, "fileno")).and_then(|n| int.call1((n,)));
    number.map_err(|e| {
        let invalid = e.is_instance_of::<PyAttributeError>(py)
            || e.is_instance_of::<PyTypeError>(py)
            || e.is_instance_of::<PyValueError>(py);
        if !invalid {
            return e;
        }
        PyValueError::new_err(format!("Invalid file object: {}", crate::raw::globals::repr(o.as_ptr())))
    })
}

/// All loops of ours in the process.
#[derive(Default)]
pub struct Loops(RefCell<Vec<*const LoopCore>>);

/// Every loop that is whole and not about to go, with a reference that keeps it.
pub fn all_loops() -> Vec<(*const LoopCore, Obj)> {
    let mut found = Vec::new();
    for &core in globals().loops.0.borrow().iter() {
        // SAFETY: a core that goes takes itself out of the list.
        let me = unsafe { &*core }.overrides.loop_object();
        // SAFETY: null, or the object that the core is in, which may be in its last moments.
        if !me.is_null() && unsafe { ffi::Py_REFCNT(me) } > 0 {
            // SAFETY: as above.
            found.push((core, unsafe { Obj::borrowed(me) }));
        }
    }
    found
}

impl Drop for LoopCore {
    fn drop(&mut self) {
        let me: *const LoopCore = self;
        globals().loops.0.borrow_mut().retain(|&core| core != me);
        progress::unlist(self);
        self.starts.forget(self);
    }
}

#[pymethods]
impl LoopCore {
    #[new]
    #[pyo3(signature = (*args, **_kwargs))]
    fn new(args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        // Now, and not at the first scope, which may be in code that is traced or deep in a recursion.
        frame_layout::find(args.py())?;
        let core = LoopCore {
            scheduler: Scheduler::default(),
            hooks: Hooks::default(),
            io: Io::new().map_err(|e| os_error(&e))?,
            cancel_tree: RefCell::default(),
            clock: Monotonic,
            debug: Cell::new(false),
            overrides: Overrides::default(),
            through_call_soon: Cell::new(false),
            recorder: RefCell::default(),
            sink: RefCell::default(),
            read_buffer: Default::default(),
            datagrams: Cell::new(None),
            tls_buffers: Default::default(),
            contexts: Default::default(),
            starts: Default::default(),
            closed: Cell::new(false),
            thread: Cell::new(0),
            task_factory: Slot::default(),
            slow_callback_duration: Cell::new(0.1),
            stale_current: Cell::new(false),
            hash: Cell::new(0),
            io_touched: Cell::new(true),
            skipped_polls: Cell::new(0),
            cancels_for: Slot::default(),
            progress: Progress::default(),
            looks: Cell::new(0),
            crowded_calls: Cell::new(0),
            last_gave_way: Cell::new(0),
            watch: Default::default(),
            watchdog: RefCell::default(),
        };
        crate::recorder::attach_if_asked(args.py(), &core);
        Ok(core)
    }

    /// Runs turns until `stop()`; the Python side has made this the running loop.
    fn _run(slf: &Bound<'_, Self>) -> PyResult<()> {
        let core = slf.get();
        core.io_touched.set(true);
        core.hash.set(slf.hash()?);
        core.watch_if_debug()?;
        core.look_for_overrides(slf.as_ptr())?;
        let outer = RUNNING.replace(slf.as_ptr());
        core.progress.goes_on();
        core.tell_phase(trace::event::phase::RUNS);
        let result = loop {
            if let Err(raised) = core.turn(slf.as_ptr()) {
                break Err(raised.into());
            }
            if core.scheduler.is_stopping() {
                break Ok(());
            }
        };
        RUNNING.set(outer);
        core.hooks.turn_end();
        core.tell_phase(trace::event::phase::STOPS);
        core.progress.does(Doing::Nothing);
        registry::settle(core, slf.as_ptr());
        core.show_all_to_collector();
        core.contexts.clear();
        core.scheduler.set_stopping(false);
        core.watch.idle();
        drop(core.watchdog.take());
        result
    }

    /// Called once the loop object is whole: see `overrides.rs`.
    fn _look_for_overrides(slf: &Bound<'_, Self>) -> PyResult<()> {
        let core = slf.get();
        core.look_for_overrides(slf.as_ptr())?;
        let mut loops = globals().loops.0.borrow_mut();
        if !loops.contains(&std::ptr::from_ref(core)) {
            loops.push(core);
            drop(loops);
            progress::list(core);
            crate::recording::listen::begin_if_wanted(slf.py())?;
            crate::recording::session::attach_if_recording(core);
        }
        Ok(())
    }

    fn __setattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        Ok(slf.get().set_attribute(slf.as_ptr(), name.as_ptr(), value.as_ptr())?)
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyAny>) -> PyResult<()> {
        Ok(slf.get().set_attribute(slf.as_ptr(), name.as_ptr(), std::ptr::null_mut())?)
    }

    /// Raises RuntimeError for a loop that came here through `fork`.
    fn _check_process(&self) -> PyResult<()> {
        Ok(self.check_process()?)
    }

    /// Lets go of everything scheduled and watched; the loop is closed.
    fn _close_core(&self) -> PyResult<()> {
        // As tasks, they say that they never ran.
        let made = crate::structured::start::make_all(self);
        self.drop_everything();
        Ok(made?)
    }

    fn stop(&self) {
        self.scheduler.set_stopping(true);
    }

    #[pyo3(name = "is_running")]
    fn py_is_running(&self) -> bool {
        self.is_running()
    }

    #[pyo3(name = "is_closed")]
    fn py_is_closed(&self) -> bool {
        self.closed.get()
    }

    fn get_debug(&self) -> bool {
        self.debug.get()
    }

    fn time(&self) -> f64 {
        self.clock.now() as f64 / 1e9
    }

    /// `_add_reader(fd, callback, *args)`: returns the handle.
    #[pyo3(signature = (fd, callback, *args, context = None))]
    fn _add_reader(
        slf: &Bound<'_, Self>,
        fd: &Bound<'_, PyAny>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        watch(slf, fd, callback, args, context, Direction::Read)
    }

    #[pyo3(signature = (fd, callback, *args, context = None))]
    fn _add_writer(
        slf: &Bound<'_, Self>,
        fd: &Bound<'_, PyAny>,
        callback: &Bound<'_, PyAny>,
        args: &Bound<'_, PyTuple>,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        watch(slf, fd, callback, args, context, Direction::Write)
    }

    fn _remove_reader(&self, py: Python<'_>, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.unwatch(py, fd, Direction::Read)
    }

    fn _remove_writer(&self, py: Python<'_>, fd: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.unwatch(py, fd, Direction::Write)
    }

    /// The transport that a descriptor belongs to, or None.
    fn _owner_of(&self, py: Python<'_>, fd: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        // A closed socket or file belongs to nobody.
        if fd.call_method0(intern!(py, "fileno")).and_then(|n| n.extract::<RawFd>()).is_ok_and(|n| n < 0) {
            return Ok(None);
        }
        match descriptor(fd) {
            Ok(number) => Ok(self.io.owner(number).map(|o| o.bound(py).unbind())),
            // A number that can be no descriptor is nobody's.
            Err(e) if e.is_instance_of::<PyOverflowError>(py) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Puts a handle on the ready queue: for asyncio's own code that made one (signals).
    fn _add_callback(&self, handle: &Bound<'_, PyAny>) -> PyResult<()> {
        let g = globals();
        // SAFETY: both alive; the handle's slots are read only after this check.
        if unsafe { ffi::PyType_IsSubtype(ffi::Py_TYPE(handle.as_ptr()), g.handle_base) } == 0 {
            return Err(pyo3::exceptions::PyTypeError::new_err("an asyncio.Handle is required"));
        }
        self.push(Job::Handle(Obj::from(handle.clone())));
        Ok(())
    }

    fn _add_callback_signalsafe(&self, handle: &Bound<'_, PyAny>) -> PyResult<()> {
        self._add_callback(handle)?;
        self.io.reactor.waker().wake();
        Ok(())
    }

    /// `(reading, writing)`: whether a descriptor is watched by `add_reader` and `add_writer`.
    fn _watched(&self, fd: &Bound<'_, PyAny>) -> PyResult<(bool, bool)> {
        Ok(self.io.watched(descriptor(fd)?))
    }

    /// `(ready, timers, watched descriptors, transports and listeners)`: how much waits.
    fn _counts(&self) -> (usize, usize, usize, usize) {
        let (watched, owned) = self.io.counts();
        (self.scheduler.ready.len(), self.scheduler.timer_count(), watched, owned)
    }

    /// When the next timer or deadline is due, in seconds on the loop's clock; None if there is none.
    fn _next_deadline(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let next = self.scheduler.next_timer(|job| match job {
            Job::Timer(handle) => Some((handle.clone(), intern!(py, "_when"))),
            Job::Deadline(scope) => Some((scope.clone(), intern!(py, "deadline"))),
            _ => None,
        });
        next.flatten().map(|(object, name)| Ok(object.bound(py).getattr(name)?.unbind())).transpose()
    }

    #[getter]
    fn _thread_id(&self) -> Option<u64> {
        Some(self.thread.get()).filter(|&t| t != 0)
    }

    #[setter(_thread_id)]
    fn put_thread_id(&self, value: Option<u64>) {
        self.thread.set(value.unwrap_or(0));
        self.watch.thread(value.unwrap_or(0));
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.closed.get()
    }

    #[setter(_closed)]
    fn put_closed(&self, value: bool) {
        self.closed.set(value);
    }

    #[getter]
    fn _stopping(&self) -> bool {
        self.scheduler.is_stopping()
    }

    #[setter(_stopping)]
    fn put_stopping(&self, value: bool) {
        self.scheduler.set_stopping(value);
    }

    #[getter]
    fn _debug(&self) -> bool {
        self.debug.get()
    }

    #[setter(_debug)]
    fn put_debug(&self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.debug.set(value.is_truthy()?);
        self.through_call_soon.set(self.debug.get() || self.overrides.call_soon());
        if self.is_running() {
            self.watch_if_debug()?;
        }
        Ok(())
    }

    #[getter]
    fn get_slow_callback_duration(&self) -> f64 {
        self.slow_callback_duration.get()
    }

    #[setter]
    fn set_slow_callback_duration(&self, seconds: f64) {
        self.slow_callback_duration.set(seconds);
        self.watch.limit(sched::clock::nanos_from_secs(seconds));
    }

    #[getter]
    fn _task_factory(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.task_factory.obj().map(|o| o.bound(py).unbind())
    }

    #[setter(_task_factory)]
    fn put_task_factory(&self, value: &Bound<'_, PyAny>) {
        let new = (!value.is_none()).then(|| Obj::from(value.clone()));
        drop(self.task_factory.replace(new));
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut f = |o: &Obj| visit_obj(&visit, o);
        self.scheduler.ready.try_for_each(|job| job.visit(&mut f))?;
        self.scheduler.try_for_each_timer(|job| job.visit(&mut f))?;
        self.io.try_for_each(&mut f)?;
        self.overrides.visit(&visit)?;
        self.contexts.try_for_each(&mut f)?;
        visit_raw(&visit, self.task_factory.get())
    }

    fn __clear__(&self) {
        self.drop_everything();
        self.task_factory.clear();
        self.overrides.clear();
    }
}

use pyo3::{PyTraverseError, PyVisit};

impl LoopCore {
    fn drop_everything(&self) {
        self.tell_phase(trace::event::phase::CLOSED);
        self.starts.forget(self);
        let jobs = self.scheduler.take_all();
        let sources = self.io.take_all();
        self.contexts.clear();
        drop(jobs);
        drop(sources);
    }

    fn unwatch(&self, py: Python<'_>, fd: &Bound<'_, PyAny>, direction: Direction) -> PyResult<bool> {
        if self.closed.get() {
            return Ok(false);
        }
        let number = match descriptor(fd) {
            Ok(number) => number,
            // A closed file has no number any more, but it is still the one that was watched.
            // A number that can be no descriptor is watched by nobody.
            Err(e) if e.is_instance_of::<PyOverflowError>(py) => return Ok(false),
            Err(e) => self.io.watched_as(fd.as_ptr()).ok_or(e)?,
        };
        match self.io.unwatch(number, direction) {
            None => Ok(false),
            Some(watcher) => {
                cancel(py, watcher)?;
                Ok(true)
            }
        }
    }
}

/// Who watched a descriptor does so no more. An operation's future stays pending then, as in asyncio.
fn cancel(py: Python<'_>, watcher: Watcher) -> PyResult<()> {
    match watcher {
        Watcher::Handle(handle) => handle.bound(py).call_method0(intern!(py, "cancel")).map(drop),
        Watcher::Operation(_) => Ok(()),
    }
}

fn watch(
    slf: &Bound<'_, LoopCore>,
    fd: &Bound<'_, PyAny>,
    callback: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    context: Option<&Bound<'_, PyAny>>,
    direction: Direction,
) -> PyResult<Py<PyAny>> {
    let core = slf.get();
    core.check_closed()?;
    let args: Vec<*mut PyObject> = args.iter().map(|a| a.as_ptr()).collect();
    let context = crate::raw::future::context_or_copy(context.map_or(std::ptr::null_mut(), |c| c.as_ptr()))?;
    let handle = handle::new(slf.as_ptr(), callback.as_ptr(), &args, context)?;
    if core.debug.get() {
        handle::note_source(&handle)?;
    }
    core.io_touched.set(true);
    core.check_process()?;
    // SAFETY: alive.
    let is_number = unsafe { ffi::PyLong_Check(fd.as_ptr()) } != 0;
    let file = (!is_number).then(|| Obj::from(fd.clone()));
    let fd = descriptor(fd)?;
    let watcher = Watcher::Handle(handle.clone());
    let old = core.io.watch(fd, file, direction, watcher).map_err(|e| os_error(&e))?;
    if let Some(old) = old {
        cancel(slf.py(), old)?;
    }
    Ok(handle.bound(slf.py()).unbind())
}

/// The raw methods need these from the private part.
pub mod parts {
    use super::*;

    pub fn check_thread(core: &LoopCore) -> R<()> {
        core.check_thread()
    }

    pub fn task_factory(core: &LoopCore) -> Option<Obj> {
        core.task_factory.obj()
    }
}
