//! Units of a story as sentences.

use crate::event::{cause, release, scope, Event, Key, Kind, Place};
use crate::life::Span;
use crate::model::task::{flag, Cancel, State, Task, WaitsFor};
use crate::recording::Recording;
use crate::warning::Code;
use crate::words::{self, counted, duration, thing};

use super::{Sentence, Unit, What};

const MOST_TASKS: usize = 20;

pub struct Teller<'r> {
    recording: &'r Recording,
    task: &'r Task,
}

impl<'r> Teller<'r> {
    pub fn new(recording: &'r Recording, task: &'r Task) -> Teller<'r> {
        Teller { recording, task }
    }

    fn who(&self, key: Key) -> String {
        self.recording.who(key)
    }

    // --- Beginning and end ---------------------------------------------------------------------------

    pub fn beginning(&self) -> Vec<Sentence> {
        let (task, recording) = (self.task, self.recording);
        let mut text = if task.has(flag::STUB) {
            "its start is not in the recording: this is the first that is known of it".to_owned()
        } else {
            let by = match task.parent {
                0 => "started".to_owned(),
                parent if task.has(flag::ORPHAN) => {
                    format!(
                        "started by a task that has ended and was started, directly or not, by {}",
                        self.who(parent)
                    )
                }
                parent => format!("started by {}", self.who(parent)),
            };
            let already =
                if task.has(flag::EXISTED) { "was already there when the recording began; it had been " } else { "" };
            let code =
                if task.coroutine == 0 { String::new() } else { format!(", to run {}", recording.coroutine(task)) };
            format!("{already}{by}{}{code}", recording.at(" at ", task.started_at))
        };
        if let Some(nursery) = recording.model().scope(task.nursery) {
            text += &format!(", in the nursery{}", recording.at(" opened at ", nursery.place));
        }
        let tasks = if task.parent == 0 { Vec::new() } else { vec![task.parent] };
        let mut sentences = vec![Sentence { at: task.begin, kind: "spawn", text, place: task.started_at, tasks }];
        let oldest = recording.history().iter().next().map(|event| event.at);
        if let (true, Some(at)) = (recording.history().left_out() > 0, oldest.filter(|&at| at > task.begin)) {
            let text = "what it did until here is no longer kept".to_owned();
            sentences.push(Sentence { at, kind: "more", text, place: 0, tasks: Vec::new() });
        }
        sentences
    }

    pub fn end(&self) -> Vec<Sentence> {
        let task = self.task;
        let mut sentences = Vec::new();
        if task.state.is_pending() {
            sentences.push(self.still());
            return sentences;
        }
        let recording = self.recording;
        let lived = duration(task.end.saturating_sub(task.begin));
        let ran = match task.steps {
            0 => "it never ran".to_owned(),
            steps => format!("it ran {} in {}", duration(task.busy), counted(steps.into(), "step")),
        };
        let why = recording.tables.text(task.why);
        let text = match task.state {
            _ if task.has(flag::DESTROYED) => {
                format!("was destroyed after {lived} while it was pending: nobody kept a reference to it; {ran}")
            }
            State::Failed => {
                let failed = ending(recording, task).unwrap_or_default();
                format!("{failed} after {lived}; {ran}")
            }
            State::Cancelled => {
                let why = if why.is_empty() { String::new() } else { format!(" ({})", words::one_line(why)) };
                format!("ended cancelled{why} after {lived}; {ran}")
            }
            _ if task.cancel != 0 => {
                format!("finished after {lived}, although its cancellation had been asked for; {ran}")
            }
            _ => format!("finished after {lived}; {ran}"),
        };
        sentences.push(Sentence { at: task.end, kind: "finish", text, place: task.raised_at, tasks: Vec::new() });
        if task.has(flag::UNHEARD) {
            let text = "nobody asked for its exception: it was never retrieved".to_owned();
            sentences.push(Sentence { at: task.end, kind: "unheard", text, place: 0, tasks: Vec::new() });
        }
        sentences
    }

    fn still(&self) -> Sentence {
        let (task, recording) = (self.task, self.recording);
        let now = recording.now();
        let so_long = duration(now.saturating_sub(task.since));
        let when = if recording.is_live { "now" } else { "when the recording ended" };
        let mut tasks = Vec::new();
        let (text, place) = match task.state {
            State::Waiting => {
                let for_what = if task.wait == WaitsFor::Task {
                    tasks.push(task.waits_for);
                    format!("{} to end", self.who(task.waits_for))
                } else {
                    let holders = recording.model().holders(task.waits_for);
                    tasks.extend(holders.iter().flat_map(|held| &held.holders).map(|holder| holder.task));
                    let what = recording.tables.text(task.wait_what);
                    format!("{}{}", thing(what), self.held_by(&tasks, if recording.is_live { "holds" } else { "held" }))
                };
                let at = recording.at(", at ", task.wait_at);
                let verb = if recording.is_live { "has been waiting" } else { "had been waiting" };
                (format!("{when}, it {verb} for {so_long} for {for_what}{at}"), task.wait_at)
            }
            State::Ready if recording.is_live => (format!("now, it is ready to run, for {so_long}"), 0),
            State::Ready => (format!("{when}, it was ready to run, for {so_long}"), 0),
            _ if recording.is_live => (format!("now, it is running, for {so_long}"), 0),
            _ => (format!("{when}, it was running, for {so_long}"), 0),
        };
        tasks.truncate(MOST_TASKS);
        Sentence { at: now.max(task.begin), kind: "pending", text, place, tasks }
    }

    // --- In between ------------------------------------------------------------------------------------

    /// What was done once or, `times` times, in turn: the units of each part of it.
    pub fn run(&self, parts: &[Vec<&Unit<'r>>], times: usize) -> Sentence {
        let first = parts[0][0];
        if let [[only]] = parts.iter().map(Vec::as_slice).collect::<Vec<_>>()[..] {
            return self.unit(only);
        }
        let mut tasks: Vec<Key> =
            parts.iter().flatten().take(10 * MOST_TASKS).flat_map(|unit| self.others(unit)).collect();
        tasks.sort_unstable();
        tasks.dedup();
        tasks.truncate(MOST_TASKS);
        let (kind, text) = if let [part] = parts {
            (kind_of(first), self.several(part))
        } else {
            let said: Vec<String> = parts.iter().map(|part| self.in_turn(part, times)).collect();
            ("repeat", format!("{} times in turn: {}", words::count(times as u64), said.join("; ")))
        };
        Sentence { at: first.at, kind, text, place: place_of(first), tasks }
    }

    fn unit(&self, unit: &Unit<'r>) -> Sentence {
        let text = match unit.what {
            What::Yield => format!("ran {} and let others run", duration(unit.nanos)),
            What::Ran => format!("ran {} without letting anything else run", duration(unit.nanos)),
            What::Wait(span) => self.waited(&span),
            What::Event(event, why) => self.event(event, why),
        };
        let mut tasks = self.others(unit);
        if let What::Wait(span) = unit.what {
            tasks.extend(span.wait.iter().flat_map(|wait| self.holders_at(wait)));
        }
        tasks.truncate(MOST_TASKS);
        Sentence { at: unit.at, kind: kind_of(unit), text, place: place_of(unit), tasks }
    }

    /// "waited 1.20 s for a lock that Task b held, at db.py:40, until Task b woke it".
    fn waited(&self, span: &Span<'_>) -> String {
        let took = duration(span.end - span.begin);
        let Some(wait) = span.wait else {
            return format!("waited {took}{}", self.until(span.woken));
        };
        let at = self.recording.at(", at ", wait.b);
        if wait.kind() == Some(Kind::WaitTask) {
            let unless = match span.woken {
                Some(wake) if wake.c == cause::TASK && wake.a == wait.a => String::new(),
                woken => self.until(woken),
            };
            return format!("waited {took} for {} to end{at}{unless}", self.who(wait.a));
        }
        let what = self.recording.tables.text(wait.c);
        if what == "sleep" || what.ends_with(".sleep") {
            let unless = span.woken.filter(|wake| wake.c != cause::TIMER && wake.c != cause::CALLBACK);
            return format!("slept {took}{at}{}", self.until(unless));
        }
        let held = self.held_by(&self.holders_at(wait), "held");
        format!("waited {took} for {}{held}{at}{}", thing(what), self.until(span.woken))
    }

    fn until(&self, woken: Option<&Event>) -> String {
        let Some(wake) = woken else { return String::new() };
        let at = self.recording.at(" at ", wake.b);
        match wake.c {
            cause::TASK if wake.a == self.task.key => String::new(),
            cause::TASK if wake.a != 0 => format!(", until {} woke it{at}", self.who(wake.a)),
            cause::TASK => format!(", until another task woke it{at}"),
            cause::IO => ", until there was something to read or room to write".to_owned(),
            cause::TIMER => ", until a timer woke it".to_owned(),
            cause::CALLBACK => format!(", until a callback woke it{at}"),
            cause::THREAD => format!(", until another thread woke it{at}"),
            cause::DEADLINE => ", until a deadline passed".to_owned(),
            _ => String::new(),
        }
    }

    /// " that Task b held".
    fn held_by(&self, holders: &[Key], verb: &str) -> String {
        match holders {
            [] => String::new(),
            [one] if *one == self.task.key => format!(" that it {verb} itself"),
            [one] => format!(" that {} {verb}", self.who(*one)),
            [one, more @ ..] => {
                let verb = if verb == "holds" { "hold" } else { verb };
                format!(" that {} and {} {verb}", self.who(*one), counted(more.len() as u64, "other"))
            }
        }
    }

    /// Who held what it waited for when it began to wait.
    fn holders_at(&self, wait: &Event) -> Vec<Key> {
        let mut holders: Vec<Key> = Vec::new();
        if wait.kind() != Some(Kind::Wait) || wait.a == 0 {
            return holders;
        }
        for event in self.recording.history().holds(wait.a).take_while(|event| event.at <= wait.at) {
            if event.kind() == Some(Kind::Hold) {
                holders.push(event.task());
            } else if !holders.is_empty() {
                let at = holders.iter().position(|&holder| holder == event.task()).unwrap_or(0);
                holders.remove(at);
            }
        }
        holders
    }

    fn event(&self, event: &Event, why: Option<&Event>) -> String {
        let recording = self.recording;
        let at = recording.at(" at ", event.b);
        let model = recording.model();
        match event.kind() {
            Some(Kind::Spawn) => format!("started {}{at}", self.who(event.task())),
            Some(Kind::Cancel) if event.task() != self.task.key => format!("cancelled {}{at}", self.who(event.task())),
            Some(Kind::Cancel) => self.cancelled(event, why),
            Some(Kind::Name) => format!("was called {}", words::one_line(recording.tables.text(event.c))),
            Some(Kind::ScopeOpen) if event.c == scope::NURSERY => format!("opened a nursery{at}"),
            Some(Kind::ScopeOpen) => format!("opened a cancel scope{at}"),
            Some(Kind::ScopeClose) => {
                let scope = model.scope(event.a);
                let (what, took, opened) = scope.map_or(("scope", String::new(), String::new()), |scope| {
                    let what = if scope.is_nursery { "nursery" } else { "cancel scope" };
                    let took = format!(" after {}", duration(event.at.saturating_sub(scope.opened)));
                    (what, took, recording.at(" opened at ", scope.place))
                });
                let caught = if event.c == 1 { ": its cancellation ended there" } else { "" };
                format!("left the {what}{opened}{took}{caught}")
            }
            Some(Kind::Hold) => format!("took {}{at}", the(recording.tables.text(event.c))),
            Some(Kind::Release) if event.c == release::SIGNAL => format!("set, notified or put something{at}"),
            Some(Kind::Release) => format!("released what it held{at}"),
            Some(Kind::Queue) => {
                format!("put an item into a queue{at}, which then had {}", counted(event.c.into(), "item"))
            }
            Some(Kind::Callback) => {
                let what = words::one_line(recording.tables.text(event.c));
                format!("ran the callback {what}{at} in {}", duration(event.a))
            }
            Some(Kind::Warning) => {
                let title = Code::from_number(event.c).map_or("there was a warning", |code| code.title());
                format!("warning: {title}{at}")
            }
            _ => String::new(),
        }
    }

    fn cancelled(&self, event: &Event, why: Option<&Event>) -> String {
        let (scope, why) = why.map_or((0, 0), |why| (why.a, why.c));
        let (at, by, place, source) = (event.at, event.a, event.b, event.c);
        cancellation(self.recording, self.task.key, &Cancel { at, by, place, source, why, scope, count: 1 })
    }

    // --- Repetitions -----------------------------------------------------------------------------------

    /// "waited 500 times for an item from a queue, at w.py:3: 40 s in all, 1.2 s at most".
    fn several(&self, units: &[&Unit<'r>]) -> String {
        let (n, first) = (units.len() as u64, units[0]);
        let (times, in_all) = (format!("{} times", words::count(n)), sum(units));
        let longest = duration(units.iter().map(|unit| unit.nanos).max().unwrap_or(0));
        let at = self.recording.at(", at ", place_of(first));
        match first.what {
            What::Yield => format!("ran and yielded {times}, {in_all} in all"),
            What::Ran => {
                format!("ran long without letting anything else run, {times}: {in_all} in all, {longest} at most")
            }
            What::Wait(span) => {
                let verb = self.wait_verb(&span, &times);
                format!("{verb}{at}: {in_all} in all, {longest} at most")
            }
            What::Event(event, _) => match event.kind() {
                Some(Kind::Spawn) => {
                    let code = self.recording.code_name(event.c);
                    format!("started {} ({code}){}", counted(n, "task"), self.recording.at(" at ", event.b))
                }
                Some(Kind::Cancel) if event.task() != self.task.key => {
                    format!("cancelled {}{}", counted(n, "task"), self.recording.at(" at ", event.b))
                }
                _ => format!("{times}: {}", self.unit(first).text),
            },
        }
    }

    /// The same as a part of what is done in turn.
    fn in_turn(&self, units: &[&Unit<'r>], times: usize) -> String {
        let (first, in_all) = (units[0], sum(units));
        let is_many = units.len() > times;
        let all = if is_many { format!(" ({} in all)", words::count(units.len() as u64)) } else { String::new() };
        let at = self.recording.at(", at ", place_of(first));
        match first.what {
            What::Yield => format!("ran and let others run ({in_all} in all)"),
            What::Ran => format!("ran long without letting anything else run ({in_all} in all)"),
            What::Wait(span) => format!("{}{at} ({in_all} in all)", self.wait_verb(&span, "").replace("  ", " ")),
            What::Event(event, _) => match event.kind() {
                Some(Kind::Spawn) => {
                    let code = self.recording.code_name(event.c);
                    let started = if is_many { "started tasks" } else { "started a task" };
                    format!("{started} ({code}){}{all}", self.recording.at(" at ", event.b))
                }
                Some(Kind::ScopeClose) => {
                    let scope = self.recording.model().scope(event.a);
                    let what = if scope.is_some_and(|scope| scope.is_nursery) { "nursery" } else { "cancel scope" };
                    format!("left the {what}{all}")
                }
                Some(Kind::Cancel) if event.task() != self.task.key && is_many => format!("cancelled tasks{all}"),
                Some(Kind::Cancel) if event.task() != self.task.key => "cancelled a task".to_owned(),
                _ => self.unit(first).text + &all,
            },
        }
    }

    fn wait_verb(&self, span: &Span<'_>, times: &str) -> String {
        let Some(wait) = span.wait else { return format!("waited {times}").trim_end().to_owned() };
        if wait.kind() == Some(Kind::WaitTask) {
            let code = self.recording.model().task(wait.a).map_or(0, |other| other.coroutine);
            let (tasks, end) = if times.is_empty() { ("a task", "to end") } else { ("tasks", "to end") };
            return format!("waited {times} for {tasks} ({}) {end}", self.recording.code_name(code));
        }
        let what = self.recording.tables.text(wait.c);
        if what == "sleep" || what.ends_with(".sleep") {
            return format!("slept {times}").trim_end().to_owned();
        }
        format!("waited {times} for {}", thing(what))
    }

    fn others(&self, unit: &Unit<'_>) -> Vec<Key> {
        let keys = match unit.what {
            What::Wait(span) => {
                let awaited = span.wait.filter(|wait| wait.kind() == Some(Kind::WaitTask)).map(|wait| wait.a);
                [awaited, span.woken.map(|wake| wake.a)]
            }
            What::Event(event, _) => match event.kind() {
                Some(Kind::Spawn | Kind::Cancel) => [Some(event.task()), Some(event.a)],
                _ => [None, None],
            },
            _ => [None, None],
        };
        let mut others: Vec<Key> = keys.into_iter().flatten().filter(|&key| key != self.task.key && key != 0).collect();
        others.dedup();
        others
    }
}

/// Of the task `of`: "cancelled by the deadline of the scope at app.py:7: no answer".
pub fn cancellation(recording: &Recording, of: Key, cancel: &Cancel) -> String {
    use sched::CancelSource::*;
    let at = recording.at(" at ", cancel.place);
    let scope = (cancel.scope != 0).then(|| recording.model().scope(cancel.scope)).flatten();
    let what = if scope.is_some_and(|scope| scope.is_nursery) { "nursery" } else { "scope" };
    let of_scope = format!("the {what}{}", scope.map_or(String::new(), |scope| recording.at(" at ", scope.place)));
    let by = match cancel.by {
        0 => String::new(),
        by if by == of => " by itself".to_owned(),
        by => format!(" by {}", recording.who(by)),
    };
    let how = match words::cancel_source(cancel.source) {
        Some(TaskCancel) if by.is_empty() => format!("cancelled by code outside of any task{at}"),
        Some(TaskCancel) => format!("cancelled{by}{at}"),
        Some(ScopeCancel) => format!("cancelled with {of_scope}, which was cancelled{by}{at}"),
        Some(Deadline) => format!("cancelled by the deadline of {of_scope}"),
        Some(NurseryFailure) => {
            let who = if cancel.by == 0 { "another task".to_owned() } else { recording.who(cancel.by) };
            format!("cancelled because {who} failed in {of_scope}")
        }
        Some(Signal) => "cancelled by a signal to the program".to_owned(),
        Some(LoopShutdown) => "cancelled because the event loop was shut down".to_owned(),
        None => format!("cancelled{by}{at}"),
    };
    match recording.tables.text(cancel.why) {
        "" => how,
        words => format!("{how}: {}", words::one_line(words)),
    }
}

/// "failed with ValueError: no (raised at app.py:3)"; None for a task that didn't fail.
pub fn ending(recording: &Recording, task: &Task) -> Option<String> {
    let raised = recording.at(" (raised at ", task.raised_at);
    let raised = if raised.is_empty() { raised } else { raised + ")" };
    let why = recording.tables.text(task.why);
    (task.state == State::Failed).then(|| match why {
        "" => format!("failed{raised}"),
        why => format!("failed with {}{raised}", words::one_line(why)),
    })
}

fn kind_of(unit: &Unit<'_>) -> &'static str {
    match unit.what {
        What::Yield | What::Ran => "run",
        What::Wait(_) => "wait",
        What::Event(event, _) => match event.kind() {
            Some(Kind::Spawn) => "started",
            Some(Kind::Cancel) => "cancel",
            Some(Kind::ScopeOpen | Kind::ScopeClose) => "scope",
            Some(Kind::Hold | Kind::Release) => "hold",
            Some(Kind::Queue) => "queue",
            Some(Kind::Callback) => "callback",
            Some(Kind::Warning) => "warning",
            Some(Kind::Name) => "name",
            _ => "other",
        },
    }
}

fn place_of(unit: &Unit<'_>) -> Place {
    match unit.what {
        What::Wait(span) => span.wait.map_or(0, |wait| wait.b),
        What::Event(event, _) => match event.kind() {
            Some(Kind::ScopeClose | Kind::Name) => 0,
            _ => event.b,
        },
        _ => 0,
    }
}

fn sum(units: &[&Unit<'_>]) -> String {
    duration(units.iter().map(|unit| unit.nanos).fold(0, u64::saturating_add))
}

fn the(what: &str) -> String {
    match thing(what).split_once(' ') {
        Some(("a" | "an", rest)) => format!("the {rest}"),
        _ => words::one_line(what),
    }
}
