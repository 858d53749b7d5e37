use proptest::prelude::*;

use super::*;
use crate::event::{cause, LOOP_SHIFT};
use crate::model::task::{State, WaitsFor};
use crate::synthetic::{crawler, Script, MS, S, US};
use crate::Recording;

fn written(window: &Window) -> Vec<Event> {
    let mut all = Vec::new();
    window
        .write(|number, events| {
            all.extend(events.iter().map(|event| event.in_loop(number)));
            Ok::<(), ()>(())
        })
        .unwrap();
    all.sort_by_key(Event::written);
    all
}

fn recording(events: Vec<Event>) -> Recording {
    let mut recording = Recording::new();
    recording.apply_all(events);
    recording
}

/// Who it is: key, parent, name, coroutine, where it was started, nursery. What it does: state, what it waits for and where, whether it was
/// cancelled.
type Described = ((Key, Key, Text, Text, u32, u64), (State, WaitsFor, u64, u32, bool));

/// What is known of each task that is alive.
fn alive(recording: &Recording) -> Vec<Described> {
    let model = recording.model();
    let pending = model.tasks().iter().filter(|task| task.state.is_pending());
    let of = |task: &crate::model::task::Task| {
        let waits = task.state == State::Waiting;
        let (wait, on, at) = if waits { (task.wait, task.waits_for, task.wait_at) } else { (WaitsFor::Unknown, 0, 0) };
        // Whether a task that can run has begun to is known only by what it did since.
        let state = if task.state == State::Running { State::Ready } else { task.state };
        let cancelled = model.cancel_of(task).is_some();
        let who = (task.key, task.parent, task.name, task.coroutine, task.started_at, task.nursery);
        (who, (state, wait, on, at, cancelled))
    };
    let mut all: Vec<_> = pending.map(of).collect();
    all.sort_unstable_by_key(|(who, _)| who.0);
    all
}

fn holders(recording: &Recording) -> Vec<(u64, Vec<Key>)> {
    let of = |held: &crate::model::task::Held| held.holders.iter().map(|holder| holder.task).collect();
    let mut all: Vec<_> = recording.model().held().map(|(object, held)| (object, of(held))).collect();
    all.sort_unstable();
    all
}

proptest! {
    #[test]
    fn who_is_alive_is_known_wherever_the_window_begins(
        upto in 1..20_000usize, length in 0..400 * MS, pieces in 1..500usize, most in 0..100_000usize,
    ) {
        let events = crawler(1000).events;
        let events: Vec<Event> = events.iter().map(|event| event.in_loop(1)).collect();
        let upto = &events[..upto.min(events.len())];
        let mut window = Window::new(length, most);
        let mut now = 0;
        for some in upto.chunks(pieces) {
            window.push(1, some);
            now = some.last().map_or(0, Event::written).max(now);
            window.tick(now);
            prop_assert!(window.bytes() <= most);
        }
        let whole = recording(upto.to_vec());
        let inside = written(&window);
        let begin = window.begin();
        // The last ones in the window are the last ones that there were.
        let after: Vec<Event> = upto.iter().filter(|event| event.written() >= begin).copied().collect();
        prop_assert!(inside.ends_with(&after));
        prop_assert!(begin >= now - length);
        if upto.len() * (SIZE + OVERHEAD) < most {
            prop_assert_eq!(begin, (now - length).max(upto[0].at));
        }
        let seen = recording(inside);
        prop_assert_eq!(alive(&seen), alive(&whole));
        prop_assert_eq!(holders(&seen), holders(&whole));
    }
}

#[test]
fn a_task_that_waits_since_long_before_is_there_with_all_that_is_known() {
    let mut s = Script::new();
    let main = s.named(0, "main", "app.py:30 <module>", "main");
    s.run(main);
    let a = s.named(main, "work", "app.py:12 main", "holder");
    let b = s.named(main, "work", "app.py:13 main", "stuck");
    let lock = s.object();
    s.pass(2 * MS).waits_for(main, b, "app.py:14 main");
    s.run(a);
    s.hold(a, "Lock", lock, "db.py:38 work");
    s.pass(MS).waits(a, "sleep", 0, "db.py:39 work");
    s.run(b);
    s.pass(100 * US).waits(b, "Lock.acquire", lock, "db.py:40 work");
    s.pass(3600 * S).wake(a, 0, "", cause::TIMER);
    let mut window = Window::new(30 * S, 1 << 20);
    window.push(1, &s.events);
    window.tick(s.now);
    assert_eq!(window.begin(), s.now - 30 * S);
    let seen = recording(written(&window));
    let of = |key| *seen.model().task(key).unwrap();
    assert_eq!((of(b).state, of(b).waits_for, of(b).begin), (State::Waiting, lock, s.now - 30 * S));
    assert_eq!((of(main).state, of(main).wait, of(main).waits_for), (State::Waiting, WaitsFor::Task, b));
    assert_eq!(of(a).state, State::Ready);
    assert_eq!(seen.model().holders(lock).unwrap().holders[0].task, a);
    assert_eq!(window.name_of(b), (of(b).name, of(b).coroutine));
    assert_ne!(of(b).name, 0);
}

#[test]
fn all_loops_begin_at_the_same_time() {
    let event = |loop_number: u64, at| Event::new(Kind::Wake, at, loop_number << LOOP_SHIFT | 1, 0, 0, 0);
    let mut window = Window::new(10 * S, PIECE * SIZE + 3 * OVERHEAD);
    for turn in 1..=40 {
        for number in [1, 2] {
            let events: Vec<Event> = (0..100).map(|n| event(number, turn * S + n)).collect();
            window.push(number as u32, &events);
        }
        window.tick(turn * S + 200);
    }
    let events = written(&window);
    assert!(events.len() > 1000 && window.bytes() <= PIECE * SIZE + 3 * OVERHEAD);
    assert!(events.iter().all(|event| event.at >= window.begin()));
    for number in [1, 2] {
        let mine = events.iter().filter(|event| event.task() >> LOOP_SHIFT == number).count();
        assert!(mine + 100 >= events.len() / 2);
    }
}

#[test]
fn scopes_that_are_closed_and_locks_that_are_given_back_are_forgotten() {
    let mut s = Script::new();
    let main = s.named(0, "main", "app.py:30 <module>", "main");
    s.run(main);
    let outer = s.nursery(main, "app.py:31 main");
    let (scope, lock) = (s.scope(main, "app.py:32 main"), s.object());
    s.write(Kind::ScopeOpen, main, scope, 0, crate::event::scope::NURSERY);
    s.hold(main, "Lock", lock, "app.py:33 main");
    s.pass(MS);
    s.release(main, lock, "app.py:34 main");
    s.close(main, scope, false);
    s.pass(S).waits(main, "sleep", 0, "app.py:35 main");
    let mut window = Window::new(MS, 1 << 20);
    window.push(1, &s.events);
    window.tick(s.now + S);
    let events = written(&window);
    let opened: Vec<u64> =
        events.iter().filter(|event| event.kind() == Some(Kind::ScopeOpen)).map(|event| event.a).collect();
    assert_eq!(opened, [outer]);
    assert!(!events.iter().any(|event| event.kind() == Some(Kind::Hold)));
}
