//! Stacks as flamegraph.pl reads them: `main (app.py:1);fetch (app.py:5);a lock (db.py:40) 1200000`. The frames are who started whom
//! and, last, what was waited for; the weight is nanoseconds.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::event::{Kind, Place, Text};
use crate::life::Life;
use crate::model::task::State;
use crate::recording::Recording;
use crate::words;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    Waited,
    Busy,
}

/// What was waited for, and where; None for what isn't known. `Text::MAX` is a task.
type Awaited = Option<(Text, Place)>;
const TASK: Text = Text::MAX;

pub fn write(recording: &Recording, weight: Weight, out: &mut dyn Write) -> io::Result<()> {
    let model = recording.model();
    let mut weights: BTreeMap<(u32, Awaited), u64> = BTreeMap::new();
    for (position, task) in model.tasks().iter().enumerate() {
        if weight == Weight::Busy {
            let sum = weights.entry((task.group, None)).or_default();
            *sum = sum.saturating_add(task.busy);
            continue;
        }
        let mut add = |span: crate::life::Span<'_>| {
            if span.state == State::Waiting {
                let awaited = span.wait.map(|wait| {
                    let what = if wait.kind() == Some(Kind::WaitTask) { TASK } else { wait.c };
                    (what, wait.b)
                });
                let sum = weights.entry((task.group, awaited)).or_default();
                *sum = sum.saturating_add(span.end - span.begin);
            }
        };
        let mut life = Life::of(task);
        for event in recording.history().of_task(task.key, position).filter(|event| event.task() == task.key) {
            life.apply(event, &mut add);
        }
        life.end(task, recording.now(), &mut add);
    }
    let mut stacks: BTreeMap<String, u64> = BTreeMap::new();
    for ((group, awaited), nanos) in weights {
        let mut frames = frames(recording, group);
        if weight == Weight::Waited {
            frames.push(last_frame(recording, awaited));
        }
        let sum = stacks.entry(frames.join(";")).or_default();
        *sum = sum.saturating_add(nanos);
    }
    for (stack, nanos) in stacks.iter().filter(|(_, nanos)| **nanos > 0) {
        writeln!(out, "{stack} {nanos}")?;
    }
    Ok(())
}

/// Who started whom down to the group.
fn frames(recording: &Recording, group: u32) -> Vec<String> {
    let groups = recording.model().groups().all();
    let mut frames = Vec::new();
    let mut next = groups.get(group as usize);
    while let Some(group) = next {
        frames.push(frame(&recording.code_name(group.coroutine), recording.place(group.place)));
        next = groups.get(group.parent as usize);
    }
    frames.reverse();
    frames
}

fn last_frame(recording: &Recording, awaited: Awaited) -> String {
    match awaited {
        None => frame("something unknown", None),
        Some((TASK, place)) => frame("a task", recording.place(place)),
        Some((what, place)) => match recording.tables.text(what) {
            "sleep" => frame("sleep", recording.place(place)),
            what => frame(&words::thing(what), recording.place(place)),
        },
    }
}

fn frame(name: &str, place: Option<String>) -> String {
    let frame = match place {
        Some(place) => format!("{name} ({place})"),
        None => name.to_owned(),
    };
    // What separates frames can't be in one.
    frame.replace(';', ",")
}
