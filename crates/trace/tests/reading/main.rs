//! Recordings that were made up are read: what the model knows, what the questions are answered, what the exports say.

mod export;
mod graph;
mod model;
mod queries;
mod random;
mod story;

use trace::event::Key;
use trace::synthetic::{Script, MS, US};
use trace::Recording;

/// "main" starts "a" and "b"; "a" takes a lock, "b" waits for it 1.2 s, then fails.
pub fn two_and_a_lock() -> (Recording, [Key; 3]) {
    let mut s = Script::new();
    let main = s.named(0, "main", "app.py:30 <module>", "main");
    s.run(main);
    let a = s.named(main, "work", "app.py:12 main", "a");
    let b = s.named(main, "work", "app.py:13 main", "b");
    let lock = s.object();
    s.pass(2 * MS).waits_for(main, b, "app.py:14 main");
    s.run(a);
    s.hold(a, "Lock", lock, "db.py:38 work");
    s.pass(MS).waits(a, "sleep", 0, "db.py:39 work");
    s.run(b);
    s.pass(100 * US).waits(b, "Lock.acquire", lock, "db.py:40 work");
    s.turn(3100 * US, 3);
    s.pass(1200 * MS).wake(a, 0, "", trace::event::cause::TIMER);
    s.run(a);
    s.release(a, lock, "db.py:44 work");
    s.wake(b, a, "db.py:44 work", trace::event::cause::TASK);
    s.ends(a);
    s.run(b);
    s.hold(b, "Lock", lock, "db.py:40 work");
    s.pass(MS).fails(b, "ValueError: no", "x.py:3 check");
    s.wake(main, b, "", trace::event::cause::TASK);
    s.run(main);
    s.fails(main, "ValueError: no", "x.py:3 check");
    (s.recording(), [main, a, b])
}
