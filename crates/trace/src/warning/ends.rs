//! Warnings that can only be given when it is over, or while everything stands still: who waited for what nobody gave.
//!
//! A task that waits is nothing unusual, and neither is one that is cancelled while it waits. It is told when nobody ever gave what it
//! waited for, and somebody has missed it: a timeout ran out, or the program ended, or nothing at all can go on.

use std::collections::HashSet;

use sched::CancelSource;

use crate::event::{Key, Object, Place};
use crate::model::detect::Stuck;
use crate::model::task::{State, Task, WaitsFor};
use crate::words::{duration, thing};

use super::{fact, Code, Found, OWN, WATCHED};

/// What a task waits for, as `Wait` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Thing {
    /// A lock or semaphore: whoever holds it gives it back.
    Held,
    Event,
    Condition,
    Get,
    Put,
    Join,
    Barrier,
    Future,
    /// The end of tasks.
    Tasks,
    Other,
}

impl Thing {
    fn of(on: WaitsFor, what: &str, is_bare: bool) -> Thing {
        if on == WaitsFor::Task {
            return Thing::Tasks;
        }
        match what.strip_prefix("asyncio.").unwrap_or(what) {
            "Lock.acquire" | "Semaphore.acquire" | "BoundedSemaphore.acquire" => Thing::Held,
            "Event.wait" => Thing::Event,
            "Condition.wait" => Thing::Condition,
            "Barrier.wait" => Thing::Barrier,
            "Queue.get" | "MemoryReceiveChannel.receive" | "MemoryReceiveChannel.__anext__" => Thing::Get,
            "Queue.put" | "MemorySendChannel.send" => Thing::Put,
            "ParkingLot.park" => Thing::Condition,
            "Queue.join" => Thing::Join,
            "_GatheringFuture" => Thing::Tasks,
            _ if is_bare => Thing::Future,
            _ => Thing::Other,
        }
    }

    /// Only another task of the program can give it.
    fn is_given_by_tasks(self) -> bool {
        !matches!(self, Thing::Other)
    }
}

pub fn look(found: &mut Found<'_>) {
    let told = told_already(found);
    never_released(found, &told);
    stuck(found, &told);
    still_waiting(found, &told);
    cut_off(found, &told);
}

/// Tasks in deadlocks: that they wait is said already.
fn told_already(found: &Found<'_>) -> HashSet<Key> {
    let deadlocks = &found.recording.model().detected().deadlocks;
    deadlocks.iter().flat_map(|deadlock| &deadlock.tasks).map(|circle| circle.task).collect()
}

/// Whoever has it has ended.
fn never_released(found: &mut Found<'_>, told: &HashSet<Key>) {
    let recording = found.recording;
    let model = recording.model();
    let is_over = !recording.is_live;
    let wanted: HashSet<Object> = waiting(found).map(|task| task.waits_for).collect();
    let missed: HashSet<Object> = model.detected().stuck.iter().map(|stuck| stuck.waits_for).collect();
    let mut leaks: Vec<_> = model
        .held()
        .filter(|(object, _)| is_over || wanted.contains(object))
        .filter(|(object, _)| !model.detected().handed_over.contains(object))
        .flat_map(|(object, held)| held.holders.iter().map(move |holder| (object, held.what, holder)))
        .filter_map(|(object, what, holder)| Some((object, what, holder, model.task(holder.task)?)))
        .filter(|(.., task)| !task.state.is_pending() && !told.contains(&task.key))
        .collect();
    leaks.sort_by_key(|(object, _, holder, _)| (holder.since, *object));
    for (object, what, holder, task) in leaks {
        let waiter = waiting(found).find(|task| task.waits_for == object).map(|task| task.key);
        let waiter = waiter.or_else(|| {
            let stuck = model.detected().stuck.iter().find(|stuck| stuck.waits_for == object)?;
            missed.contains(&object).then_some(stuck.task)
        });
        let ended = match task.state {
            State::Failed => format!("failed{}", recording.at_where(task.raised_at)),
            State::Cancelled => "was cancelled".to_owned(),
            _ => "ended".to_owned(),
        };
        let waits = waiter.map_or(String::new(), |waiter| format!("; {} waits for it in vain", recording.who(waiter)));
        let text = format!(
            "{} took {}{} and {ended} without releasing it{waits}.",
            recording.who(holder.task),
            thing(recording.tables.text(what)),
            recording.at_where(holder.place),
        );
        found.add(Code::NeverReleased, holder.task, holder.place, holder.since, text);
    }
}

fn waiting<'f>(found: &Found<'f>) -> impl Iterator<Item = &'f Task> {
    let tasks = found.recording.model().tasks();
    tasks.iter().filter(|task| task.state == State::Waiting && task.wait == WaitsFor::Object && task.waits_for != 0)
}

/// Of tasks that were cancelled while they waited.
fn stuck(found: &mut Found<'_>, told: &HashSet<Key>) {
    let recording = found.recording;
    for stuck in &recording.model().detected().stuck {
        let at_shutdown = is_at_shutdown(stuck);
        let timed_out = stuck.source == CancelSource::Deadline as u32 || stuck.facts & fact::TIMED_OUT != 0;
        let interrupted = stuck.facts & fact::INTERRUPTED != 0;
        if told.contains(&stuck.task) || !(at_shutdown || timed_out || interrupted) {
            continue;
        }
        let thing = Thing::of(stuck.on, recording.tables.text(stuck.what), stuck.facts & fact::BARE_FUTURE != 0);
        // A main task that waits "for ever" is ended so.
        let is_main = recording.model().task(stuck.task).is_some_and(|task| task.parent == 0);
        if interrupted && is_main {
            continue;
        }
        if is_missed(found, stuck, thing, timed_out) {
            let until = match (timed_out, interrupted) {
                (true, _) => "until its time ran out",
                (_, true) => "until the program was interrupted",
                _ => "until the program ended",
            };
            missed(found, thing, stuck, until);
        }
    }
}

fn is_at_shutdown(stuck: &Stuck) -> bool {
    stuck.source == CancelSource::LoopShutdown as u32 || stuck.facts & fact::AT_THE_END != 0
}

/// Whether what a cancelled task waited for never came, and wasn't just asked for now and then.
fn is_missed(found: &Found<'_>, stuck: &Stuck, thing: Thing, timed_out: bool) -> bool {
    // Of other objects than asyncio's nobody tells who sets them.
    if thing != Thing::Future && stuck.waits_for < WATCHED {
        return false;
    }
    let model = found.recording.model();
    let detected = model.detected();
    let signals = detected.signals.get(&stuck.waits_for);
    let is_given_later = signals.is_some_and(|signals| signals.last >= stuck.since);
    let waits_again = detected.last_wait(stuck.waits_for) > stuck.at;
    match thing {
        Thing::Future => true,
        // It was notified, but others were woken, and none of them waits again.
        Thing::Condition if timed_out && is_given_later => {
            !waits_again && signals.is_some_and(|signals| detected.last_wait(stuck.waits_for) < signals.last)
        }
        Thing::Event | Thing::Condition | Thing::Barrier => {
            // Segue's events stay set: who waits for one that was set has been woken.
            let may_be_lost = thing == Thing::Condition || (timed_out && stuck.waits_for < OWN);
            !is_given_later && !waits_again && (signals.is_none() || may_be_lost)
        }
        Thing::Put | Thing::Join => !waits_again,
        // Workers wait for more until they are cancelled; that is missed only by who waits for such a task, not for the item.
        Thing::Get if timed_out => {
            let task = model.task(stuck.task);
            let is_a_worker = task.is_some_and(|task| {
                let coroutine = found.recording.tables.text(task.coroutine);
                task.state == State::Cancelled && !coroutine.starts_with("Queue.")
            });
            is_a_worker && !is_given_later && !waits_again
        }
        Thing::Get => signals.is_none() && stuck.facts & fact::INTERRUPTED == 0,
        Thing::Held | Thing::Tasks | Thing::Other => false,
    }
}

/// Of tasks that wait now: if the recording ends there, or nothing can go on.
fn still_waiting(found: &mut Found<'_>, told: &HashSet<Key>) {
    let recording = found.recording;
    let model = recording.model();
    let of_task = |task: &Task| Thing::of(task.wait, recording.tables.text(task.wait_what), false);
    let mut pending = model.tasks().iter().filter(|task| task.state.is_pending()).peekable();
    let quiet = pending.peek().is_some()
        && pending.all(|task| task.state == State::Waiting && of_task(task).is_given_by_tasks());
    let has_stood_still = recording.now().saturating_sub(model.last()) >= 1_000_000_000;
    if !quiet || (recording.is_live && !has_stood_still) {
        return;
    }
    for task in model.tasks().iter().filter(|task| task.state == State::Waiting && !told.contains(&task.key)) {
        let thing = of_task(task);
        // A program that runs "for ever" waits so.
        let is_for_ever = task.parent == 0 && matches!(thing, Thing::Event | Thing::Future);
        if is_for_ever || matches!(thing, Thing::Tasks | Thing::Held) {
            continue;
        }
        let stuck = Stuck {
            at: recording.now(),
            task: task.key,
            since: task.since,
            on: task.wait,
            waits_for: task.waits_for,
            what: task.wait_what,
            place: task.wait_at,
            source: 0,
            by: 0,
            facts: 0,
            blocks: model.blocks(task.key),
        };
        missed(found, thing, &stuck, "and nothing else runs that could end it");
    }
}

fn missed(found: &mut Found<'_>, thing: Thing, stuck: &Stuck, until: &str) {
    let recording = found.recording;
    let (task, place) = whose(found, stuck);
    let who = recording.who(task);
    let at = recording.at_where(place);
    let waited = duration(stuck.at.saturating_sub(stuck.since));
    let signals = recording.model().detected().signals.get(&stuck.waits_for).copied();
    let is_others = signals.is_some_and(|signals| signals.last >= stuck.since);
    let said = |what: &str, place: Place, times: u64| {
        format!("{what} {times} time{}{}", if times == 1 { "" } else { "s" }, recording.at_where(place))
    };
    if let Some(blocks) = stuck.blocks {
        let text = format!(
            "{who} waited {waited}{at} for {} {until}, and held {} meanwhile (taken{}) that {} waited for{}: neither could go on.",
            a(recording.tables.text(stuck.what)),
            a(recording.tables.text(blocks.what)),
            recording.at_where(blocks.held_at),
            recording.who(blocks.waiter),
            recording.at_where(blocks.waits_at),
        );
        let cure = "Don't wait for a queue, an event or a future while holding a lock that others need: release the lock first.";
        return found.add_with_cure(Code::Deadlock, task, place, stuck.since, text, cure.into());
    }
    let (code, text, cure) = match (thing, signals) {
        (Thing::Condition, Some(signals)) if is_others => {
            let notified = said("notified", signals.place, signals.count);
            let text =
                format!("{who} waited {waited}{at} for a condition {until}; it was {notified}, but that woke others.");
            (Code::LostWake, text, "Call `condition.notify_all()` where more than one task may wait.".into())
        }
        (Thing::Condition | Thing::Event, Some(signals)) => {
            let what = if thing == Thing::Event { "set and cleared" } else { "notified" };
            let before = said(what, signals.place, signals.count);
            let text = format!(
                "{who} waited {waited}{at} for {} {until}; it had been {before} before, when nobody waited: that wake is lost.",
                a(recording.tables.text(stuck.what))
            );
            (Code::LostWake, text, Code::LostWake.cure().to_owned())
        }
        (Thing::Event, None) => {
            let text = format!("{who} waited {waited}{at} for an event that nobody ever set, {until}.");
            (
                Code::WaitsForever,
                text,
                "Call `event.set()` on every path, also when something fails (`finally:`).".into(),
            )
        }
        (Thing::Condition, None) => {
            let text = format!("{who} waited {waited}{at} for a condition that nobody notified, {until}.");
            let cure =
                "Call `condition.notify()` or `notify_all()`, holding its lock, after each change of what it is about.";
            (Code::WaitsForever, text, cure.into())
        }
        (Thing::Future, _) => {
            let text = format!("{who} waited {waited}{at} for a future that nobody ever completed, {until}.");
            let cure =
                "Call `future.set_result(...)` or `set_exception(...)` on every path, also when something fails.";
            (Code::WaitsForever, text, cure.into())
        }
        (Thing::Join, _) => {
            let text = format!(
                "{who} waited {waited}{at} for a queue to be worked off, {until}: `task_done()` wasn't called for every item."
            );
            let cure = "Call `queue.task_done()` for each item that `get()` returned, in a `finally:`, and keep a consumer running.";
            (Code::QueueNotDrained, text, cure.into())
        }
        (Thing::Put, _) => {
            let what = a(recording.tables.text(stuck.what));
            let text = format!("{who} waited {waited}{at} for {what} that nobody takes items from, {until}.");
            (Code::QueueNotDrained, text, Code::QueueNotDrained.cure().to_owned())
        }
        (Thing::Get, signals) => {
            let puts = match signals {
                None => "nobody ever put one".to_owned(),
                Some(signals) => format!("the last was put{}", recording.at_where(signals.place)),
            };
            let what = a(recording.tables.text(stuck.what));
            let text = format!("{who} waited {waited}{at} for {what}, {until}; {puts}.");
            let cure = "Let the producer say that it is done: put a last item that ends the consumer (one for each), or cancel it.";
            (Code::WaitsForever, text, cure.into())
        }
        (Thing::Barrier, _) => {
            let text = format!("{who} waited {waited}{at} for the others at a barrier, {until}: they never came.");
            let cure =
                "Make the barrier for as many tasks as wait at it, and call `barrier.abort()` when one of them fails.";
            (Code::WaitsForever, text, cure.into())
        }
        _ => {
            let text = format!("{who} waited {waited}{at} for {}, {until}.", a(recording.tables.text(stuck.what)));
            (Code::WaitsForever, text, Code::WaitsForever.cure().to_owned())
        }
    };
    found.add_with_cure(code, task, place, stuck.since, text, cure);
}

/// Who waits, and where. A task in which nothing is the program's is a part of what has started it, as `wait_for` does.
fn whose(found: &Found<'_>, stuck: &Stuck) -> (Key, Place) {
    let is_part = !found.is_programs(stuck.place);
    match found.recording.model().task(stuck.task) {
        Some(task) if is_part && task.parent != 0 && found.is_programs(task.started_at) => {
            (task.parent, task.started_at)
        }
        _ => (stuck.task, stuck.place),
    }
}

fn a(what: &str) -> String {
    thing(what)
}

/// Tasks that were doing something when the program ended, and that nobody ever waited for.
fn cut_off(found: &mut Found<'_>, told: &HashSet<Key>) {
    let recording = found.recording;
    let model = recording.model();
    let mut awaited: HashSet<Key> = model.detected().awaited.clone();
    awaited.extend(told);
    let known: HashSet<Key> = found.findings.iter().map(|finding| finding.task).collect();
    for stuck in &model.detected().stuck {
        if !is_at_shutdown(stuck) || awaited.contains(&stuck.task) || known.contains(&stuck.task) {
            continue;
        }
        let Some(task) = model.task(stuck.task) else { continue };
        let what = recording.tables.text(stuck.what);
        let thing = Thing::of(stuck.on, what, false);
        let is_idle = matches!(thing, Thing::Get | Thing::Event | Thing::Condition);
        if is_idle || stuck.facts & fact::IS_AWAITED != 0 || task.nursery != 0 || !found.is_programs(task.started_at) {
            continue;
        }
        let text = format!(
            "{}, started{}, was still busy{} when the program ended: nobody had awaited it, so it was cancelled there.",
            recording.who(task.key),
            recording.at_where(task.started_at),
            recording.at_where(stuck.place),
        );
        found.add(Code::TaskCutOff, task.key, task.started_at, stuck.at, text);
    }
}
