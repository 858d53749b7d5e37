//! What the model knows after which events.

use trace::event::{cause, step, Event, Kind, LOOP_SHIFT};
use trace::model::groups::Edge;
use trace::model::task::{flag, Outcome, State, WaitsFor, NEVER};
use trace::model::Model;
use trace::recording::Limits;
use trace::synthetic::{crawler, Script, MS, S, US};
use trace::Recording;

use super::two_and_a_lock;

#[test]
fn tasks_know_their_parents_places_ends_and_figures() {
    let (recording, [main, a, b]) = two_and_a_lock();
    let model = recording.model();
    let (of_main, of_a, of_b) = (model.task(main).unwrap(), model.task(a).unwrap(), model.task(b).unwrap());
    assert_eq!((of_main.parent, of_a.parent, of_b.parent), (0, main, main));
    assert_eq!([of_main.state, of_a.state, of_b.state], [State::Failed, State::Finished, State::Failed]);
    assert_eq!((of_a.steps, of_a.wakes, of_a.busy), (2, 1, MS));
    assert_eq!((of_b.woken_by, of_b.steps, of_b.end - of_b.begin), (a, 2, 1_204_100 * US));
    assert_eq!(recording.tables.text(of_b.why), "ValueError: no");
    assert_eq!(recording.place(of_b.raised_at).as_deref(), Some("x.py:3"));
    assert_eq!(recording.name(of_b), "b");
    assert_eq!((model.outcomes().total(), model.outcomes().of(Outcome::Failed)), (3, 2));
    // The lock was never released.
    let holders: Vec<_> = model.held().flat_map(|(_, held)| &held.holders).map(|holder| holder.task).collect();
    assert_eq!(holders, [b]);
}

#[test]
fn a_waiting_task_says_what_for_since_when_and_who_has_it() {
    let mut s = Script::new();
    let (a, b) = (s.spawn(0, "a", "x.py:1"), s.spawn(0, "b", "x.py:2"));
    let lock = s.object();
    s.run(a);
    s.hold(a, "Lock", lock, "x.py:3");
    s.waits_for(a, b, "x.py:4");
    s.run(b);
    s.pass(5 * MS).waits(b, "Lock.acquire", lock, "x.py:5");
    let recording = s.recording();
    let model = recording.model();
    let (of_a, of_b) = (model.task(a).unwrap(), model.task(b).unwrap());
    assert_eq!((of_a.state, of_a.wait, of_a.waits_for), (State::Waiting, WaitsFor::Task, b));
    assert_eq!(
        (of_b.state, of_b.wait, of_b.waits_for, of_b.since),
        (State::Waiting, WaitsFor::Object, lock, S + 5 * MS)
    );
    assert_eq!(model.holders(lock).unwrap().holders[0].task, a);
    let awaits: Vec<_> = model.groups().edges(Edge::Awaits).collect();
    assert_eq!(awaits, [(of_a.group, of_b.group, 1)]);
}

#[test]
fn a_task_that_does_something_is_running_until_its_step_is_over() {
    let mut s = Script::new();
    let a = s.spawn(0, "a", "x.py:1");
    let state = |s: &Script| s.recording().model().task(a).unwrap().state;
    assert_eq!(state(&s), State::Ready);
    s.run(a);
    s.spawn(a, "b", "x.py:2");
    assert_eq!(state(&s), State::Running);
    s.yields(a);
    assert_eq!(state(&s), State::Ready);
    s.run(a);
    s.pass(MS).waits(a, "Event.wait", 1, "x.py:3");
    assert_eq!(state(&s), State::Waiting);
    s.wake(a, 0, "", cause::THREAD);
    assert_eq!(state(&s), State::Ready);
}

#[test]
fn a_thread_may_wake_a_task_before_its_step_is_written() {
    let mut s = Script::new();
    let a = s.spawn(0, "a", "x.py:1");
    s.write(Kind::Wait, a, 1, 0, 0);
    s.pass(US).wake(a, 0, "", cause::THREAD);
    s.pass(US);
    s.events.push(Event::new(Kind::Step, S, a, 2 * US, 0, step::WAITS));
    assert_eq!(s.recording().model().task(a).unwrap().state, State::Ready);
}

#[test]
fn the_last_cancellation_says_who_and_why() {
    let mut s = Script::new();
    let a = s.spawn(0, "a", "x.py:1");
    let scope = s.scope(a, "x.py:7 a");
    s.cancel(a, 0, "x.py:2", sched::CancelSource::TaskCancel, 0, "");
    s.pass(MS).cancel(a, 0, "", sched::CancelSource::Deadline, scope, "too late");
    s.ends_cancelled(a);
    let recording = s.recording();
    let task = recording.model().task(a).unwrap();
    let cancel = recording.model().cancel_of(task).unwrap();
    assert_eq!((cancel.at, cancel.source, cancel.scope, cancel.count), (S + MS, 3, scope, 2));
    assert_eq!(recording.tables.text(cancel.why), "too late");
    assert_eq!((task.state, task.why), (State::Cancelled, 0));
}

#[test]
fn a_task_ends_once() {
    let mut s = Script::new();
    let a = s.spawn(0, "a", "x.py:1");
    s.ends(a);
    s.pass(MS).fails(a, "late", "x.py:1");
    s.waits(a, "future", 1, "x.py:1");
    let recording = s.recording();
    let task = recording.model().task(a).unwrap();
    assert_eq!((task.state, task.end, recording.model().outcomes().total()), (State::Finished, S, 1));
}

#[test]
fn what_was_missed_is_made_up_and_says_so() {
    let mut s = Script::new();
    let missed = 1 << LOOP_SHIFT | 99;
    s.wake(missed, 0, "", cause::IO);
    s.write(Kind::Unheard, missed, 0, 0, 1);
    let recording = s.recording();
    let task = recording.model().task(missed).unwrap();
    assert!(task.has(flag::STUB) && task.has(flag::DESTROYED));
    assert_eq!((task.state, task.end), (State::Failed, S));
    // The end of the last step of a task that is forgotten is no new task.
    let mut model = Model::new(Some(1));
    model.apply(&Event::new(Kind::Step, 5, 7, 1, 0, step::ENDS));
    assert!(model.tasks().is_empty());
}

#[test]
fn waits_and_delays_and_turns_are_summed_up() {
    let (recording, _) = two_and_a_lock();
    let totals = recording.model().totals();
    let longest = totals.waits.values().map(|took| took.longest).max();
    assert_eq!(longest, Some(1202 * MS + 100 * US));
    let of_loop = &recording.model().loops()[0];
    assert_eq!((of_loop.number, of_loop.runs, of_loop.jobs, of_loop.turns.took.longest), (1, true, 3, 3100 * US));
    assert_eq!(of_loop.delays.took.longest, 3 * MS);
}

#[test]
fn a_live_model_forgets_what_has_ended_and_keeps_its_sums() {
    let script = crawler(30_000);
    let mut whole = Recording::new();
    let mut live = Recording::live(Limits { tasks: 1000, events: 5000 });
    script.fill(&mut whole);
    for event in &script.events {
        live.apply(*event);
        assert!(live.model().tasks().len() <= 2100, "{}", live.model().tasks().len());
    }
    assert!(live.model().tasks().len() >= 250);
    assert_eq!(live.history().len(), 5000);
    assert_eq!(live.model().outcomes(), whole.model().outcomes());
    assert_eq!(live.model().groups().all(), whole.model().groups().all());
    let failed = |recording: &Recording| {
        recording
            .model()
            .tasks()
            .iter()
            .filter(|task| task.state == State::Failed)
            .map(|task| task.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(failed(&live), failed(&whole));
    assert!(live.model().tasks().iter().all(|task| task.parent == 0 || live.model().task(task.parent).is_some()));
}

#[test]
fn everything_that_lives_is_kept() {
    let mut model = Model::new(Some(10));
    for key in 1..=1000 {
        model.apply(&Event::new(Kind::Spawn, key, key, key - 1, 0, 0));
    }
    assert_eq!(model.tasks().len(), 1000);
    assert!(model.tasks().iter().all(|task| task.end == NEVER && !task.has(flag::ORPHAN)));
}
