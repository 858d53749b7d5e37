//! The model of the running program that whoever looks at it asks. It is there as long as somebody looks: then the loops write their events
//! into rings of ours too, beside a recording's if one runs, and the listening thread feeds the model with them.
//!
//! Two sides. With the GIL held: [`begin`], [`end`], [`attach`] and [`tap`], which connect loops. On the listening thread, which never
//! waits for the GIL: [`Live`], which has the model and answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use net::clock::Monotonic;
use pyo3::prelude::*;
use sched::Clock;
use serde_json::{json, Map, Value};
use trace::event::{Definition, Event, Key};
use trace::queries::Arguments;
use trace::recording::Limits;
use trace::ring::{self, Reader, Writer};
use trace::{words, Recording};

use super::attached::{Asked, Interpreter, Wish};
use super::peek::{self, Layout, Peeked};
use super::samples::{self, Sample, Samples};
use super::session::{self, Whom};
use super::thread::Thread;
use super::watching::Watching;
use super::words::Words;
use crate::event_loop::{all_loops, LoopCore};
use crate::progress::Doing;

/// Bytes of a loop's ring, which is emptied many times a second.
const MEMORY: usize = 8 << 20;
/// What is kept of what is over.
const LIMITS: Limits = Limits { tasks: 20_000, events: 200_000 };

// ---- with the GIL ------------------------------------------------------------------------------------------------------

struct Looking {
    words: Arc<Words>,
    readers: Vec<Reader>,
}

/// Set and taken with the GIL held, since what is in it is dropped with the GIL held only.
static LOOKING: Mutex<Option<Looking>> = Mutex::new(None);

/// Nothing that holds it can panic, calls Python or waits for the GIL.
fn looking() -> MutexGuard<'static, Option<Looking>> {
    LOOKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The words, if somebody looks.
pub fn words() -> Option<Arc<Words>> {
    looking().as_ref().map(|looking| looking.words.clone())
}

/// A ring for a loop's events, if somebody looks.
pub fn tap(_core: &LoopCore, words: &Arc<Words>) -> Option<Writer> {
    let mut looking = looking();
    let looking = looking.as_mut().filter(|looking| Arc::ptr_eq(&looking.words, words))?;
    let (writer, reader) = ring::streaming(MEMORY);
    looking.readers.push(reader);
    Some(writer)
}

/// A loop without a recording: who looks gets its events.
pub fn attach(core: &LoopCore) {
    let Some(words) = words() else { return };
    if let Some(writer) = tap(core, &words) {
        session::attach(core, writer, &words, None, Watching::default(), Arc::default());
    }
}

/// Somebody begins to look.
pub fn begin(py: Python<'_>) -> PyResult<()> {
    let words = session::words().map_or_else(|| Words::new(py).map(Arc::new), Ok)?;
    if looking().is_some() {
        return Ok(());
    }
    *looking() = Some(Looking { words: words.clone(), readers: Vec::new() });
    for (core, loop_) in all_loops() {
        // SAFETY: the loop object is held, and the core is in it.
        let core: &LoopCore = unsafe { &*core };
        let tasks = session::tasks_of(py, &loop_)?;
        match super::sink(core) {
            Some(sink) => sink.tell_also(tap(core, &words)),
            None => attach(core),
        }
        session::note_held(core, &tasks, Whom::WhoLooks);
        session::note_existing(py, core, &loop_, Whom::WhoLooks)?;
    }
    Ok(())
}

/// Nobody looks any more.
pub fn end(_py: Python<'_>) {
    let over = looking().take();
    let is_recorded = session::words().is_some();
    for (core, _held) in all_loops() {
        // SAFETY: as above.
        let core: &LoopCore = unsafe { &*core };
        match super::sink(core) {
            Some(sink) if is_recorded => sink.tell_also(None),
            _ => session::detach(core),
        }
    }
    drop(over);
}

/// In a process that was forked.
pub fn forget() {
    if let Ok(mut looking) = LOOKING.try_lock() {
        std::mem::forget(looking.take());
    }
}

// ---- without it --------------------------------------------------------------------------------------------------------

/// A stack is shown again for so long.
const FRESH: Duration = Duration::from_millis(700);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The loops don't tell us anything.
    Nothing,
    /// They were asked to, but native code holds the GIL.
    Asked,
    Begun,
}

pub struct Live {
    about: Map<String, Value>,
    recording: Recording,
    state: State,
    defined: usize,
    samples: Samples,
    interpreter: Option<Interpreter>,
    /// Those before it that have still to end their work.
    leaving: Vec<Thread<()>>,
    /// How to read tasks as memory, if that is known.
    layout: Option<Layout>,
    /// What was read so last, while native code holds the GIL.
    peeked: Option<(Instant, Peeked)>,
}

fn fresh(about: &Map<String, Value>) -> Recording {
    let mut recording = Recording::live(LIMITS);
    recording.about = about.clone();
    recording
}

impl Live {
    /// `about`: the program, as a recording has it.
    pub fn new(about: Map<String, Value>, layout: Option<Layout>) -> Live {
        let recording = fresh(&about);
        Live {
            about,
            recording,
            state: State::Nothing,
            defined: 0,
            samples: Samples::default(),
            interpreter: None,
            leaving: Vec::new(),
            layout,
            peeked: None,
        }
    }

    /// What has happened is taken over. Called many times a second while somebody is connected.
    pub fn feed(&mut self) {
        if self.state == State::Begun {
            drain(&mut self.recording, &mut self.defined);
        }
        self.samples.look();
    }

    /// Somebody is connected no more: nothing is recorded for him.
    pub fn rest(&mut self) {
        self.samples.0.clear();
        let Some(mut interpreter) = self.interpreter.take() else { return };
        if self.state != State::Nothing {
            // It can't fail. If the GIL can't be had now, the thread does it once it can, and ends then.
            // The listening thread has others to serve.
            interpreter.ask(Wish::End, &mut || true);
            self.state = State::Nothing;
        }
        self.leaving.retain(|thread| !thread.is_over());
        self.leaving.push(interpreter.leave());
        self.forget();
    }

    fn forget(&mut self) {
        self.recording = fresh(&self.about);
        self.defined = 0;
        self.peeked = None;
    }

    /// As [`Live::rest`], for a process that forks or ends: no thread is left. The GIL is free meanwhile.
    pub fn stop(&mut self) {
        if let Some(mut interpreter) = self.interpreter.take() {
            if self.state != State::Nothing {
                // It can't fail, and `end` waits until it is done.
                interpreter.ask(Wish::End, &mut || true);
            }
            interpreter.end();
        }
        for thread in self.leaving.drain(..) {
            thread.join();
        }
        self.state = State::Nothing;
        self.samples.0.clear();
        self.forget();
    }

    fn ask(&mut self, wish: Wish) -> Result<Asked, String> {
        if self.interpreter.is_none() {
            self.interpreter = Some(Interpreter::start().map_err(|e| format!("no thread can be started: {e}"))?);
        }
        let (recording, defined, samples) = (&mut self.recording, &mut self.defined, &mut self.samples);
        let interpreter = self.interpreter.as_mut().ok_or("there is no thread")?;
        Ok(interpreter.ask(wish, &mut || {
            drain(recording, defined);
            samples.look();
            samples.is_stuck()
        }))
    }

    /// The loops tell what they do from now on, if the GIL can be had.
    fn begin(&mut self) -> Result<(), String> {
        match self.state {
            State::Begun => return Ok(()),
            State::Asked => {
                if self.interpreter.as_mut().is_some_and(Interpreter::is_late) {
                    return Ok(());
                }
                self.state = State::Begun;
                self.peeked = None;
            }
            State::Nothing => match self.ask(Wish::Begin)? {
                Asked::Done(Ok(_)) => self.state = State::Begun,
                Asked::Done(Err(why)) => return Err(why),
                Asked::Later => self.state = State::Asked,
            },
        }
        if self.state == State::Begun {
            drain(&mut self.recording, &mut self.defined);
        } else {
            self.peek()?;
        }
        Ok(())
    }

    /// Nothing was recorded before, and the GIL can't be had: what tasks there are is read as memory.
    fn peek(&mut self) -> Result<(), String> {
        if self.peeked.as_ref().is_some_and(|(when, _)| when.elapsed() < FRESH) {
            return Ok(());
        }
        let layout = self
            .layout
            .as_ref()
            .ok_or("native code holds the GIL, and this interpreter's tasks can't be read without it")?;
        let peeked = peek::peek(layout, &self.about)
            .ok_or("native code holds the GIL, and the tasks can't be read without it here")?;
        self.peeked = Some((Instant::now(), peeked));
        Ok(())
    }

    /// What questions are asked of.
    fn known(&mut self) -> &mut Recording {
        match &mut self.peeked {
            Some((_, peeked)) => &mut peeked.recording,
            None => &mut self.recording,
        }
    }

    /// The answer to a question, with the state of the loops beside it, as one line of JSON. `peer`: the process that asks.
    pub fn answer(&mut self, question: &str, arguments: &Value, peer: i32) -> Value {
        let answer = self.answer_to(question, arguments, peer);
        let mut said = match answer {
            Ok(answer) => json!({"answer": answer}),
            Err(refused) => json!({"refused": refused}),
        };
        said["loops"] = self.loops();
        let known = self.known();
        said["now"] = known.since_begin(known.now()).into();
        said["cut"] = self.peeked.as_ref().is_some_and(|(_, peeked)| peeked.is_cut).into();
        said["placeless"] = (self.peeked.is_some() && !self.layout.as_ref().is_some_and(Layout::has_places)).into();
        said["attached"] = (self.state == State::Begun).into();
        said
    }

    fn answer_to(&mut self, question: &str, arguments: &Value, peer: i32) -> Result<Value, String> {
        let given = Arguments::new(arguments).map_err(|refused| refused.0)?;
        match question {
            "program" => {
                let mut about = self.about.clone();
                about.insert("tasks".to_owned(), peek::count().into());
                return Ok(Value::Object(about));
            }
            "stack" => return self.stack(given.task("id").map_err(|refused| refused.0)?),
            "cancel" => return self.cancel(given.task("id").map_err(|refused| refused.0)?, peer),
            _ => {}
        }
        self.begin()?;
        self.wait_for_two_looks();
        let runs = |sample: &&Sample| sample.doing == Doing::Jobs && sample.task != 0;
        let running: Vec<_> = self.samples.0.iter().filter(runs).map(|sample| (sample.task, sample.since)).collect();
        let known = self.known();
        known.tick(Monotonic.now());
        for (task, since) in running {
            known.is_running(task, since);
        }
        if question == "loops" {
            return Ok(Value::Null);
        }
        known.answer(question, arguments).map_err(|refused| refused.0)
    }

    /// Whether a loop is blocked is known after two looks at it.
    fn wait_for_two_looks(&mut self) {
        let begin = Instant::now();
        loop {
            self.samples.look();
            if !self.samples.is_open() || begin.elapsed() >= Duration::from_nanos(2 * samples::SAME) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stack(&mut self, key: Key) -> Result<Value, String> {
        match self.ask(Wish::TaskStack(key))? {
            Asked::Done(Ok(stack)) => serde_json::from_str(&stack).map_err(|e| e.to_string()),
            Asked::Done(Err(why)) => Err(why),
            Asked::Later => Err("native code holds the GIL: no stack can be seen until it lets go of it".to_owned()),
        }
    }

    fn cancel(&mut self, task: Key, peer: i32) -> Result<Value, String> {
        let message = format!("asked for from outside of the program, by process {peer}");
        match self.ask(Wish::Cancel { task, message })? {
            Asked::Done(Ok(said)) => Ok(said.into()),
            Asked::Done(Err(why)) => Err(why),
            Asked::Later => Ok("native code holds the GIL: it will be cancelled when that lets go of it".into()),
        }
    }

    /// What each loop does right now; of one that is blocked, where.
    fn loops(&mut self) -> Value {
        let now = Monotonic.now();
        let mut said = Vec::new();
        for at in 0..self.samples.0.len() {
            let is_blocked = self.samples.0[at].is_blocked(now);
            let stack = if is_blocked { self.stack_of_loop(at) } else { Value::Null };
            let sample = &self.samples.0[at];
            let (known, last_at) = match &self.peeked {
                Some((_, peeked)) => (&peeked.recording, peeked.running_at.get(&sample.number).cloned()),
                None => (&self.recording, None),
            };
            let task = known.model().task(sample.task);
            said.push(json!({
                "loop": sample.number,
                "state": match sample.doing {
                    Doing::Nothing => "stopped",
                    Doing::Waiting => "waiting",
                    Doing::WantsGil => "waiting for the GIL",
                    Doing::Jobs => "running",
                },
                "blocked": is_blocked,
                "for": now.saturating_sub(sample.since),
                "turns": sample.position.0,
                "task": (sample.task != 0 && sample.doing == Doing::Jobs).then(|| words::id(sample.task)),
                "task_name": task.map(|task| known.name(task)),
                "native": is_blocked && stack.is_null(),
                "stack": stack,
                // Where the task's own coroutine is that runs, whatever it has called.
                "last_at": last_at.filter(|_| is_blocked),
            }));
        }
        said.into()
    }

    fn stack_of_loop(&mut self, at: usize) -> Value {
        let sample = &self.samples.0[at];
        if let Some((when, position, stack)) = &sample.stack {
            if when.elapsed() < FRESH && *position == sample.position {
                return stack.clone();
            }
        }
        let (thread, position) = (sample.thread, sample.position);
        let stack = match self.ask(Wish::ThreadStack(thread)) {
            Ok(Asked::Done(Ok(stack))) => serde_json::from_str(&stack).unwrap_or(Value::Null),
            // Its thread may be gone. Why there is none is said as well.
            Ok(Asked::Done(Err(_)) | Asked::Later) | Err(_) => Value::Null,
        };
        // It may have gone on while we waited.
        self.samples.look();
        match self.samples.0.get_mut(at) {
            Some(sample) if sample.position == position => {
                sample.stack = Some((Instant::now(), position, stack.clone()));
                stack
            }
            _ => Value::Null,
        }
    }
}

/// Takes what is in the rings into the model.
fn drain(recording: &mut Recording, defined: &mut usize) {
    let mut definitions: Vec<Definition> = Vec::new();
    let mut events: Vec<Event> = Vec::new();
    if let Some(looking) = looking().as_mut() {
        looking.readers.retain_mut(|reader| {
            let is_over = reader.is_closed();
            reader.drain(&mut |block| events.extend_from_slice(block));
            !is_over
        });
        // After the events: what they name is defined by then.
        definitions = looking.words.defined_after(*defined);
    }
    *defined += definitions.len();
    definitions.into_iter().for_each(|definition| recording.define(definition));
    events.sort_by_key(Event::written);
    recording.apply_all(events);
}
