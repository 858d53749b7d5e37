//! Detectors on made-up recordings: what each finds, and what looks like it and is right.

use sched::CancelSource;

use super::{fact, findings, Code, Finding, OWN, WATCHED};
use crate::event::{cause, release, Key, Kind, Object, CALLED_BY};
use crate::synthetic::{Script, MS, S, US};

fn found(script: &Script) -> Vec<Finding> {
    findings(&script.recording())
}

fn codes(script: &Script) -> Vec<Code> {
    found(script).into_iter().map(|finding| finding.code).collect()
}

fn two(script: &mut Script) -> (Key, Key, Key) {
    let main = script.named(0, "main", "app.py:50 <module>", "Task-1");
    let a = script.named(main, "worker", "app.py:41 main", "a");
    let b = script.named(main, "worker", "app.py:42 main", "b");
    (main, a, b)
}

fn takes(script: &mut Script, task: Key, lock: Object, place: &str) {
    script.run(task);
    script.hold(task, "Lock", lock, place);
}

#[test]
fn two_locks_in_two_orders() {
    let mut s = Script::new();
    let (_, a, b) = two(&mut s);
    let (first, second) = (s.object(), s.object());
    takes(&mut s, a, first, "app.py:10 worker");
    s.waits(a, "sleep", 0, "app.py:11 worker");
    takes(&mut s, b, second, "app.py:20 worker");
    s.waits(b, "Lock.acquire", first, "app.py:21 worker");
    assert_eq!(codes(&s), []);
    s.wake(a, 0, "", cause::TIMER);
    s.run(a);
    s.waits(a, "Lock.acquire", second, "app.py:12 worker");
    let [only] = found(&s).try_into().unwrap();
    assert_eq!((only.code, only.task), (Code::Deadlock, a));
    assert_eq!(
        only.text,
        "Task a waits at app.py:12 in worker for a lock that Task b holds (taken at app.py:20 in worker); Task b waits at \
         app.py:21 in worker for a lock that Task a holds (taken at app.py:10 in worker). None of them can go on."
    );
}

#[test]
fn a_lock_that_its_holder_wants_again_and_one_that_its_holder_gives_back() {
    let mut s = Script::new();
    let (_, a, b) = two(&mut s);
    let lock = s.object();
    takes(&mut s, a, lock, "app.py:10 worker");
    s.waits(a, "sleep", 0, "app.py:11 worker");
    s.run(b);
    s.waits(b, "Lock.acquire", lock, "app.py:10 worker");
    s.wake(a, 0, "", cause::TIMER);
    s.run(a);
    s.release(a, lock, "");
    s.wake(b, a, "", cause::TASK);
    s.ends(a);
    takes(&mut s, b, lock, "app.py:10 worker");
    assert_eq!(codes(&s), []);
    s.waits(b, "Lock.acquire", lock, "app.py:12 worker");
    assert_eq!(codes(&s), [Code::Deadlock]);
}

/// A semaphore that two tasks hold is no deadlock while one of them can go on.
#[test]
fn a_semaphore_is_stuck_only_with_all_who_hold_it() {
    let mut s = Script::new();
    let (main, a, b) = two(&mut s);
    let c = s.named(main, "worker", "app.py:43 main", "c");
    let (semaphore, lock) = (s.object(), s.object());
    for task in [a, b] {
        s.run(task);
        s.hold(task, "Semaphore", semaphore, "app.py:10 worker");
        s.waits(task, "sleep", 0, "app.py:11 worker");
    }
    takes(&mut s, c, lock, "app.py:20 worker");
    s.waits(c, "Semaphore.acquire", semaphore, "app.py:21 worker");
    for (task, expected) in [(a, vec![]), (b, vec![Code::Deadlock])] {
        s.wake(task, 0, "", cause::TIMER);
        s.run(task);
        s.waits(task, "Lock.acquire", lock, "app.py:12 worker");
        assert_eq!(codes(&s), expected);
    }
}

#[test]
fn who_ended_without_releasing() {
    let mut s = Script::new();
    let (_, a, b) = two(&mut s);
    let lock = s.object();
    takes(&mut s, a, lock, "app.py:10 worker");
    s.fails(a, "ValueError: no", "app.py:12 worker");
    s.run(b);
    s.waits(b, "Semaphore.acquire", lock, "app.py:10 worker");
    let [only] = found(&s).try_into().unwrap();
    assert_eq!((only.code, only.task), (Code::NeverReleased, a));
    assert!(only.text.contains("failed at app.py:12 in worker"), "{}", only.text);
    assert!(only.text.contains("Task b waits for it in vain"), "{}", only.text);
}

/// A semaphore as a signal, or taken by one and given back by another: nobody owes anything.
#[test]
fn what_others_release_is_not_leaked() {
    let mut s = Script::new();
    let (main, a, b) = two(&mut s);
    let (signal, slots) = (s.object(), s.object());
    s.release(main, signal, "");
    s.run(a);
    s.hold(a, "Semaphore", signal, "app.py:10 worker");
    s.ends(a);
    s.hold(main, "Semaphore", slots, "app.py:44 main");
    s.release(b, slots, "");
    s.hold(main, "Semaphore", slots, "app.py:44 main");
    s.ends(main);
    assert_eq!(codes(&s), []);
}

fn spin(s: &mut Script, task: Key, times: usize, between: impl Fn(&mut Script)) {
    for _ in 0..times {
        s.pass(50 * US);
        s.run(task);
        s.pass(2 * US);
        s.yields(task);
        s.turn(3 * US, 1);
        between(s);
    }
}

#[test]
fn a_task_that_only_yields_spins_and_one_that_works_does_not() {
    let mut s = Script::new();
    let (_, a, b) = two(&mut s);
    spin(&mut s, a, 300, |_| ());
    assert_eq!(codes(&s), []);
    spin(&mut s, a, 2000, |_| ());
    let [only] = found(&s).try_into().unwrap();
    assert_eq!((only.code, only.task), (Code::Spins, a));
    // Each of its steps does something.
    for _ in 0..3000 {
        s.run(b);
        s.pass(MS);
        s.yields(b);
        s.turn(MS, 1);
    }
    assert_eq!(codes(&s).len(), 1);
}

#[test]
fn who_yields_between_input_and_output_does_not_spin() {
    let mut s = Script::new();
    let (_, a, _) = two(&mut s);
    spin(&mut s, a, 5000, |s| {
        let what = s.text("Transport");
        s.write(Kind::Callback, 0, 1000, CALLED_BY | cause::IO, what);
        s.turn(3 * US, 1);
    });
    assert_eq!(codes(&s), []);
}

#[test]
fn who_yields_between_the_items_of_a_for_or_wakes_others_does_not_spin() {
    let mut s = Script::new();
    let (main, a, b) = two(&mut s);
    s.write(Kind::Warning, a, 0, 0, fact::YIELDS);
    spin(&mut s, a, 5000, |s| s.turn(3 * US, 1));
    spin(&mut s, b, 5000, |s| {
        s.waits(main, "Queue.get", WATCHED + 1, "app.py:3 main");
        s.wake(main, b, "", cause::TASK);
        s.turn(3 * US, 1);
        s.run(main);
    });
    assert_eq!(codes(&s), []);
}

#[test]
fn timers_of_no_time_are_a_spin_and_others_are_not() {
    for (time, expected) in [(10 * US, vec![Code::Spins]), (5 * MS, vec![])] {
        let mut s = Script::new();
        let (_, a, _) = two(&mut s);
        for _ in 0..5000 {
            s.run(a);
            s.pass(10 * US);
            s.waits(a, "asyncio.wait", 7, "app.py:10 worker");
            s.pass(time);
            s.wake(a, 0, "", cause::TIMER);
            s.turn(3 * US, 1);
            s.pass(20 * US);
        }
        assert_eq!(codes(&s), expected);
    }
}

#[test]
fn a_channel_without_a_bound_grows_slowly() {
    for (turns, expected) in [(20, vec![Code::QueueGrows]), (2, vec![])] {
        let mut s = Script::new();
        let (_, a, _) = two(&mut s);
        let (channel, place) = (OWN + 8, s.place("app.py:10 worker"));
        s.run(a);
        for _ in 0..turns {
            s.write(Kind::Release, a, channel, place, release::SIGNAL);
            s.turn(3 * US, 1);
        }
        s.write(Kind::Queue, a, channel, place, 256);
        assert_eq!(codes(&s), expected);
    }
}

/// Waiting for an event with a lock that somebody else waits for: neither goes on.
#[test]
fn who_holds_a_lock_while_what_it_waits_for_never_comes() {
    let mut s = Script::new();
    let (_, a, b) = two(&mut s);
    let lock = s.object();
    takes(&mut s, a, lock, "app.py:10 worker");
    s.waits(a, "Event.wait", WATCHED + 1, "app.py:11 worker");
    s.run(b);
    s.waits(b, "Lock.acquire", lock, "app.py:20 worker");
    s.pass(S);
    // Both are cancelled at once, whoever comes first.
    s.cancel(b, 0, "", CancelSource::Deadline, 0, "");
    s.wake(b, 0, "", cause::CALLBACK);
    s.cancel(a, 0, "", CancelSource::Deadline, 0, "");
    let [only] = found(&s).try_into().unwrap();
    assert_eq!((only.code, only.task), (Code::Deadlock, a));
    assert!(
        only.text.contains("held a lock meanwhile (taken at app.py:10 in worker) that Task b waited for"),
        "{}",
        only.text
    );
}

#[test]
fn a_notification_that_went_to_others_is_missed_unless_they_come_back_for_more() {
    for (again, expected) in [(false, vec![Code::LostWake]), (true, vec![])] {
        let mut s = Script::new();
        let (main, a, b) = two(&mut s);
        for task in [a, b] {
            s.run(task);
            s.waits(task, "Condition.wait", WATCHED + 1, "app.py:10 worker");
        }
        s.pass(MS);
        s.run(main);
        s.write(Kind::Release, main, WATCHED + 1, 0, release::SIGNAL);
        s.wake(a, main, "", cause::TASK);
        s.pass(MS);
        s.run(a);
        if again {
            s.waits(a, "Condition.wait", WATCHED + 1, "app.py:10 worker");
        } else {
            s.ends(a);
        }
        s.pass(S);
        s.cancel(b, 0, "", CancelSource::Deadline, 0, "");
        assert_eq!(codes(&s), expected);
    }
}

#[test]
fn a_callback_that_schedules_itself_spins_and_many_in_one_turn_do_not() {
    let mut s = Script::new();
    let what = s.text("Clock.tick");
    let place = s.place("app.py:7 Clock.tick");
    s.write(Kind::Warning, 0, what.into(), place, fact::CALLBACK);
    for _ in 0..5000 {
        s.write(Kind::Callback, 0, 1000, CALLED_BY | cause::CALLBACK, what);
        s.pass(50 * US);
    }
    s.turn(S, 5000);
    assert_eq!(codes(&s), []);
    for _ in 0..5000 {
        s.write(Kind::Callback, 0, 1000, CALLED_BY | cause::CALLBACK, what);
        s.pass(50 * US);
        s.turn(3 * US, 1);
    }
    let [only] = found(&s).try_into().unwrap();
    assert_eq!(only.code, Code::Spins);
    assert!(only.text.contains("Clock.tick"), "{}", only.text);
}

#[test]
fn a_lock_held_across_a_slow_await_with_somebody_waiting() {
    for (slow, waits, expected) in
        [(2 * S, true, vec![Code::LockHeldLong]), (2 * S, false, vec![]), (100 * MS, true, vec![])]
    {
        let mut s = Script::new();
        let (_, a, b) = two(&mut s);
        let lock = s.object();
        takes(&mut s, a, lock, "app.py:10 worker");
        s.waits(a, "sleep", 0, "app.py:11 worker");
        if waits {
            s.run(b);
            s.waits(b, "Lock.acquire", lock, "app.py:10 worker");
        }
        s.pass(slow);
        s.wake(a, 0, "", cause::TIMER);
        s.run(a);
        s.release(a, lock, "");
        if waits {
            s.wake(b, a, "", cause::TASK);
        }
        s.ends(a);
        takes(&mut s, b, lock, "app.py:10 worker");
        s.release(b, lock, "");
        s.ends(b);
        assert_eq!(codes(&s), expected);
    }
}

/// A task that is cancelled while it waits for an object of asyncio's; `signals`: somebody has set it before or after.
fn cancelled(what: &str, source: CancelSource, facts: u64, before: bool, after: bool) -> Vec<Code> {
    let mut s = Script::new();
    let (main, a, _) = two(&mut s);
    let object = WATCHED + 1;
    if before {
        s.write(Kind::Release, main, object, 0, release::SIGNAL);
    }
    s.pass(MS);
    s.run(a);
    s.waits(a, what, object, "app.py:10 worker");
    s.pass(S);
    s.write(Kind::Warning, a, facts, 0, fact::CANCEL);
    s.cancel(a, 0, "", source, 0, "");
    s.wake(a, 0, "", cause::CALLBACK);
    s.run(a);
    s.ends_cancelled(a);
    if after {
        s.pass(MS);
        s.write(Kind::Release, main, object, 0, release::SIGNAL);
    }
    codes(&s)
}

#[test]
fn what_nobody_gives_is_missed_when_time_runs_out_or_the_program_ends() {
    use CancelSource::{LoopShutdown, TaskCancel};
    let cases = [
        ("Event.wait", TaskCancel, fact::TIMED_OUT, false, false, Some(Code::WaitsForever)),
        ("Event.wait", TaskCancel, fact::TIMED_OUT, false, true, None),
        ("Event.wait", TaskCancel, fact::TIMED_OUT, true, false, Some(Code::LostWake)),
        ("Event.wait", TaskCancel, 0, false, false, None),
        ("Event.wait", LoopShutdown, 0, false, false, Some(Code::WaitsForever)),
        ("Event.wait", LoopShutdown, 0, true, false, None),
        ("Condition.wait", TaskCancel, fact::TIMED_OUT, true, false, Some(Code::LostWake)),
        ("Condition.wait", TaskCancel, fact::TIMED_OUT, false, false, Some(Code::WaitsForever)),
        ("Queue.join", TaskCancel, fact::TIMED_OUT, true, false, Some(Code::QueueNotDrained)),
        ("Queue.put", LoopShutdown, 0, true, false, Some(Code::QueueNotDrained)),
        ("Queue.get", TaskCancel, fact::TIMED_OUT, true, false, Some(Code::WaitsForever)),
        ("Queue.get", LoopShutdown, 0, true, false, None),
        ("Queue.get", TaskCancel, 0, true, false, None),
        ("Future", TaskCancel, fact::TIMED_OUT | fact::BARE_FUTURE, false, false, Some(Code::WaitsForever)),
        ("Future", TaskCancel, fact::TIMED_OUT, false, false, None),
    ];
    for (what, source, facts, before, after, expected) in cases {
        let known: Vec<Code> = cancelled(what, source, facts | fact::IS_AWAITED, before, after);
        assert_eq!(known, Vec::from_iter(expected), "{what} {source:?} {facts} {before} {after}");
    }
}

#[test]
fn who_asks_again_has_not_missed_anything() {
    let mut s = Script::new();
    let (_, a, _) = two(&mut s);
    for _ in 0..3 {
        s.run(a);
        s.waits(a, "Event.wait", WATCHED + 1, "app.py:10 worker");
        s.pass(S);
        s.write(Kind::Warning, a, fact::TIMED_OUT, 0, fact::CANCEL);
        s.cancel(a, 0, "", CancelSource::TaskCancel, 0, "");
        s.wake(a, 0, "", cause::CALLBACK);
    }
    s.run(a);
    s.ends(a);
    // The last time nobody came, and it ended: that one is told.
    assert_eq!(codes(&s), [Code::WaitsForever]);
    s.write(Kind::Release, 0, WATCHED + 1, 0, release::SIGNAL);
    assert_eq!(codes(&s), []);
}

#[test]
fn busy_tasks_that_nobody_awaited_are_cut_off_at_the_end() {
    for (facts, what, expected) in
        [(0, "sleep", vec![Code::TaskCutOff]), (fact::IS_AWAITED, "sleep", vec![]), (0, "Queue.get", vec![])]
    {
        let mut s = Script::new();
        let (main, a, _) = two(&mut s);
        s.write(Kind::Release, main, WATCHED + 1, 0, release::SIGNAL);
        s.run(a);
        s.waits(a, what, WATCHED + 1, "app.py:10 worker");
        if facts != 0 {
            s.write(Kind::Warning, a, facts, 0, fact::CANCEL);
        }
        s.cancel(a, 0, "", CancelSource::LoopShutdown, 0, "");
        s.ends_cancelled(a);
        assert_eq!(codes(&s), expected);
    }
}

#[test]
fn a_recording_that_ends_in_a_standstill_names_what_is_waited_for() {
    let mut s = Script::new();
    let (main, a, b) = two(&mut s);
    s.run(a);
    s.waits(a, "Event.wait", WATCHED + 1, "app.py:10 worker");
    s.run(main);
    s.waits_for(main, a, "app.py:45 main");
    s.run(b);
    s.waits(b, "sleep", 0, "app.py:20 worker");
    // b will go on, and may set it.
    assert_eq!(codes(&s), []);
    s.wake(b, 0, "", cause::TIMER);
    s.run(b);
    s.ends(b);
    let [only] = found(&s).try_into().unwrap();
    assert_eq!((only.code, only.task), (Code::WaitsForever, a));
}

#[test]
fn a_block_has_the_place_that_was_seen_meanwhile_or_none() {
    let mut s = Script::new();
    let (_, a, b) = two(&mut s);
    s.run(a);
    let place = s.place("app.py:12 slow");
    s.write(Kind::Warning, a, 100 * MS, place, Code::LoopBlocked.number());
    s.pass(300 * MS);
    s.waits(a, "sleep", 0, "app.py:13 worker");
    let [only] = found(&s).try_into().unwrap();
    assert_eq!((only.code, only.place), (Code::LoopBlocked, place));
    assert!(only.text.contains("300 ms"), "{}", only.text);
    s.run(b);
    s.pass(1300 * MS);
    s.ends(b);
    let [_, other] = found(&s).try_into().unwrap();
    assert_eq!((other.code, other.place, other.task), (Code::LoopBlocked, 0, b));
    // The same block, seen again when it had become long.
    s.wake(a, 0, "", cause::TIMER);
    s.run(a);
    s.write(Kind::Warning, a, 100 * MS, place, Code::LoopBlocked.number());
    s.write(Kind::Warning, a, S, place, Code::NeverYields.number());
    s.pass(2 * S);
    s.ends(a);
    assert_eq!(codes(&s), [Code::LoopBlocked, Code::LoopBlocked, Code::NeverYields]);
}

/// What the watchdog saw of a call that was told is no other warning.
#[test]
fn a_block_in_a_call_that_was_told_is_the_call() {
    let mut s = Script::new();
    let (_, a, _) = two(&mut s);
    s.run(a);
    let place = s.place("app.py:12 slow");
    s.write(Kind::Warning, a, 100 * MS, place, Code::LoopBlocked.number());
    s.write(Kind::Warning, a, 0, place, Code::BlockingCall.number());
    s.pass(300 * MS);
    s.ends(a);
    assert_eq!(codes(&s), [Code::BlockingCall]);
}

#[test]
fn unheard_and_destroyed_tasks_and_piles() {
    let mut s = Script::new();
    let (main, a, b) = two(&mut s);
    s.run(a);
    s.fails(a, "OSError: disk full", "app.py:9 save");
    s.write(Kind::Unheard, a, 0, 0, 0);
    s.run(b);
    s.waits(b, "Future", 77, "app.py:10 worker");
    s.write(Kind::Unheard, b, 0, 0, 1);
    assert_eq!(codes(&s), [Code::NeverRetrieved, Code::TaskDestroyed]);
    let nursery = s.nursery(main, "app.py:60 main");
    for _ in 0..150 {
        s.child(nursery, main, "job", "app.py:61 main");
        s.spawn(main, "job", "app.py:62 main");
    }
    assert_eq!(codes(&s).len(), 2);
    let place = s.place("app.py:62 main");
    s.write(Kind::Warning, 0, 0, place, fact::DROPPED_SITE);
    let piles: Vec<Finding> = found(&s).into_iter().filter(|finding| finding.code == Code::TasksPileUp).collect();
    assert_eq!(piles.len(), 1);
    assert_eq!(
        piles[0].text,
        "150 tasks of job were alive at once, all started at app.py:62 in main, and nobody waits for them."
    );
}

#[test]
fn alike_ones_are_one_with_a_count() {
    let mut s = Script::new();
    let (_, a, b) = two(&mut s);
    let (place, text) = (s.place("app.py:7 poll"), s.text("time.sleep(1)"));
    for task in [a, b, a] {
        s.write(Kind::Why, task, 0, 0, text);
        s.write(Kind::Warning, task, 0, place, Code::BlockingCall.number());
    }
    let [only] = found(&s).try_into().unwrap();
    assert_eq!((only.count, only.task), (3, a));
    assert_eq!(only.cure, "Write `await asyncio.sleep(...)`.");
}
