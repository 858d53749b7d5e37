//! A thread of ours in the program's process, which the program doesn't notice: no signal goes to it, and once it is joined it is gone.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a thread that is over may stay in the system's list.
const LEAVING: Duration = Duration::from_millis(500);

pub struct Thread<T> {
    handle: JoinHandle<T>,
    /// As the system has it; 0 before it runs.
    number: Arc<AtomicI32>,
}

impl<T: Send + 'static> Thread<T> {
    pub fn start(name: &str, run: impl FnOnce() -> T + Send + 'static) -> io::Result<Thread<T>> {
        let number = Arc::new(AtomicI32::new(0));
        let its_number = number.clone();
        let run = move || {
            // SAFETY: always allowed.
            its_number.store(unsafe { libc::gettid() }, Ordering::Release);
            run()
        };
        // SAFETY: all-zero is a set; the calls fill it, and give the caller's mask back.
        let handle = unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            let handle = std::thread::Builder::new().name(name.to_owned()).spawn(run);
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
            handle?
        };
        Ok(Thread { handle, number })
    }

    /// What it returned; None if it has panicked, which has told itself. A thread that has been joined is in the system's list still for a
    /// moment, and Python warns of a fork then: it is waited for to go.
    pub fn join(self) -> Option<T> {
        let returned = self.handle.join().ok();
        let listed = PathBuf::from(format!("/proc/self/task/{}", self.number.load(Ordering::Acquire)));
        let begin = Instant::now();
        while listed.exists() && begin.elapsed() < LEAVING {
            std::thread::yield_now();
        }
        returned
    }

    pub fn is_over(&self) -> bool {
        self.handle.is_finished()
    }
}
