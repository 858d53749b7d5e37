//! The tasks of a program, from its events: [`Model::apply`] takes one after the other, live or out of a file.
//!
//! It keeps what can be asked about at any time and no events ([`crate::history`] does). It believes nothing: events may be missing,
//! out of order or nonsense, which must never make it panic, and each task has at most one end.
//!
//! | state | left by |
//! |---|---|
//! | ready: it can run | its step, or what it does in it |
//! | running | the step's end (`Step`), or its wait |
//! | waiting | `Wake`, or a step without one |
//! | finished, failed, cancelled | nothing: whatever follows only counts |

pub mod detect;
pub mod groups;
mod index;
pub mod spins;
pub mod task;
mod tidy;
pub mod totals;

use sched::Nanos;

use crate::by_number::ByNumber;
use crate::event::{cause, outcome, phase, release, scope, step};
use crate::event::{Event, Key, Kind, Object, Place, Text, CALLED_BY, LOOP_SHIFT};

use detect::Detected;
use groups::{Edge, Groups, NO_GROUP};
use index::Index;
use task::{flag, Cancel, Held, Holder, Outcomes, Scope, State, Task, WaitsFor, NEVER};
use totals::{Loop, Totals};

/// Words that came before the event that they are about.
#[derive(Clone, Copy)]
struct Why {
    text: Text,
    scope: Object,
    place: Place,
}

/// A warning as the recorder wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    pub at: Nanos,
    pub task: Key,
    pub nanos: u64,
    pub place: Place,
    pub code: u32,
    /// More about it.
    pub text: Text,
}

#[derive(Default)]
pub struct Model {
    /// Of the tasks that have ended, about how many are kept; None: all.
    limit: Option<usize>,
    tidy_at: usize,
    tasks: Vec<Task>,
    index: Index,
    cancels: Vec<Cancel>,
    whys: ByNumber<Key, Why>,
    scopes: ByNumber<Object, Scope>,
    held: ByNumber<Object, Held>,
    loops: Vec<Loop>,
    groups: Groups,
    totals: Totals,
    outcomes: Outcomes,
    detected: Detected,
    events: u64,
    /// Of a kind that only a newer Segue knows.
    unknown: u64,
    lost: u64,
    first: Option<Nanos>,
    last: Nanos,
}

impl Model {
    /// `limit`: about how many tasks that have ended are kept (failed ones first, then the newest); None: all of them.
    pub fn new(limit: Option<usize>) -> Model {
        Model { limit, tidy_at: limit.unwrap_or(usize::MAX), ..Model::default() }
    }

    pub fn apply(&mut self, event: &Event) {
        self.events += 1;
        let Some(kind) = event.kind() else {
            self.unknown += 1;
            return;
        };
        let Event { a, b, c, .. } = *event;
        let (at, key) = (event.at.min(NEVER - 1), event.task());
        if kind != Kind::Lost {
            self.first.get_or_insert(at);
            // Not with what an event says it took: of what is damaged, that may be centuries.
            self.last = self.last.max(at);
        }
        match kind {
            Kind::Loop => self.loop_event(a, b, c),
            Kind::Turn => self.turn(at, key, a, b, c),
            Kind::Spawn => self.spawn(at, key, a, b, c, 0),
            Kind::Exists => self.spawn(at, key, a, b, c, flag::EXISTED),
            Kind::Name => self.with(key, |task| task.name = c),
            Kind::Child => self.child(key, a),
            Kind::Step => self.step(at, key, a, c),
            Kind::Wait => self.wait(at, key, WaitsFor::Object, a, b, c),
            Kind::WaitTask => self.wait(at, key, WaitsFor::Task, a, b, 0),
            Kind::Wake => self.wake(at, key, a, b, c),
            Kind::Cancel => self.cancel(at, key, a, b, c),
            Kind::Why => {
                self.whys.insert(key, Why { text: c, scope: a, place: b });
            }
            Kind::Finish => self.finish(at, key, b, c),
            Kind::Unheard => self.unheard(at, key, c),
            Kind::Callback => {
                let (place, by) = if b & CALLED_BY == 0 { (b, 0) } else { (0, b & !CALLED_BY) };
                self.totals.callback(c, place).add(a);
                self.detect_callback(at, a, c, by);
            }
            Kind::ScopeOpen => {
                let is_nursery = c == scope::NURSERY;
                let opened = Scope { host: key, place: b, is_nursery, opened: at, closed: NEVER, caught: false };
                self.scopes.insert(a, opened);
                self.runs(key);
            }
            Kind::ScopeClose => {
                if let Some(scope) = self.scopes.get_mut(&a) {
                    (scope.closed, scope.caught) = (at.max(scope.opened), c == 1);
                }
            }
            Kind::Hold => {
                // Who is given what it waits for takes it where it waits, not where the giver is.
                let waits = self.task(key).filter(|task| task.state == State::Waiting && task.waits_for == a);
                let place = waits.map_or(b, |task| task.wait_at);
                let held = self.held.entry(a).or_default();
                held.what = c;
                held.holders.push(Holder { task: key, since: at, place });
                self.detect_hold(key, a);
                self.runs(key);
            }
            Kind::Release if c == release::SIGNAL => self.detected.signal(at, key, a, b),
            Kind::Release => self.release(at, key, a),
            Kind::Queue => {
                self.totals.queue(a, c, b);
                self.detected.grown(at, key, a, b, c);
            }
            Kind::Warning => {
                let text = self.whys.remove(&key).map_or(0, |why| why.text);
                self.detected.raise(Warning { at, task: key, nanos: a, place: b, code: c, text });
            }
            Kind::Lost => {
                self.lost = self.lost.saturating_add(a);
                if key != 0 {
                    let of_loop = self.of_loop(key >> LOOP_SHIFT);
                    of_loop.lost = of_loop.lost.saturating_add(a);
                }
            }
        }
    }

    // --- Loops -------------------------------------------------------------------------------------

    fn of_loop(&mut self, number: u64) -> &mut Loop {
        let at = match self.loops.iter().position(|known| known.number == number) {
            Some(at) => at,
            None if self.loops.len() < MOST_LOOPS => {
                self.loops.push(Loop { number, ..Loop::default() });
                self.loops.len() - 1
            }
            // A program that makes one loop after the other: the newest that is closed makes room.
            None => {
                let at = self.loops.iter().rposition(|known| known.closed).unwrap_or(MOST_LOOPS - 1);
                self.loops[at] = Loop { number, ..Loop::default() };
                at
            }
        };
        &mut self.loops[at]
    }

    fn loop_event(&mut self, number: u64, thread: Text, what: u32) {
        let of_loop = self.of_loop(number);
        if thread != 0 {
            of_loop.thread = thread;
        }
        of_loop.runs = what == phase::RUNS;
        of_loop.closed |= what == phase::CLOSED;
    }

    fn turn(&mut self, at: Nanos, key: Key, took: Nanos, jobs: u32, waited: u32) {
        // Without a number of its own, a turn is its loop's by its key's upper bits; 0 is the only loop's.
        let number = match key >> LOOP_SHIFT {
            0 => self.loops.first().map_or(1, |only| only.number),
            number => number,
        };
        self.detected.spins.turn(waited);
        let of_loop = self.of_loop(number);
        of_loop.jobs += u64::from(jobs);
        of_loop.waited += u64::from(waited) * 1000;
        if took > of_loop.turns.took.longest {
            of_loop.longest_turn_at = at;
        }
        of_loop.turns.add(took);
    }

    // --- Tasks -------------------------------------------------------------------------------------

    fn with(&mut self, key: Key, change: impl FnOnce(&mut Task)) {
        if let Some(position) = self.index.get(key) {
            change(&mut self.tasks[position]);
        }
    }

    fn spawn(&mut self, at: Nanos, key: Key, parent: Key, place: Place, coroutine: Text, flags: u8) {
        match self.index.get(key) {
            _ if key == 0 => return,
            // What it did was told before it was.
            Some(position) if flags == flag::EXISTED && self.tasks[position].has(flag::STUB) => {
                return self.introduce(position, parent, coroutine)
            }
            Some(_) => return,
            None => {}
        }
        if self.tasks.len() >= self.tidy_at {
            self.tidy();
        }
        self.add(at, key, parent, place, coroutine, flags);
        self.runs(parent);
    }

    fn add(&mut self, at: Nanos, key: Key, parent: Key, place: Place, coroutine: Text, flags: u8) -> usize {
        let above = self.index.get(parent).map_or(NO_GROUP, |parent| self.tasks[parent].group);
        let group = self.groups.join(above, coroutine, place);
        self.detected.spins.acts(parent);
        let burst = (parent, self.index.get(parent).map_or(0, |parent| self.tasks[parent].steps));
        let code = self.totals.code(coroutine, place);
        code.started += 1;
        code.bursts += u64::from(code.last_burst != burst);
        code.last_burst = burst;
        code.peak = code.peak.max(code.started.saturating_sub(code.finished + code.failed + code.cancelled));
        self.outcomes.add(task::Outcome::Pending, 1);
        let position = self.tasks.len();
        self.index.insert(key, position);
        self.tasks.push(Task {
            key,
            parent,
            nursery: 0,
            begin: at,
            end: NEVER,
            since: at,
            ready: at,
            busy: 0,
            waits_for: 0,
            woken_by: 0,
            woken_at: 0,
            name: 0,
            coroutine,
            started_at: place,
            wait_what: 0,
            wait_at: 0,
            why: 0,
            raised_at: 0,
            steps: 0,
            wakes: 0,
            group,
            cancel: 0,
            state: State::Ready,
            wait: WaitsFor::Unknown,
            woken_by_cause: 0,
            flags,
        });
        position
    }

    /// A task that was made up has become known.
    fn introduce(&mut self, position: usize, parent: Key, coroutine: Text) {
        let above = self.index.get(parent).map_or(NO_GROUP, |parent| self.tasks[parent].group);
        let task = &mut self.tasks[position];
        task.flags = task.flags & !flag::STUB | flag::EXISTED;
        self.groups.leave(task);
        (task.parent, task.coroutine) = (parent, coroutine);
        task.group = self.groups.join(above, coroutine, task.started_at);
        if !task.state.is_pending() {
            self.groups.ended(task);
        }
        self.totals.code(coroutine, task.started_at).started += 1;
    }

    /// Whoever looks at a running loop knows that this task runs, and since when: its step is told only when it is over.
    pub fn is_running(&mut self, key: Key, since: Nanos) {
        self.with(key, |task| {
            if task.state == State::Ready {
                (task.state, task.since) = (State::Running, since.max(task.since));
            }
        });
    }

    /// The position of a task that is alive; one whose start was missed is made up.
    fn alive(&mut self, at: Nanos, key: Key) -> Option<usize> {
        match self.index.get(key) {
            Some(position) => self.tasks[position].state.is_pending().then_some(position),
            None if key == 0 => None,
            None => Some(self.add(at, key, 0, 0, 0, flag::STUB)),
        }
    }

    /// It does something, so it is running if it was ready to. Its step is written only when it is over.
    #[inline]
    fn runs(&mut self, key: Key) {
        let last = self.last;
        self.with(key, |task| {
            // What was there when the recording began is told at its beginning: nobody did anything then.
            let is_told = task.has(flag::EXISTED) && task.begin == last;
            if task.state == State::Ready && !is_told {
                task.state = State::Running;
            }
        });
    }

    fn child(&mut self, key: Key, scope: Object) {
        let opened_at = self.scopes.get(&scope).map_or(0, |scope| scope.place);
        if let Some(position) = self.index.get(key) {
            self.tasks[position].nursery = scope;
            self.groups.in_nursery(self.tasks[position].group, opened_at);
        }
    }

    fn step(&mut self, at: Nanos, key: Key, took: Nanos, how: u32) {
        self.detect_step(at, key, took, how);
        let position = match self.index.get(key) {
            // The last step of a task that is no longer kept.
            None if key == 0 || how == step::ENDS => return,
            None => self.add(at, key, 0, 0, 0, flag::STUB),
            Some(position) => position,
        };
        let task = &mut self.tasks[position];
        task.steps = task.steps.saturating_add(1);
        task.busy = task.busy.saturating_add(took);
        let code = self.totals.code(task.coroutine, task.started_at);
        code.steps += 1;
        code.busy = code.busy.saturating_add(took);
        code.longest_step = code.longest_step.max(took);
        if !task.state.is_pending() {
            return;
        }
        let over = at.saturating_add(took);
        // What it waits for from now on was written before this event; another thread may even have woken it since.
        let has_waited = task.has(flag::WAITED);
        task.flags &= !flag::WAITED;
        let new_wait = has_waited && task.state == State::Waiting;
        if task.state == State::Waiting && !new_wait {
            end_of_wait(&mut self.totals, task, at);
        }
        let delay = (task.ready <= at).then(|| at - task.ready);
        match how {
            step::YIELDS => (task.state, task.since, task.ready) = (State::Ready, over, over),
            step::WAITS if new_wait => {}
            step::WAITS if has_waited => (task.state, task.since) = (State::Ready, over),
            step::WAITS => {
                (task.state, task.since) = (State::Waiting, over);
                (task.wait, task.waits_for, task.wait_what, task.wait_at) = (WaitsFor::Unknown, 0, 0, 0);
            }
            _ => (task.state, task.since) = (State::Running, at),
        }
        if let Some(delay) = delay {
            self.of_loop(key >> LOOP_SHIFT).delays.add(delay);
        }
    }

    fn wait(&mut self, at: Nanos, key: Key, wait: WaitsFor, on: u64, place: Place, what: Text) {
        let Some(position) = self.alive(at, key) else { return };
        if wait == WaitsFor::Task {
            if let Some(other) = self.index.get(on) {
                self.groups.link(Edge::Awaits, self.tasks[position].group, self.tasks[other].group);
            }
        }
        let task = &mut self.tasks[position];
        if task.state == State::Waiting {
            end_of_wait(&mut self.totals, task, at);
        }
        (task.state, task.since) = (State::Waiting, at);
        (task.wait, task.waits_for, task.wait_what, task.wait_at) = (wait, on, what, place);
        task.flags |= flag::WAITED;
        self.detect_wait(at, position);
    }

    fn wake(&mut self, at: Nanos, key: Key, by: Key, place: Place, why: u32) {
        let Some(position) = self.alive(at, key) else { return };
        if let (true, Some(waker)) = (by != 0 && by != key, self.index.get(by)) {
            self.groups.link(Edge::Woke, self.tasks[waker].group, self.tasks[position].group);
            if why == cause::TASK {
                self.runs(by);
            }
        }
        self.detected.spins.woken(why);
        let task = &mut self.tasks[position];
        if why == cause::TIMER && task.state == State::Waiting {
            self.detected.spins.timed(key, at.saturating_sub(task.since));
        }
        if by != key {
            self.detected.spins.acts(by);
        }
        task.wakes = task.wakes.saturating_add(1);
        (task.woken_by, task.woken_at, task.woken_by_cause) = (by, place, why.min(u32::from(u8::MAX)) as u8);
        self.totals.code(task.coroutine, task.started_at).wakes += 1;
        if task.state == State::Waiting {
            end_of_wait(&mut self.totals, task, at);
            self.detect_end_of_wait(at, position);
            let task = &mut self.tasks[position];
            (task.state, task.since, task.ready) = (State::Ready, at, at);
        }
    }

    fn cancel(&mut self, at: Nanos, key: Key, by: Key, place: Place, source: u32) {
        let why = self.whys.remove(&key).unwrap_or(Why { text: 0, scope: 0, place: 0 });
        let Some(position) = self.alive(at, key) else { return };
        self.detect_cancel(at, position, by, source);
        if let Some(asker) = self.index.get(by) {
            self.groups.link(Edge::Cancelled, self.tasks[asker].group, self.tasks[position].group);
        }
        let task = &mut self.tasks[position];
        let count = match task.cancel {
            0 => {
                self.cancels.push(Cancel { at, by, place, source, why: 0, scope: 0, count: 0 });
                task.cancel = self.cancels.len() as u32;
                0
            }
            known => self.cancels[known as usize - 1].count,
        };
        self.cancels[task.cancel as usize - 1] =
            Cancel { at, by, place, source, why: why.text, scope: why.scope, count: count.saturating_add(1) };
    }

    fn finish(&mut self, at: Nanos, key: Key, place: Place, how: u32) {
        let why = self.whys.remove(&key).unwrap_or(Why { text: 0, scope: 0, place: 0 });
        let state = match how {
            outcome::RESULT => State::Finished,
            outcome::CANCELLED => State::Cancelled,
            _ => State::Failed,
        };
        if let Some(position) = self.alive(at, key) {
            let task = &mut self.tasks[position];
            task.why = why.text;
            task.raised_at = if place != 0 { place } else { why.place };
            self.end(at, position, state);
        }
    }

    fn end(&mut self, at: Nanos, position: usize, state: State) {
        let task = &mut self.tasks[position];
        if task.state == State::Waiting {
            end_of_wait(&mut self.totals, task, at);
        }
        task.state = state;
        task.end = at.max(task.begin);
        task.since = task.end;
        let code = self.totals.code(task.coroutine, task.started_at);
        match state {
            State::Failed => code.failed += 1,
            State::Cancelled => code.cancelled += 1,
            _ => code.finished += 1,
        }
        self.outcomes.ended(state.outcome());
        self.groups.ended(task);
    }

    fn unheard(&mut self, at: Nanos, key: Key, what: u32) {
        let Some(position) = self.index.get(key) else { return };
        if what == 0 {
            self.tasks[position].flags |= flag::UNHEARD;
        } else if self.tasks[position].state.is_pending() {
            // It will never end by itself, and nobody meant it to be gone.
            self.tasks[position].flags |= flag::DESTROYED;
            self.end(at, position, State::Failed);
        }
    }

    fn release(&mut self, at: Nanos, key: Key, object: Object) {
        let held = self.held.get(&object);
        let own = held.and_then(|held| held.holders.iter().position(|holder| holder.task == key));
        if own.is_none() {
            self.detected.hand_over(object);
        }
        if held.is_none() {
            return;
        }
        // asyncio lets any task release a lock.
        let place = own.unwrap_or(0);
        self.detect_release(at, key, object, place);
        let Some(held) = self.held.get_mut(&object) else { return };
        if place < held.holders.len() {
            held.holders.remove(place);
        }
        if held.holders.is_empty() {
            self.held.remove(&object);
        }
        self.runs(key);
    }

    // --- What is known -----------------------------------------------------------------------------

    /// In the order in which they were started.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    pub fn position(&self, key: Key) -> Option<usize> {
        self.index.get(key)
    }

    pub fn task(&self, key: Key) -> Option<&Task> {
        self.index.get(key).map(|position| &self.tasks[position])
    }

    pub fn cancel_of(&self, task: &Task) -> Option<&Cancel> {
        self.cancels.get((task.cancel as usize).wrapping_sub(1))
    }

    pub fn scope(&self, scope: Object) -> Option<&Scope> {
        self.scopes.get(&scope)
    }

    pub fn holders(&self, object: Object) -> Option<&Held> {
        self.held.get(&object)
    }

    pub fn held(&self) -> impl Iterator<Item = (Object, &Held)> {
        self.held.iter().map(|(&object, held)| (object, held))
    }

    pub fn loops(&self) -> &[Loop] {
        &self.loops
    }

    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Of all tasks, also those that are no longer kept.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// As the recorder wrote them.
    pub fn warnings(&self) -> &[Warning] {
        &self.detected.raised
    }

    pub fn events(&self) -> u64 {
        self.events
    }

    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// When the first event was.
    pub fn first(&self) -> Nanos {
        self.first.unwrap_or(0)
    }

    /// The latest time in an event.
    pub fn last(&self) -> Nanos {
        self.last
    }
}

/// More are possible (a test suite makes thousands, one after the other), and none of them needs its own figures for ever.
const MOST_LOOPS: usize = 1000;

fn end_of_wait(totals: &mut Totals, task: &Task, at: Nanos) {
    let what = if task.wait == WaitsFor::Task { Totals::TASK } else { task.wait_what };
    totals.wait(what, task.wait_at).add(at.saturating_sub(task.since));
}
