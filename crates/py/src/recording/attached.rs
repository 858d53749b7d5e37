//! What looking at the running program needs the GIL for: to begin and end it, a stack, a cancellation. One thread does it, so that the
//! one that answers ([`super::live`]) never waits for the GIL longer than it wants to: native code may hold it for as long as it likes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use trace::event::{Key, LOOP_SHIFT};
use trace::words;

use super::thread::Thread;
use super::{live, session};
use crate::event_loop::all_loops;
use crate::raw::{task, Obj};

/// How long the GIL is waited for, while a loop doesn't get on, before native code must be holding it: many times the interpreter's
/// switch interval, and enough for a busy machine.
const PATIENCE: Duration = Duration::from_millis(500);
/// ... and while the loops get on or wait without it: other threads have it in turn, or the machine has no time for ours.
const LONGER: Duration = Duration::from_secs(5);
/// How long the thread may take once it has the GIL. A hundred thousand tasks take a second.
const AT_MOST: Duration = Duration::from_secs(20);
const SLICE: Duration = Duration::from_millis(10);

pub enum Wish {
    /// All loops tell who looks what they do, and which tasks there are.
    Begin,
    End,
    /// Where a thread of Python's is, by its ident.
    ThreadStack(u64),
    /// Where a task is: its coroutines, or the stack of the thread that runs it.
    TaskStack(Key),
    Cancel {
        task: Key,
        message: String,
    },
}

/// JSON, or why not.
type Answer = Result<String, String>;

pub enum Asked {
    Done(Answer),
    /// The GIL can't be had now; it is done once it can.
    Later,
}

pub struct Interpreter {
    ask: Sender<(Wish, Sender<Answer>)>,
    has_gil: Arc<AtomicBool>,
    thread: Thread<()>,
    /// What was asked for and is not done yet, the oldest first.
    late: Vec<Receiver<Answer>>,
}

impl Interpreter {
    pub fn start() -> io::Result<Interpreter> {
        let (ask, asked) = mpsc::channel::<(Wish, Sender<Answer>)>();
        let has_gil = Arc::new(AtomicBool::new(false));
        let here = has_gil.clone();
        let thread = Thread::start("segue-look", move || {
            for (wish, answer) in asked {
                let done = Python::try_attach(|py| {
                    here.store(true, Ordering::Relaxed);
                    fulfil(py, wish).map_err(|e| e.to_string())
                });
                here.store(false, Ordering::Relaxed);
                // Nobody waits any more: fine.
                let _ = answer.send(done.unwrap_or_else(|| Err("the program ends".to_owned())));
            }
        })?;
        Ok(Interpreter { ask, has_gil, thread, late: Vec::new() })
    }

    /// Whether something that was asked for waits for the GIL still.
    pub fn is_late(&mut self) -> bool {
        self.late.retain(|late| matches!(late.try_recv(), Err(mpsc::TryRecvError::Empty)));
        !self.late.is_empty()
    }

    /// `meanwhile` is called now and then until it is done, and says whether a loop doesn't get on.
    pub fn ask(&mut self, wish: Wish, meanwhile: &mut dyn FnMut() -> bool) -> Asked {
        let was_late = self.is_late();
        let (answer, answers) = mpsc::channel();
        if self.ask.send((wish, answer)).is_err() {
            return Asked::Done(Err("the thread that looks into the interpreter is gone".to_owned()));
        }
        let begin = Instant::now();
        loop {
            let is_stuck = match answers.recv_timeout(SLICE) {
                Ok(answer) => return Asked::Done(answer),
                Err(RecvTimeoutError::Disconnected) => return Asked::Done(Err("the program ends".to_owned())),
                Err(RecvTimeoutError::Timeout) => meanwhile(),
            };
            let patience = match self.has_gil.load(Ordering::Relaxed) {
                true => AT_MOST,
                false if was_late => Duration::ZERO,
                false if is_stuck => PATIENCE,
                false => LONGER,
            };
            if begin.elapsed() >= patience {
                self.late.push(answers);
                return Asked::Later;
            }
        }
    }

    /// Ends once it has done what it was asked for: the caller lets others have the GIL.
    pub fn end(self) {
        drop(self.ask);
        self.thread.join();
    }

    /// Ends it once it has done what it was asked for, without waiting for that.
    pub fn leave(self) -> Thread<()> {
        self.thread
    }
}

fn fulfil(py: Python<'_>, wish: Wish) -> PyResult<String> {
    match wish {
        Wish::Begin => live::begin(py).map(|()| String::new()),
        Wish::End => {
            live::end(py);
            Ok(String::new())
        }
        Wish::ThreadStack(thread) => py.import("segue._looking")?.call_method1("thread_stack", (thread,))?.extract(),
        Wish::TaskStack(key) => {
            let (loop_, task) = find(py, key)?;
            let running = loop_.bound(py).getattr("_thread_id")?;
            let is_current =
                crate::raw::registry::current(loop_.as_ptr())?.is_some_and(|o| o.as_ptr() == task.as_ptr());
            let thread = is_current.then_some(running);
            py.import("segue._looking")?.call_method1("task_stack", (task, thread))?.extract()
        }
        Wish::Cancel { task, message } => {
            let (loop_, task) = find(py, task)?;
            py.import("segue._looking")?.call_method1("cancel", (loop_.bound(py), task, message))?.extract()
        }
    }
}

fn find(py: Python<'_>, key: Key) -> PyResult<(Obj, Bound<'_, PyAny>)> {
    for (core, loop_) in all_loops() {
        // SAFETY: the loop object is held, and the core is in it.
        if unsafe { &*core }.progress.number != key >> LOOP_SHIFT {
            continue;
        }
        let tasks = session::tasks_of(py, &loop_)?;
        let number = key & ((1 << LOOP_SHIFT) - 1);
        // SAFETY: tasks of ours.
        let found = tasks.into_iter().find(|task| unsafe { task::state(task.as_ptr()) }.id.get() == number);
        if let Some(task) = found {
            return Ok((loop_, task));
        }
    }
    Err(pyo3::exceptions::PyLookupError::new_err(format!("task {} is no longer there", words::id(key))))
}
