//! Stories, word by word.

use trace::event::{cause, Key, Kind, LOOP_SHIFT};
use trace::recording::Limits;
use trace::story::story;
use trace::synthetic::{Script, MS, US};
use trace::Recording;

use sched::CancelSource;

use super::two_and_a_lock;

fn told(recording: &Recording, key: Key) -> Vec<String> {
    story(recording, recording.model().position(key).unwrap()).into_iter().map(|sentence| sentence.text).collect()
}

#[test]
fn waiting_for_a_lock() {
    let (recording, [main, a, b]) = two_and_a_lock();
    assert_eq!(
        told(&recording, b),
        [
            "started by Task main at app.py:13, to run work",
            "waited 1.20 s for a lock that Task a held, at db.py:40, until Task a woke it at db.py:44",
            "took the lock at db.py:40",
            "failed with ValueError: no (raised at x.py:3) after 1.20 s; it ran 1.10 ms in 2 steps",
        ]
    );
    assert_eq!(
        told(&recording, a),
        [
            "started by Task main at app.py:12, to run work",
            "took the lock at db.py:38",
            "slept 1.20 s, at db.py:39",
            "released what it held at db.py:44",
            "finished after 1.20 s; it ran 1.00 ms in 2 steps",
        ]
    );
    assert_eq!(
        told(&recording, main),
        [
            "started at app.py:30, to run main",
            "started Task a at app.py:12",
            "started Task b at app.py:13",
            "waited 1.20 s for Task b to end, at app.py:14",
            "failed with ValueError: no (raised at x.py:3) after 1.20 s; it ran 2.00 ms in 2 steps",
        ]
    );
}

#[test]
fn cancellations_say_whose_they_are() {
    let mut s = Script::new();
    let main = s.named(0, "main", "app.py:1 <module>", "main");
    let scope = s.scope(main, "app.py:7 main");
    let nursery = s.nursery(main, "app.py:8 main");
    let sources = [
        (CancelSource::TaskCancel, main, 0, "stop"),
        (CancelSource::TaskCancel, 0, 0, ""),
        (CancelSource::ScopeCancel, main, scope, ""),
        (CancelSource::Deadline, 0, scope, "no answer within 5 s"),
        (CancelSource::NurseryFailure, main, nursery, "KeyError: 'x'"),
        (CancelSource::Signal, 0, 0, ""),
        (CancelSource::LoopShutdown, 0, 0, ""),
    ];
    let expected = [
        "cancelled by Task main at app.py:9: stop",
        "cancelled by code outside of any task at app.py:9",
        "cancelled with the scope at app.py:7, which was cancelled by Task main at app.py:9",
        "cancelled by the deadline of the scope at app.py:7: no answer within 5 s",
        "cancelled because Task main failed in the nursery at app.py:8: KeyError: 'x'",
        "cancelled by a signal to the program",
        "cancelled because the event loop was shut down",
    ];
    let tasks: Vec<Key> = (0..sources.len()).map(|_| s.child(nursery, main, "work", "app.py:8 main")).collect();
    for (&task, (source, by, scope, why)) in tasks.iter().zip(sources) {
        s.cancel(task, by, "app.py:9 main", source, scope, why);
        s.run(task);
        s.ends_cancelled(task);
    }
    let recording = s.recording();
    for (task, expected) in tasks.iter().zip(expected) {
        let story = told(&recording, *task);
        assert_eq!(story[0], "started by Task main at app.py:8, to run work, in the nursery opened at app.py:8");
        assert_eq!(story[1], expected);
        assert_eq!(story[2], "ended cancelled after 0 ns; it ran 0 ns in 1 step");
    }
    let of_main = told(&recording, main);
    assert!(of_main.contains(&"started 7 tasks (work) at app.py:8".to_owned()), "{of_main:?}");
    assert!(of_main.contains(&"cancelled 3 tasks at app.py:9".to_owned()), "{of_main:?}");
}

#[test]
fn repetitions_are_summed_up() {
    let mut s = Script::new();
    let (a, b) = (s.spawn(0, "spin", "x.py:1"), s.spawn(0, "worker", "x.py:2"));
    for _ in 0..10_000 {
        s.run(a);
        s.pass(120 * US).yields(a);
    }
    let queue = s.object();
    for _ in 0..500 {
        s.run(b);
        s.waits(b, "Queue.get", queue, "w.py:3 worker");
        s.pass(80 * MS).wake(b, a, "", cause::TASK);
        s.run(b);
        s.waits(b, "sleep", 0, "w.py:4 worker");
        s.pass(20 * MS).wake(b, 0, "", cause::TIMER);
    }
    let recording = s.recording();
    assert_eq!(told(&recording, a)[1], "ran and yielded 10,000 times, 1.20 s in all");
    assert_eq!(
        told(&recording, b)[1],
        "500 times in turn: waited for an item from a queue, at w.py:3 (40.0 s in all); slept, at w.py:4 (10.0 s in all)"
    );
    assert_eq!(told(&recording, b).len(), 3);
}

#[test]
fn repetitions_in_repetitions_are_counted() {
    let mut s = Script::new();
    let a = s.spawn(0, "a", "x.py:1");
    for number in 0..50 {
        s.run(a);
        for _ in 0..3 + number % 4 {
            s.spawn(a, "b", "x.py:2");
        }
        s.waits(a, "sleep", 0, "x.py:3");
        s.pass(MS);
    }
    assert_eq!(
        told(&s.recording(), a)[1],
        "49 times in turn: started tasks (b) at x.py:2 (219 in all); slept, at x.py:3 (49.0 ms in all)"
    );
}

#[test]
fn what_is_still_going_on_is_told_as_such() {
    let mut s = Script::new();
    let (a, b) = (s.named(0, "a", "x.py:1", "a"), s.named(0, "b", "x.py:2", "b"));
    let lock = s.object();
    s.run(a);
    s.hold(a, "Lock", lock, "x.py:3");
    s.waits(a, "future", 77, "x.py:4 a");
    s.run(b);
    s.waits(b, "Lock.acquire", lock, "x.py:5 b");
    s.pass(4200 * MS).spawn(0, "c", "x.py:9");
    let recording = s.recording();
    let last = |key| told(&recording, key).pop().unwrap();
    assert_eq!(last(a), "when the recording ended, it had been waiting for 4.20 s for a future, at x.py:4");
    assert_eq!(
        last(b),
        "when the recording ended, it had been waiting for 4.20 s for a lock that Task a held, at x.py:5"
    );
    let mut live = Recording::live(Limits { tasks: 10, events: 2 });
    s.fill(&mut live);
    live.tick(s.now + 800 * MS);
    assert_eq!(
        told(&live, b),
        ["started at x.py:2, to run b", "now, it has been waiting for 5.00 s for a lock that Task a holds, at x.py:5",]
    );
}

#[test]
fn odd_ends_are_explained() {
    let mut s = Script::new();
    let (gone, unheard, swallowed) = (s.spawn(0, "a", "x.py:1"), s.spawn(0, "b", "x.py:2"), s.spawn(0, "c", "x.py:3"));
    s.write(Kind::Unheard, gone, 0, 0, 1);
    s.run(unheard);
    s.fails(unheard, "OSError: no\nmore", "");
    s.write(Kind::Unheard, unheard, 0, 0, 0);
    s.cancel(swallowed, 0, "", CancelSource::TaskCancel, 0, "");
    s.run(swallowed);
    s.ends(swallowed);
    s.wake(1 << LOOP_SHIFT | 50, 0, "", cause::IO);
    let recording = s.recording();
    assert_eq!(
        told(&recording, gone)[1],
        "was destroyed after 0 ns while it was pending: nobody kept a reference to it; it never ran"
    );
    assert_eq!(told(&recording, unheard)[1], "failed with OSError: no more after 0 ns; it ran 0 ns in 1 step");
    assert_eq!(told(&recording, unheard)[2], "nobody asked for its exception: it was never retrieved");
    assert_eq!(
        told(&recording, swallowed)[2],
        "finished after 0 ns, although its cancellation had been asked for; it ran 0 ns in 1 step"
    );
    assert!(told(&recording, 1 << LOOP_SHIFT | 50)[0].starts_with("its start is not in the recording"));
}

#[test]
fn a_long_story_loses_its_middle() {
    let mut s = Script::new();
    let a = s.spawn(0, "a", "x.py:1");
    for line in 0..5000 {
        s.run(a);
        s.waits(a, "future", 0, &format!("x.py:{line}"));
        s.pass(MS).wake(a, 0, "", cause::IO);
    }
    let story = told(&s.recording(), a);
    assert_eq!(story.len(), 403);
    assert_eq!(story[201], "4,600 more things that happened to it are left out here");
}
