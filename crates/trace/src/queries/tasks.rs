//! Tasks as JSON: one, a list of them sorted and filtered, and those that a search finds.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::{json, Value};

use crate::event::{cause, Key, Place, Text};
use crate::model::task::{flag, Cancel, Outcome, State, Task, WaitsFor, NEVER};
use crate::recording::Recording;
use crate::story;
use crate::words;

use super::{Arguments, Refused};

/// So many ids at most in a list inside a task.
const MOST_IDS: usize = 50;

pub fn task_json(recording: &Recording, task: &Task) -> Value {
    let model = recording.model();
    let parent = (task.parent != 0).then(|| words::id(task.parent));
    let nursery = (task.nursery != 0).then(|| scope_json(recording, task.nursery));
    let end = (task.end != NEVER).then(|| recording.since_begin(task.end));
    json!({
        "id": words::id(task.key),
        "name": recording.name(task),
        "coroutine": recording.coroutine(task),
        "parent": parent,
        "parent_name": (task.parent != 0).then(|| recording.who(task.parent)),
        "nursery": nursery,
        "started_at": recording.place_json(task.started_at),
        "begin": recording.since_begin(task.begin),
        "end": end,
        "state": task.state.name(),
        "since": recording.since_begin(task.since),
        "waits_for": (task.state == State::Waiting).then(|| waits_for(recording, task)),
        "busy": task.busy,
        "steps": task.steps,
        "wakes": task.wakes,
        "woken_by": (task.wakes > 0).then(|| woken_by(recording, task)),
        "why": why(recording, task),
        "raised_at": recording.place_json(task.raised_at),
        "cancelled_by": model.cancel_of(task).map(|cancel| cancel_json(recording, task.key, cancel)),
        "group": format!("g{}", task.group),
        "unheard": task.has(flag::UNHEARD),
        "destroyed": task.has(flag::DESTROYED),
        "start_is_known": !task.has(flag::STUB | flag::EXISTED),
    })
}

fn why(recording: &Recording, task: &Task) -> Option<String> {
    match recording.tables.text(task.why) {
        "" if task.has(flag::DESTROYED) => Some("it was destroyed while it was pending".to_owned()),
        "" => None,
        why => Some(why.to_owned()),
    }
}

fn scope_json(recording: &Recording, number: u64) -> Value {
    let scope = recording.model().scope(number);
    json!({
        "scope": number,
        "place": scope.map_or(Value::Null, |scope| recording.place_json(scope.place)),
        "host": scope.filter(|scope| scope.host != 0).map(|scope| words::id(scope.host)),
    })
}

pub(super) fn waits_for(recording: &Recording, task: &Task) -> Value {
    let is_task = task.wait == WaitsFor::Task;
    let what = recording.tables.text(task.wait_what);
    let thing = if is_task { recording.who(task.waits_for) } else { words::thing(what) };
    let held = (!is_task && task.waits_for != 0).then(|| recording.model().holders(task.waits_for)).flatten();
    let holders: Vec<String> =
        held.iter().flat_map(|held| &held.holders).take(MOST_IDS).map(|holder| words::id(holder.task)).collect();
    json!({
        "what": if is_task { "task" } else { what },
        "thing": thing,
        "task": is_task.then(|| words::id(task.waits_for)),
        "object": (!is_task && task.waits_for != 0).then_some(task.waits_for),
        "place": recording.place_json(task.wait_at),
        "since": recording.since_begin(task.since),
        "holders": holders,
    })
}

fn woken_by(recording: &Recording, task: &Task) -> Value {
    json!({
        "task": (task.woken_by != 0).then(|| words::id(task.woken_by)),
        "cause": cause_name(u32::from(task.woken_by_cause)),
        "place": recording.place_json(task.woken_at),
    })
}

pub fn cause_name(number: u32) -> &'static str {
    match number {
        cause::TASK => "task",
        cause::IO => "I/O",
        cause::TIMER => "timer",
        cause::CALLBACK => "callback",
        cause::THREAD => "thread",
        cause::DEADLINE => "deadline",
        cause::ITSELF => "itself",
        _ => "unknown",
    }
}

fn cancel_json(recording: &Recording, of: Key, cancel: &Cancel) -> Value {
    json!({
        "text": story::cancellation(recording, of, cancel),
        "task": (cancel.by != 0).then(|| words::id(cancel.by)),
        "name": (cancel.by != 0).then(|| recording.who(cancel.by)),
        "source": words::cancel_source(cancel.source).map_or("unknown", |source| source.name()),
        "place": recording.place_json(cancel.place),
        "why": recording.tables.text(cancel.why),
        "scope": (cancel.scope != 0).then(|| scope_json(recording, cancel.scope)),
        "at": recording.since_begin(cancel.at),
        "count": cancel.count,
    })
}

/// Which tasks are asked about.
pub struct Filter<'r> {
    recording: &'r Recording,
    states: Vec<State>,
    group: Option<u32>,
    needle: String,
    texts: HashMap<Text, bool>,
    places: HashMap<Place, bool>,
}

impl<'r> Filter<'r> {
    /// Of `{"state": [...], "text": "...", "group": "g5"}`, or of a text alone.
    pub fn new(recording: &'r Recording, filter: Option<&Value>) -> Result<Filter<'r>, Refused> {
        let mut made = Filter {
            recording,
            states: Vec::new(),
            group: None,
            needle: String::new(),
            texts: HashMap::new(),
            places: HashMap::new(),
        };
        match filter {
            None => {}
            Some(Value::String(text)) => made.needle = text.trim().to_lowercase(),
            Some(filter) => {
                let given = Arguments::new(filter)?;
                made.needle = given.text("text")?.trim().to_lowercase();
                for name in given.texts("state")? {
                    made.states.extend(states_of(name)?);
                }
                let group = given.text("group")?;
                if !group.is_empty() {
                    let number = group.strip_prefix('g').and_then(|number| number.parse().ok());
                    made.group = Some(number.ok_or_else(|| Refused(format!("there is no group {group:?}")))?);
                }
            }
        }
        Ok(made)
    }

    pub fn takes(&mut self, task: &Task) -> bool {
        (self.states.is_empty() || self.states.contains(&task.state))
            && self.group.is_none_or(|group| group == task.group)
            && self.finds(task)
    }

    fn finds(&mut self, task: &Task) -> bool {
        if self.needle.is_empty() {
            return true;
        }
        [task.name, task.coroutine, task.why].iter().any(|&text| self.text(text))
            || [task.started_at, task.raised_at].iter().any(|&place| self.place(place))
            || (task.state == State::Waiting && (self.text(task.wait_what) || self.place(task.wait_at)))
            || self.is_numbered(task)
    }

    fn text(&mut self, text: Text) -> bool {
        let (recording, needle) = (self.recording, &self.needle);
        *self.texts.entry(text).or_insert_with(|| recording.tables.text(text).to_lowercase().contains(needle))
    }

    fn place(&mut self, place: Place) -> bool {
        let (recording, needle) = (self.recording, &self.needle);
        *self.places.entry(place).or_insert_with(|| {
            let said = recording.place(place).unwrap_or_default();
            let function = recording.tables.place(place).map_or("", |row| recording.tables.text(row.function));
            said.to_lowercase().contains(needle) || function.to_lowercase().contains(needle)
        })
    }

    /// By its number, and by the name that it was given here.
    fn is_numbered(&self, task: &Task) -> bool {
        let is_like_a_number = self.needle.contains(|c: char| c.is_ascii_digit());
        is_like_a_number
            && (words::id(task.key) == self.needle || self.recording.name(task).to_lowercase() == self.needle)
    }
}

fn states_of(name: &str) -> Result<Vec<State>, Refused> {
    if name == Outcome::Pending.name() {
        return Ok(State::ALL.into_iter().filter(|state| state.is_pending()).collect());
    }
    let state = State::ALL.into_iter().find(|state| state.name() == name);
    state.map(|state| vec![state]).ok_or_else(|| Refused(format!("there is no state {name:?}")))
}

pub fn list(recording: &Recording, given: &Arguments<'_>) -> Result<Value, Refused> {
    let mut filter = Filter::new(recording, given.value("filter"))?;
    let tasks = recording.model().tasks();
    let found = tasks.iter().filter(|task| filter.takes(task)).collect();
    let found = sorted_by(recording, found, given.text("sort")?)?;
    Ok(answer(recording, &found, given.number("offset", 0)?, given.number("limit", 100)?))
}

/// By what `by` names, with a "-" before it the other way round.
pub(super) fn sorted_by<'r>(
    recording: &Recording,
    mut tasks: Vec<&'r Task>,
    by: &str,
) -> Result<Vec<&'r Task>, Refused> {
    let (by, is_reversed) = by.strip_prefix('-').map_or((by, false), |by| (by, true));
    sort(recording, &mut tasks, by)?;
    if is_reversed {
        tasks.reverse();
    }
    Ok(tasks)
}

fn sort(recording: &Recording, tasks: &mut [&Task], by: &str) -> Result<(), Refused> {
    let now = recording.now();
    match by {
        "" | "begin" => {}
        "end" => tasks.sort_by_key(|task| task.end),
        "duration" => tasks.sort_by_key(|task| task.end.min(now).saturating_sub(task.begin)),
        "name" => tasks.sort_by_cached_key(|task| recording.name(task)),
        "coroutine" => tasks.sort_by_cached_key(|task| recording.coroutine(task)),
        "place" => tasks.sort_by_cached_key(|task| recording.place(task.started_at)),
        "state" => tasks.sort_by_key(|task| task.state),
        "busy" => tasks.sort_by_key(|task| task.busy),
        "steps" => tasks.sort_by_key(|task| task.steps),
        "wakes" => tasks.sort_by_key(|task| task.wakes),
        // The longest wait last; those that don't wait first.
        "wait" => tasks.sort_by_key(|task| {
            (task.state == State::Waiting)
                .then_some(Reverse(task.since))
                .map_or((false, Reverse(0)), |since| (true, since))
        }),
        _ => return Err(Refused(format!("tasks can't be sorted by {by:?}"))),
    }
    Ok(())
}

fn answer(recording: &Recording, tasks: &[&Task], offset: u64, limit: u64) -> Value {
    let shown = tasks.iter().skip(offset as usize).take(limit as usize);
    json!({
        "total": tasks.len(),
        "tasks": shown.map(|task| task_json(recording, task)).collect::<Vec<_>>(),
    })
}

/// What a search finds, failed tasks first.
pub fn search(recording: &Recording, given: &Arguments<'_>) -> Result<Value, Refused> {
    let text = Value::String(given.text("text")?.to_owned());
    let mut filter = Filter::new(recording, Some(&text))?;
    let mut found: Vec<&Task> = recording.model().tasks().iter().filter(|task| filter.takes(task)).collect();
    found.sort_by_key(|task| match task.state {
        State::Failed => 0,
        State::Cancelled => 1,
        State::Finished => 3,
        _ => 2,
    });
    Ok(answer(recording, &found, given.number("offset", 0)?, given.number("limit", 100)?))
}
