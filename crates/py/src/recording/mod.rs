//! A recording of the running program: what the loop's parts tell goes into a ring per loop, with words for people.
//!
//! | file | |
//! |---|---|
//! | this one | what the loop's parts call, only while somebody records |
//! | [`sink`] | a loop's events with their times, into its ring |
//! | [`words`] | the numbers of texts and places |
//! | [`session`] | beginning and ending; the thread that empties the rings |
//! | [`flight`], [`flight_signal`] | the flight recorder: the last seconds in memory, written when something happens |
//! | [`present`] | what a loop does right now, for its thread |
//! | [`figures`] | what `segue.inspect` counts of the running program |
//! | [`live`] | the model of the running program that whoever looks at it asks |
//! | [`samples`] | where the loops are: whether one is blocked |
//! | [`listen`] | the socket through which it is asked |
//! | [`client`] | one who asks |
//! | [`thread`] | threads of ours in the program's process |
//! | [`attached`] | what of that needs the GIL |
//! | [`peek`] | the tasks read as memory, where native code holds the GIL |
//! | [`memory`] | ... Python's objects in it |
//! | [`watching`] | what only the objects themselves know, for warnings |
//! | [`blocking`] | what blocks the loop, told while it does |
//! | [`in_memory`] | the tasks of a recording that runs, to be asked |
//! | [`opened`] | a file that was recorded, with answers to questions about it |
//!
//! What the events are: `docs/design/recording.md`. `segue run --report` has a log of its own (`recorder.rs`).

pub mod attached;
pub mod blocking;
mod client;
pub mod figures;
pub mod flight;
pub mod flight_signal;
pub mod in_memory;
pub mod listen;
pub mod live;
mod memory;
pub mod opened;
pub mod peek;
pub mod present;
mod samples;
pub mod session;
pub mod sink;
mod thread;
pub mod watching;
pub mod words;

use std::rc::Rc;

use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use sched::{CancelSource, Doing};
use trace::event::{Kind, NUMBERED};
use trace::warning;

use crate::cancellation::{self, Cancellation};
use crate::event_loop::LoopCore;
use crate::io::{Ready, Watcher};
use crate::job::Job;
use crate::raw::task::{self, Name, TaskState};
use crate::raw::{future, handle, Obj, Raised, R};
use crate::structured::wait;
use crate::{failure, recorder};

pub use sink::Sink;

fn sink(core: &LoopCore) -> Option<Rc<Sink>> {
    core.sink.borrow().clone()
}

/// Where a loop tells what it does right now, if somebody looks.
pub fn present(core: &LoopCore) -> Option<std::sync::Arc<present::Present>> {
    core.sink.borrow().as_ref()?.present.clone()
}

/// A task of ours was made and has its number.
#[cold]
pub fn spawned(core: &LoopCore, o: *mut PyObject, s: &TaskState) {
    recorder::spawned(core, o);
    let Some(sink) = sink(core) else {
        core.hooks.spawn(s.id.get(), 0, 0);
        return;
    };
    let words = &sink.words;
    let place = words.places.caller(core.is_running(), |at| words.place_of(at));
    let coroutine = words.coroutine(&s.coro.obj_or_none());
    core.hooks.spawn(s.id.get(), place, coroutine);
    named(core, s);
    watching::spawned(&sink, place);
}

/// A task has got a name. One that is named after its function has none of its own.
#[cold]
pub fn named(core: &LoopCore, s: &TaskState) {
    let Some(sink) = sink(core) else { return };
    if let Some(text) = name_of(&sink, s) {
        sink.push(Kind::Name, sink.key(s.id.get()), 0, 0, text);
    }
}

/// The name that a task was given, as its event has it.
fn name_of(sink: &Sink, s: &TaskState) -> Option<u32> {
    match task::name_as_given(s) {
        _ if task::is_named_after_function(s) => None,
        Name::Number(number) => Some(NUMBERED | (number & u64::from(!NUMBERED)) as u32),
        Name::Object(name) if task::is_string(&name) => Some(sink.words.text(&text_of(&name))),
        Name::Object(_) => None,
    }
}

/// A task has become a nursery's child.
#[cold]
pub fn child(core: &LoopCore, s: &TaskState, scope: u64) {
    if let Some(sink) = sink(core) {
        sink.push(Kind::Child, sink.key(s.id.get()), scope, 0, 0);
    }
}

/// A scope was entered by a task.
#[cold]
pub fn scope_opened(core: &LoopCore, host: &TaskState, scope: u64, is_nursery: bool) {
    if let Some(sink) = sink(core) {
        let place = here(core, &sink);
        let what = if is_nursery { trace::event::scope::NURSERY } else { trace::event::scope::CANCEL_SCOPE };
        sink.push(Kind::ScopeOpen, sink.key(host.id.get()), scope, place, what);
    }
}

#[cold]
pub fn scope_closed(core: &LoopCore, host: u64, scope: u64, caught: bool) {
    if let Some(sink) = sink(core) {
        sink.push(Kind::ScopeClose, sink.key(host), scope, 0, caught.into());
    }
}

/// A task has suspended, waiting for `on`.
#[cold]
pub fn waits(core: &LoopCore, s: &TaskState, on: *mut PyObject) {
    let id = s.id.get();
    let on_task = task_number(on);
    let Some(sink) = sink(core) else {
        core.hooks.wait(id, on_task, on as u64, 0, 0);
        return;
    };
    let (object, place, what) = waits_for(&sink, s, on);
    core.hooks.wait(id, on_task, object, place, what);
    watching::waits(&sink, s);
}

fn task_number(o: *mut PyObject) -> u64 {
    if !future::is_task(o) {
        return 0;
    }
    // SAFETY: a task of ours.
    unsafe { task::state(o) }.id.get()
}

/// The object that a suspended task waits for, where, and what that is called.
fn waits_for(sink: &Sink, s: &TaskState, on: *mut PyObject) -> (u64, u32, u32) {
    let words = &sink.words;
    let (place, inside) = words.waits_at(s.coro.get());
    let (object, what) = if let Some(wanted) = sink.watching.wanted(s.id.get()) {
        wanted
    } else if wait::is_wait(on) {
        // SAFETY: just checked.
        let wait = unsafe { wait::state(on) };
        (number(wait.object()), words.own(wait.operation_name()))
    } else {
        (on as u64, if inside != 0 { inside } else { words.class_of(on) })
    };
    (object, place, what)
}

/// A task lets others run and waits for nothing.
#[cold]
pub fn yields(core: &LoopCore, s: &TaskState) {
    if let Some(sink) = sink(core) {
        watching::yields(&sink, s);
    }
}

/// A task was asked to cancel; `cause` is the scope's or the request's [`Cancellation`], where there is one.
#[cold]
pub fn cancelled(core: &LoopCore, s: &TaskState, source: CancelSource, cause: Option<&Obj>) {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    let mut place = 0;
    if let Some(sink) = sink(core) {
        let scope = cause.filter(|_| source.is_scoped()).map_or(0, |cause| cause.as_ptr() as u64);
        watching::cancelled(&sink, s, scope);
        match cause.and_then(|cause| Cancellation::of(py, cause)) {
            Some(info) => {
                place = info.place_text(py).map_or(0, |text| sink.words.place(&text));
                if let Some(reason) = info.reason_text(py) {
                    sink.push(Kind::Why, sink.key(s.id.get()), 0, 0, sink.words.text(&reason));
                }
            }
            None => place = here(core, &sink),
        }
    }
    core.hooks.cancel(s.id.get(), source, place);
}

/// A task has ended, `exc` being what it raised.
#[cold]
pub fn finished(core: &LoopCore, s: &TaskState, how: u64, exc: Option<&Obj>) {
    let mut place = 0;
    let sink = sink(core);
    if let Some(sink) = &sink {
        watching::finished(sink, s, how, exc);
    }
    if let (Some(sink), Some(exc)) = (sink, exc) {
        match words_about(&sink, exc) {
            Ok((text, at)) => {
                place = at;
                sink.push(Kind::Why, sink.key(s.id.get()), 0, place, text);
            }
            // An interrupt in the exception's own text: it comes again.
            Err(Raised) => crate::raw::obj::forget_raised(),
        }
    }
    core.hooks.finish(s.id.get(), how, place);
}

fn words_about(sink: &Sink, exc: &Obj) -> R<(u32, u32)> {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    let exc = exc.bound(py);
    let words = &sink.words;
    if cancellation::is_cancelled_error(exc.as_ptr()) {
        return Ok((words.text(&failure::cancelled_by(&exc)?), 0));
    }
    Ok((words.text(&failure::describe(&exc)?), words.place(&words.places.raised_at(&exc)?)))
}

/// Nobody has asked for a task's exception (0), or it is gone before it has ended (1).
#[cold]
pub fn unheard(core: &LoopCore, s: &TaskState, what: u32) {
    if let Some(sink) = sink(core) {
        sink.push(Kind::Unheard, sink.key(s.id.get()), 0, 0, what);
    }
}

/// A task has got what others wait for.
#[inline(always)]
pub fn tell_holds(s: &TaskState, object: *mut PyObject, what: &'static str) {
    if let Some(core) = s.future.core().filter(|core| core.hooks.is_attached()) {
        holds(core, s, object, what);
    }
}

/// ... and has given it back.
#[inline(always)]
pub fn tell_releases(s: &TaskState, object: *mut PyObject) {
    if let Some(core) = s.future.core().filter(|core| core.hooks.is_attached()) {
        releases(core, s, object);
    }
}

/// The same of whoever may be a task of ours, or of the task that runs now.
#[inline(always)]
pub fn tell_task_holds(task: *mut PyObject, object: *mut PyObject, what: &'static str) {
    if future::is_task(task) {
        // SAFETY: just checked.
        tell_holds(unsafe { task::state(task) }, object, what);
    }
}

#[inline(always)]
pub fn tell_task_releases(task: *mut PyObject, object: *mut PyObject) {
    if future::is_task(task) {
        // SAFETY: just checked.
        tell_releases(unsafe { task::state(task) }, object);
    }
}

#[inline(always)]
pub fn tell_running_holds(object: *mut PyObject, what: &'static str) {
    if session::is_on() {
        watching::running_holds(number(object), what);
    }
}

#[inline(always)]
pub fn tell_running_releases(object: *mut PyObject) {
    if session::is_on() {
        watching::running_releases(number(object));
    }
}

/// Those who wait for the object may go on: an event was set, a condition notified.
#[inline(always)]
pub fn tell_signal(object: *mut PyObject) {
    if session::is_on() {
        watching::running_signals(number(object));
    }
}

/// The same of an item that was put into a queue; `items` are in it now, if it has no bound.
#[inline(always)]
pub fn tell_put(object: *mut PyObject, items: usize) {
    if session::is_on() {
        watching::running_signals(number(object));
        if items >= 16 && items.is_power_of_two() {
            watching::running_queue(number(object), items as u32);
        }
    }
}

/// The number of one of Segue's own locks, events, channels and so on.
pub fn number(object: *mut PyObject) -> u64 {
    warning::OWN | object as u64
}

#[cold]
fn holds(core: &LoopCore, s: &TaskState, object: *mut PyObject, what: &'static str) {
    if let Some(sink) = sink(core) {
        let place = here(core, &sink);
        sink.push(Kind::Hold, sink.key(s.id.get()), number(object), place, sink.words.own(what));
    }
}

#[cold]
fn releases(core: &LoopCore, s: &TaskState, object: *mut PyObject) {
    if let Some(sink) = sink(core) {
        sink.push(Kind::Release, sink.key(s.id.get()), number(object), 0, 0);
    }
}

/// Where the running code is.
fn here(core: &LoopCore, sink: &Sink) -> u32 {
    sink.words.places.caller(core.is_running(), |at| sink.words.place_of(at))
}

fn text_of(o: &Obj) -> String {
    // SAFETY: attached.
    let py = unsafe { Python::assume_attached() };
    o.bound(py).to_string()
}

// ---- callbacks --------------------------------------------------------------------------------------------------------

/// What runs that is no task's step.
pub fn doing(job: &Job) -> Doing {
    match job {
        Job::Io { .. } => Doing::Io,
        Job::Timer(_) => Doing::Timer,
        Job::Deadline(_) => Doing::Deadline,
        _ => Doing::Callback,
    }
}

/// What it is called.
pub fn callback_name(core: &LoopCore, job: &Job) -> u32 {
    let Some(sink) = sink(core) else { return 0 };
    let words = &sink.words;
    let of_handle = |o: &Obj| {
        let callback = handle::Handle::of(o).callback_ptr();
        let name = words.callable(callback);
        watching::calls(&sink, name, callback);
        name
    };
    match job {
        Job::Handle(o) | Job::Timer(o) => of_handle(o),
        Job::Callback { call, .. } => words.callable(call.as_ptr()),
        Job::Deadline(_) => words.own("the deadline of a cancel scope"),
        Job::Io { token, ready } => match core.io.look_up(*token, *ready) {
            Ready::Object(object, _) => words.class_of(object.as_ptr()),
            Ready::Watchers(_, reader, writer) => match (reader, writer) {
                (Some(Watcher::Handle(o)), _) | (_, Some(Watcher::Handle(o))) => of_handle(&o),
                _ => words.own("a socket operation"),
            },
            Ready::Nothing => 0,
        },
        Job::Step(_) | Job::Start(_) | Job::Wake { .. } | Job::Throw { .. } => 0,
    }
}
