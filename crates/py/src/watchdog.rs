//! Debug mode: says what blocks the loop while it blocks.
//!
//! Two threads, so that one never needs the GIL. The *watcher* sees that a callback has run too long and asks the
//! *reader* for the line; the reader takes the GIL and looks at the loop thread's frame. If the GIL cannot be had in
//! time, native code holds it: the watcher says so, with the last callback that began, and no line is guessed.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::time::Duration;

use net::clock::Monotonic;
use pyo3::intern;
use pyo3::prelude::*;
use sched::Clock;

/// How long the reader may take to get the GIL before native code must be holding it: many times the interpreter's
/// switch interval.
const GIL_PATIENCE: Duration = Duration::from_millis(250);

/// What the threads may look at without the GIL. All times are `CLOCK_MONOTONIC` nanoseconds; 0 is "none".
#[derive(Debug)]
pub struct Watch {
    thread: AtomicU64,
    busy_since: AtomicU64,
    limit: AtomicU64,
    /// What began to run last, in words.
    last: Mutex<String>,
}

impl Default for Watch {
    fn default() -> Self {
        Watch {
            thread: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
            limit: AtomicU64::new(100_000_000),
            last: Mutex::default(),
        }
    }
}

impl Watch {
    pub fn thread(&self, ident: u64) {
        self.thread.store(ident, Ordering::Relaxed);
    }

    /// The loop's thread, as `threading.get_ident`; 0 while it doesn't run.
    pub fn thread_ident(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    pub fn limit(&self, nanos: u64) {
        self.limit.store(nanos, Ordering::Relaxed);
    }

    /// A callback begins, `what` in words.
    pub fn busy(&self, since: u64, what: String) {
        if let Ok(mut last) = self.last.lock() {
            *last = what;
        }
        self.busy_since.store(since, Ordering::Release);
    }

    #[inline(always)]
    pub fn idle(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    fn last(&self) -> String {
        self.last.lock().map(|l| l.clone()).unwrap_or_default()
    }

    /// Since when the present callback runs, if it runs longer than the limit.
    fn overdue(&self) -> Option<u64> {
        let since = self.busy_since.load(Ordering::Acquire);
        let limit = self.limit.load(Ordering::Relaxed);
        (since != 0 && Monotonic.now().saturating_sub(since) >= limit).then_some(since)
    }
}

/// The two threads stop soon after this is dropped.
pub struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts watching. The threads are not joined: the reader may be waiting for the GIL that the caller holds.
pub fn start(watch: Arc<Watch>) -> std::io::Result<Guard> {
    let stop = Arc::new(AtomicBool::new(false));
    let (ask, asked) = mpsc::channel::<u64>();
    let (answer, answers) = mpsc::channel::<u64>();
    let for_reader = watch.clone();
    std::thread::Builder::new().name("segue-watchdog-reader".into()).spawn(move || {
        for since in asked {
            look(&for_reader, since);
            if answer.send(since).is_err() {
                return;
            }
        }
    })?;
    let stopped = stop.clone();
    std::thread::Builder::new().name("segue-watchdog".into()).spawn(move || {
        let mut reported = 0;
        while !stopped.load(Ordering::Relaxed) {
            let pause = (watch.limit.load(Ordering::Relaxed) / 4).clamp(2_000_000, 50_000_000);
            std::thread::sleep(Duration::from_nanos(pause));
            let Some(since) = watch.overdue().filter(|&s| s != reported) else { continue };
            reported = since;
            if ask.send(since).is_err() {
                return;
            }
            if answers.recv_timeout(GIL_PATIENCE).is_err() {
                say_native_code(&watch, since);
                // The reader answers once it gets the GIL; by then it has nothing to tell.
                while answers.recv_timeout(Duration::from_millis(100)).is_err() {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        }
    })?;
    Ok(Guard(stop))
}

/// Takes the GIL and reports the line that the loop's thread is at, if it still runs the same callback.
fn look(watch: &Watch, since: u64) {
    let asked = Monotonic.now();
    let _ = Python::try_attach(|py| {
        let waited = Duration::from_nanos(Monotonic.now().saturating_sub(asked));
        if waited > GIL_PATIENCE || watch.busy_since.load(Ordering::Acquire) != since {
            return;
        }
        let seconds = Monotonic.now().saturating_sub(since) as f64 / 1e9;
        let thread = watch.thread.load(Ordering::Relaxed);
        let reported = py
            .import("segue._watchdog")
            .and_then(|m| m.call_method1(intern!(py, "report_blocking_line"), (thread, seconds, watch.last())));
        if let Err(e) = reported {
            e.write_unraisable(py, None);
        }
    });
}

/// Straight to standard error: nothing of Python may be touched.
fn say_native_code(watch: &Watch, since: u64) {
    let seconds = Monotonic.now().saturating_sub(since) as f64 / 1e9;
    let text = format!(
        "segue: the event loop has been blocked for {seconds:.3} seconds by native code that holds the GIL, so its line \
         cannot be told. Last recorded: {}\n",
        watch.last()
    );
    let _ = std::io::stderr().write_all(text.as_bytes());
}
