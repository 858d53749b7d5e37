//! The tasks of this process read as memory ([`super::memory`]), as a debugger of another process reads them: for when native code holds
//! the GIL and nothing was recorded before.
//!
//! Whoever holds the GIL may change it all meanwhile; the loops' positions are compared before and after, and it is tried again if one has
//! moved. Where the interpreter's frames look different from all that we know, tasks are told without their places.

use std::collections::{HashMap, HashSet};

use pyo3::ffi;
use pyo3::prelude::*;
use serde_json::{Map, Value};
use trace::event::{scope, Definition, Event, Kind, Owner, LOOP_SHIFT, NUMBERED};
use trace::recording::Limits;
use trace::Recording;

use super::memory::{self, bytes, list, word, word_in, WORD};
use crate::progress;
use crate::raw::{registry, task};
use crate::structured::{lock, wait};

/// So many tasks at most: more would take seconds.
const MOST: usize = 200_000;
const TRIES: usize = 3;

/// How this interpreter's objects and ours look, found out with the GIL.
pub struct Layout {
    python: memory::Layout,
    /// The address of the operation that waits for a lock, and where in a lock its owner is.
    lock: (usize, usize),
}

impl Layout {
    /// None if this interpreter's objects can't be read as memory.
    pub fn found(py: Python<'_>) -> PyResult<Option<Layout>> {
        let lock = lock::fields(py)?;
        Ok(memory::Layout::found(py)?.map(|python| Layout { python, lock }))
    }

    /// Whether tasks are told with the lines where they wait.
    pub fn has_places(&self) -> bool {
        self.python.has_places()
    }
}

/// What was read, and where each loop's running task is: in its own coroutine, whatever it has called.
pub struct Peeked {
    pub recording: Recording,
    /// By the loop's number.
    pub running_at: HashMap<u64, Value>,
    /// There are more tasks than were read.
    pub is_cut: bool,
}

/// Reads what there is. None if it can't be read here, or doesn't hold still.
pub fn peek(layout: &Layout, about: &Map<String, Value>) -> Option<Peeked> {
    for _ in 0..TRIES {
        let before = positions();
        let peeked = Reading::new(layout, about).all()?;
        if positions() == before {
            return Some(peeked);
        }
    }
    None
}

/// About how many tasks are alive.
pub fn count() -> Option<usize> {
    let next = task::fields().next;
    let mut count = 0;
    for head in registry::heads() {
        let mut at = word(head)?;
        while at != 0 && count < MOST {
            count += 1;
            at = word(at + next)?;
        }
    }
    Some(count)
}

fn positions() -> Vec<(u64, (u64, u32))> {
    let mut all = Vec::new();
    progress::each(|core| all.push((core.progress.number, core.progress.position())));
    all
}

struct Reading<'l> {
    layout: &'l Layout,
    recording: Recording,
    /// Loops by the addresses of their Rust sides: number, beginning, the number of the task that runs.
    loops: HashMap<usize, (u64, u64, u64)>,
    fields: task::Fields,
    texts: HashMap<String, u32>,
    places: HashMap<(u32, u32, u32), u32>,
    classes: HashMap<usize, u32>,
    running_at: HashMap<u64, Value>,
    /// Locks and their owners that are known.
    held: HashSet<(usize, usize)>,
}

struct Read {
    id: u64,
    of_loop: usize,
    copied: Vec<u8>,
}

impl<'l> Reading<'l> {
    fn new(layout: &'l Layout, about: &Map<String, Value>) -> Reading<'l> {
        let mut recording = Recording::live(Limits { tasks: 1000, events: 0 });
        recording.about = about.clone();
        let mut loops = HashMap::new();
        progress::each(|core| {
            let progress = &core.progress;
            loops.insert(std::ptr::from_ref(core) as usize, (progress.number, progress.began(), core.hooks.current()));
        });
        Reading {
            layout,
            recording,
            loops,
            fields: task::fields(),
            texts: HashMap::new(),
            places: HashMap::new(),
            classes: HashMap::new(),
            running_at: HashMap::new(),
            held: HashSet::new(),
        }
    }

    fn all(mut self) -> Option<Peeked> {
        let mut read: Vec<Read> = Vec::new();
        let mut is_cut = false;
        for head in registry::heads() {
            let mut at = word(head)?;
            while at != 0 {
                if read.len() >= MOST {
                    is_cut = true;
                    break;
                }
                let Some(copied) = bytes(at, self.fields.end) else { break };
                let (id, of_loop) = (word_in(&copied, self.fields.id) as u64, word_in(&copied, self.fields.core));
                at = word_in(&copied, self.fields.next);
                if id != 0 && copied[self.fields.state] == 0 && self.loops.contains_key(&of_loop) {
                    read.push(Read { id, of_loop, copied });
                }
            }
        }
        // As they were made; a list that changed while it was read may have one twice.
        read.sort_by_key(|task| (task.of_loop, task.id));
        read.dedup_by_key(|task| (task.of_loop, task.id));
        let mut waits = Vec::new();
        for task in &read {
            self.task(task, &mut waits);
        }
        waits.sort_by_key(|event: &Event| event.at);
        self.recording.apply_all(waits);
        Some(Peeked { recording: self.recording, running_at: self.running_at, is_cut })
    }

    fn task(&mut self, task: &Read, waits: &mut Vec<Event>) {
        let &(number, began, running) = &self.loops[&task.of_loop];
        let word = |at: usize| word_in(&task.copied, at);
        let key = |id: u64| if id == 0 { 0 } else { number << LOOP_SHIFT | id };
        let (coroutine, me) = (word(self.fields.coro), key(task.id));
        let code = self.code(coroutine);
        let parent = key(word(self.fields.parent) as u64);
        self.recording.apply(Event::new(Kind::Exists, began, me, parent, 0, code));
        let (name, name_number) = (word(self.fields.name), word(self.fields.name_number) as u64);
        let name = match self.layout.python.text(name) {
            _ if name_number == task::AFTER_FUNCTION => 0,
            Some(name) => self.text(&name),
            None if name == 0 => NUMBERED | (name_number as u32 & !NUMBERED),
            None => 0,
        };
        if name != 0 {
            self.recording.apply(Event::new(Kind::Name, began, me, 0, 0, name));
        }
        for nursery in list(word(self.fields.nurseries)) {
            self.recording.apply(Event::new(Kind::ScopeOpen, began, me, nursery as u64, 0, scope::NURSERY));
        }
        let nursery = word(self.fields.nursery);
        if nursery != 0 {
            self.recording.apply(Event::new(Kind::Child, began, me, nursery as u64, 0, 0));
        }
        let waiter = word(self.fields.fut_waiter);
        if waiter != 0 && task.id != running {
            let since = self.time_of_turn(task.of_loop, word(self.fields.since_turn) as u64).max(began);
            let place = self.waits_at(coroutine);
            waits.push(self.wait(me, waiter, place, since));
        } else if task.id == running {
            if let Some(place) = self.layout.python.place(coroutine) {
                let told = serde_json::json!({"file": place.file, "line": place.line, "function": place.function});
                self.running_at.insert(number, told);
            }
        }
    }

    fn wait(&mut self, me: u64, on: usize, place: u32, since: u64) -> Event {
        let class = word(on + WORD).unwrap_or(0);
        let (wait_class, [operation, owner, queue]) = wait::fields();
        if class == wait_class {
            let name = wait::name_at(word, bytes, on + operation);
            let what = name.map_or(0, |name| self.text(&name));
            let of = word(on + owner).unwrap_or(0);
            let object = word(on + queue).filter(|&queue| queue != 0).unwrap_or(of);
            if word(on + operation) == Some(self.layout.lock.0) {
                self.holder(of, object);
            }
            return Event::new(Kind::Wait, since, me, object as u64, place, what);
        }
        if class == crate::raw::globals::globals().task_type as usize {
            let other = bytes(on, self.fields.end).unwrap_or_default();
            if let Some((number, ..)) = self.loops.get(&word_in(&other, self.fields.core)) {
                let other = *number << LOOP_SHIFT | word_in(&other, self.fields.id) as u64;
                return Event::new(Kind::WaitTask, since, me, other, place, 0);
            }
        }
        let what = self.class_name(class);
        Event::new(Kind::Wait, since, me, on as u64, place, what)
    }

    /// What a task runs is called: a coroutine, one of our awaitables, or an object of a library's.
    fn code(&mut self, o: usize) -> u32 {
        if let Some(name) = self.layout.python.coroutine_name(o) {
            return self.text(&name);
        }
        let class = word(o + WORD).unwrap_or(0);
        let (wait_class, [operation, ..]) = wait::fields();
        match wait::name_at(word, bytes, o + operation).filter(|_| class == wait_class) {
            Some(name) => self.text(&name),
            None => self.class_name(class),
        }
    }

    /// Who has a lock that somebody waits for.
    fn holder(&mut self, lock: usize, object: usize) {
        let owner = word(lock + self.layout.lock.1).filter(|&owner| owner != 0);
        let Some((owner, copied)) = owner.and_then(|owner| Some((owner, bytes(owner, self.fields.end)?))) else {
            return;
        };
        let Some(&(number, began, _)) = self.loops.get(&word_in(&copied, self.fields.core)) else { return };
        if !self.held.insert((object, owner)) {
            return;
        }
        let what = self.text("Lock");
        let holder = number << LOOP_SHIFT | word_in(&copied, self.fields.id) as u64;
        self.recording.apply(Event::new(Kind::Hold, began, holder, object as u64, 0, what));
    }

    fn time_of_turn(&self, of_loop: usize, turn: u64) -> u64 {
        let mut time = 0;
        progress::each(|core| {
            if std::ptr::from_ref(core) as usize == of_loop {
                time = core.progress.time_of_turn(turn);
            }
        });
        time
    }

    /// The innermost line of the program's own where a coroutine waits.
    fn waits_at(&mut self, coroutine: usize) -> u32 {
        let chain = self.layout.python.chain(coroutine);
        let own = chain.iter().rev().find(|place| place.owner == Owner::Program);
        let Some(place) = own.or(chain.first()) else { return 0 };
        let row = (self.text(&place.file), place.line, self.text(&place.function));
        if let Some(&known) = self.places.get(&row) {
            return known;
        }
        let number = self.places.len() as u32 + 1;
        self.places.insert(row, number);
        let (file, line, function) = row;
        self.recording.define(Definition::Place { number, file, line, function, owner: place.owner });
        number
    }

    fn text(&mut self, text: &str) -> u32 {
        if let Some(&known) = self.texts.get(text) {
            return known;
        }
        let number = self.texts.len() as u32 + 1;
        self.texts.insert(text.to_owned(), number);
        self.recording.define(Definition::Text { number, text: text.into() });
        number
    }

    fn class_name(&mut self, class: usize) -> u32 {
        if let Some(&known) = self.classes.get(&class) {
            return known;
        }
        let name = word(class + std::mem::offset_of!(ffi::PyTypeObject, tp_name)).and_then(|name| {
            // Up to the end of a page, which may be the last that there is.
            let length = (4096 - name % 4096).min(200);
            let text = bytes(name, length)?;
            let end = text.iter().position(|&byte| byte == 0)?;
            String::from_utf8(text[..end].to_vec()).ok()
        });
        let name = name.unwrap_or_default();
        let number = self.text(name.rsplit('.').next().unwrap_or_default());
        self.classes.insert(class, number);
        number
    }
}
