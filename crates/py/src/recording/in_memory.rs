//! The tasks of a recording that runs, in memory: what the recorder's thread reads goes into a model that can be asked at any time.
//!
//! Needs no GIL. `segue run --warn` and `segue.inspect` ask.

use std::sync::{Mutex, PoisonError};

use net::clock::Monotonic;
use sched::Clock;
use serde_json::Value;
use trace::event::Event;
use trace::queries::Refused;
use trace::recording::Limits;

use super::words::Words;

/// Tasks that have ended, and events, that are kept.
const LIMITS: Limits = Limits { tasks: 100_000, events: 100_000 };

pub struct InMemory(Mutex<State>);

struct State {
    recording: trace::Recording,
    /// Of the words, how many it knows.
    defined: usize,
}

impl InMemory {
    pub fn new(information: &str) -> InMemory {
        let mut recording = trace::Recording::live(LIMITS);
        if let Ok(Value::Object(about)) = serde_json::from_str(information) {
            recording.about = about;
        }
        InMemory(Mutex::new(State { recording, defined: 0 }))
    }

    /// Events of all loops since the last time.
    pub fn take(&self, words: &Words, loops: Vec<(u32, Vec<Event>)>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = words.defined_after(state.defined);
        state.defined += new.len();
        new.into_iter().for_each(|definition| state.recording.define(definition));
        state.recording.apply_loops(loops);
    }

    /// Nothing more comes.
    pub fn ends(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.recording.is_live, state.recording.is_complete) = (false, true);
    }

    pub fn answer(&self, question: &str, arguments: &Value) -> Result<String, Refused> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.recording.is_live {
            state.recording.tick(Monotonic.now());
        }
        state.recording.answer(question, arguments).map(|answer| answer.to_string())
    }
}
