//! Numbers, places and tasks in words that people read.

use sched::{CancelSource, Nanos};
use serde_json::{json, Value};

use crate::event::{Key, Place, LOOP_SHIFT, NUMBERED};
use crate::model::task::Task;
use crate::recording::Recording;

/// "1.20 s", "35 ms", "4.1 µs", "2 min 5 s", "3 h 20 min".
pub fn duration(nanos: Nanos) -> String {
    let digits = |value: f64, unit: &str| {
        let decimals = if value < 9.995 {
            2
        } else if value < 99.95 {
            1
        } else {
            0
        };
        format!("{value:.decimals$} {unit}")
    };
    let n = nanos as f64;
    match nanos {
        0..=999 => format!("{nanos} ns"),
        1_000..=999_499 => digits(n / 1e3, "µs"),
        999_500..=999_499_999 => digits(n / 1e6, "ms"),
        999_500_000..=119_499_999_999 => digits(n / 1e9, "s"),
        _ => {
            let seconds = nanos / 1_000_000_000;
            match seconds {
                ..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
                7200..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
                _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
            }
        }
    }
}

/// "10,000".
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 task", "2 tasks".
pub fn counted(number: u64, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A task's number as people and queries give it: the loop's and its own in it. A number for JavaScript can't hold both.
pub fn id(key: Key) -> String {
    format!("{}.{}", key >> LOOP_SHIFT, key & ((1 << LOOP_SHIFT) - 1))
}

pub fn key(id: &str) -> Option<Key> {
    let (of_loop, number) = id.split_once('.')?;
    let (of_loop, number): (u64, u64) = (of_loop.parse().ok()?, number.parse().ok()?);
    (of_loop < 1 << 16 && number < 1 << LOOP_SHIFT).then_some(of_loop << LOOP_SHIFT | number)
}

pub fn cancel_source(number: u32) -> Option<CancelSource> {
    use CancelSource::*;
    [TaskCancel, ScopeCancel, Deadline, NurseryFailure, Signal, LoopShutdown]
        .into_iter()
        .find(|source| *source as u32 == number)
}

/// As one line, without what would act on a terminal or a page.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    line.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Not longer than this many characters.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

impl Recording {
    pub fn name(&self, task: &Task) -> String {
        if task.name & NUMBERED != 0 {
            return format!("Task-{}", task.name & !NUMBERED);
        }
        match self.tables.text(task.name) {
            "" if task.coroutine == 0 => format!("#{}", task.key & ((1 << LOOP_SHIFT) - 1)),
            "" => format!("{} #{}", self.coroutine(task), task.key & ((1 << LOOP_SHIFT) - 1)),
            name => one_line(name),
        }
    }

    pub fn coroutine(&self, task: &Task) -> String {
        self.code_name(task.coroutine)
    }

    pub fn code_name(&self, coroutine: u32) -> String {
        match self.tables.text(coroutine) {
            "" => "unknown code".to_owned(),
            text => one_line(text),
        }
    }

    /// "Task b"; a name that begins so by itself is left alone.
    pub fn who(&self, key: Key) -> String {
        match self.model().task(key) {
            Some(task) => {
                let name = self.name(task);
                if name.starts_with("Task") {
                    name
                } else {
                    format!("Task {name}")
                }
            }
            None => format!("a task that is not in the recording ({})", id(key)),
        }
    }

    /// "app.py:12", or None if it isn't known.
    pub fn place(&self, place: Place) -> Option<String> {
        let row = self.tables.place(place)?;
        Some(format!("{}:{}", one_line(self.short(self.tables.text(row.file))), row.line))
    }

    /// ", at app.py:12" with what comes before it, or nothing.
    pub fn at(&self, before: &str, place: Place) -> String {
        self.place(place).map_or(String::new(), |place| format!("{before}{place}"))
    }

    pub fn place_json(&self, place: Place) -> Value {
        match self.tables.place(place) {
            Some(row) => json!({
                "file": self.tables.text(row.file),
                "line": row.line,
                "function": self.tables.text(row.function),
                "short": self.place(place),
            }),
            None => Value::Null,
        }
    }
}

/// What a task waits for, after "waited for": "a lock", "an item from a queue".
pub fn thing(what: &str) -> String {
    let last_two: Vec<&str> = what.rsplit('.').take(2).collect();
    let known = match (last_two.get(1).copied().unwrap_or(""), last_two.first().copied().unwrap_or("")) {
        ("Lock", _) | ("", "Lock") => "a lock",
        ("RLock", _) => "a lock",
        // What asyncio's `async with` is the same code for.
        ("_ContextManagerMixin", _) => "a lock or semaphore",
        ("Semaphore" | "BoundedSemaphore", _) => "a semaphore",
        ("Limiter" | "CapacityLimiter", _) => "a limiter",
        ("Event", _) => "an event",
        ("Condition" | "ParkingLot", _) => "a condition",
        ("Barrier", _) => "the others at a barrier",
        ("Queue" | "LifoQueue" | "PriorityQueue", "get") => "an item from a queue",
        ("Queue" | "LifoQueue" | "PriorityQueue", "put") => "room in a queue",
        ("Queue" | "LifoQueue" | "PriorityQueue", "join") => "a queue to be worked off",
        ("MemoryReceiveChannel" | "ReceiveChannel" | "Channel", "receive" | "__anext__" | "get") => {
            "an item from a channel"
        }
        ("MemorySendChannel" | "SendChannel" | "Channel", "send" | "put") => "room in a channel",
        ("Nursery" | "TaskGroup", _) | ("", "nursery" | "Nursery") => "the tasks of its nursery",
        ("", "gather") => "all tasks of a gather",
        ("", "future" | "Future") => "a future",
        ("", "sleep") => "its time",
        ("", "sleep_forever") => "its cancellation",
        ("", "") => return "something unknown".to_owned(),
        _ => return one_line(what),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_a_unit() {
        let said = [0, 999, 1_500, 35_000_000, 1_200_000_000, 60_000_000_000, 125_000_000_000, 12_000_000_000_000];
        let texts = ["0 ns", "999 ns", "1.50 µs", "35.0 ms", "1.20 s", "60.0 s", "2 min 5 s", "3 h 20 min"];
        assert_eq!(said.map(duration), texts);
        assert_eq!([999_499, 999_500, u64::MAX].map(duration), ["999 µs", "1.00 ms", "213503 d 23 h"]);
    }

    #[test]
    fn ids_come_back_as_they_were() {
        let keys = [1 << LOOP_SHIFT | 17, (1 << 56) - 1, 5];
        assert_eq!(keys.map(|of| key(&id(of))), keys.map(Some));
        assert_eq!(["", "1", "x.1", "99999999.1", "1.99999999999999"].map(key), [None; 5]);
    }

    #[test]
    fn counts_and_lines() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(one_line("a\n b\x1b[1m"), "a b\\u{1b}[1m");
        assert_eq!((shortened("abcdef", 4), shortened("abc", 4)), ("abc…".into(), "abc".into()));
    }

    #[test]
    fn things_are_named_as_people_call_them() {
        let whats = ["Lock.acquire", "asyncio.Queue.get", "sleep", "socket.recv", ""];
        let things = ["a lock", "an item from a queue", "its time", "socket.recv", "something unknown"];
        assert_eq!(whats.map(thing), things);
    }
}
