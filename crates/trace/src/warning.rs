//! Warnings, as a linter would give them: what is wrong, where, and what to write instead.
//!
//! Three sources: what the recorder saw (`Warning` events), what the model noticed while events came ([`crate::model::detect`]), and
//! what can only be said at the end or at a look ([`ends`]). Warnings that are alike (same kind, same place) are one with a count.

pub mod code;
mod ends;
mod sentences;

use std::collections::HashMap;

use sched::Nanos;
use serde_json::{json, Value};

use crate::event::{Key, Object, Owner, Place};
use crate::model::detect::{Deadlock, HeldLong};
use crate::model::spins::Spun;
use crate::model::task::flag;
use crate::model::Warning;
use crate::recording::Recording;
use crate::words;

pub use code::{fact, Code};

/// Numbers of objects whose every use is told begin here: asyncio's own, which `segue._watch.primitives` numbers.
pub const WATCHED: Object = 1 << 48;
/// ... and Segue's own: their addresses with this bit.
pub const OWN: Object = 1 << 49;
/// So many different ones are told.
const MOST: usize = 1000;
/// So many tasks of a place that nobody keeps are a pile.
const PILE: u64 = 100;
/// ... and so many of one where they are kept, if they were started little by little: who starts all at once waits for all.
const KEPT_PILE: u64 = 1000;
const BURSTS: u64 = 50;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    /// One or two sentences.
    pub text: String,
    pub cure: String,
    /// Whom it is about, or 0.
    pub task: Key,
    pub place: Place,
    pub at: Nanos,
    pub count: u64,
}

/// All warnings about a recording, in the order in which they were first noticed.
pub fn findings(recording: &Recording) -> Vec<Finding> {
    let detected = recording.model().detected();
    let mut found = Found { recording, findings: Vec::new(), alike: HashMap::new() };
    for warning in &detected.raised {
        found.raised(warning);
    }
    for deadlock in &detected.deadlocks {
        found.deadlock(deadlock);
    }
    for spun in detected.spins.found() {
        found.spun(spun);
    }
    for grown in &detected.grown {
        let text = sentences::grown(recording, grown);
        found.add(Code::QueueGrows, grown.task, grown.place, grown.at, text);
    }
    for long in &detected.held_long {
        found.held_long(long);
    }
    found.unheard();
    found.piles();
    ends::look(&mut found);
    let mut findings = found.findings;
    findings.sort_by_key(|finding| finding.at);
    findings
}

/// The findings so far.
struct Found<'r> {
    recording: &'r Recording,
    findings: Vec<Finding>,
    alike: HashMap<(Code, Place, Key), usize>,
}

impl Found<'_> {
    fn add(&mut self, code: Code, task: Key, place: Place, at: Nanos, text: String) {
        self.add_with_cure(code, task, place, at, text, code.cure().to_owned());
    }

    fn add_with_cure(&mut self, code: Code, task: Key, place: Place, at: Nanos, text: String, cure: String) {
        // Without a place, those of one task are alike.
        let alike = (code, place, if place == 0 { task } else { 0 });
        if let Some(&known) = self.alike.get(&alike) {
            self.findings[known].count += 1;
            return;
        }
        if self.findings.len() < MOST {
            self.alike.insert(alike, self.findings.len());
            self.findings.push(Finding { code, text, cure, task, place, at, count: 1 });
        }
    }

    fn raised(&mut self, warning: &Warning) {
        let Some(code) = Code::from_number(warning.code) else { return };
        let text = sentences::raised(self.recording, code, warning);
        let cure = sentences::cure(self.recording, code, warning).to_owned();
        self.add_with_cure(code, warning.task, warning.place, warning.at, text, cure);
    }

    fn deadlock(&mut self, deadlock: &Deadlock) {
        let Some(last) = deadlock.tasks.first() else { return };
        let text = sentences::deadlock(self.recording, deadlock);
        self.add(Code::Deadlock, last.task, last.place, deadlock.at, text);
    }

    fn spun(&mut self, spun: &Spun) {
        let text = sentences::spun(self.recording, spun);
        let callbacks = &self.recording.model().detected().callbacks;
        let place = if spun.task == 0 { callbacks.get(&spun.callback).copied().unwrap_or(0) } else { spun.place };
        // Libraries have callbacks that are called all the time, by the name of one and by many others.
        if spun.task == 0 && !self.is_programs(place) {
            return;
        }
        self.add(Code::Spins, spun.task, place, spun.since, text);
    }

    /// In the program's own code.
    fn is_programs(&self, place: Place) -> bool {
        self.recording.tables.place(place).is_some_and(|row| row.owner == Owner::Program)
    }

    fn held_long(&mut self, long: &HeldLong) {
        let text = sentences::held_long(self.recording, long);
        self.add(Code::LockHeldLong, long.holder, long.slow.place, long.at, text);
    }

    /// Exceptions that nobody has asked for, and tasks that were destroyed.
    fn unheard(&mut self) {
        for task in self.recording.model().tasks() {
            if task.has(flag::UNHEARD) {
                let text = sentences::never_retrieved(self.recording, task);
                // Where it should have been kept and awaited; what it failed with, and where, is in the text.
                let place = if self.is_programs(task.started_at) { task.started_at } else { task.raised_at };
                self.add(Code::NeverRetrieved, task.key, place, task.end, text);
            }
            if task.has(flag::DESTROYED) {
                let text = sentences::destroyed(self.recording, task);
                let place = if task.started_at != 0 { task.started_at } else { task.wait_at };
                self.add(Code::TaskDestroyed, task.key, place, task.end, text);
            }
        }
    }

    fn piles(&mut self) {
        let model = self.recording.model();
        let totals = model.totals();
        for (&key, code) in &totals.code {
            let (coroutine, place) = crate::model::totals::unpair(key);
            let is_dropped = code.peak >= PILE && model.detected().dropping.contains(&place);
            let is_kept = code.peak >= KEPT_PILE && code.bursts >= BURSTS && model.detected().bare.contains(&place);
            if is_dropped || is_kept {
                let first = model.tasks().iter().find(|task| task.coroutine == coroutine && task.started_at == place);
                let text = sentences::pile(self.recording, coroutine, place, code.peak);
                self.add(Code::TasksPileUp, first.map_or(0, |task| task.parent), place, model.last(), text);
            }
        }
    }
}

#[cfg(test)]
mod tests;

impl Recording {
    pub fn warnings_json(&self) -> Value {
        findings(self).iter().map(|finding| self.warning_json(finding)).collect()
    }

    fn warning_json(&self, finding: &Finding) -> Value {
        let task = (finding.task != 0).then(|| words::id(finding.task));
        let name = self.model().task(finding.task).map(|task| self.name(task));
        json!({
            "code": finding.code.name(),
            "number": finding.code.number(),
            "title": finding.code.title(),
            "text": finding.text,
            "cure": finding.cure,
            "task": task,
            "name": name,
            "place": self.place_json(finding.place),
            "at": self.since_begin(finding.at),
            "count": finding.count,
        })
    }
}
