//! What has waited longer than a limit, each with the chain down to what it waits for: a task that waits for a task that waits for a lock
//! that a task holds, and so on to the end, or round in a circle.

use std::collections::{HashMap, HashSet};

use sched::Nanos;
use serde_json::{json, Value};

use crate::event::Key;
use crate::model::task::{State, Task, WaitsFor};
use crate::recording::Recording;
use crate::words;

use super::tasks::task_json;
use super::{Arguments, Refused};

/// A second.
const LIMIT: u64 = 1_000_000_000;
/// Longer chains are cut.
const LONGEST: usize = 50;

/// How one link of a chain leads to the next.
enum Next {
    /// It waits for that task's end.
    Task(Key),
    /// It waits for what that task holds; so many others hold it too.
    Holder(Key, usize),
    /// It waits for its nursery's tasks, of which this one has waited longest; so many others are alive.
    Child(Key, usize),
    End,
}

/// Arguments: `longer_than` (nanoseconds; default a second), `limit` (chains).
pub fn stuck(recording: &Recording, given: &Arguments<'_>) -> Result<Value, Refused> {
    let longer_than = given.number("longer_than", LIMIT)?;
    let limit = given.number("limit", 100)? as usize;
    let model = recording.model();
    let children = Children::of(recording);
    let is_stuck = |task: &Task| waits_longer(recording, task, longer_than);
    let found: Vec<&Task> = model.tasks().iter().filter(|task| is_stuck(task)).collect();
    // Each is in some chain: chains begin at those that nobody else who is stuck waits for.
    let mut waited_for: HashSet<Key> = HashSet::new();
    for task in &found {
        if let Next::Task(key) | Next::Holder(key, _) | Next::Child(key, _) = next(recording, &children, task) {
            if key != task.key {
                waited_for.insert(key);
            }
        }
    }
    let mut told: HashSet<Key> = HashSet::new();
    let mut chains: Vec<Chain<'_>> = Vec::new();
    let mut alike: HashMap<Signature, usize> = HashMap::new();
    let begins = found.iter().filter(|task| !waited_for.contains(&task.key));
    // ... and then those that are in a circle, which nobody from outside of it waits for.
    for task in begins.chain(found.iter().filter(|task| waited_for.contains(&task.key))) {
        if told.contains(&task.key) {
            continue;
        }
        let chain = follow(recording, &children, task);
        told.extend(chain.tasks.iter().map(|(task, _)| task.key));
        let signature = signature(&chain);
        match alike.get(&signature) {
            Some(&at) => chains[at].alike += 1,
            None => {
                alike.insert(signature, chains.len());
                chains.push(chain);
            }
        }
    }
    chains.sort_by_key(|chain| chain.tasks.iter().map(|(task, _)| task.since).min());
    let total = chains.len();
    let chains: Vec<Value> = chains.iter().take(limit).map(|chain| chain_json(recording, chain)).collect();
    let pending = model.tasks().iter().filter(|task| task.state.is_pending()).count();
    Ok(json!({"stuck": found.len(), "pending": pending, "total": total, "chains": chains}))
}

fn waits_longer(recording: &Recording, task: &Task, than: Nanos) -> bool {
    task.state == State::Waiting && recording.now().saturating_sub(task.since) >= than
}

/// The tasks of each task's nurseries that are alive.
struct Children(HashMap<Key, Vec<Key>>);

impl Children {
    fn of(recording: &Recording) -> Children {
        let model = recording.model();
        let mut children: HashMap<Key, Vec<Key>> = HashMap::new();
        for task in model.tasks().iter().filter(|task| task.nursery != 0 && task.state.is_pending()) {
            let host = model.scope(task.nursery).map_or(task.parent, |scope| scope.host);
            children.entry(host).or_default().push(task.key);
        }
        Children(children)
    }
}

fn next(recording: &Recording, children: &Children, task: &Task) -> Next {
    let model = recording.model();
    if task.state != State::Waiting {
        return Next::End;
    }
    if task.wait == WaitsFor::Task {
        return Next::Task(task.waits_for);
    }
    if let Some(held) = model.holders(task.waits_for).filter(|_| task.waits_for != 0) {
        if let Some(first) = held.holders.first() {
            return Next::Holder(first.task, held.holders.len() - 1);
        }
    }
    if words::thing(recording.tables.text(task.wait_what)) == words::thing("nursery") {
        let alive = children.0.get(&task.key).map_or(&[][..], Vec::as_slice);
        let since = |key: &&Key| model.task(**key).map_or(u64::MAX, |task| task.since);
        if let Some(longest) = alive.iter().min_by_key(since) {
            return Next::Child(*longest, alive.len() - 1);
        }
    }
    Next::End
}

struct Chain<'r> {
    tasks: Vec<(&'r Task, Next)>,
    /// Where a circle closes: the position of the task that the last one waits for.
    circle: Option<usize>,
    /// Chains like this one that are not told.
    alike: u64,
}

fn follow<'r>(recording: &'r Recording, children: &Children, first: &'r Task) -> Chain<'r> {
    let mut chain = Chain { tasks: Vec::new(), circle: None, alike: 0 };
    let mut at = Some(first);
    while let Some(task) = at.filter(|_| chain.tasks.len() < LONGEST) {
        let next = next(recording, children, task);
        at = match next {
            Next::Task(key) | Next::Holder(key, _) | Next::Child(key, _) => recording.model().task(key),
            Next::End => None,
        };
        chain.tasks.push((task, next));
        if let Some(task) = at {
            chain.circle = chain.tasks.iter().position(|(known, _)| known.key == task.key);
            if chain.circle.is_some() {
                break;
            }
        }
    }
    chain
}

type Signature = Vec<(u32, State, u32, u32, u64)>;

/// Chains of tasks that are alike and wait at the same places are told once; the objects they wait for may differ, but for what is held.
fn signature(chain: &Chain<'_>) -> Signature {
    let link = |(task, next): &(&Task, Next)| {
        let held = if matches!(next, Next::Holder(..)) { task.waits_for } else { 0 };
        (task.group, task.state, task.wait_what, task.wait_at, held)
    };
    chain.tasks.iter().map(link).collect()
}

fn chain_json(recording: &Recording, chain: &Chain<'_>) -> Value {
    let link = |(task, next): &(&Task, Next)| {
        let mut value = task_json(recording, task);
        let (by, others) = match next {
            Next::Task(_) => ("task", 0),
            Next::Holder(_, others) => ("holder", *others),
            Next::Child(_, others) => ("nursery", *others),
            Next::End => ("end", 0),
        };
        value["waited"] = (task.state == State::Waiting)
            .then(|| recording.now().saturating_sub(task.since))
            .map_or(Value::Null, Value::from);
        value["leads_by"] = by.into();
        value["others"] = others.into();
        value
    };
    json!({
        "chain": chain.tasks.iter().map(link).collect::<Vec<_>>(),
        "circle": chain.circle,
        "alike": chain.alike,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Definition, Event, Kind};

    const SECOND: u64 = 1_000_000_000;

    fn told(recording: &Recording, longer_than: u64) -> Vec<String> {
        let answer = recording.answer("stuck", &json!({"longer_than": longer_than})).unwrap();
        let chain = |chain: &Value| {
            let link =
                |link: &Value| format!("{} {}", link["id"].as_str().unwrap(), link["leads_by"].as_str().unwrap());
            let links: Vec<String> = chain["chain"].as_array().unwrap().iter().map(link).collect();
            format!("{} circle {} alike {}", links.join(" > "), chain["circle"], chain["alike"])
        };
        answer["chains"].as_array().unwrap().iter().map(chain).collect()
    }

    fn recording(events: &[(Kind, u64, u64, u64, u32)]) -> Recording {
        let mut recording = Recording::new();
        for (number, text) in ["main", "Lock.acquire", "Event.wait"].into_iter().enumerate() {
            recording.define(Definition::Text { number: number as u32 + 1, text: text.into() });
        }
        for &(kind, at, task, a, c) in events {
            recording.apply(Event::new(kind, at, task, a, 0, c));
        }
        recording.tick(100 * SECOND);
        recording
    }

    #[test]
    fn a_chain_leads_from_a_task_over_a_lock_to_what_its_holder_waits_for() {
        let mut events = vec![
            (Kind::Spawn, 1, 1, 0, 1),
            (Kind::Spawn, 1, 2, 1, 1),
            (Kind::Spawn, 1, 3, 1, 1),
            (Kind::Hold, 2, 3, 70, 2),
            (Kind::Wait, 3, 3, 80, 3),
            (Kind::Wait, 4, 2, 70, 2),
            (Kind::WaitTask, 5, 1, 2, 0),
        ];
        assert_eq!(told(&recording(&events), SECOND), ["0.1 task > 0.2 holder > 0.3 end circle null alike 0"]);
        // Who has just begun to wait isn't stuck, but may be waited for.
        events[4].1 = 99 * SECOND + SECOND / 2;
        assert_eq!(told(&recording(&events), SECOND), ["0.1 task > 0.2 holder > 0.3 end circle null alike 0"]);
        assert!(told(&recording(&events), 1000 * SECOND).is_empty());
    }

    #[test]
    fn a_circle_is_told_once_and_so_are_tasks_that_are_alike() {
        let mut events = vec![
            (Kind::Spawn, 1, 1, 0, 1),
            (Kind::Spawn, 1, 2, 0, 3),
            (Kind::Hold, 2, 1, 70, 2),
            (Kind::Hold, 2, 2, 71, 2),
            (Kind::Wait, 3, 1, 71, 2),
            (Kind::Wait, 4, 2, 70, 2),
        ];
        assert_eq!(told(&recording(&events), SECOND), ["0.1 holder > 0.2 holder circle 0 alike 0"]);
        events.truncate(1);
        for task in 10..1010 {
            events.push((Kind::Spawn, 5, task, 1, 1));
            events.push((Kind::Wait, 6, task, 500 + task, 3));
        }
        assert_eq!(told(&recording(&events), SECOND), ["0.10 end circle null alike 999"]);
    }
}
