//! Trace events as Chrome's tracing defines them, for ui.perfetto.dev: a track for each loop with its turns and callbacks, one for each
//! task with what it ran and waited for, an arrow from each step that woke a task to the step that followed, the turns' length as a curve.

use std::io::{self, Write};

use serde_json::{json, Value};

use sched::Nanos;

use crate::event::{cause, Event, Kind, LOOP_SHIFT};
use crate::life::{Life, Span};
use crate::model::task::{State, Task};
use crate::queries::cause_name;
use crate::recording::Recording;
use crate::words;

/// Tracks are threads to the format: loops have their numbers, tasks come after.
const FIRST_TASK: u64 = 100_000;

pub fn write(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let pid = recording.about.get("pid").and_then(Value::as_u64).unwrap_or(1);
    let mut trace = Trace { recording, pid, out, is_first: true, arrows: 0 };
    trace.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
    trace.names()?;
    trace.loops()?;
    for (position, task) in recording.model().tasks().iter().enumerate() {
        trace.task(position, task)?;
    }
    trace.out.write_all(b"\n]}\n")
}

struct Trace<'r> {
    recording: &'r Recording,
    pid: u64,
    out: &'r mut dyn Write,
    is_first: bool,
    arrows: u64,
}

impl Trace<'_> {
    fn put(&mut self, what: &str, track: u64, at: Option<Nanos>, mut event: Value) -> io::Result<()> {
        event["ph"] = what.into();
        event["pid"] = self.pid.into();
        event["tid"] = track.into();
        if let Some(at) = at {
            event["ts"] = micros(self.recording.since_begin(at));
        }
        if !std::mem::take(&mut self.is_first) {
            self.out.write_all(b",\n")?;
        }
        write!(self.out, "{event}")
    }

    fn names(&mut self) -> io::Result<()> {
        let recording = self.recording;
        let program = recording.about.get("program").cloned().unwrap_or("program".into());
        self.put("M", 0, None, json!({"name": "process_name", "args": {"name": program}}))?;
        for of_loop in recording.model().loops() {
            let thread = recording.tables.text(of_loop.thread);
            let name = format!("event loop {} ({thread})", of_loop.number);
            self.track(of_loop.number, &name)?;
        }
        Ok(())
    }

    fn track(&mut self, track: u64, name: &str) -> io::Result<()> {
        self.put("M", track, None, json!({"name": "thread_name", "args": {"name": name}}))?;
        self.put("M", track, None, json!({"name": "thread_sort_index", "args": {"sort_index": track}}))
    }

    fn loops(&mut self) -> io::Result<()> {
        let recording = self.recording;
        for event in recording.history().iter() {
            let of_loop = (event.task() >> LOOP_SHIFT).max(1);
            match event.kind() {
                Some(Kind::Turn) => {
                    let args = json!({"jobs": event.b, "waited_us": event.c});
                    let turn = json!({"name": "turn", "cat": "turn", "dur": micros(event.a), "args": args});
                    self.put("X", of_loop, Some(event.at), turn)?;
                    let name = format!("turn of loop {of_loop} (ms)");
                    let curve = json!({"name": name, "args": {"ms": event.a as f64 / 1e6}});
                    self.put("C", of_loop, Some(event.at), curve)?;
                }
                Some(Kind::Callback) => {
                    let name = words::one_line(recording.tables.text(event.c));
                    let args = json!({"place": recording.place(event.b)});
                    let call = json!({"name": name, "cat": "callback", "dur": micros(event.a), "args": args});
                    self.put("X", of_loop, Some(event.at), call)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn task(&mut self, position: usize, task: &Task) -> io::Result<()> {
        let recording = self.recording;
        let track = FIRST_TASK + position as u64;
        let code = recording.coroutine(task);
        self.track(track, &format!("{} ({code}, {})", recording.name(task), words::id(task.key)))?;
        let mut spans: Vec<Span<'_>> = Vec::new();
        let mut life = Life::of(task);
        for event in recording.history().of_task(task.key, position).filter(|event| event.task() == task.key) {
            life.apply(event, |span| spans.push(span));
            if event.kind() == Some(Kind::Cancel) {
                let args = json!({"by": recording.who(event.a), "place": recording.place(event.b)});
                let mark = json!({"name": "cancel", "cat": "cancel", "s": "t", "args": args});
                self.put("i", track, Some(event.at), mark)?;
            }
        }
        life.end(task, recording.now(), |span| spans.push(span));
        let mut woken: Option<&Event> = None;
        for span in spans {
            let took = span.end - span.begin;
            match span.state {
                State::Waiting => {
                    let args = json!({
                        "place": span.wait.and_then(|wait| recording.place(wait.b)),
                        "woken_by": span.woken.map(|wake| cause_name(wake.c)),
                    });
                    let wait = json!({"name": self.awaited(&span), "cat": "wait", "dur": micros(took), "args": args});
                    self.put("X", track, Some(span.begin), wait)?;
                    woken = span.woken;
                }
                State::Running => {
                    let run = json!({"name": code, "cat": "run", "dur": micros(took)});
                    self.put("X", track, Some(span.begin), run)?;
                    if let Some(wake) = woken.take() {
                        self.arrow(wake, track, span.begin)?;
                    }
                }
                _ => {}
            }
        }
        if !task.state.is_pending() && task.state != State::Finished {
            let args = json!({"why": recording.tables.text(task.why), "raised_at": recording.place(task.raised_at)});
            let mark = json!({"name": task.state.name(), "cat": "end", "s": "t", "args": args});
            self.put("i", track, Some(task.end), mark)?;
        }
        Ok(())
    }

    fn awaited(&self, span: &Span<'_>) -> String {
        match span.wait {
            None => "waits".to_owned(),
            Some(wait) if wait.kind() == Some(Kind::WaitTask) => format!("waits for {}", self.recording.who(wait.a)),
            Some(wait) => format!("waits for {}", words::thing(self.recording.tables.text(wait.c))),
        }
    }

    /// From the step in which a task was woken to the step that it was woken for.
    fn arrow(&mut self, wake: &Event, track: u64, at: Nanos) -> io::Result<()> {
        let waker = self.recording.model().position(wake.a).filter(|_| wake.c == cause::TASK && wake.a != wake.task());
        let Some(waker) = waker else { return Ok(()) };
        self.arrows += 1;
        let arrow = json!({"name": "wake", "cat": "wake", "id": self.arrows});
        self.put("s", FIRST_TASK + waker as u64, Some(wake.at), arrow.clone())?;
        let mut tip = arrow;
        tip["bp"] = "e".into();
        self.put("f", track, Some(at), tip)
    }
}

/// The format counts microseconds; with their thousandths nothing is lost.
fn micros(nanos: Nanos) -> Value {
    if nanos % 1000 == 0 {
        (nanos / 1000).into()
    } else {
        (nanos as f64 / 1000.0).into()
    }
}
