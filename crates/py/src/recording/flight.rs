//! The flight recorder: the last seconds in memory, written to a file when something happens.
//!
//! | what happens | who notices |
//! |---|---|
//! | a task fails and nobody handles it, the program asks | Python, which leaves a wish ([`FlightRecorder::note`], [`FlightRecorder::write`]) |
//! | a loop is blocked, a deadline passes | the recorder's thread |
//! | a signal | its handler (`flight_signal.rs`), and then the thread |
//!
//! All files are written by the thread, which never needs the GIL: also while native code holds that. What is kept, how files are
//! named and how many there may be is in `trace::flight`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{mpsc, Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use net::clock::Monotonic;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use sched::{Clock, Nanos};
use serde_json::{json, Value};
use trace::event::{step, Event, Key, Kind, Text, NUMBERED};
use trace::flight::files::Folder;
use trace::flight::{Limits, Window};
use trace::words;

use super::figures::Figures;
use super::flight_signal as signals;
use super::present::Busy;
use super::session::{locked, os_error_at, Keeps, Out, Session};

/// How long the thread sleeps between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// A thread that has not been running for so long knows nothing about how long others have.
const UNRELIABLE: Nanos = 250_000_000;
/// How often it looks whether its signal is still its own.
const LOOKS_PER_SIGNAL: u64 = 50;

/// What is wanted of the thread.
#[derive(Default)]
struct Wanted {
    stop: bool,
    /// The thread is gone.
    over: bool,
    wishes: Vec<Wish>,
    /// By when they pass, and a number. Each says whose it is, and how long it is.
    deadlines: BTreeMap<(Nanos, u64), (String, Nanos)>,
    last_deadline: u64,
}

/// A file to be written.
struct Wish {
    kind: &'static str,
    why: String,
    answer: Option<mpsc::Sender<io::Result<PathBuf>>>,
}

#[derive(Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

impl Shared {
    /// One that comes too late is dropped, and whoever waits for its answer hears that.
    fn wish(&self, wish: Wish) {
        let mut wanted = locked(&self.wanted);
        if !wanted.over {
            wanted.wishes.push(wish);
            self.changed.notify_all();
        }
    }

    fn is_over(&self) {
        let mut wanted = locked(&self.wanted);
        wanted.over = true;
        wanted.wishes.clear();
    }

    /// What is wanted now, or after a pause, and whether the recorder is to stop.
    fn next(&self) -> (Vec<Wish>, bool) {
        let mut wanted = locked(&self.wanted);
        if !wanted.stop && wanted.wishes.is_empty() {
            wanted = self.changed.wait_timeout(wanted, PAUSE).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut wishes = std::mem::take(&mut wanted.wishes);
        let now = Monotonic.now();
        while let Some(first) = wanted.deadlines.first_entry().filter(|first| first.key().0 <= now) {
            let (what, nanos) = first.remove();
            wishes.push(deadline_passed(&what, nanos));
        }
        (wishes, wanted.stop)
    }
}

fn deadline_passed(what: &str, nanos: Nanos) -> Wish {
    let why = format!("{what} took longer than {}", in_seconds(nanos));
    Wish { kind: "deadline", why, answer: None }
}

// ---- the thread --------------------------------------------------------------------------------------------------------

struct Thread {
    session: Arc<Session>,
    shared: Arc<Shared>,
    window: Window,
    folder: Folder,
    limits: Limits,
    /// In words.
    length: String,
    /// A loop that is blocked for longer stalls; 0: none does.
    stall: Nanos,
    /// Of each loop that has stalled, since when: once said, it isn't said again.
    stalled: Vec<(u32, Nanos)>,
    last_look: Nanos,
    looks: u64,
}

impl Thread {
    fn run(mut self) {
        self.last_look = Monotonic.now();
        loop {
            let (wishes, stop) = self.shared.next();
            let now = Monotonic.now();
            let window = &mut self.window;
            self.session.drain(|number, events| window.push(number, events));
            self.window.tick(now);
            if self.session.wants_figures() {
                self.session.figures.get_or_init(|| Figures::of_window(&self.window));
            }
            for wish in wishes {
                self.grant(wish, now);
            }
            self.look_for_stalls(now);
            self.look_for_signal(now);
            if stop {
                return self.shared.is_over();
            }
        }
    }

    fn look_for_signal(&mut self, now: Nanos) {
        if signals::take() {
            self.grant(Wish { kind: "signal", why: "asked by a signal".to_owned(), answer: None }, now);
        }
        self.looks += 1;
        if self.looks % LOOKS_PER_SIGNAL == 0 && signals::was_replaced() {
            signals::uninstall();
            say(
                "segue: the program handles the flight recorder's signal itself now, so that no recording is written on it; \
                 choose another one (--flight-signal, or signal= in code)",
            );
        }
    }

    fn look_for_stalls(&mut self, now: Nanos) {
        let paused = now.saturating_sub(std::mem::replace(&mut self.last_look, now));
        if self.stall == 0 || paused >= UNRELIABLE {
            return;
        }
        let mut found = Vec::new();
        for (number, present) in self.session.presents() {
            let Some((busy, since)) = present.busy().filter(|(_, since)| now.saturating_sub(*since) >= self.stall)
            else {
                continue;
            };
            if self.stalled.contains(&(number, since)) {
                continue;
            }
            self.stalled.retain(|(known, _)| *known != number);
            self.stalled.push((number, since));
            let who = match (busy, present.step()) {
                (Busy::WantsGil, _) => ": another thread holds the GIL".to_owned(),
                (Busy::Turn, Some((task, began))) if now.saturating_sub(began) * 2 >= now.saturating_sub(since) => {
                    format!(" by {}", self.name_of(task))
                }
                (Busy::Turn, _) => " by callbacks or many short steps of tasks".to_owned(),
            };
            let took = words::duration(now.saturating_sub(since));
            found.push(format!("the event loop has been blocked for {took}{who}"));
        }
        for why in found {
            self.grant(Wish { kind: "stall", why, answer: None }, now);
        }
    }

    /// "task 'name' (coroutine)".
    fn name_of(&self, task: Key) -> String {
        let (name, coroutine) = self.window.name_of(task);
        let text = |number: Text| self.session.words.text_of_number(number).unwrap_or_default();
        let coroutine = text(coroutine);
        let name = match name {
            0 => return format!("a task ({coroutine})"),
            name if name & NUMBERED != 0 => format!("Task-{}", name & !NUMBERED),
            name => text(name),
        };
        format!("task '{name}' ({coroutine})")
    }

    fn grant(&mut self, wish: Wish, now: Nanos) {
        let Wish { kind, why, answer } = wish;
        let why = words::one_line(&why);
        // Who asks gets a file, as often as that is.
        let left_out = match kind {
            "asked" | "signal" => Some(0),
            kind => self.limits.allow(kind, now),
        };
        let Some(left_out) = left_out else { return };
        let written = self.write(kind, &why);
        match &written {
            Ok(path) => {
                let path = quoted(path);
                let more = match left_out {
                    0 => String::new(),
                    count => format!("; since the last such recording, {count} more of the kind were left out"),
                };
                say(&format!(
                    "segue: {why}{more}. The {} before it are in {path}: look at them with segue view {path}",
                    self.length
                ));
            }
            Err(e) => {
                let folder = self.folder.path().display();
                say(&format!("segue: {why}, but the flight recording could not be written to {folder}: {e}"));
            }
        }
        if let Some(answer) = answer {
            // Nobody may be waiting any more.
            let _ = answer.send(written);
        }
    }

    fn write(&mut self, kind: &str, why: &str) -> io::Result<PathBuf> {
        let (session, window) = (&self.session, &self.window);
        let information = about(&session.information, window.begin(), kind, why);
        // Steps are told when they are over: these are not.
        let now = Monotonic.now();
        let steps: Vec<(u32, Event)> = session
            .presents()
            .into_iter()
            .filter_map(|(number, present)| {
                let (task, since) = present.step()?;
                Some((number, Event::new(Kind::Step, since, task, now.saturating_sub(since), 0, step::RUNS)))
            })
            .collect();
        self.folder.write(kind, |file| {
            let mut out = Out::new(file, &information)?;
            window.write(|number, events| out.write(&session.words, number, events))?;
            for (number, step) in &steps {
                out.write(&session.words, *number, std::slice::from_ref(step))?;
            }
            out.finish()
        })
    }
}

/// What the file says about the program: it begins later than the recorder did, and has a reason.
fn about(information: &str, begin: Nanos, kind: &str, why: &str) -> String {
    let mut about: Value = serde_json::from_str(information).unwrap_or_else(|_| json!({}));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    if begin != 0 {
        let ago = Monotonic.now().saturating_sub(begin) as f64 / 1e9;
        (about["started"], about["started_at"]) = (json!(now - ago), json!(begin));
    }
    about["flight"] = json!({"kind": kind, "why": why, "at": now});
    about.to_string()
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = path.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | ':' | '@'));
    if is_plain {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// Straight to standard error: nothing of Python may be touched. Who has closed that wants to hear nothing.
fn say(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

// ---- for Python --------------------------------------------------------------------------------------------------------

/// A flight recorder that runs. `segue.flight` is what people call.
#[pyclass(frozen, module = "segue._core")]
pub struct FlightRecorder {
    session: Arc<Session>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    folder: PathBuf,
}

#[pymethods]
impl FlightRecorder {
    /// Begins to keep the last `seconds`, in at most about `memory` bytes (and a quarter of that for each loop), of all loops that
    /// there are and that are made meanwhile. `stall` seconds without a look at what has happened outside are a stall, 0: none is.
    /// `signal`: 0 for none. `keep` files are kept in `folder`; the second of a kind is written `pause` seconds after the first.
    ///
    /// Raises RuntimeError if a recording runs already, OSError if the folder can't be written to.
    #[new]
    #[pyo3(signature = (folder, program, information, *, seconds, memory, stall, signal, keep, pause))]
    #[allow(clippy::too_many_arguments)] // Python names each of them.
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        program: &str,
        information: String,
        seconds: f64,
        memory: usize,
        stall: f64,
        signal: i32,
        keep: usize,
        pause: f64,
    ) -> PyResult<Self> {
        let session = Session::new(py, Keeps::Present, memory, information, None)?;
        let opened = Folder::open(&folder, program, keep).map_err(|e| os_error_at(&e, &folder))?;
        if signal != 0 {
            signals::install(signal)
                .map_err(|e| PyValueError::new_err(format!("signal {signal} can't be used: {e}")))?;
        }
        let shared = Arc::<Shared>::default();
        let thread = Thread {
            session: session.clone(),
            shared: shared.clone(),
            window: Window::new(nanos(seconds), memory),
            folder: opened,
            limits: Limits::new(nanos(pause)),
            length: in_seconds(nanos(seconds)),
            stall: nanos(stall),
            stalled: Vec::new(),
            last_look: 0,
            looks: 0,
        };
        let thread = std::thread::Builder::new().name("segue-flight".into()).spawn(move || thread.run())?;
        let recorder = FlightRecorder { session, shared, thread: Mutex::new(Some(thread)), folder };
        if let Err(e) = recorder.session.begin(py) {
            recorder.stop(py)?;
            return Err(e);
        }
        Ok(recorder)
    }

    /// Ends it, once what is wanted has been written. Idempotent.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let Some(thread) = locked(&self.thread).take() else { return Ok(()) };
        self.session.end();
        signals::uninstall();
        locked(&self.shared.wanted).stop = true;
        self.shared.changed.notify_all();
        if py.detach(|| thread.join()).is_err() {
            return Err(PyRuntimeError::new_err("the flight recorder's thread has panicked: please report it"));
        }
        Ok(())
    }

    /// Something has failed, or a whole run: a file is to be written, unless there was one a short time ago. Waits for nothing.
    fn note(&self, why: String, ends_run: bool) {
        self.shared.wish(Wish { kind: if ends_run { "end" } else { "failure" }, why, answer: None });
    }

    /// Writes a file; its path. Raises OSError if that failed, RuntimeError if the recorder has stopped.
    fn write(&self, py: Python<'_>, why: String) -> PyResult<PathBuf> {
        let (answer, answered) = mpsc::channel();
        self.shared.wish(Wish { kind: "asked", why, answer: Some(answer) });
        match py.detach(move || answered.recv()) {
            Ok(written) => written.map_err(|e| os_error_at(&e, &self.folder)),
            Err(mpsc::RecvError) => Err(PyRuntimeError::new_err("the flight recorder has been stopped")),
        }
    }

    /// A file is to be written if `what` has not ended after `seconds`. What this returns is for `met`.
    fn deadline(&self, seconds: f64, what: String) -> (Nanos, u64) {
        let length = nanos(seconds);
        let mut wanted = locked(&self.shared.wanted);
        wanted.last_deadline += 1;
        let key = (Monotonic.now().saturating_add(length), wanted.last_deadline);
        wanted.deadlines.insert(key, (what, length));
        key
    }

    /// It has ended.
    fn met(&self, key: (Nanos, u64)) {
        let known = locked(&self.shared.wanted).deadlines.remove(&key);
        if let Some((what, length)) = known.filter(|_| key.0 <= Monotonic.now()) {
            self.shared.wish(deadline_passed(&what, length));
        }
    }

    /// As of a recording.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.session.counts_dict(py)
    }
}

/// As it was written: "2 s", "0.25 s".
fn in_seconds(nanos: Nanos) -> String {
    format!("{} s", nanos as f64 / 1e9)
}

fn nanos(seconds: f64) -> Nanos {
    (seconds * 1e9) as Nanos
}
