//! A task's events as what it did when: ran, was ready, waited, one after the other. Stories, timelines and exports share it.

use sched::Nanos;

use crate::event::{step, Event, Kind};
use crate::model::task::{State, Task};

/// From `begin` to `end` a task was in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'e> {
    pub begin: Nanos,
    pub end: Nanos,
    pub state: State,
    /// Of a wait: what for; `Wait` or `WaitTask`.
    pub wait: Option<&'e Event>,
    /// Of a wait or of being ready: the `Wake` that ended it or began it.
    pub woken: Option<&'e Event>,
    /// Of a step: what it ended with.
    pub how: u32,
}

/// Feed it a task's events in order. What it tells is in order and doesn't overlap, whatever the events say.
pub struct Life<'e> {
    cursor: Nanos,
    state: State,
    wait: Option<&'e Event>,
    woken: Option<&'e Event>,
    /// What the step that isn't told yet will wait for, and who has woken it from that already.
    next: Option<(&'e Event, Option<&'e Event>)>,
    is_over: bool,
}

impl<'e> Life<'e> {
    pub fn of(task: &Task) -> Life<'e> {
        Life { cursor: task.begin, state: State::Ready, wait: None, woken: None, next: None, is_over: false }
    }

    pub fn apply(&mut self, event: &'e Event, mut tell: impl FnMut(Span<'e>)) {
        if self.is_over {
            return;
        }
        match event.kind() {
            Some(Kind::Wait | Kind::WaitTask) => self.next = Some((event, None)),
            Some(Kind::Wake) => match &mut self.next {
                // Within the step: it can't have been waiting before.
                Some((_, woken)) => *woken = Some(event),
                None if self.state != State::Waiting => self.woken = Some(event),
                None => {
                    self.woken = Some(event);
                    self.go_on(event.at, State::Ready, &mut tell);
                    self.wait = None;
                }
            },
            Some(Kind::Step) => self.step(event, &mut tell),
            _ => {}
        }
    }

    fn step(&mut self, event: &'e Event, tell: &mut impl FnMut(Span<'e>)) {
        self.go_on(event.at, State::Running, tell);
        let over = event.at.saturating_add(event.a).max(self.cursor);
        let span = Span { begin: self.cursor, end: over, state: State::Running, wait: None, woken: None, how: event.c };
        tell(span);
        self.cursor = over;
        // The wait of this step was written before it.
        let next = self.next.take();
        (self.wait, self.woken) = (next.map(|(wait, _)| wait), next.and_then(|(_, woken)| woken));
        self.state = match (event.c, self.woken) {
            (step::WAITS, None) => State::Waiting,
            (step::WAITS, Some(wake)) => {
                let wait = self.wait.take();
                let end = wake.at.max(over);
                tell(Span { begin: over, end, state: State::Waiting, wait, woken: self.woken, how: 0 });
                self.cursor = end;
                State::Ready
            }
            (step::YIELDS, _) => State::Ready,
            _ => State::Running,
        };
        self.is_over = event.c == step::ENDS;
    }

    fn go_on(&mut self, at: Nanos, state: State, tell: &mut impl FnMut(Span<'e>)) {
        let at = at.max(self.cursor);
        if at > self.cursor || self.state == State::Waiting {
            let woken = self.woken;
            tell(Span { begin: self.cursor, end: at, state: self.state, wait: self.wait, woken, how: 0 });
        }
        (self.cursor, self.state) = (at, state);
    }

    /// The rest, up to the task's end or, if it has none, to `now`.
    pub fn end(mut self, task: &Task, now: Nanos, mut tell: impl FnMut(Span<'e>)) {
        if let Some((wait, woken)) = self.next {
            // Its last step is still going on, or was lost.
            (self.wait, self.woken) = (Some(wait), woken);
            self.state = if woken.is_some() { State::Ready } else { State::Waiting };
        }
        if !self.is_over || task.state.is_pending() {
            self.go_on(task.end.min(now), self.state, &mut tell);
        }
    }
}
