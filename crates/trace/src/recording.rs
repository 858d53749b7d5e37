//! A recording as a whole: what the program was, its words and places, its tasks, its events. All questions are asked of one
//! ([`crate::queries`]); a running program has one that is fed as it runs, a file is read into one.

use std::io::Read;
use std::path::Path;

use sched::Nanos;
use serde_json::{Map, Value};

use crate::event::{Definition, Event, Key};
use crate::file::{Contents, Error};
use crate::history::History;
use crate::model::Model;
use crate::tables::Tables;

#[derive(Default)]
pub struct Recording {
    /// About the program: "program", "pid", "python", "started" (unix seconds), "directory".
    pub about: Map<String, Value>,
    /// It was read to its end, and that was meant to be its end.
    pub is_complete: bool,
    /// What is wrong with the file that it was read from, and where.
    pub damage: Vec<String>,
    /// What a newer Segue has written and this one doesn't know.
    pub skipped: u64,
    /// It is being made right now: what has not ended has only not ended yet.
    pub is_live: bool,
    pub tables: Tables,
    model: Model,
    history: History,
    now: Nanos,
}

/// What a recording of a running program may keep.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Tasks that have ended.
    pub tasks: usize,
    pub events: usize,
}

impl Recording {
    /// For a file: everything is kept.
    pub fn new() -> Recording {
        Recording::default()
    }

    /// For a running program: memory is bounded, but for tasks that are alive.
    pub fn live(limits: Limits) -> Recording {
        let (model, history) = (Model::new(Some(limits.tasks)), History::new(Some(limits.events)));
        Recording { is_live: true, model, history, ..Recording::default() }
    }

    /// What can be read of a file; an error only if that is nothing.
    pub fn open(path: &Path) -> Result<Recording, Error> {
        Ok(Recording::of(Contents::open(path)?))
    }

    pub fn read(from: impl Read) -> Result<Recording, Error> {
        Ok(Recording::of(Contents::read(from)?))
    }

    fn of(contents: Contents) -> Recording {
        let mut recording = Recording {
            tables: contents.tables,
            damage: contents.damage,
            skipped: contents.skipped,
            is_complete: contents.complete,
            ..Recording::default()
        };
        match serde_json::from_str(&contents.info) {
            Ok(Value::Object(about)) => recording.about = about,
            _ if contents.info.is_empty() => {}
            _ => recording.damage.push("what it says about the program is not understood".to_owned()),
        }
        recording.apply_all(contents.events);
        recording.index();
        recording
    }

    pub fn define(&mut self, definition: Definition) {
        self.tables.define(definition);
    }

    #[inline]
    pub fn apply(&mut self, event: Event) {
        self.model.apply(&event);
        self.history.push(event);
    }

    /// Adds many, in the order in which they were written ([`Event::written`]).
    pub fn apply_all(&mut self, events: Vec<Event>) {
        events.iter().for_each(|event| self.model.apply(event));
        self.history.append(events);
    }

    /// Adds what was written since the last time: the number of each loop, and its events. In the order in which they were written, all
    /// loops together.
    pub fn apply_loops(&mut self, loops: impl IntoIterator<Item = (u32, Vec<Event>)>) {
        let of_loops = loops.into_iter();
        let mut events: Vec<Event> =
            of_loops.flat_map(|(number, events)| events.into_iter().map(move |event| event.in_loop(number))).collect();
        events.sort_by_key(Event::written);
        self.apply_all(events);
    }

    /// The time is this, for what is still going on. Who records a running program says so before asking.
    pub fn tick(&mut self, now: Nanos) {
        self.now = self.now.max(now);
    }

    /// A task runs now, as whoever looks at the running program can see.
    pub fn is_running(&mut self, key: Key, since: Nanos) {
        self.model.is_running(key, since);
    }

    /// Before many questions about a recording that no longer changes.
    pub fn index(&mut self) {
        if !self.history.is_indexed() {
            self.history.index(&self.model);
        }
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    pub fn history(&self) -> &History {
        &self.history
    }

    /// When it ends, so far.
    pub fn now(&self) -> Nanos {
        self.now.max(self.model.last())
    }

    /// Nanoseconds since it began, as all answers count.
    pub fn since_begin(&self, at: Nanos) -> Nanos {
        at.saturating_sub(self.model.first())
    }

    /// A path as short as it is still understood: from where the program was started, or as its modules are imported.
    pub fn short<'p>(&self, path: &'p str) -> &'p str {
        let from = self.about.get("directory").and_then(Value::as_str).filter(|directory| directory.len() > 1);
        if let Some(rest) = from.and_then(|directory| Path::new(path).strip_prefix(directory).ok()) {
            return rest.to_str().unwrap_or(path);
        }
        if let Some((_, rest)) = path.rsplit_once("/site-packages/") {
            return rest;
        }
        match path.rsplit_once("/lib/python3.").and_then(|(_, rest)| rest.split_once('/')) {
            Some((_, rest)) => rest,
            None => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_as_short_as_they_are_understood() {
        let mut recording = Recording::new();
        recording.about.insert("directory".into(), "/home/you".into());
        let paths = [
            "/home/you/app.py",
            "/usr/lib/python3.13/asyncio/locks.py",
            "/v/lib/python3.11/site-packages/x/y.py",
            "/z.py",
        ];
        assert_eq!(paths.map(|path| recording.short(path)), ["app.py", "asyncio/locks.py", "x/y.py", "/z.py"]);
    }
}
