//! An event a line, as JSON. The first line is about the program. Then each has
//!
//! | key | of which kinds | |
//! |---|---|---|
//! | `kind` | all | "loop", "turn", "spawn", "exists", "name", "child", "step", "wait", "wait_task", "wake", "cancel", "why", "finish", "unheard", "callback", "scope_open", "scope_close", "hold", "release", "queue", "warning", "fact", "lost", "unknown" |
//! | `at` | all | nanoseconds since the recording began; of what takes time, its begin |
//! | `task` | those of a task | its number |
//! | `place` | those of a place, if it is known | `{"file", "line", "function"}` |
//! | `took` | turn, step, callback | nanoseconds |
//! | `loop` | loop, turn, lost | its number |
//! | `thread`, `what` | loop | its thread's name; "runs", "stops", "closed" |
//! | `jobs`, `waited` | turn | jobs it ran, nanoseconds waited before it |
//! | `parent`, `coroutine` | spawn, exists | who started it, the code's name |
//! | `name` | name | |
//! | `scope` | child, why, scope_open, scope_close | its number |
//! | `how` | step | "yields", "waits", "ends" |
//! | `what`, `object` | wait, hold, release, queue | what for ("Lock.acquire"), its number |
//! | `other` | wait_task | the task that it waits for |
//! | `by`, `cause` | wake | the task that woke it, "task", "I/O", "timer", "callback", "thread", "deadline", "itself" |
//! | `by`, `source` | cancel | the task that asked, "Task.cancel", "scope.cancel", "deadline", "nursery failure", "signal", "loop shutdown" |
//! | `text` | why | the words about the cancel or finish that follows |
//! | `outcome` | finish | "finished", "failed", "cancelled" |
//! | `what` | unheard, callback, scope_open | "never retrieved", "destroyed"; what was called; "cancel scope", "nursery" |
//! | `caught` | scope_close | it caught its own cancellation |
//! | `items` | queue | how many are in it |
//! | `code`, `name`, `nanos` | warning | its number and name; nanoseconds, where a time is meant |
//! | `code`, `detail` | fact | what warnings are found by, and none by itself: `warning::fact` |
//! | `events` | lost | how many found no room |

use std::io::{self, Write};

use serde_json::{json, Map, Value};

use crate::event::{outcome, phase, release, scope, step, Event, Key, Kind, LOOP_SHIFT, NUMBERED};
use crate::queries::cause_name;
use crate::recording::Recording;
use crate::warning::Code;
use crate::words;

pub fn write(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let mut about = recording.about.clone();
    about.insert("kind".into(), "program".into());
    about.insert("complete".into(), recording.is_complete.into());
    writeln!(out, "{}", Value::Object(about))?;
    for event in recording.history().iter() {
        writeln!(out, "{}", Value::Object(line(recording, event)))?;
    }
    Ok(())
}

fn line(recording: &Recording, event: &Event) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("at".into(), recording.since_begin(event.at).into());
    let Some(kind) = event.kind() else {
        line.insert("kind".into(), "unknown".into());
        return line;
    };
    let Event { a, b, c, .. } = *event;
    let warning = Code::from_number(c);
    let is_fact = kind == Kind::Warning && warning.is_none();
    line.insert("kind".into(), if is_fact { "fact" } else { kind_name(kind) }.into());
    let text = |number| Value::from(recording.tables.text(number));
    let task = |key: Key| if key == 0 { Value::Null } else { words::id(key).into() };
    if has_task(kind) {
        line.insert("task".into(), task(event.task()));
    }
    if let (true, Some(row)) = (has_place(kind), recording.tables.place(b)) {
        let place = json!({"file": text(row.file), "line": row.line, "function": text(row.function)});
        line.insert("place".into(), place);
    }
    let mut put = |name: &str, value: Value| {
        line.insert(name.into(), value);
    };
    match kind {
        Kind::Loop => {
            put("loop", a.into());
            put("thread", text(b));
            put("what", named(c, &[(phase::RUNS, "runs"), (phase::STOPS, "stops"), (phase::CLOSED, "closed")]));
        }
        Kind::Turn => {
            put("loop", (event.task() >> LOOP_SHIFT).into());
            put("took", a.into());
            put("jobs", b.into());
            put("waited", (u64::from(c) * 1000).into());
        }
        Kind::Spawn | Kind::Exists => {
            put("parent", task(a));
            put("coroutine", text(c));
        }
        Kind::Name if c & NUMBERED != 0 => put("name", format!("Task-{}", c & !NUMBERED).into()),
        Kind::Name => put("name", text(c)),
        Kind::Child => put("scope", a.into()),
        Kind::Step => {
            put("took", a.into());
            let names =
                [(step::YIELDS, "yields"), (step::WAITS, "waits"), (step::ENDS, "ends"), (step::RUNS, "runs on")];
            put("how", named(c, &names));
        }
        Kind::Wait | Kind::Hold => {
            put("object", a.into());
            put("what", text(c));
        }
        Kind::WaitTask => put("other", task(a)),
        Kind::Wake => {
            put("by", task(a));
            put("cause", cause_name(c).into());
        }
        Kind::Cancel => {
            put("by", task(a));
            put("source", words::cancel_source(c).map_or(Value::Null, |source| source.name().into()));
        }
        Kind::Why => {
            put("scope", if a == 0 { Value::Null } else { a.into() });
            put("text", text(c));
        }
        Kind::Finish => {
            let names =
                [(outcome::RESULT, "finished"), (outcome::EXCEPTION, "failed"), (outcome::CANCELLED, "cancelled")];
            put("outcome", named(c, &names));
        }
        Kind::Unheard => put("what", named(c, &[(0, "never retrieved"), (1, "destroyed")])),
        Kind::Callback => {
            put("took", a.into());
            put("what", text(c));
        }
        Kind::ScopeOpen => {
            put("scope", a.into());
            put("what", named(c, &[(scope::CANCEL_SCOPE, "cancel scope"), (scope::NURSERY, "nursery")]));
        }
        Kind::ScopeClose => {
            put("scope", a.into());
            put("caught", (c == 1).into());
        }
        Kind::Release => {
            put("object", a.into());
            put("what", named(c, &[(release::RELEASED, "released"), (release::SIGNAL, "signalled")]));
        }
        Kind::Queue => {
            put("object", a.into());
            put("items", c.into());
        }
        Kind::Warning => {
            put("code", c.into());
            put(if is_fact { "detail" } else { "nanos" }, a.into());
            if let Some(warning) = warning {
                put("name", warning.name().into());
            }
        }
        Kind::Lost => {
            put("loop", (event.task() >> LOOP_SHIFT).into());
            put("events", a.into());
        }
    }
    line
}

fn named(number: u32, names: &[(u32, &str)]) -> Value {
    names.iter().find(|(known, _)| *known == number).map_or(Value::Null, |(_, name)| (*name).into())
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Loop => "loop",
        Kind::Turn => "turn",
        Kind::Spawn => "spawn",
        Kind::Exists => "exists",
        Kind::Name => "name",
        Kind::Child => "child",
        Kind::Step => "step",
        Kind::Wait => "wait",
        Kind::WaitTask => "wait_task",
        Kind::Wake => "wake",
        Kind::Cancel => "cancel",
        Kind::Why => "why",
        Kind::Finish => "finish",
        Kind::Unheard => "unheard",
        Kind::Callback => "callback",
        Kind::ScopeOpen => "scope_open",
        Kind::ScopeClose => "scope_close",
        Kind::Hold => "hold",
        Kind::Release => "release",
        Kind::Queue => "queue",
        Kind::Warning => "warning",
        Kind::Lost => "lost",
    }
}

fn has_task(kind: Kind) -> bool {
    !matches!(kind, Kind::Loop | Kind::Turn | Kind::Lost)
}

/// Whose `b` is a place.
fn has_place(kind: Kind) -> bool {
    use Kind::*;
    matches!(
        kind,
        Spawn
            | Exists
            | Wait
            | WaitTask
            | Wake
            | Cancel
            | Why
            | Finish
            | Callback
            | ScopeOpen
            | Hold
            | Release
            | Queue
            | Warning
    )
}
