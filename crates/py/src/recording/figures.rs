//! What `segue.inspect` has of the running program beyond its objects: figures of the recording that runs, and pictures.
//!
//! Figures are counted from the moment on when somebody first asks for them: then the recording's thread feeds a model too
//! ([`Figures`]), which is as late as its pauses are long. What was there before the flight recorder has in memory; for other recordings
//! it is described by Python, which knows the objects ([`Described`]). The same descriptions alone make a picture without any recording.

use std::sync::Mutex;

use net::clock::Monotonic;
use pyo3::exceptions::{PyLookupError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sched::{Clock, Nanos};
use trace::event::{phase, scope, Event, Key, Kind, Object};
use trace::flight::Window;
use trace::recording::Limits;

use super::opened::{Export, OpenedRecording};
use super::session::{self, locked};
use super::words::Words;
use crate::event_loop::{all_loops, LoopCore};
use crate::raw::task;

/// Tasks that have ended; their sums are kept for good. No events: nobody asks for stories here.
const LIMITS: Limits = Limits { tasks: 10_000, events: 0 };

pub struct Figures {
    since: Nanos,
    /// What was written before then is in it already.
    after: Nanos,
    state: Mutex<State>,
}

struct State {
    recording: trace::Recording,
    /// So many definitions are in it.
    defined: usize,
}

impl Figures {
    /// Of a flight recorder: from what it has in memory on. Its thread calls this between two looks.
    pub fn of_window(window: &Window) -> Figures {
        let mut recording = trace::Recording::live(LIMITS);
        let Ok(()) = window.write(|number, events| {
            events.iter().for_each(|event| recording.apply(event.in_loop(number)));
            Ok::<(), std::convert::Infallible>(())
        });
        Figures { since: window.begin(), after: 0, state: Mutex::new(State { recording, defined: 0 }) }
    }

    /// Events of one loop, in their order: from the recording's thread.
    pub fn take(&self, loop_number: u32, events: &[Event]) {
        let mut state = locked(&self.state);
        for event in events.iter().filter(|event| event.written() >= self.after) {
            state.recording.apply(event.in_loop(loop_number));
        }
    }

    /// With the GIL let go of: who waits for the lock may have it.
    fn ask<T>(&self, words: &Words, ask: impl FnOnce(&mut trace::Recording) -> T) -> T {
        let mut state = locked(&self.state);
        state.define(words);
        state.recording.tick(Monotonic.now());
        ask(&mut state.recording)
    }
}

impl State {
    fn define(&mut self, words: &Words) {
        let new = words.defined_after(self.defined);
        self.defined += new.len();
        new.into_iter().for_each(|definition| self.recording.define(definition));
    }
}

// ---- descriptions ------------------------------------------------------------------------------------------------------

/// A loop: its number, its thread's name, whether it runs.
type DescribedLoop = (u32, String, bool);

/// A task that is alive, as `segue._inspect.tasks` describes it: keys and objects by number, places as "file:line function".
#[derive(FromPyObject)]
pub struct Described {
    key: Key,
    parent: Key,
    name: String,
    coroutine: String,
    started_at: String,
    /// The scope of the nursery that it belongs to, and those that it has opened.
    nursery: Object,
    nurseries: Vec<Object>,
    /// The task that it waits for, or what else and where; nothing if it doesn't wait.
    waits_for: Key,
    what: String,
    waits_at: String,
}

/// As events of the time `at`.
fn events_of(words: &Words, loops: &[DescribedLoop], tasks: &[Described], at: Nanos) -> Vec<Event> {
    let mut events = Vec::new();
    for (number, thread, runs) in loops {
        let phase = if *runs { phase::RUNS } else { phase::STOPS };
        let told = Event::new(Kind::Loop, at, 0, u64::from(*number), words.text(thread), phase);
        events.push(told.in_loop(*number));
    }
    // Who started or hosts somebody comes first.
    let mut tasks: Vec<&Described> = tasks.iter().collect();
    tasks.sort_by_key(|task| task.key);
    for task in &tasks {
        let mut push = |kind, a, b, c| events.push(Event::new(kind, at, task.key, a, b, c));
        push(Kind::Exists, task.parent, words.place(&task.started_at), words.text(&task.coroutine));
        if !task.name.is_empty() {
            push(Kind::Name, 0, 0, words.text(&task.name));
        }
        for &nursery in &task.nurseries {
            push(Kind::ScopeOpen, nursery, 0, scope::NURSERY);
        }
    }
    for task in &tasks {
        let mut push = |kind, a, b, c| events.push(Event::new(kind, at, task.key, a, b, c));
        if task.nursery != 0 {
            push(Kind::Child, task.nursery, 0, 0);
        }
        let place = words.place(&task.waits_at);
        if task.waits_for != 0 {
            push(Kind::WaitTask, task.waits_for, place, 0);
        } else if !task.what.is_empty() {
            push(Kind::Wait, 0, place, words.text(&task.what));
        }
    }
    events
}

fn recording_of(words: &Words, loops: &[DescribedLoop], tasks: &[Described], at: Nanos) -> State {
    let mut state = State { recording: trace::Recording::live(LIMITS), defined: 0 };
    state.recording.apply_all(events_of(words, loops, tasks, at));
    state.define(words);
    state
}

// ---- for Python --------------------------------------------------------------------------------------------------------

/// The loops of Segue's in this process, of all threads.
#[pyfunction(name = "_all_loops")]
fn loops(py: Python<'_>) -> Vec<Bound<'_, PyAny>> {
    all_loops().into_iter().map(|(_, loop_)| loop_.bound(py)).collect()
}

/// A loop's number in the recording that runs; 0 if it isn't in one.
#[pyfunction(name = "_number_of_loop")]
fn number_of_loop(loop_: &Bound<'_, PyAny>) -> u64 {
    LoopCore::of(loop_.as_ptr()).and_then(super::sink).map_or(0, |sink| sink.loop_number())
}

/// A task's key in the recording that runs; 0 if it isn't in one.
#[pyfunction(name = "_key_of_task")]
fn key_of_task(task: &Bound<'_, PyAny>) -> Key {
    if !task::is_ours(task.as_ptr()) {
        return 0;
    }
    // SAFETY: ours.
    let s = unsafe { task::state(task.as_ptr()) };
    s.future.core().and_then(super::sink).map_or(0, |sink| sink.key(s.id.get()))
}

/// Whether a recording runs that figures can be had of.
#[pyfunction(name = "_can_count")]
fn can_count() -> bool {
    session::with_thread().is_some()
}

/// Whether figures are counted: `_begin_counting` needn't be called.
#[pyfunction(name = "_is_counting")]
fn is_counting() -> bool {
    session::with_thread().is_some_and(|session| session.figures.get().is_some())
}

/// Has figures counted from what is in memory on, a moment from now, if there is that: `_begin_counting` is not needed then.
#[pyfunction(name = "_count_from_memory")]
fn count_from_memory() -> bool {
    session::with_thread().is_some_and(|session| session.count_from_memory())
}

/// Figures are counted from now on, beginning with these loops and tasks. Once for each recording.
#[pyfunction(name = "_begin_counting")]
fn begin_counting(loops: Vec<DescribedLoop>, tasks: Vec<Described>) {
    if let Some(session) = session::with_thread() {
        let since = Monotonic.now();
        session.figures.get_or_init(|| Figures {
            since,
            after: since,
            state: Mutex::new(recording_of(&session.words, &loops, &tasks, since)),
        });
    }
}

/// The answer to a question of `docs/design/recording.md`, as JSON, and the seconds for which figures have been counted. None if they
/// aren't. Raises LookupError if there is no answer.
#[pyfunction(name = "_figures")]
fn figures(py: Python<'_>, question: &str, arguments: &str) -> PyResult<Option<(String, f64)>> {
    let arguments = serde_json::from_str(arguments).map_err(|e| PyValueError::new_err(e.to_string()))?;
    let Some(session) = session::with_thread() else { return Ok(None) };
    let Some(figures) = session.figures.get() else { return Ok(None) };
    let seconds = Monotonic.now().saturating_sub(figures.since) as f64 / 1e9;
    let answer =
        |recording: &mut trace::Recording| recording.answer(question, &arguments).map(|answer| answer.to_string());
    match py.detach(|| figures.ask(&session.words, answer)) {
        Ok(answer) => Ok(Some((answer, seconds))),
        Err(refused) => Err(PyLookupError::new_err(refused.0)),
    }
}

/// As `OpenedRecording.export`, of what is counted. None if nothing is.
#[pyfunction(name = "_export_figures")]
fn export_figures<'py>(py: Python<'py>, format: &str, arguments: &str) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let Some(session) = session::with_thread() else { return Ok(None) };
    let Some(figures) = session.figures.get() else { return Ok(None) };
    let wanted = Export::new(format, arguments)?;
    let out = py.detach(|| figures.ask(&session.words, |recording| wanted.of(recording)));
    Ok(Some(PyBytes::new(py, &out.map_err(PyLookupError::new_err)?)))
}

/// A recording of nothing but these loops and tasks, as they are now.
#[pyfunction(name = "_describe")]
fn describe(py: Python<'_>, loops: Vec<DescribedLoop>, tasks: Vec<Described>) -> PyResult<OpenedRecording> {
    let words = Words::new(py)?;
    Ok(OpenedRecording::of(recording_of(&words, &loops, &tasks, Monotonic.now()).recording))
}

pub fn add_to(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(loops, m)?)?;
    m.add_function(wrap_pyfunction!(number_of_loop, m)?)?;
    m.add_function(wrap_pyfunction!(key_of_task, m)?)?;
    m.add_function(wrap_pyfunction!(can_count, m)?)?;
    m.add_function(wrap_pyfunction!(is_counting, m)?)?;
    m.add_function(wrap_pyfunction!(count_from_memory, m)?)?;
    m.add_function(wrap_pyfunction!(begin_counting, m)?)?;
    m.add_function(wrap_pyfunction!(figures, m)?)?;
    m.add_function(wrap_pyfunction!(export_figures, m)?)?;
    m.add_function(wrap_pyfunction!(describe, m)?)
}
