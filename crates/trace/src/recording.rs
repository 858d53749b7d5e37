//! A recording as a whole: what the program was, its words and places, its tasks, its events. All questions are asked of one
//! ([`crate::queries`]); a running program has one that is fed as it runs, a file is read into one.

use std::path::Path;

use sched::Nanos;
use serde_json::{Map, Value};

use crate::contents::Contents;
use crate::event::{Definition, Event, Kind};
use crate::history::History;
use crate::model::Model;
use crate::tables::Tables;

#[derive(Default)]
pub struct Recording {
    /// About the program: "program", "pid", "python", "started" (unix seconds), "directory".
    pub about: Map<String, Value>,
    /// It was read to its end, and that was meant to be its end.
    pub is_complete: bool,
    /// It is being made right now: what has not ended has only not ended yet.
    pub is_live: bool,
    pub tables: Tables,
    /// What is wrong with its file.
    pub damage: Vec<String>,
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

    /// Of a file's contents.
    pub fn of(contents: Contents) -> Recording {
        let about = match serde_json::from_str(&contents.info) {
            Ok(Value::Object(about)) => about,
            _ => Map::new(),
        };
        let mut recording = Recording {
            about,
            is_complete: contents.complete && contents.damage.is_empty(),
            tables: contents.tables,
            damage: contents.damage,
            ..Recording::default()
        };
        recording.apply_loops(contents.loops.into_iter().map(|(_, events)| events).collect());
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

    /// Adds events of several loops, each loop's in the order in which they were written, as they happened: by when each was written,
    /// which is the end of what takes time.
    pub fn apply_loops(&mut self, loops: Vec<Vec<Event>>) {
        if let (1, true) = (loops.len(), self.history.is_empty()) {
            let only = loops.into_iter().next().unwrap_or_default();
            only.iter().for_each(|event| self.model.apply(event));
            return self.history.take(only);
        }
        self.history.reserve(loops.iter().map(Vec::len).sum());
        let mut next: Vec<_> = loops.iter().map(|events| events.iter().peekable()).collect();
        loop {
            let heads = next.iter_mut().enumerate().filter_map(|(at, events)| Some((written(events.peek()?), at)));
            let Some((_, first)) = heads.min() else { break };
            // All that this loop wrote before any other wrote: mostly many, so that finding the first costs little.
            let until = next.iter_mut().enumerate().filter(|(at, _)| *at != first);
            let until = until.filter_map(|(_, events)| Some(written(events.peek()?))).min().unwrap_or(Nanos::MAX);
            let mut taken = 0;
            while let Some(event) = next[first].next_if(|event| taken == 0 || written(event) <= until) {
                taken += 1;
                self.apply(*event);
            }
        }
    }

    /// The time is this, for what is still going on. Who records a running program says so before asking.
    pub fn tick(&mut self, now: Nanos) {
        self.now = self.now.max(now);
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

/// When an event was written.
fn written(event: &Event) -> Nanos {
    match event.kind() {
        Some(Kind::Step | Kind::Turn | Kind::Callback) => event.at.saturating_add(event.a),
        _ => event.at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::step;

    #[test]
    fn loops_are_merged_by_when_their_events_were_written() {
        let mut recording = Recording::new();
        let event = |kind, at, took| Event::new(kind, at, 1, took, 0, step::WAITS);
        let first = vec![event(Kind::Wait, 5, 0), event(Kind::Step, 1, 10), event(Kind::Wake, 30, 0)];
        let second = vec![event(Kind::Wait, 3, 0), event(Kind::Wait, 2, 0), event(Kind::Wait, 20, 0)];
        recording.apply_loops(vec![first, second]);
        let order: Vec<_> = recording.history().iter().map(|event| (event.kind().unwrap(), event.at)).collect();
        use Kind::{Step, Wait, Wake};
        assert_eq!(order, [(Wait, 3), (Wait, 2), (Wait, 5), (Step, 1), (Wait, 20), (Wake, 30)]);
    }

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
