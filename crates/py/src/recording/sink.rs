//! What one loop's hooks tell, written into its ring: an event each, with its time and its words.
//!
//! Called on the loop's thread, with the GIL held, while a recording runs; never calls back into the loop.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use net::clock::Counter;
use sched::{Clock, Instrument, Kind as Told, Nanos};
use trace::event::{cause, Event, Key, Kind, CALLED_BY, LOOP_SHIFT};
use trace::ring::Writer;

use super::blocking::Busy;
use super::present::Present;
use super::watching::{self, Watching};
use super::words::Words;

pub struct Sink {
    ring: Rings,
    pub words: Arc<Words>,
    clock: Counter,
    /// What the loop's task numbers are made unique with.
    base: Key,
    /// The step that runs began then.
    step_began: Cell<Nanos>,
    /// ... and those around it, of tasks that started others eagerly.
    outer_steps: RefCell<Vec<Nanos>>,
    callback_began: Cell<Nanos>,
    in_callback: Cell<bool>,
    /// Who wakes a task while no other task runs: `cause`.
    doing: Cell<u32>,
    turn_began: Cell<Nanos>,
    turn_ended: Cell<Nanos>,
    /// Until what time it is known what the loop did: the end of the last job, or the turn's beginning.
    told_until: Cell<Nanos>,
    /// Nothing has begun since: what comes next begins there. Saves half of the looks at the clock.
    is_between: Cell<bool>,
    /// The step that runs has come to its end, then.
    is_closing: Cell<bool>,
    /// What is told while it goes on, if somebody looks.
    pub present: Option<Arc<Present>>,
    pub watching: Watching,
    /// What runs, for the watchdog.
    pub busy: Arc<Busy>,
}

impl Sink {
    pub fn new(
        ring: Writer,
        words: Arc<Words>,
        loop_number: u64,
        present: Option<Arc<Present>>,
        watching: Watching,
        busy: Arc<Busy>,
    ) -> Sink {
        let clock = Counter::default();
        let now = clock.now();
        Sink {
            ring: Rings { first: ring, has_second: Cell::new(false), second: RefCell::default() },
            words,
            clock,
            base: loop_number << LOOP_SHIFT,
            step_began: Cell::new(now),
            outer_steps: RefCell::default(),
            callback_began: Cell::new(now),
            in_callback: Cell::new(false),
            doing: Cell::new(cause::CALLBACK),
            turn_began: Cell::new(now),
            turn_ended: Cell::new(now),
            told_until: Cell::new(now),
            is_between: Cell::new(false),
            is_closing: Cell::new(false),
            present,
            watching,
            busy,
        }
    }

    /// A job begins.
    #[inline(always)]
    fn begin(&self) -> Nanos {
        self.is_closing.set(false);
        match self.is_between.replace(false) {
            true => self.told_until.get(),
            false => self.clock.now(),
        }
    }

    /// A job has ended.
    #[inline(always)]
    fn end(&self) -> Nanos {
        let now = self.closing();
        self.is_closing.set(false);
        // What a callback starts eagerly has ends of its own.
        self.is_between.set(!self.in_callback.get());
        now
    }

    /// The program's part of a step is over: all that the loop then does about it has one time.
    #[inline(always)]
    fn closing(&self) -> Nanos {
        if !self.is_closing.replace(true) {
            self.told_until.set(self.clock.now());
        }
        self.told_until.get()
    }

    /// A task's number in its loop becomes its key; 0 stays none.
    #[inline(always)]
    pub fn key(&self, task: u64) -> Key {
        match task {
            0 => 0,
            task => self.base | task,
        }
    }

    /// Who looks at the running program gets the events too, or no longer.
    pub fn tell_also(&self, second: Option<Writer>) {
        self.ring.has_second.set(second.is_some());
        let old = self.ring.second.replace(second);
        drop(old);
    }

    /// Only for the recording: what whoever looks has from an earlier event.
    pub fn push_to_recording(&self, event: Event) {
        self.ring.first.push(event);
    }

    /// Only for whoever looks: what a file has from an earlier event.
    pub fn push_to_who_looks(&self, event: Event) {
        match &*self.ring.second.borrow() {
            Some(second) => second.push(event),
            None => self.ring.first.push(event),
        }
    }

    pub fn loop_number(&self) -> u64 {
        self.base >> LOOP_SHIFT
    }

    #[inline(always)]
    pub fn push(&self, kind: Kind, task: Key, a: u64, b: u32, c: u32) {
        let now = if self.is_closing.get() { self.told_until.get() } else { self.clock.now() };
        self.ring.push(Event::new(kind, now, task, a, b, c));
    }

    /// What ran is over.
    #[inline(always)]
    fn rests(&self) {
        self.busy.ends();
        if self.busy.has_found() {
            self.push_found();
        }
    }

    /// What the watchdog has found meanwhile.
    #[cold]
    pub fn push_found(&self) {
        self.busy.take_found().into_iter().for_each(|event| self.ring.push(event));
    }
}

/// A recording's ring and, while somebody looks at the running program, that of who looks.
struct Rings {
    first: Writer,
    has_second: Cell<bool>,
    second: RefCell<Option<Writer>>,
}

impl Rings {
    #[inline(always)]
    fn push(&self, event: Event) {
        self.first.push(event);
        if self.has_second.get() {
            self.push_second(event);
        }
    }

    #[cold]
    fn push_second(&self, event: Event) {
        if let Some(second) = &*self.second.borrow() {
            second.push(event);
        }
    }
}

impl Instrument for Sink {
    #[inline]
    fn record(&self, told: &sched::Event) {
        let task = self.key(told.task);
        match told.kind {
            Told::Step => {
                if told.other != 0 {
                    self.outer_steps.borrow_mut().push(self.step_began.get());
                }
                let began = self.begin();
                self.step_began.set(began);
                if let Some(present) = &self.present {
                    present.step_begins(began, task);
                }
                self.busy.begins(began, task);
            }
            Told::StepEnd => {
                let (began, now) = (self.step_began.get(), self.end());
                self.rests();
                self.ring.push(Event::new(Kind::Step, began, task, now - began, 0, told.detail as u32));
                if told.other != 0 {
                    let outer = self.outer_steps.borrow_mut().pop().unwrap_or(now);
                    self.step_began.set(outer);
                    self.busy.begins(outer, self.key(told.other));
                    self.is_between.set(false);
                }
                if let Some(present) = &self.present {
                    match self.key(told.other) {
                        0 => present.step_ends(),
                        outer => present.step_begins(self.step_began.get(), outer),
                    }
                }
            }
            Told::Wake => {
                watching::check_thread(self, "A future's result was set or its task woken: that");
                let cause = if told.other != 0 { cause::TASK } else { self.doing.get() };
                let now = if self.is_closing.get() { self.told_until.get() } else { self.clock.now() };
                self.ring.push(Event::new(Kind::Wake, now, task, self.key(told.other), told.site, cause));
            }
            Told::Wait if told.other != 0 => {
                let now = self.closing();
                self.ring.push(Event::new(Kind::WaitTask, now, task, self.key(told.other), told.site, 0));
            }
            Told::Wait => {
                self.ring.push(Event::new(Kind::Wait, self.closing(), task, told.detail, told.site, told.extra));
            }
            Told::Spawn => self.push(Kind::Spawn, task, self.key(told.other), told.site, told.extra),
            Told::Cancel => self.push(Kind::Cancel, task, self.key(told.other), told.site, told.detail as u32),
            Told::Finish => {
                self.ring.push(Event::new(Kind::Finish, self.closing(), task, 0, told.site, told.detail as u32));
            }
            Told::Callback => {
                self.doing.set(told.detail as u32);
                let began = self.begin();
                self.callback_began.set(began);
                self.in_callback.set(true);
                self.busy.begins(began, 0);
            }
            Told::CallbackEnd => {
                self.in_callback.set(false);
                let (began, now) = (self.callback_began.get(), self.end());
                self.rests();
                let by = CALLED_BY | self.doing.get();
                self.ring.push(Event::new(Kind::Callback, began, self.base, now - began, by, told.extra));
                self.doing.set(cause::CALLBACK);
            }
            Told::Turn => {
                let began = self.end();
                self.turn_began.set(began);
                if let Some(present) = &self.present {
                    present.turn_begins(began);
                }
            }
            Told::TurnEnd => {
                if let Some(present) = &self.present {
                    present.turn_ends();
                }
                let jobs = told.detail.min(u32::MAX.into()) as u32;
                if jobs == 0 {
                    return;
                }
                // What comes after the last job is the wait.
                let (began, now) = (self.turn_began.get(), self.told_until.get());
                let waited = (began.saturating_sub(self.turn_ended.get()) / 1000).min(u32::MAX.into()) as u32;
                self.ring.push(Event::new(Kind::Turn, began, self.base, now - began, jobs, waited));
                self.turn_ended.set(now);
            }
            Told::Resume => self.is_between.set(false),
        }
    }
}
