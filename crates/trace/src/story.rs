//! The life of one task in sentences, from start to end, for somebody who has never seen the program and wants to know what went wrong.
//!
//! A task's events become units ("waited here for that", "started those"), what repeats is summed up (`repeat.rs`), and the rest is said
//! (`sentences.rs`).

mod repeat;
mod sentences;

use serde_json::{json, Value};

use sched::Nanos;

use crate::event::{step, Event, Key, Kind};
use crate::life::{Life, Span};
use crate::model::task::{State, Task};
use crate::queries::{self, task_json, Refused};
use crate::recording::Recording;
use crate::warning::Code;
use crate::words;

use repeat::{repetitions, Run, LONGEST_PERIOD};
use sentences::Teller;
pub use sentences::{cancellation, ending};

/// A longer story loses its middle.
const LONGEST: usize = 400;
/// A step of at least this is worth a sentence.
const LONG_STEP: Nanos = 100_000_000;
const MOST_CHILDREN: usize = 200;
/// Of them with their names.
const MOST_TOLD: usize = 12;

/// One thing that a task did or that was done to it.
#[derive(Clone, Copy)]
struct Unit<'e> {
    at: Nanos,
    /// How long it took, for what takes time.
    nanos: Nanos,
    what: What<'e>,
}

#[derive(Clone, Copy)]
enum What<'e> {
    /// It ran and let others run.
    Yield,
    Wait(Span<'e>),
    /// It ran for long without a pause.
    Ran,
    /// With the words that came before it.
    Event(&'e Event, Option<&'e Event>),
}

/// What makes two units the same to a reader.
type Signature = (u8, u64, u32);

/// A sentence of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    pub at: Nanos,
    pub kind: &'static str,
    pub text: String,
    pub place: crate::event::Place,
    pub tasks: Vec<Key>,
}

/// What the recording knows of a task, with its story.
pub fn task(recording: &Recording, key: Key) -> Result<Value, Refused> {
    let model = recording.model();
    let position = model.position(key).ok_or_else(|| queries::no_task(key))?;
    let task = &model.tasks()[position];
    let mut value = task_json(recording, task);
    let children: Vec<&Task> = model.tasks().iter().filter(|child| child.parent == key && child.key != key).collect();
    let ids: Vec<String> = children.iter().take(MOST_CHILDREN).map(|child| words::id(child.key)).collect();
    value["children"] = ids.into();
    value["children_total"] = children.len().into();
    let told = children.iter().take(MOST_TOLD).map(|child| {
        let why = recording.tables.text(child.why);
        json!({"id": words::id(child.key), "name": recording.name(child), "state": child.state.name(), "why": words::one_line(why)})
    });
    value["children_told"] = told.collect();
    let story = story(recording, position).into_iter().map(|sentence| {
        json!({
            "at": recording.since_begin(sentence.at),
            "kind": sentence.kind,
            "text": sentence.text,
            "place": recording.place_json(sentence.place),
            "tasks": sentence.tasks.iter().map(|task| words::id(*task)).collect::<Vec<_>>(),
            "names": sentence.tasks.iter().map(|task| recording.who(*task)).collect::<Vec<_>>(),
        })
    });
    value["story"] = story.collect();
    Ok(value)
}

/// `position` is the task's in the model.
pub fn story(recording: &Recording, position: usize) -> Vec<Sentence> {
    let task = &recording.model().tasks()[position];
    let units = units(recording, task, position);
    let signatures: Vec<Signature> = units.iter().map(|unit| signature(recording, task, unit)).collect();
    // First what repeats by itself, then what repeats in turn: eight starts and a wait, again and again.
    let simple = repetitions(&signatures, 1);
    let in_turn: Vec<(Signature, bool)> = simple.iter().map(|run| (signatures[run.from], run.times > 1)).collect();
    let runs = repetitions(&in_turn, LONGEST_PERIOD);
    let teller = Teller::new(recording, task);
    let mut sentences = teller.beginning();
    let tell = |run: &Run| {
        let mut parts: Vec<Vec<&Unit<'_>>> = vec![Vec::new(); run.period];
        for (number, part) in simple[run.from..run.from + run.period * run.times].iter().enumerate() {
            parts[number % run.period].extend(&units[part.from..part.from + part.times]);
        }
        teller.run(&parts, run.times)
    };
    if runs.len() <= LONGEST {
        sentences.extend(runs.iter().map(tell));
    } else {
        let (first, last) = (&runs[..LONGEST / 2], &runs[runs.len() - LONGEST / 2..]);
        sentences.extend(first.iter().map(tell));
        let left_out = runs.len() - LONGEST;
        let at = units[simple[runs[LONGEST / 2].from].from].at;
        let text = format!("{} more things that happened to it are left out here", words::count(left_out as u64));
        sentences.push(Sentence { at, kind: "more", text, place: 0, tasks: Vec::new() });
        sentences.extend(last.iter().map(tell));
    }
    sentences.extend(teller.end());
    sentences
}

fn units<'r>(recording: &'r Recording, task: &'r Task, position: usize) -> Vec<Unit<'r>> {
    let mut units: Vec<Unit<'r>> = Vec::new();
    let mut life = Life::of(task);
    let mut why: Option<&Event> = None;
    for event in recording.history().of_task(task.key, position) {
        life.apply(event, |span| units.extend(of_span(span)));
        let is_its_own = event.task() == task.key;
        match event.kind() {
            Some(Kind::Why) => why = Some(event),
            Some(Kind::Cancel) if is_its_own => {
                let what = What::Event(event, why.take());
                units.push(Unit { at: event.at, nanos: 0, what });
            }
            // Beginning and end are told from what the model knows.
            Some(Kind::Finish) => why = None,
            Some(Kind::Spawn) if is_its_own => {}
            Some(Kind::Warning) if Code::from_number(event.c).is_none() => {}
            Some(Kind::Warning) => {
                let what = What::Event(event, why.take());
                units.push(Unit { at: event.at, nanos: 0, what });
            }
            Some(
                Kind::Spawn
                | Kind::Cancel
                | Kind::ScopeOpen
                | Kind::ScopeClose
                | Kind::Hold
                | Kind::Release
                | Kind::Queue
                | Kind::Callback,
            ) => units.push(Unit { at: event.at, nanos: took(event), what: What::Event(event, None) }),
            Some(Kind::Name) if event.at > task.begin && task.name != event.c => {
                units.push(Unit { at: event.at, nanos: 0, what: What::Event(event, None) });
            }
            _ => {}
        }
    }
    if !task.state.is_pending() {
        life.end(task, recording.now(), |span| units.extend(of_span(span)));
    }
    // A step's spawns were written before the step, whose begin comes first.
    units.sort_by_key(|unit| unit.at);
    units
}

fn took(event: &Event) -> Nanos {
    if event.kind() == Some(Kind::Callback) {
        event.a
    } else {
        0
    }
}

fn of_span(span: Span<'_>) -> Option<Unit<'_>> {
    let nanos = span.end - span.begin;
    let what = match span.state {
        State::Waiting => What::Wait(span),
        State::Running if nanos >= LONG_STEP => What::Ran,
        State::Running if span.how == step::YIELDS => What::Yield,
        _ => return None,
    };
    Some(Unit { at: span.begin, nanos, what })
}

fn signature(recording: &Recording, task: &Task, unit: &Unit<'_>) -> Signature {
    match unit.what {
        What::Yield => (1, 0, 0),
        What::Ran => (2, 0, 0),
        What::Wait(span) => match span.wait {
            None => (3, 0, 0),
            Some(wait) if wait.kind() == Some(Kind::WaitTask) => {
                let other = recording.model().task(wait.a);
                (4, other.map_or(0, |other| other.coroutine.into()), wait.b)
            }
            Some(wait) => (5, wait.c.into(), wait.b),
        },
        What::Event(event, _) => {
            let kind = event.kind().map_or(0, |kind| kind as u8) + 16;
            match event.kind() {
                Some(Kind::Spawn) => (kind, event.c.into(), event.b),
                Some(Kind::Cancel) if event.task() != task.key => {
                    let other = recording.model().task(event.task());
                    (kind + 64, other.map_or(0, |other| other.coroutine.into()), event.b)
                }
                Some(Kind::Cancel) => (kind, event.c.into(), event.b),
                Some(Kind::Callback | Kind::Warning) => (kind, event.c.into(), event.b),
                // Where it was opened is known by its scope alone, which is another one each time.
                Some(Kind::ScopeClose) => {
                    let place = recording.model().scope(event.a).map_or(0, |scope| scope.place);
                    (kind, event.c.into(), place)
                }
                _ => (kind, 0, event.b),
            }
        }
    }
}
