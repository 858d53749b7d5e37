//! Warnings in one or two sentences that somebody understands at three in the morning.

use crate::event::{Place, Text};
use crate::model::detect::{Deadlock, Grown, HeldLong, InCircle};
use crate::model::spins::Spun;
use crate::model::task::{Task, WaitsFor};
use crate::model::Warning;
use crate::recording::Recording;
use crate::warning::Code;
use crate::words::{counted, duration, one_line, shortened, thing};

/// How `segue._watch` begins its words about a line that waits and doesn't compute.
const WAITING: &str = "waiting in ";
/// Longer words of the program's are cut off.
const LONGEST: usize = 300;

impl Recording {
    /// " (app.py:12 in worker)", or nothing.
    pub(super) fn where_(&self, place: Place) -> String {
        let Some(row) = self.tables.place(place) else { return String::new() };
        let function = match self.tables.text(row.function) {
            "" => String::new(),
            function => format!(" in {}", one_line(function)),
        };
        self.place(place).map_or(String::new(), |place| format!("{place}{function}"))
    }

    /// " at app.py:12 in worker", or nothing.
    pub(super) fn at_where(&self, place: Place) -> String {
        match self.where_(place) {
            place if place.is_empty() => place,
            place => format!(" at {place}"),
        }
    }

    fn more(&self, text: Text) -> String {
        shortened(&one_line(self.tables.text(text)), LONGEST)
    }

    pub(super) fn waited_thing(&self, on: WaitsFor, waits_for: u64, what: Text) -> String {
        match on {
            WaitsFor::Task => self.who(waits_for),
            _ => thing(self.tables.text(what)),
        }
    }
}

/// Of what the recorder saw.
pub fn raised(recording: &Recording, code: Code, warning: &Warning) -> String {
    let more = recording.more(warning.text);
    let more = more.as_str();
    let at = recording.at_where(warning.place);
    let who = match warning.task {
        0 => "A callback".to_owned(),
        task => recording.who(task),
    };
    let time = duration(warning.nanos);
    match code {
        Code::LoopBlocked if warning.place == 0 && more.is_empty() => {
            let last = warning.task.checked_sub(1).and_then(|_| recording.model().task(warning.task));
            let last = last.map_or(0, |task| if task.wait_at != 0 { task.wait_at } else { task.started_at });
            let after = match recording.where_(last) {
                place if place.is_empty() => place,
                place => format!("; its last known place is {place}"),
            };
            format!("{who} ran for {time} without letting others run{after}.")
        }
        Code::LoopBlocked => format!("{who} ran for {time} without letting others run{at}{}.", after(more)),
        Code::NeverYields => {
            format!("{who} has been running for {time} without letting others run{at}{}.", after(more))
        }
        Code::BlockedByNativeCode => {
            let task = recording.model().task(warning.task);
            let last = task.map_or(0, |task| if task.wait_at != 0 { task.wait_at } else { task.started_at });
            let last = match recording.where_(last) {
                place if place.is_empty() => place,
                place => format!("; the last that was recorded of it is {place}"),
            };
            format!("{who} ran native code that held the GIL, and the loop was blocked for {time}; the line can't be told{last}.")
        }
        Code::BlockingCall => format!("{who} called {more}{at}: nothing else on the loop ran meanwhile."),
        Code::NeverAwaited => format!("{more} was called{at} but not awaited, so it never ran."),
        Code::NeverRetrieved => {
            let started = recording.model().task(warning.task).map_or(0, |task| task.started_at);
            let started = match recording.where_(started) {
                place if place.is_empty() => place,
                place => format!("; {who} was started at {place}"),
            };
            format!("{more} was raised{at}, and nobody asked for it{started}.")
        }
        Code::WrongThread => {
            format!("{more}{at} was called from another thread than the loop's, which doesn't wake the loop.")
        }
        Code::QueueGrows => too_fast(more, &who, &at),
        Code::QueueNotDrained => format!("{more}; the last was put{at}."),
        Code::CancellationSwallowed => format!("{who} was cancelled and went on: {more}{at}."),
        Code::GeneratorNotClosed => format!("{more}{at}."),
        Code::ExceptionLost => format!("{who} failed{at} with {more}, after its gather had ended: nobody will see it."),
        Code::ExceptionsIgnored => {
            format!("{who} failed with {more}; the gather{at} returned it as a result that nobody looks at.")
        }
        Code::OutlivesOwner => {
            format!("{who} went on when {more} waiting for it{at} had ended: nobody waits for it any more.")
        }
        Code::ExecutorStarved => format!("{more}{at}."),
        _ => format!("{who}: {more}{at}."),
    }
}

/// What to write instead of a call that the recorder saw.
pub fn cure(recording: &Recording, code: Code, warning: &Warning) -> &'static str {
    let more = recording.tables.text(warning.text);
    // Of a call its name, not its arguments.
    let name = if code == Code::BlockingCall { more.split('(').next().unwrap_or(more) } else { more };
    let called = |names: &[&str]| names.iter().any(|part| name.contains(part));
    if code == Code::CancellationSwallowed && called(&["in a `finally:`"]) {
        return "Don't leave a `finally:` by `return`, `break` or `continue`: that drops what is raised, cancellations too.";
    }
    if code == Code::CancellationSwallowed && called(&["in its `with`"]) {
        return "Let it through: in the task that is cancelled, `suppress(...)` and `__aexit__` must let CancelledError be raised.";
    }
    if !matches!(code, Code::BlockingCall | Code::LoopBlocked) {
        return code.cure();
    }
    if called(&["sleep"]) && !called(&["subprocess"]) {
        "Write `await asyncio.sleep(...)`."
    } else if called(&["subprocess.", "os.system", "Popen.", "in run", "in check_output", "in call"]) {
        "Use `await asyncio.create_subprocess_exec(...)`, or call it in a thread: `await asyncio.to_thread(subprocess.run, ...)`."
    } else if called(&["socket.getaddrinfo", "socket.gethostby"]) {
        "Use `await loop.getaddrinfo(...)`, which asks in a thread."
    } else if called(&["socket.connect", "urllib.", "http.client", "requests.", "urlopen", "in create_connection"]) {
        "Use `await asyncio.open_connection(...)` or a library for asyncio, or call it in a thread: \
         `await asyncio.to_thread(function, ...)`."
    } else if called(&["open"]) {
        "Read and write files in a thread: `await asyncio.to_thread(path.read_bytes)`, `segue.open_file(...)` or aiofiles."
    } else if called(&[".result(", ".join(", ".acquire(", ".wait(", ".get(", "`with "]) && more.starts_with(WAITING) {
        "Don't wait for threads on the loop: `await asyncio.wrap_future(future)`, `await asyncio.to_thread(thread.join)`, or \
         asyncio's own queues and locks."
    } else {
        code.cure()
    }
}

fn after(more: &str) -> String {
    if more.is_empty() {
        String::new()
    } else {
        format!(" ({more})")
    }
}

pub fn deadlock(recording: &Recording, deadlock: &Deadlock) -> String {
    if let [alone] = deadlock.tasks.as_slice() {
        let who = recording.who(alone.task);
        let at = recording.at_where(alone.place);
        return match alone.on {
            WaitsFor::Task => format!("{who} waits for itself{at}."),
            _ => format!(
                "{who} waits{at} for {} that it holds itself, since it took it{}: it can't take it twice.",
                recording.waited_thing(alone.on, alone.waits_for, alone.what),
                recording.at_where(alone.held_at),
            ),
        };
    }
    let one = |circle: &InCircle| {
        let who = recording.who(circle.task);
        let at = recording.at_where(circle.place);
        match circle.on {
            WaitsFor::Task => format!("{who} waits for {}{at}", recording.who(circle.waits_for)),
            _ => {
                let what = recording.waited_thing(circle.on, circle.waits_for, circle.what);
                let taken = match recording.where_(circle.held_at) {
                    place if place.is_empty() => place,
                    place => format!(" (taken at {place})"),
                };
                format!("{who} waits{at} for {what} that {} holds{taken}", recording.who(circle.holder))
            }
        }
    };
    let tasks: Vec<String> = deadlock.tasks.iter().take(10).map(one).collect();
    format!("{}. None of them can go on.", tasks.join("; "))
}

pub fn spun(recording: &Recording, spun: &Spun) -> String {
    let times = counted(spun.steps, "time");
    let time = duration(spun.nanos);
    match spun.task {
        0 => format!(
            "The callback {} schedules itself again and again: it ran {times} within {time}, and the loop never rests.",
            one_line(recording.tables.text(spun.callback))
        ),
        task => format!(
            "{} ran {times} within {time}, each time woken by itself{}: it asks again and again instead of waiting.",
            recording.who(task),
            recording.at_where(spun.place)
        ),
    }
}

pub fn grown(recording: &Recording, grown: &Grown) -> String {
    let what = format!("A channel without a bound has {} items", grown.items);
    too_fast(&what, &recording.who(grown.task), &recording.at_where(grown.place))
}

fn too_fast(what: &str, who: &str, at: &str) -> String {
    format!("{what}: {who} puts items{at} faster than they are taken out.")
}

pub fn held_long(recording: &Recording, long: &HeldLong) -> String {
    let what = match long.slow.on {
        Some(WaitsFor::Task) | None => String::new(),
        Some(_) => format!(" for {}", thing(recording.tables.text(long.slow.what))),
    };
    format!(
        "{} held {} (taken{}) for {}, of which it waited {}{what}{}; {} waited for the lock meanwhile.",
        recording.who(long.holder),
        thing(recording.tables.text(long.what)),
        recording.at_where(long.held_at),
        duration(long.held),
        duration(long.slow.nanos),
        recording.at_where(long.slow.place),
        recording.who(long.waiter),
    )
}

pub fn never_retrieved(recording: &Recording, task: &Task) -> String {
    let why = match recording.more(task.why) {
        why if why.is_empty() => "an exception".to_owned(),
        why => why,
    };
    format!(
        "{} failed with {why}{}; it was started{} and nobody awaited it.",
        recording.who(task.key),
        recording.at_where(task.raised_at),
        recording.at_where(task.started_at),
    )
}

pub fn destroyed(recording: &Recording, task: &Task) -> String {
    format!(
        "{}, started{}, was garbage-collected while it waited{}: nobody kept a reference to it.",
        recording.who(task.key),
        recording.at_where(task.started_at),
        recording.at_where(task.wait_at),
    )
}

pub fn pile(recording: &Recording, coroutine: Text, place: Place, peak: u64) -> String {
    format!(
        "{} of {} were alive at once, all started{}, and nobody waits for them.",
        counted(peak, "task"),
        recording.code_name(coroutine),
        recording.at_where(place),
    )
}
