//! What only the objects themselves know, for warnings: `segue._watch` looks at them, at the few moments that it is called for, and
//! tells the recording through the functions below.
//!
//! Its methods are called with the GIL held and nothing of ours borrowed. What they raise is shown as unraisable: a recording never
//! changes what the program does.

use std::cell::{Cell, RefCell};

use net::clock::Monotonic;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use sched::Clock;
use trace::by_number::ByNumber;
use trace::event::{release, Event, Kind, Object, Place, Text};
use trace::warning::{fact, Code};

use super::session;
use super::sink::Sink;
use crate::event_loop::{self, all_loops, LoopCore};
use crate::raw::obj::{call_method, write_unraisable};
use crate::raw::task::{self, TaskState};
use crate::raw::{future, Obj, Raised, R};

/// When a task has let others run so many times, and then twice, four times as many, ..., it is looked up where.
const YIELDS: u32 = 500;

/// The watch of one loop's recording.
#[derive(Default)]
pub struct Watching {
    /// `segue._watch.watch.Watch`, or none.
    pub watch: Option<Obj>,
    /// What tasks are about to wait for, where they said so: the object's number and what for.
    wanted: RefCell<ByNumber<u64, Wanted>>,
    /// Places of starts that were looked at.
    sites: Seen,
    /// Names of callbacks that were looked at.
    callbacks: Seen,
    /// The task that has let others run last, and how often it did so without another one between.
    yields: Cell<(u64, u32)>,
    /// Some task waits for a shield: ends of tasks are looked at.
    pub looks_at_ends: Cell<bool>,
}

/// Numbers of a recording's table, which are dense: asked at every event.
#[derive(Default)]
struct Seen(RefCell<Vec<u64>>);

impl Seen {
    /// Whether it is asked for the first time.
    #[inline]
    fn is_new(&self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, 1u64 << (number % 64));
        let mut words = self.0.borrow_mut();
        if word >= words.len() {
            words.resize(word + 1, 0);
        }
        let is_new = words[word] & bit == 0;
        words[word] |= bit;
        is_new
    }
}

#[derive(Clone, Copy)]
struct Wanted {
    object: Object,
    what: Text,
    /// What waits around it: a condition, for its lock.
    outer: Option<(Object, Text)>,
}

impl Watching {
    pub fn new(watch: Option<Obj>) -> Watching {
        Watching { watch, ..Watching::default() }
    }

    /// What the task has said that it is about to wait for.
    pub fn wanted(&self, task: u64) -> Option<(Object, Text)> {
        let wanted = self.wanted.borrow();
        if wanted.is_empty() {
            return None;
        }
        wanted.get(&task).map(|wanted| (wanted.object, wanted.what))
    }

    fn is_new_site(&self, place: Place) -> bool {
        self.watch.is_some() && place != 0 && self.sites.is_new(place)
    }

    /// Calls a method of the watch; None without a watch, or if it raised.
    fn ask(&self, method: &'static str, args: &[*mut PyObject]) -> Option<Obj> {
        let watch = self.watch.clone()?;
        let asked = || -> R<Obj> {
            let name = Obj::name(method)?;
            let mut all = vec![watch.as_ptr()];
            all.extend_from_slice(args);
            call_method(name.as_ptr(), &all)
        };
        match asked() {
            Ok(answer) => Some(answer),
            Err(Raised) => {
                write_unraisable(watch.as_ptr());
                None
            }
        }
    }
}

/// The task that a state belongs to.
fn object_of(s: &TaskState) -> *mut PyObject {
    // SAFETY: the state lies in its task at this offset.
    unsafe { std::ptr::from_ref(s).cast::<u8>().sub(future::offset()).cast_mut().cast() }
}

fn number_of(answer: Option<Obj>) -> u64 {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    answer.and_then(|answer| answer.bound(py).extract().ok()).unwrap_or(0)
}

/// A task was started at a place: the first time, what kind of place is it?
#[inline]
pub fn spawned(sink: &Sink, place: Place) {
    if sink.watching.is_new_site(place) {
        match number_of(sink.watching.ask("site", &[])) {
            0 => {}
            1 => sink.push(Kind::Warning, 0, 0, place, fact::BARE_SITE),
            _ => sink.push(Kind::Warning, 0, 0, place, fact::DROPPED_SITE),
        }
    }
}

/// A callback of this name runs: the first time, where does its code begin?
#[inline]
pub fn calls(sink: &Sink, name: Text, callback: *mut PyObject) {
    let watching = &sink.watching;
    if watching.watch.is_some() && name != 0 && watching.callbacks.is_new(name) {
        let place = sink.words.place(&sink.words.begins_at(callback));
        if place != 0 {
            sink.push(Kind::Warning, 0, name.into(), place, fact::CALLBACK);
        }
    }
}

/// A task is about to be cancelled, and what it waits for still is. `scope` tells the scope that does it from others; 0 if none does.
pub fn cancelled(sink: &Sink, s: &TaskState, scope: u64) {
    let Ok(scope) = Obj::int(scope as i64) else { return };
    let facts = number_of(sink.watching.ask("cancelled", &[object_of(s), scope.as_ptr()]));
    if facts != 0 {
        sink.push(Kind::Warning, sink.key(s.id.get()), facts, 0, fact::CANCEL);
    }
}

/// A task suspends although it was asked to cancel.
#[inline]
pub fn waits(sink: &Sink, s: &TaskState) {
    if s.cancel_requests.get() > 0 && sink.watching.watch.is_some() {
        sink.watching.ask("waits_cancelled", &[object_of(s)]);
    }
}

/// A task lets others run. Where it does is looked up now and then only: who does it all the time does it there.
#[inline]
pub fn yields(sink: &Sink, s: &TaskState) {
    let watching = &sink.watching;
    if watching.watch.is_none() {
        return;
    }
    waits(sink, s);
    let (task, times) = watching.yields.get();
    let times = if task == s.id.get() { times + 1 } else { 1 };
    watching.yields.set((s.id.get(), times));
    if times % YIELDS == 0 && (times / YIELDS).is_power_of_two() {
        let Some(place) = watching.ask("yields", &[object_of(s)]) else { return };
        // SAFETY: attached.
        let py = unsafe { Python::assume_attached() };
        let place = place.bound(py).extract().map_or(0, |place: String| sink.words.place(&place));
        sink.push(Kind::Warning, sink.key(s.id.get()), 0, place, fact::YIELDS);
    }
}

/// A task has ended; `exc` is what it failed with.
#[inline]
pub fn finished(sink: &Sink, s: &TaskState, how: u64, exc: Option<&Obj>) {
    let watching = &sink.watching;
    let (requested, in_scope) = (s.cancel_requests.get() > 0, s.scope.was_delivered());
    if watching.watch.is_none() || !(how == 1 || requested || in_scope || watching.looks_at_ends.get()) {
        return;
    }
    let none = Obj::none();
    if let (Ok(how), Ok(in_scope)) = (Obj::int(how as i64), Obj::int(in_scope.into())) {
        watching.ask("finished", &[object_of(s), how.as_ptr(), exc.unwrap_or(&none).as_ptr(), in_scope.as_ptr()]);
    }
}

/// Something is scheduled or woken: only the loop's thread may do that.
#[inline]
pub fn check_thread(sink: &Sink, what: &'static str) {
    if sink.busy.runs_elsewhere() {
        wrong_thread(sink, what);
    }
}

#[cold]
fn wrong_thread(sink: &Sink, what: &'static str) {
    let place = sink.words.places.caller(true, |at| sink.words.place_of(at));
    if place != 0 {
        sink.push(Kind::Why, 0, 0, 0, sink.words.own(what));
        sink.push(Kind::Warning, 0, 0, place, Code::WrongThread.number());
    }
}

/// `loop.call_soon` was called.
#[cold]
pub fn scheduled(core: &LoopCore) {
    if let Some(sink) = super::sink(core) {
        check_thread(&sink, "loop.call_soon()");
    }
}

// ---- what the watch tells ----------------------------------------------------------------------------------------------

/// The running loop, with what it records into.
fn running() -> Option<(Obj, std::rc::Rc<Sink>)> {
    let loop_ = event_loop::running()?;
    let sink = super::sink(LoopCore::of(loop_.as_ptr())?)?;
    Some((loop_, sink))
}

fn current(loop_: &Obj) -> u64 {
    LoopCore::of(loop_.as_ptr()).map_or(0, |core| core.hooks.current())
}

/// The running task is about to wait for the object of that number; 0 takes the last one back. What is `part` of something else that
/// is waited for is not told: then the answer is false, and there is nothing to take back.
#[pyfunction]
fn _tell_wants(object: u64, what: &str, part: bool) -> bool {
    let Some((loop_, sink)) = running() else { return false };
    let task = current(&loop_);
    let mut wanted = sink.watching.wanted.borrow_mut();
    let known = wanted.get(&task).copied();
    match (object, known) {
        (0, Some(Wanted { outer: Some((object, what)), .. })) => {
            wanted.insert(task, Wanted { object, what, outer: None });
        }
        (0, _) => {
            wanted.remove(&task);
        }
        (_, Some(_)) if part => return false,
        (_, known) => {
            let outer = known.map(|known| (known.object, known.what));
            drop(wanted);
            let what = sink.words.text(what);
            sink.watching.wanted.borrow_mut().insert(task, Wanted { object, what, outer });
        }
    }
    true
}

/// The running task has got what others wait for; it doesn't wait for it any more.
#[pyfunction(name = "_tell_hold")]
pub fn running_holds(object: u64, what: &str) {
    let Some((loop_, sink)) = running() else { return };
    let Some(core) = LoopCore::of(loop_.as_ptr()) else { return };
    let task = core.hooks.current();
    let (what, place) = (sink.words.text(what), super::here(core, &sink));
    sink.push(Kind::Hold, sink.key(task), object, place, what);
}

/// The running task gives it back.
#[pyfunction(name = "_tell_release")]
pub fn running_releases(object: u64) {
    let Some((loop_, sink)) = running() else { return };
    sink.push(Kind::Release, sink.key(current(&loop_)), object, 0, release::RELEASED);
}

/// An event was set, a condition notified, an item put.
#[pyfunction(name = "_tell_signal")]
pub fn running_signals(object: u64) {
    let Some((loop_, sink)) = running() else { return };
    let Some(core) = LoopCore::of(loop_.as_ptr()) else { return };
    let place = super::here(core, &sink);
    sink.push(Kind::Release, sink.key(core.hooks.current()), object, place, release::SIGNAL);
}

/// A queue has grown to so many items.
#[pyfunction(name = "_tell_queue")]
pub fn running_queue(object: u64, items: u32) {
    let Some((loop_, sink)) = running() else { return };
    let Some(core) = LoopCore::of(loop_.as_ptr()) else { return };
    let place = super::here(core, &sink);
    sink.push(Kind::Queue, sink.key(core.hooks.current()), object, place, items);
}

/// A warning of this code (`trace::warning::Code`), at `place` ("file:line function", "" if it isn't known, None for where the
/// running code is), about `task` or, if that is None, the running one, with more words and nanoseconds.
#[pyfunction]
#[pyo3(signature = (code, place = None, task = None, text = "", nanos = 0))]
fn _tell_warning(code: u32, place: Option<&str>, task: Option<Bound<'_, PyAny>>, text: &str, nanos: u64) {
    let ours = task.as_ref().filter(|task| future::is_task(task.as_ptr()));
    // SAFETY: a task of ours.
    let state = ours.map(|task| unsafe { task::state(task.as_ptr()) });
    let found = match state.and_then(|s| s.future.core()) {
        Some(core) => super::sink(core).map(|sink| (sink, core.is_running())),
        None => any_sink(),
    };
    let Some((sink, is_running)) = found else {
        let place = place.unwrap_or_default();
        return session::tell_late(|words| {
            let now = Monotonic.now();
            let why = Event::new(Kind::Why, now, 0, 0, 0, words.text(text));
            vec![why, Event::new(Kind::Warning, now, 0, nanos, words.place(place), code)]
        });
    };
    let key = match (state, &task) {
        (Some(s), _) => sink.key(s.id.get()),
        (None, Some(_)) => 0,
        (None, None) => event_loop::running().map_or(0, |loop_| sink.key(current(&loop_))),
    };
    let place = match place {
        Some(place) => sink.words.place(place),
        None => sink.words.places.caller(is_running, |at| sink.words.place_of(at)),
    };
    if !text.is_empty() {
        sink.push(Kind::Why, key, 0, 0, sink.words.text(text));
    }
    sink.push(Kind::Warning, key, nanos, place, code);
}

/// The running loop's, or that of a loop that doesn't run just now.
fn any_sink() -> Option<(std::rc::Rc<Sink>, bool)> {
    if let Some((_, sink)) = running() {
        return Some((sink, true));
    }
    // SAFETY: the loop object is held, and the core is in it.
    all_loops().iter().rev().find_map(|(core, _held)| super::sink(unsafe { &**core })).map(|sink| (sink, false))
}

/// Every kind of warning: its number, name, title and cure.
#[pyfunction]
fn _warning_codes() -> Vec<(u32, &'static str, &'static str, &'static str)> {
    Code::all().map(|code| (code.number(), code.name(), code.title(), code.cure())).collect()
}

/// The number of the turn that the running loop is in.
#[pyfunction]
fn _turn_number() -> u64 {
    event_loop::running().and_then(|loop_| LoopCore::of(loop_.as_ptr()).map(|core| core.progress.turns())).unwrap_or(0)
}

/// Whether the ends of all tasks are told to the watch.
#[pyfunction]
fn _look_at_ends(on: bool) {
    if let Some((_, sink)) = running() {
        sink.watching.looks_at_ends.set(on);
    }
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(_tell_wants, m)?)?;
    m.add_function(wrap_pyfunction!(running_holds, m)?)?;
    m.add_function(wrap_pyfunction!(running_releases, m)?)?;
    m.add_function(wrap_pyfunction!(running_signals, m)?)?;
    m.add_function(wrap_pyfunction!(running_queue, m)?)?;
    m.add_function(wrap_pyfunction!(_tell_warning, m)?)?;
    m.add_function(wrap_pyfunction!(_look_at_ends, m)?)?;
    m.add_function(wrap_pyfunction!(_warning_codes, m)?)?;
    m.add_function(wrap_pyfunction!(_turn_number, m)?)
}
