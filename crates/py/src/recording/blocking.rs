//! What blocks the loop, told while it blocks: a recording's watchdog, and the blocking calls that Python's audit events name.
//!
//! Two threads, as in debug mode (`watchdog.rs`): the *watcher* never needs the GIL and sees that a step or callback has run too long;
//! the *reader* takes the GIL and asks `segue._watch` for the line. If the GIL can't be had, native code holds it: then that is said,
//! and no line is guessed. What they find waits in [`Busy`] until the loop's thread has the time to write it into its ring; if that
//! takes too long, the recording's thread fetches it.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use net::clock::Monotonic;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use sched::{Clock, Nanos};
use trace::event::{Event, Key, Kind};
use trace::warning::Code;

use super::session;
use crate::event_loop::{self, thread_ident, LoopCore};

/// A step or callback that runs so long is looked at.
const LIMIT: Nanos = trace::model::detect::BLOCKED;
/// ... and again then: it doesn't let others run.
const LONG: Nanos = 1_000_000_000;
/// ... and from then on its processor time is counted.
const SOON: Nanos = 20_000_000;
const PAUSE: Duration = Duration::from_millis(20);
/// How long the reader may take to get the GIL before native code must be holding it: many times the interpreter's
/// switch interval.
const GIL_PATIENCE: Duration = Duration::from_millis(250);

/// Who computes for so long while the reader waits for the GIL is native code: Python code gives it away after the interpreter's switch
/// interval (5 ms), and is stopped until it is taken.
const SURELY_NATIVE: Nanos = 15_000_000;

/// What a loop is doing, for other threads.
#[derive(Default)]
pub struct Busy {
    /// When what runs began; 0 while nothing does.
    pub since: AtomicU64,
    pub task: AtomicU64,
    thread: AtomicU64,
    /// The same thread, as the system numbers it.
    system_thread: AtomicU64,
    /// When the watchdog has found what is in `found`; 0 if there is nothing.
    found_at: AtomicU64,
    found: Mutex<Vec<Event>>,
}

impl Busy {
    #[inline(always)]
    pub fn begins(&self, at: Nanos, task: Key) {
        self.task.store(task, Ordering::Relaxed);
        self.since.store(at, Ordering::Release);
    }

    #[inline(always)]
    pub fn ends(&self) {
        self.since.store(0, Ordering::Release);
    }

    /// The loop runs in this thread, or in none.
    pub fn runs_here(&self, runs: bool) {
        // SAFETY: always allowed.
        let system = unsafe { libc::syscall(libc::SYS_gettid) } as u64;
        self.system_thread.store(system, Ordering::Relaxed);
        self.thread.store(if runs { thread_ident() } else { 0 }, Ordering::Relaxed);
    }

    /// It runs in another thread than this.
    #[inline]
    pub fn runs_elsewhere(&self) -> bool {
        let thread = self.thread.load(Ordering::Relaxed);
        thread != 0 && thread != thread_ident()
    }

    #[inline(always)]
    pub fn has_found(&self) -> bool {
        self.found_at.load(Ordering::Relaxed) != 0
    }

    fn find(&self, events: &[Event]) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(events);
        self.found_at.store(Monotonic.now(), Ordering::Relaxed);
    }

    #[cold]
    pub fn take_found(&self) -> Vec<Event> {
        self.found_at.store(0, Ordering::Relaxed);
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the loop's thread hasn't fetched, for it is still busy with the same.
    pub fn take_old(&self) -> Vec<Event> {
        let found_at = self.found_at.load(Ordering::Relaxed);
        let is_old = found_at != 0 && Monotonic.now().saturating_sub(found_at) >= LONG;
        if is_old {
            self.take_found()
        } else {
            Vec::new()
        }
    }

    /// The processor time that the loop's thread has used so far.
    fn processor_time(&self) -> Option<Nanos> {
        let thread = self.system_thread.load(Ordering::Relaxed) as libc::pid_t;
        // As the kernel numbers the clocks of threads: a number that is no thread's (any more) is refused.
        let clock = (!thread << 3) | 6;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes to a structure of its own.
        let refused = unsafe { libc::clock_gettime(clock, &mut time) } != 0;
        (!refused && thread != 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    /// It would run if other programs let it: it waits for the processor, and in no call. (As Linux tells; false elsewhere.)
    fn is_runnable(&self) -> bool {
        let thread = self.system_thread.load(Ordering::Relaxed);
        let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
        // "1234 (name) R ...", where the name may have brackets of its own.
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('R'))
    }

    fn overdue(&self) -> Option<(Nanos, Nanos)> {
        let since = self.since.load(Ordering::Acquire);
        let ran = Monotonic.now().saturating_sub(since);
        (since != 0 && ran >= SOON).then_some((since, ran))
    }
}

/// What the watcher knows of something that runs for long.
struct Long {
    since: Nanos,
    /// When it was seen first, and what processor time its thread had used then.
    seen: Nanos,
    used: Option<Nanos>,
    asked: bool,
    asked_again: bool,
}

/// Whether it waits in a call, computes for as long as the limit, or may only have been held up by other programs.
fn computes(long: &Long, busy: &Busy, limit: Nanos) -> Option<bool> {
    let (Some(before), Some(now)) = (long.used, busy.processor_time()) else { return Some(true) };
    let (used, passed) = (now.saturating_sub(before), Monotonic.now().saturating_sub(long.seen));
    if used < passed / 20 {
        return (!busy.is_runnable()).then_some(false);
    }
    (used >= limit / 10 * 9).then_some(true)
}

/// A question to the reader: what does this loop do, which is at it since then?
struct Question {
    busy: Arc<Busy>,
    since: Nanos,
    code: Code,
    computes: bool,
}

/// The loops that are watched.
#[derive(Default)]
pub struct Watched(Mutex<Vec<Weak<Busy>>>);

impl Watched {
    pub fn add(&self, busy: &Arc<Busy>) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|busy| busy.strong_count() > 0);
        watched.push(Arc::downgrade(busy));
    }

    fn overdue(&self) -> Vec<(Arc<Busy>, Nanos, Nanos)> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = watched.iter().filter_map(Weak::upgrade);
        busy.filter_map(|busy| busy.overdue().map(|(since, ran)| (busy, since, ran))).collect()
    }
}

/// Both threads end soon after `stop` is set. They are not joined: the reader may be waiting for the GIL that the caller holds. So they
/// have nothing of Python's either, and ask for the session's while they are attached.
pub fn start(watched: Arc<Watched>, stop: Arc<AtomicBool>) -> std::io::Result<()> {
    let (ask, asked) = mpsc::channel::<Question>();
    let (answer, answers) = mpsc::channel::<()>();
    std::thread::Builder::new().name("segue-watch-reader".into()).spawn(move || {
        for question in asked {
            look(&question);
            if answer.send(()).is_err() {
                return;
            }
        }
    })?;
    std::thread::Builder::new()
        .name("segue-watch".into())
        .spawn(move || watch_loops(&watched, &stop, &ask, &answers))
        .map(drop)
}

fn watch_loops(watched: &Watched, stop: &AtomicBool, ask: &mpsc::Sender<Question>, answers: &mpsc::Receiver<()>) {
    let mut known: Vec<Long> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(PAUSE);
        let overdue = watched.overdue();
        known.retain(|long| overdue.iter().any(|(_, since, _)| *since == long.since));
        for (busy, since, ran) in overdue {
            let Some(long) = known.iter_mut().find(|long| long.since == since) else {
                let (seen, used) = (Monotonic.now(), busy.processor_time());
                known.push(Long { since, seen, used, asked: false, asked_again: false });
                continue;
            };
            let is_long = ran >= LONG && long.asked;
            if ran < LIMIT || long.asked_again || (long.asked && !is_long) {
                continue;
            }
            let Some(computes) = computes(long, &busy, if is_long { LONG } else { LIMIT }) else { continue };
            (long.asked, long.asked_again) = (true, is_long);
            if is_long && !computes {
                continue;
            }
            let code = if is_long { Code::NeverYields } else { Code::LoopBlocked };
            if ask.send(Question { busy: busy.clone(), since, code, computes }).is_err() {
                return;
            }
            if answers.recv_timeout(GIL_PATIENCE).is_ok() {
                continue;
            }
            if busy.since.load(Ordering::Acquire) == since && !is_long {
                let ran = Monotonic.now().saturating_sub(since);
                let task = busy.task.load(Ordering::Relaxed);
                busy.find(&[Event::new(Kind::Warning, since, task, ran, 0, Code::BlockedByNativeCode.number())]);
                long.asked_again = true;
            }
            // The reader answers once it gets the GIL; by then it has nothing to tell.
            while answers.recv_timeout(Duration::from_millis(100)).is_err() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}

/// Takes the GIL and asks where the loop's thread is, if it still runs the same.
fn look(question: &Question) {
    let Question { busy, since, code, computes } = question;
    let (asked, used) = (Monotonic.now(), busy.processor_time());
    let _ = Python::try_attach(|py| {
        let is_the_same = || busy.since.load(Ordering::Acquire) == *since;
        let waited = Monotonic.now().saturating_sub(asked);
        if waited > GIL_PATIENCE.as_nanos() as u64 {
            return;
        }
        let used = busy.processor_time().zip(used).map_or(0, |(now, before)| now.saturating_sub(before));
        if used >= SURELY_NATIVE {
            let task = busy.task.load(Ordering::Relaxed);
            let ran = Monotonic.now().saturating_sub(*since);
            return busy.find(&[Event::new(Kind::Warning, *since, task, ran, 0, Code::BlockedByNativeCode.number())]);
        }
        if !is_the_same() {
            return;
        }
        let Some((watch, words)) = session::watch_and_words(py) else { return };
        let thread = busy.thread.load(Ordering::Relaxed);
        let answer = watch.bind(py).call_method1("blocks", (thread, code.number(), *computes));
        match answer.and_then(|answer| answer.extract::<(u32, String, String)>()) {
            Ok((code, place, more)) if is_the_same() && code != 0 => {
                let task = busy.task.load(Ordering::Relaxed);
                let ran = Monotonic.now().saturating_sub(*since);
                let why = Event::new(Kind::Why, *since, task, 0, 0, words.text(&more));
                busy.find(&[why, Event::new(Kind::Warning, *since, task, ran, words.place(&place), code)]);
            }
            Ok(_) => {}
            Err(e) => e.write_unraisable(py, None),
        }
    });
}

// ---- audit events ------------------------------------------------------------------------------------------------------

/// Whether a recording wants to know.
static WANTED: AtomicBool = AtomicBool::new(false);

extern "C" {
    // Part of CPython's API; pyo3 doesn't declare it.
    fn PySys_AddAuditHook(
        hook: unsafe extern "C" fn(*const c_char, *mut PyObject, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
}

/// Audit events of calls that may block.
const BLOCKING: [&CStr; 12] = [
    c"time.sleep",
    c"open",
    c"socket.connect",
    c"socket.getaddrinfo",
    c"socket.gethostbyname",
    c"socket.gethostbyaddr",
    c"socket.getnameinfo",
    c"subprocess.Popen",
    c"os.system",
    c"urllib.Request",
    c"sqlite3.connect",
    c"shutil.copyfile",
];

/// Python's audit hooks can't be taken out: there is one for the process, and it asks a flag.
pub fn want_audit_events() -> PyResult<()> {
    static IS_THERE: AtomicBool = AtomicBool::new(false);
    WANTED.store(true, Ordering::Relaxed);
    if !IS_THERE.swap(true, Ordering::Relaxed) {
        // SAFETY: attached; the function lives as long as the process.
        if unsafe { PySys_AddAuditHook(audited, std::ptr::null_mut()) } != 0 {
            IS_THERE.store(false, Ordering::Relaxed);
            return Err(crate::raw::Raised.into());
        }
    }
    Ok(())
}

/// No recording wants to know any more.
pub fn forget_audit_events() {
    WANTED.store(false, Ordering::Relaxed);
}

/// Called for every audit event of the process.
unsafe extern "C" fn audited(event: *const c_char, args: *mut PyObject, _data: *mut c_void) -> c_int {
    if !WANTED.load(Ordering::Relaxed) {
        return 0;
    }
    // SAFETY: the event's name is a C string.
    let event = unsafe { CStr::from_ptr(event) };
    if BLOCKING.contains(&event) {
        // SAFETY: a tuple that is alive; audit events of these names are raised while attached.
        unsafe { tell_audited(event, args) };
    }
    0
}

/// # Safety
/// Attached; `args` is a tuple.
#[cold]
unsafe fn tell_audited(event: &CStr, args: *mut PyObject) {
    // The loop runs in this thread, and something of the program's runs on it.
    let Some(loop_) = event_loop::running() else { return };
    let Some(sink) = LoopCore::of(loop_.as_ptr()).and_then(super::sink) else { return };
    if sink.busy.since.load(Ordering::Relaxed) == 0 {
        return;
    }
    // SAFETY: attached, as the caller says.
    let py = unsafe { Python::assume_attached() };
    let Some(watch) = sink.watching.watch.clone() else { return };
    // SAFETY: alive.
    let args = unsafe { Bound::from_borrowed_ptr(py, args) };
    let name = event.to_string_lossy();
    if let Err(e) = watch.bound(py).call_method1("audited", (name.as_ref(), args)) {
        e.write_unraisable(py, None);
    }
}
