//! The events themselves, each kept once: what stories, timelines and exports are made of. A file's are all kept; of a running
//! program's, the newest.

use std::collections::VecDeque;

use crate::event::{Event, Kind, Object};
use crate::model::Model;

#[derive(Default)]
pub struct History {
    events: VecDeque<Event>,
    limit: Option<usize>,
    left_out: u64,
    index: Option<Index>,
}

/// Where a task's events are, by counting: 4 bytes for each, and 4 for each task.
struct Index {
    /// `of[starts[position]..starts[position + 1]]` are the task's.
    starts: Vec<u32>,
    of: Vec<u32>,
    turns: Vec<u32>,
    /// Locks taken and given back, by object.
    holds: Vec<u32>,
}

impl History {
    /// `limit`: how many events are kept; None: all.
    pub fn new(limit: Option<usize>) -> History {
        History { limit, ..History::default() }
    }

    #[inline]
    pub fn push(&mut self, event: Event) {
        if self.limit.is_some_and(|limit| self.events.len() >= limit) {
            self.left_out += u64::from(self.events.pop_front().is_some());
        }
        self.events.push_back(event);
        self.index = None;
    }

    /// The first ones aren't copied.
    pub fn append(&mut self, events: Vec<Event>) {
        if self.events.is_empty() {
            self.events = events.into();
        } else {
            self.events.extend(events);
        }
        let too_many = self.limit.map_or(0, |limit| self.events.len().saturating_sub(limit));
        self.events.drain(..too_many);
        self.left_out += too_many as u64;
        self.index = None;
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Older events that are no longer kept.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> + Clone {
        self.events.iter()
    }

    /// Worth it before many questions about events that no longer change; without it, each looks at every event.
    pub fn index(&mut self, model: &Model) {
        let mut starts = vec![0u32; model.tasks().len() + 1];
        let (mut turns, mut holds) = (Vec::new(), Vec::new());
        for (at, event) in self.events.iter().enumerate() {
            match event.kind() {
                Some(Kind::Turn) => turns.push(at as u32),
                Some(Kind::Hold | Kind::Release) => holds.push(at as u32),
                _ => {}
            }
            about(event, |key| {
                if let Some(position) = model.position(key) {
                    starts[position + 1] += 1;
                }
            });
        }
        for position in 1..starts.len() {
            starts[position] += starts[position - 1];
        }
        let mut next = starts.clone();
        let mut of = vec![0; starts.last().map_or(0, |&all| all as usize)];
        for (at, event) in self.events.iter().enumerate() {
            about(event, |key| {
                if let Some(position) = model.position(key) {
                    of[next[position] as usize] = at as u32;
                    next[position] += 1;
                }
            });
        }
        holds.sort_by_key(|&at| self.events[at as usize].a);
        self.index = Some(Index { starts, of, turns, holds });
    }

    pub fn is_indexed(&self) -> bool {
        self.index.is_some()
    }

    /// What happened to the task with this key at this position of the model, and whom it started and cancelled; in order.
    pub fn of_task(&self, key: u64, position: usize) -> Box<dyn Iterator<Item = &Event> + '_> {
        match &self.index {
            Some(index) if position + 1 < index.starts.len() => {
                let range = index.starts[position] as usize..index.starts[position + 1] as usize;
                Box::new(index.of[range].iter().map(|&at| &self.events[at as usize]))
            }
            _ => Box::new(self.events.iter().filter(move |event| {
                let mut is_about = false;
                about(event, |of| is_about |= of == key);
                is_about
            })),
        }
    }

    pub fn turns(&self) -> Box<dyn Iterator<Item = &Event> + '_> {
        match &self.index {
            Some(index) => Box::new(index.turns.iter().map(|&at| &self.events[at as usize])),
            None => Box::new(self.events.iter().filter(|event| event.kind() == Some(Kind::Turn))),
        }
    }

    /// `Hold` and `Release` of an object, in order.
    pub fn holds(&self, object: Object) -> Box<dyn Iterator<Item = &Event> + '_> {
        match &self.index {
            Some(index) => {
                let event = |at: &u32| &self.events[*at as usize];
                let from = index.holds.partition_point(|at| event(at).a < object);
                Box::new(index.holds[from..].iter().map(event).take_while(move |event| event.a == object))
            }
            None => Box::new(
                self.events
                    .iter()
                    .filter(move |event| matches!(event.kind(), Some(Kind::Hold | Kind::Release)) && event.a == object),
            ),
        }
    }
}

/// The tasks whose story an event is part of.
#[inline]
fn about(event: &Event, mut tell: impl FnMut(u64)) {
    let key = event.task();
    match event.kind() {
        None | Some(Kind::Loop | Kind::Turn | Kind::Lost | Kind::Exists) => {}
        Some(Kind::Spawn | Kind::Cancel) => {
            tell(key);
            if event.a != key && event.a != 0 {
                tell(event.a);
            }
        }
        Some(_) => tell(key),
    }
}
