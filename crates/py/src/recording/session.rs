//! One recording of the process: which loops it has, the thread that empties their rings into a file. The flight recorder, which
//! writes when something happens, has a thread of its own (`flight.rs`).
//!
//! At most one runs at a time. Everything here is called with the GIL held, except the thread, which never needs it.

use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pyo3::exceptions::{PyLookupError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use sched::{Clock, Instrument};
use trace::event::{phase, Event, Kind};
use trace::file;
use trace::ring::{self, Counts, Reader, View};

use super::blocking::{self, Busy, Watched};
use super::figures::Figures;
use super::in_memory::InMemory;
use super::live;
use super::present::Present;
use super::sink::Sink;
use super::watching::{self, Watching};
use super::words::Words;
use crate::event_loop::{all_loops, LoopCore};
use crate::raw::obj::os_error;
use crate::raw::{task, Obj};

/// How long the thread sleeps between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Less memory than this has no room for the events of one pause.
const LEAST: usize = 1 << 20;

/// What becomes of the events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// A thread writes them down.
    All,
    /// The newest stay in the rings.
    Newest,
    /// A thread keeps the newest, and wants to know what the loops do right now.
    Present,
    /// A thread keeps the tasks, to be asked about.
    Tasks,
}

pub struct Session {
    pub words: Arc<Words>,
    keeps: Keeps,
    /// Bytes for each loop's ring.
    memory: usize,
    pub information: String,
    /// `segue._watch.watch.Watch`, which knows what only objects know.
    watch: Option<Py<PyAny>>,
    watched: Arc<Watched>,
    /// What `Keeps::Tasks` keeps.
    live: Option<InMemory>,
    /// What is told when there is no loop any more.
    late: Mutex<Vec<Event>>,
    loops: Mutex<Vec<Tap>>,
    /// Of loops that are gone, and no longer among them.
    gone: Mutex<Counts>,
    /// What `segue.inspect` counts, once somebody has asked.
    pub figures: OnceLock<Figures>,
    wants_figures: AtomicBool,
    stopped: Mutex<bool>,
    stop: Condvar,
    /// How often the thread has emptied the rings, and that it has again.
    emptied: Mutex<u64>,
    again: Condvar,
    /// What went wrong with the file; the recording goes on and is lost from there.
    failure: Mutex<Option<io::Error>>,
    is_over: Arc<AtomicBool>,
}

/// One loop's ring, seen from outside of it.
struct Tap {
    number: u32,
    reader: Option<Reader>,
    view: View,
    present: Option<Arc<Present>>,
    busy: Arc<Busy>,
}

static CURRENT: Mutex<Option<Arc<Session>>> = Mutex::new(None);
/// There is one.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// Whether a recording runs.
#[inline(always)]
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Nothing that holds one of these locks can panic.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn current() -> Option<Arc<Session>> {
    locked(&CURRENT).clone()
}

/// The recording that runs, if a thread takes its events.
pub fn with_thread() -> Option<Arc<Session>> {
    current().filter(|session| session.keeps != Keeps::Newest)
}

impl Session {
    /// Raises RuntimeError if one runs already, ValueError if `memory` is too little.
    pub fn new(
        py: Python<'_>,
        keeps: Keeps,
        memory: usize,
        information: String,
        watch: Option<Py<PyAny>>,
    ) -> PyResult<Arc<Session>> {
        if memory < LEAST {
            return Err(PyValueError::new_err(format!(
                "a recording needs at least {LEAST} bytes of memory, not {memory}"
            )));
        }
        if current().is_some_and(|session| !session.is_over.load(Ordering::Relaxed)) {
            return Err(PyRuntimeError::new_err("a recording of this process is running already: stop it first"));
        }
        Ok(Arc::new(Session {
            words: live::words().map_or_else(|| Words::new(py).map(Arc::new), Ok)?,
            keeps,
            // Of what is kept elsewhere, the rings hold only the newest.
            memory: if keeps == Keeps::Present { memory / 4 } else { memory },
            live: (keeps == Keeps::Tasks).then(|| InMemory::new(&information)),
            information,
            watch,
            watched: Arc::default(),
            late: Mutex::default(),
            loops: Mutex::default(),
            gone: Mutex::default(),
            figures: OnceLock::new(),
            wants_figures: AtomicBool::new(false),
            stopped: Mutex::new(false),
            stop: Condvar::new(),
            emptied: Mutex::default(),
            again: Condvar::new(),
            failure: Mutex::new(None),
            is_over: Arc::default(),
        }))
    }

    /// It is the recording that runs: all loops that there are, and that are made from now on, tell it.
    pub fn begin(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        if self.watch.is_some() {
            blocking::start(self.watched.clone(), self.is_over.clone())?;
            blocking::want_audit_events()?;
        }
        *locked(&CURRENT) = Some(self.clone());
        IS_ON.store(true, Ordering::Relaxed);
        for (core, loop_) in all_loops() {
            // SAFETY: the loop object is held, and the core is in it.
            let core: &LoopCore = unsafe { &*core };
            let tasks = tasks_of(py, &loop_)?;
            self.attach(core);
            note_held(core, &tasks, Whom::Recording);
            note_existing(py, core, &loop_, Whom::Recording)?;
        }
        Ok(())
    }

    /// No loop tells it anything any more. False if that was so before.
    pub fn end(&self) -> bool {
        if self.is_over.swap(true, Ordering::Relaxed) {
            return false;
        }
        locked(&CURRENT).take();
        for (core, _held) in all_loops() {
            // SAFETY: as above.
            let core: &LoopCore = unsafe { &*core };
            detach(core);
            live::attach(core);
        }
        blocking::forget_audit_events();
        IS_ON.store(false, Ordering::Relaxed);
        true
    }

    /// The loop's events go into a ring of its own from now on.
    fn attach(&self, core: &LoopCore) {
        let number = core.progress.number;
        let present = (self.keeps == Keeps::Present).then(Arc::<Present>::default);
        let (writer, reader, view) = if self.keeps == Keeps::Newest {
            let (writer, view) = ring::flight(self.memory);
            (writer, None, view)
        } else {
            let (writer, reader) = ring::streaming(self.memory);
            let view = reader.view();
            (writer, Some(reader), view)
        };
        let busy = Arc::<Busy>::default();
        let tap = Tap { number: number as u32, reader, view, present: present.clone(), busy: busy.clone() };
        locked(&self.loops).push(tap);
        // SAFETY: attached.
        let py = unsafe { Python::assume_attached() };
        let watch = self.watch.as_ref().map(|watch| Obj::from(watch.bind(py).clone()));
        self.watched.add(&busy);
        // Whoever looks at the program goes on looking.
        detach(core);
        let sink = attach(core, writer, &self.words, present, Watching::new(watch), busy);
        sink.tell_also(live::tap(core, &self.words));
    }

    /// Gives all events that there are now to `take`, with their loop's number.
    pub fn drain(&self, mut take: impl FnMut(u32, &[trace::event::Event])) {
        let figures = self.figures.get();
        let late = std::mem::take(&mut *locked(&self.late));
        if !late.is_empty() {
            take(1, &late);
        }
        locked(&self.loops).retain_mut(|Tap { number, reader, busy, .. }| {
            let Some(reader) = reader else { return true };
            // In this order: what was written before the loop went is taken.
            let is_last = reader.is_closed();
            reader.drain(&mut |events| {
                take(*number, events);
                if let Some(figures) = figures {
                    figures.take(*number, events);
                }
            });
            let found = busy.take_old();
            if !found.is_empty() {
                take(*number, &found);
            }
            if is_last {
                add(&mut locked(&self.gone), reader.counts());
            }
            !is_last
        });
    }

    /// Whether the thread has in memory what figures begin with; then it makes them.
    pub fn count_from_memory(&self) -> bool {
        let can = self.keeps == Keeps::Present;
        self.wants_figures.store(can, Ordering::Relaxed);
        can
    }

    /// Whether the thread is to make them.
    pub fn wants_figures(&self) -> bool {
        self.wants_figures.load(Ordering::Relaxed) && self.figures.get().is_none()
    }

    /// What the loops do right now, by their number.
    pub fn presents(&self) -> Vec<(u32, Arc<Present>)> {
        locked(&self.loops).iter().filter_map(|tap| Some((tap.number, tap.present.clone()?))).collect()
    }

    fn counts(&self) -> Counts {
        let loops = locked(&self.loops);
        let mut all = *locked(&self.gone);
        loops.iter().for_each(|tap| add(&mut all, tap.view.counts()));
        all
    }

    /// `{"written", "lost", "overwritten"}`.
    pub fn counts_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = self.counts();
        let d = PyDict::new(py);
        d.set_item("written", counts.written)?;
        d.set_item("lost", counts.lost)?;
        d.set_item("overwritten", counts.overwritten)?;
        Ok(d)
    }

    fn note_failure(&self, e: io::Error) {
        locked(&self.failure).get_or_insert(e);
    }
}

fn add(all: &mut Counts, more: Counts) {
    all.written += more.written;
    all.lost += more.lost;
    all.overwritten += more.overwritten;
}

/// A loop was made: a recording that runs has its events too, and so has who looks at the program.
pub fn attach_if_recording(core: &LoopCore) {
    match current() {
        Some(session) => session.attach(core),
        None => live::attach(core),
    }
}

/// The words of a recording that runs.
pub fn words() -> Option<Arc<Words>> {
    current().map(|session| session.words.clone())
}

/// The loop's events go into this ring from now on.
pub fn attach(
    core: &LoopCore,
    writer: ring::Writer,
    words: &Arc<Words>,
    present: Option<Arc<Present>>,
    watching: Watching,
    busy: Arc<Busy>,
) -> Rc<Sink> {
    let sink = Rc::new(Sink::new(writer, words.clone(), core.progress.number, present, watching, busy));
    if core.is_running() {
        sink.busy.runs_here(true);
    }
    let old = core.sink.replace(Some(sink.clone()));
    debug_assert!(old.is_none());
    core.hooks.attach(sink.clone());
    sink
}

/// A loop begins to run, stops, is closed (`trace::event::phase`).
#[cold]
pub fn loop_phase(core: &LoopCore, phase: u32) {
    if let Some(sink) = super::sink(core) {
        sink.busy.runs_here(phase == trace::event::phase::RUNS);
        sink.push(Kind::Loop, 0, sink.loop_number(), 0, phase);
    }
}

/// Of the recording that runs.
pub fn watch_and_words(py: Python<'_>) -> Option<(Py<PyAny>, Arc<Words>)> {
    let session = current()?;
    Some((session.watch.as_ref()?.clone_ref(py), session.words.clone()))
}

/// Words and then an event for the recording that runs, if one does, from outside of its loops.
pub fn tell_late(events: impl FnOnce(&Words) -> Vec<Event>) {
    if let Some(session) = current() {
        let events = events(&session.words);
        locked(&session.late).extend(events);
    }
}

pub fn detach(core: &LoopCore) {
    let old = core.sink.replace(None);
    if let Some(old) = &old {
        if old.busy.has_found() {
            old.push_found();
        }
        core.hooks.detach(&(old.clone() as Rc<dyn Instrument>));
    }
    drop(old);
}

/// The tasks of ours that are alive, in the order in which they were made.
pub fn tasks_of<'py>(py: Python<'py>, loop_: &Obj) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let tasks = py.import("asyncio")?.call_method1("all_tasks", (loop_.bound(py),))?;
    let mut ours: Vec<Bound<'_, PyAny>> = Vec::new();
    for task in tasks.try_iter()? {
        let task = task?;
        if task::is_ours(task.as_ptr()) {
            ours.push(task);
        }
    }
    // SAFETY: tasks of ours.
    ours.sort_by_key(|task| unsafe { task::state(task.as_ptr()) }.id.get());
    Ok(ours)
}

/// So many tasks are described before other threads get their chance.
const AT_ONCE: usize = 500;

/// Whom tasks are told that are alive already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// A recording that begins, and so do all times in it.
    Recording,
    /// Who begins to look at the running program, and wants to know how long they have waited. A file that is written meanwhile has
    /// them already.
    WhoLooks,
}

impl Whom {
    fn tell(self, sink: &Sink, mut event: Event) {
        let now = net::clock::Monotonic.now();
        match self {
            Whom::Recording => {
                event.at = now;
                sink.push_to_recording(event);
            }
            Whom::WhoLooks => {
                event.at = now.min(event.at);
                sink.push_to_who_looks(event);
            }
        }
    }
}

/// Tells of the locks that tasks hold: right after their loop was attached, with the GIL kept, so that none is told twice.
pub fn note_held(core: &LoopCore, tasks: &[Bound<'_, PyAny>], whom: Whom) {
    let Some(sink) = super::sink(core) else { return };
    for task in tasks {
        // SAFETY: a task of ours.
        let s = unsafe { task::state(task.as_ptr()) };
        for lot in s.lots() {
            let (at, what) = (core.progress.began(), sink.words.own("Lock"));
            whom.tell(&sink, Event::new(Kind::Hold, at, sink.key(s.id.get()), super::number(lot.as_ptr()), 0, what));
        }
    }
}

/// Tells of the tasks that are alive.
pub fn note_existing(py: Python<'_>, core: &LoopCore, loop_: &Obj, whom: Whom) -> PyResult<()> {
    let Some(sink) = super::sink(core) else { return Ok(()) };
    let push = |kind, since, task: u64, a, b, c| whom.tell(&sink, Event::new(kind, since, sink.key(task), a, b, c));
    let progress = &core.progress;
    let began = progress.began();
    let tasks = tasks_of(py, loop_)?;
    if core.is_running() || !tasks.is_empty() {
        push(Kind::Loop, began, 0, progress.number, 0, if core.is_running() { phase::RUNS } else { phase::STOPS });
    }
    for (at, task) in tasks.iter().enumerate() {
        if at % AT_ONCE == AT_ONCE - 1 {
            py.detach(std::thread::yield_now);
        }
        // SAFETY: a task of ours.
        let s = unsafe { task::state(task.as_ptr()) };
        if s.future.is_done() {
            continue;
        }
        // Not before the loop itself: times of stamps are not exact.
        let (id, since) = (s.id.get(), progress.time_of_turn(s.since_turn.get()).max(began));
        let coroutine = sink.words.coroutine(&s.coro.obj_or_none());
        push(Kind::Exists, began, id, sink.key(s.parent.get()), 0, coroutine);
        if let Some(text) = super::name_of(&sink, s) {
            push(Kind::Name, began, id, 0, 0, text);
        }
        if let Some(nurseries) = s.nurseries.obj() {
            for nursery in nurseries.bound(py).try_iter()? {
                let scope = crate::structured::nursery::scope_of(&Obj::from(nursery?));
                push(Kind::ScopeOpen, began, id, scope, 0, trace::event::scope::NURSERY);
            }
        }
        if let Some(nursery) = s.nursery.obj() {
            push(Kind::Child, began, id, crate::structured::nursery::scope_of(&nursery), 0, 0);
        }
        if let Some(waiter) = s.fut_waiter.obj() {
            let (object, place, what) = super::waits_for(&sink, s, waiter.as_ptr());
            match super::task_number(waiter.as_ptr()) {
                0 => push(Kind::Wait, since, id, object, place, what),
                other => push(Kind::WaitTask, since, id, sink.key(other), place, 0),
            }
        }
    }
    Ok(())
}

// ---- the thread --------------------------------------------------------------------------------------------------------

/// A file that is being written.
pub struct Out {
    writer: file::Writer<File>,
    defined: usize,
}

impl Out {
    pub fn new(to: File, information: &str) -> io::Result<Out> {
        Ok(Out { writer: file::Writer::new(to, information)?, defined: 0 })
    }

    /// Definitions first: they are older than the events that use them.
    pub fn write(&mut self, words: &Words, number: u32, events: &[trace::event::Event]) -> io::Result<()> {
        let new = words.defined_after(self.defined);
        if !new.is_empty() {
            self.defined += new.len();
            self.writer.definitions(&new)?;
        }
        self.writer.events(number, events)
    }

    pub fn finish(self) -> io::Result<()> {
        self.writer.finish().map(drop)
    }
}

fn empty_into(session: &Session, out: &mut Out) -> io::Result<()> {
    let mut result = Ok(());
    session.drain(|number, events| {
        if result.is_ok() {
            result = out.write(&session.words, number, events);
        }
    });
    result?;
    out.writer.flush()
}

/// The next time to empty the rings. True: nothing comes after it.
fn wait_for_the_next(session: &Session) -> bool {
    let stopped = locked(&session.stopped);
    match *stopped {
        true => true,
        false => *session.stop.wait_timeout(stopped, PAUSE).unwrap_or_else(PoisonError::into_inner).0,
    }
}

fn has_emptied(session: &Session) {
    *locked(&session.emptied) += 1;
    session.again.notify_all();
}

/// Waits until the thread has taken what there is now; false if it doesn't.
fn caught_up(session: &Session, is_over: impl Fn() -> bool) -> bool {
    let mut emptied = locked(&session.emptied);
    // One may be under way that has passed by what there is.
    let wanted = *emptied + 2;
    while *emptied < wanted {
        if is_over() || locked(&session.failure).is_some() {
            return false;
        }
        session.stop.notify_all();
        emptied = session.again.wait_timeout(emptied, PAUSE).unwrap_or_else(PoisonError::into_inner).0;
    }
    true
}

/// Into the model in memory.
fn empty_into_memory(session: &Session, live: &InMemory) {
    let mut loops = Vec::new();
    session.drain(|number, events| loops.push((number, events.to_vec())));
    live.take(&session.words, loops);
}

fn run_in_memory(session: &Session, live: &InMemory) {
    loop {
        let stopped = wait_for_the_next(session);
        empty_into_memory(session, live);
        has_emptied(session);
        if stopped {
            return live.ends();
        }
    }
}

fn run(session: &Session, mut out: Out) {
    loop {
        let stopped = wait_for_the_next(session);
        if let Err(e) = empty_into(session, &mut out) {
            return session.note_failure(e);
        }
        has_emptied(session);
        if stopped {
            break;
        }
    }
    if let Err(e) = out.finish() {
        session.note_failure(e);
    }
}

// ---- for Python --------------------------------------------------------------------------------------------------------

/// A recording that runs. `segue.record()` is what people call.
#[pyclass(frozen, module = "segue._core")]
pub struct Recording {
    session: Arc<Session>,
    thread: Mutex<Option<JoinHandle<()>>>,
    path: Option<std::path::PathBuf>,
}

#[pymethods]
impl Recording {
    /// Begins a recording of all loops that there are and that are made meanwhile: into the file `path` or, if that is
    /// None, of the last events only, `memory` bytes of them for each loop, or, if `live`, of the tasks in memory, to be asked
    /// about. `information` is JSON about the program, `watch` is a `segue._watch.watch.Watch`.
    ///
    /// Raises RuntimeError if one runs already, OSError if the file can't be written.
    #[new]
    #[pyo3(signature = (path, memory, information, watch = None, live = false))]
    fn new(
        py: Python<'_>,
        path: Option<std::path::PathBuf>,
        memory: usize,
        information: String,
        watch: Option<Py<PyAny>>,
        live: bool,
    ) -> PyResult<Self> {
        let keeps = match path {
            Some(_) => Keeps::All,
            None if live => Keeps::Tasks,
            None => Keeps::Newest,
        };
        let session = Session::new(py, keeps, memory, information, watch)?;
        let named = || std::thread::Builder::new().name("segue-recorder".into());
        let thread = match &path {
            None if live => {
                let session = session.clone();
                Some(named().spawn(move || session.live.iter().for_each(|live| run_in_memory(&session, live)))?)
            }
            None => None,
            Some(path) => {
                let out = File::create(path).and_then(|file| Out::new(file, &session.information));
                let (out, session) = (out.map_err(|e| os_error_at(&e, path))?, session.clone());
                Some(named().spawn(move || run(&session, out))?)
            }
        };
        session.begin(py)?;
        Ok(Recording { session, thread: Mutex::new(thread), path })
    }

    /// Ends it: what is in memory is written, the file is complete. Idempotent. Raises OSError if writing failed.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        if !self.session.end() {
            return Ok(());
        }
        *locked(&self.session.stopped) = true;
        self.session.stop.notify_all();
        let thread = locked(&self.thread).take();
        if let Some(thread) = thread {
            if py.detach(|| thread.join()).is_err() {
                return Err(PyRuntimeError::new_err("the recorder's thread has panicked: please report it"));
            }
        }
        self.check(py)
    }

    /// Waits until the recorder's thread has taken everything that has happened so far: the file, or the tasks in memory, are then
    /// complete up to now. At once where there is no such thread.
    fn catch_up(&self, py: Python<'_>) {
        py.detach(|| {
            let is_over = || locked(&self.thread).as_ref().is_none_or(JoinHandle::is_finished);
            caught_up(&self.session, is_over);
        });
    }

    /// Raises OSError if writing the file has failed.
    fn check(&self, _py: Python<'_>) -> PyResult<()> {
        match (&*locked(&self.session.failure), &self.path) {
            (Some(e), Some(path)) => Err(os_error_at(e, path)),
            _ => Ok(()),
        }
    }

    /// Writes the events that are in memory, those of the last `nanoseconds` or all, as a recording to `path`. Works while
    /// it runs, for recordings without a file.
    #[pyo3(signature = (path, nanoseconds = None))]
    fn dump(&self, py: Python<'_>, path: std::path::PathBuf, nanoseconds: Option<u64>) -> PyResult<()> {
        let session = &self.session;
        py.detach(|| -> io::Result<()> {
            let mut out = Out::new(File::create(&path)?, &session.information)?;
            let since = nanoseconds.map_or(0, |n| net::clock::Monotonic.now().saturating_sub(n));
            for tap in locked(&session.loops).iter() {
                out.write(&session.words, tap.number, &tap.view.snapshot_since(since))?;
            }
            out.finish()
        })
        .map_err(|e| os_error_at(&e, &path))
    }

    /// The answer to a question (`trace::queries`) about the tasks so far, as JSON; for recordings that are `live`. Raises LookupError
    /// for what can't be answered, RuntimeError if it isn't live.
    #[pyo3(signature = (question, arguments = "{}"))]
    fn answer(&self, py: Python<'_>, question: &str, arguments: &str) -> PyResult<String> {
        let Some(live) = &self.session.live else {
            return Err(PyRuntimeError::new_err(
                "this recording isn't kept in memory: it can't be asked while it runs",
            ));
        };
        let arguments = serde_json::from_str(arguments).map_err(|e| PyValueError::new_err(e.to_string()))?;
        let answer = py.detach(|| live.answer(question, &arguments));
        answer.map_err(|refused| PyLookupError::new_err(refused.0))
    }

    /// `{"written", "lost", "overwritten"}`: events so far, those that found no room, those that were overwritten.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.session.counts_dict(py)
    }
}

pub fn os_error_at(e: &io::Error, path: &std::path::Path) -> PyErr {
    // SAFETY: attached: called from Python.
    let py = unsafe { Python::assume_attached() };
    let raised = PyErr::from(os_error(e));
    let named = raised.value(py).setattr("filename", path);
    match named {
        Ok(()) => raised,
        Err(e) => e,
    }
}

/// In a process that was forked: the recording and its file are the parent's.
#[pyfunction(name = "_forget_recording")]
pub fn forget(_py: Python<'_>) {
    for (core, _held) in all_loops() {
        // SAFETY: as above.
        detach(unsafe { &*core });
    }
    super::flight_signal::uninstall();
    live::forget();
    // The thread is the parent's, and so is what it may have locked: nothing of it is touched or dropped here.
    IS_ON.store(false, Ordering::Relaxed);
    if let Ok(mut current) = CURRENT.try_lock() {
        std::mem::forget(current.take());
    }
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Recording>()?;
    m.add_class::<super::flight::FlightRecorder>()?;
    watching::add_to(m)?;
    m.add_class::<super::opened::OpenedRecording>()?;
    super::figures::add_to(m)?;
    m.add_function(wrap_pyfunction!(super::opened::synthetic, m)?)?;
    super::listen::add_to(m)?;
    m.add_function(wrap_pyfunction!(forget, m)?)
}
