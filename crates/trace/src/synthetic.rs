//! Made-up recordings, for tests and benchmarks: a script says what tasks do, and the events are those that the recorder would write.
//!
//! Time passes only when [`Script::pass`] says so; a task's step goes from [`Script::run`] to what ends it.

use std::io::{self, Write};

use sched::{CancelSource, Nanos};
use serde_json::{json, Value};

use crate::by_number::ByNumber;
use crate::event::LOOP_SHIFT;
use crate::event::{cause, outcome, phase, scope, step, Definition, Event, Key, Kind, Object, Owner, Place, Text};
use crate::file::Writer;
use crate::recording::Recording;

pub const US: Nanos = 1_000;
pub const MS: Nanos = 1_000_000;
pub const S: Nanos = 1_000_000_000;

#[derive(Default)]
pub struct Script {
    pub now: Nanos,
    pub events: Vec<Event>,
    pub definitions: Vec<Definition>,
    texts: std::collections::HashMap<String, Text>,
    places: std::collections::HashMap<String, Place>,
    steps: ByNumber<Key, Nanos>,
    tasks: u64,
    objects: u64,
}

impl Script {
    /// One loop, number 1, that begins to run at the time 1 s.
    pub fn new() -> Script {
        let mut script = Script { now: S, ..Script::default() };
        let thread = script.text("MainThread");
        script.write(Kind::Loop, 0, 1, thread, phase::RUNS);
        script
    }

    pub fn pass(&mut self, nanos: Nanos) -> &mut Script {
        self.now += nanos;
        self
    }

    pub fn write(&mut self, kind: Kind, task: Key, a: u64, b: u32, c: u32) {
        self.events.push(Event::new(kind, self.now, task, a, b, c));
    }

    pub fn text(&mut self, text: &str) -> Text {
        if text.is_empty() {
            return 0;
        }
        let next = self.texts.len() as Text + 1;
        *self.texts.entry(text.to_owned()).or_insert_with(|| {
            self.definitions.push(Definition::Text { number: next, text: text.into() });
            next
        })
    }

    /// "app.py:12 function"; "" is no place.
    pub fn place(&mut self, place: &str) -> Place {
        if let Some(&known) = self.places.get(place) {
            return known;
        }
        let Some((file, rest)) = place.split_once(':') else { return 0 };
        let (line, function) = rest.split_once(' ').unwrap_or((rest, ""));
        let (file, function) = (self.text(&format!("/home/you/{file}")), self.text(function));
        let number = self.places.len() as Place + 1;
        let line = line.parse().unwrap_or(0);
        self.definitions.push(Definition::Place { number, file, line, function, owner: Owner::Program });
        self.places.insert(place.to_owned(), number);
        number
    }

    pub fn object(&mut self) -> Object {
        self.objects += 1;
        self.objects
    }

    // --- Tasks -------------------------------------------------------------------------------------

    pub fn spawn(&mut self, parent: Key, coroutine: &str, place: &str) -> Key {
        self.tasks += 1;
        let key = 1 << LOOP_SHIFT | self.tasks;
        let (place, coroutine) = (self.place(place), self.text(coroutine));
        self.write(Kind::Spawn, key, parent, place, coroutine);
        key
    }

    pub fn name(&mut self, task: Key, name: &str) {
        let name = self.text(name);
        self.write(Kind::Name, task, 0, 0, name);
    }

    pub fn named(&mut self, parent: Key, coroutine: &str, place: &str, name: &str) -> Key {
        let key = self.spawn(parent, coroutine, place);
        self.name(key, name);
        key
    }

    /// Its step begins.
    pub fn run(&mut self, task: Key) {
        self.steps.insert(task, self.now);
    }

    fn step(&mut self, task: Key, how: u32) {
        let begin = self.steps.remove(&task).unwrap_or(self.now);
        self.events.push(Event::new(Kind::Step, begin, task, self.now - begin, 0, how));
    }

    pub fn yields(&mut self, task: Key) {
        self.write(Kind::Wake, task, task, 0, cause::ITSELF);
        self.step(task, step::YIELDS);
    }

    pub fn waits(&mut self, task: Key, what: &str, object: Object, place: &str) {
        let (place, what) = (self.place(place), self.text(what));
        self.write(Kind::Wait, task, object, place, what);
        self.step(task, step::WAITS);
    }

    pub fn waits_for(&mut self, task: Key, other: Key, place: &str) {
        let place = self.place(place);
        self.write(Kind::WaitTask, task, other, place, 0);
        self.step(task, step::WAITS);
    }

    pub fn wake(&mut self, task: Key, by: Key, place: &str, cause: u32) {
        let place = self.place(place);
        self.write(Kind::Wake, task, by, place, cause);
    }

    pub fn ends(&mut self, task: Key) {
        self.write(Kind::Finish, task, 0, 0, outcome::RESULT);
        self.step(task, step::ENDS);
    }

    pub fn fails(&mut self, task: Key, why: &str, place: &str) {
        self.why(task, why, 0);
        let place = self.place(place);
        self.write(Kind::Finish, task, 0, place, outcome::EXCEPTION);
        self.step(task, step::ENDS);
    }

    pub fn ends_cancelled(&mut self, task: Key) {
        self.write(Kind::Finish, task, 0, 0, outcome::CANCELLED);
        self.step(task, step::ENDS);
    }

    fn why(&mut self, task: Key, why: &str, scope: Object) {
        if !why.is_empty() || scope != 0 {
            let why = self.text(why);
            self.write(Kind::Why, task, scope, 0, why);
        }
    }

    pub fn cancel(&mut self, task: Key, by: Key, place: &str, source: CancelSource, scope: Object, why: &str) {
        self.why(task, why, scope);
        let place = self.place(place);
        self.write(Kind::Cancel, task, by, place, source as u32);
    }

    // --- Scopes, locks, loops ------------------------------------------------------------------------

    pub fn nursery(&mut self, host: Key, place: &str) -> Object {
        let (scope, place) = (self.object(), self.place(place));
        self.write(Kind::ScopeOpen, host, scope, place, scope::NURSERY);
        scope
    }

    pub fn scope(&mut self, host: Key, place: &str) -> Object {
        let (scope, place) = (self.object(), self.place(place));
        self.write(Kind::ScopeOpen, host, scope, place, scope::CANCEL_SCOPE);
        scope
    }

    pub fn close(&mut self, host: Key, scope: Object, caught: bool) {
        self.write(Kind::ScopeClose, host, scope, 0, u32::from(caught));
    }

    pub fn child(&mut self, nursery: Object, parent: Key, coroutine: &str, place: &str) -> Key {
        let key = self.spawn(parent, coroutine, place);
        self.write(Kind::Child, key, nursery, 0, 0);
        key
    }

    pub fn hold(&mut self, task: Key, what: &str, object: Object, place: &str) {
        let (place, what) = (self.place(place), self.text(what));
        self.write(Kind::Hold, task, object, place, what);
    }

    pub fn release(&mut self, task: Key, object: Object, place: &str) {
        let place = self.place(place);
        self.write(Kind::Release, task, object, place, 0);
    }

    /// A turn that began so long ago is over.
    pub fn turn(&mut self, took: Nanos, jobs: u32) {
        self.events.push(Event::new(Kind::Turn, self.now - took, 1 << LOOP_SHIFT, took, jobs, 0));
    }

    pub fn callback(&mut self, what: &str, took: Nanos, place: &str) {
        let (place, what) = (self.place(place), self.text(what));
        self.events.push(Event::new(Kind::Callback, self.now - took, 0, took, place, what));
    }

    // --- The recording -------------------------------------------------------------------------------

    /// What a reader of the file would have.
    pub fn recording(&self) -> Recording {
        let mut recording = Recording::new();
        self.fill(&mut recording);
        recording.index();
        recording
    }

    pub fn fill(&self, recording: &mut Recording) {
        recording.about = about().as_object().cloned().unwrap_or_default();
        recording.is_complete = true;
        for definition in &self.definitions {
            recording.define(definition.clone());
        }
        recording.apply_all(self.events.clone());
    }

    /// The file.
    pub fn write_file(&self, to: impl Write) -> io::Result<()> {
        let mut writer = Writer::new(to, &about().to_string())?;
        writer.definitions(&self.definitions)?;
        writer.events(1, &self.events)?;
        writer.finish().map(drop)
    }
}

fn about() -> Value {
    json!({
        "program": "app.py", "pid": 4711, "python": "3.13.0", "started": 1_700_000_000.0, "directory": "/home/you",
    })
}

/// A crawler: `main` opens a nursery of workers that take addresses from a channel, and starts a task for each page in a second one;
/// pages parse in tasks of their own, share a lock, and some fail, are cancelled or pass their deadline. `tasks` in all, about.
pub fn crawler(tasks: usize) -> Script {
    let mut s = Script::new();
    let mut random = Random(42);
    let main = s.named(0, "main", "crawl.py:90 <module>", "Task-1");
    s.run(main);
    let nursery = s.nursery(main, "crawl.py:60 main");
    let (channel, lock) = (s.object(), s.object());
    let workers: Vec<Key> = (1..=8)
        .map(|number| {
            let worker = s.child(nursery, main, "worker", "crawl.py:62 main");
            s.name(worker, &format!("worker-{number}"));
            worker
        })
        .collect();
    s.pass(300 * US);
    s.waits(main, "Nursery", nursery, "crawl.py:60 main");
    for &worker in &workers {
        s.run(worker);
        s.pass(10 * US);
        s.waits(worker, "ReceiveChannel.receive", channel, "crawl.py:41 worker");
    }
    s.turn(380 * US, 9);
    let mut started = 9;
    while started < tasks {
        let turn = s.now;
        let worker = workers[random.below(8) as usize];
        s.wake(worker, main, "crawl.py:70 main", cause::TASK);
        s.run(worker);
        let pages = s.nursery(worker, "crawl.py:43 worker");
        let fetches: Vec<Key> = (0..8).map(|_| s.child(pages, worker, "fetch", "crawl.py:45 worker")).collect();
        started += fetches.len();
        s.pass(80 * US);
        s.waits(worker, "Nursery", pages, "crawl.py:43 worker");
        for &fetch in &fetches {
            s.run(fetch);
            s.pass(25 * US);
            s.waits(fetch, "socket.recv", 0, "crawl.py:21 fetch");
        }
        s.turn(s.now - turn, 9);
        s.pass(random.below(400) * US);
        let turn = s.now;
        let mut failed = None;
        for &fetch in &fetches {
            started += fetch_ends(&mut s, &mut random, fetch, lock, pages, &mut failed);
        }
        s.wake(worker, *fetches.last().unwrap_or(&0), "", cause::TASK);
        s.turn(s.now - turn, 8);
        s.run(worker);
        s.pass(15 * US);
        s.close(worker, pages, failed.is_some());
        s.waits(worker, "ReceiveChannel.receive", channel, "crawl.py:41 worker");
    }
    for &worker in &workers {
        s.wake(worker, main, "crawl.py:75 main", cause::TASK);
        s.run(worker);
        s.pass(5 * US);
        s.ends(worker);
    }
    s.wake(main, workers[7], "", cause::TASK);
    s.run(main);
    s.close(main, nursery, false);
    s.pass(50 * US);
    s.ends(main);
    s
}

/// How many tasks it started.
fn fetch_ends(
    s: &mut Script,
    random: &mut Random,
    fetch: Key,
    lock: Object,
    pages: Object,
    failed: &mut Option<Key>,
) -> usize {
    if let Some(failed) = *failed {
        s.cancel(fetch, failed, "", CancelSource::NurseryFailure, pages, "ConnectionResetError: reset by peer");
        s.wake(fetch, failed, "", cause::TASK);
        s.run(fetch);
        s.pass(4 * US);
        s.ends_cancelled(fetch);
        return 0;
    }
    match random.below(4000) {
        0 => {
            s.wake(fetch, 0, "", cause::IO);
            s.run(fetch);
            s.pass(40 * US);
            s.fails(fetch, "ConnectionResetError: reset by peer", "crawl.py:23 fetch");
            *failed = Some(fetch);
            0
        }
        1..20 => {
            s.cancel(fetch, 0, "", CancelSource::Deadline, pages, "no answer within 5 s");
            s.wake(fetch, 0, "", cause::DEADLINE);
            s.run(fetch);
            s.pass(9 * US);
            s.ends_cancelled(fetch);
            0
        }
        chance => {
            s.wake(fetch, 0, "", cause::IO);
            s.run(fetch);
            s.pass(30 * US);
            let parse = s.spawn(fetch, "parse", "crawl.py:25 fetch");
            s.waits_for(fetch, parse, "crawl.py:26 fetch");
            s.run(parse);
            s.hold(parse, "Lock", lock, "crawl.py:31 parse");
            s.pass((20 + random.below(60)) * US);
            s.yields(parse);
            s.run(parse);
            s.pass(20 * US);
            s.release(parse, lock, "crawl.py:33 parse");
            if chance == 20 {
                s.fails(parse, "UnicodeDecodeError: invalid start byte", "crawl.py:35 parse");
            } else {
                s.ends(parse);
            }
            s.wake(fetch, parse, "", cause::TASK);
            s.run(fetch);
            s.pass(5 * US);
            s.ends(fetch);
            1
        }
    }
}

/// The same numbers every time.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}
