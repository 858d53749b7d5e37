//! Which descriptors are ready? mio's epoll, with tokens that never reach a descriptor registered later.
//!
//! mio makes the poller, registers and wakes; the wait itself is the system call on mio's descriptor, since the flags of an
//! event are all that is wanted of it. Linux only; elsewhere it would be `mio::Poll::poll`.
//!
//! Our own transports are edge-triggered and registered once, for both directions: no system call per message.
//! Users' descriptors are level-triggered (see [`crate::level`]).

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventFlags};
use rustix::event::Timespec;
use rustix::io::Errno;

use crate::level::Trigger;

/// What the caller wants to hear about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interest {
    pub readable: bool,
    pub writable: bool,
}

/// What happened to a descriptor. An error or a hang-up shows as both readable and writable, as in `selectors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    pub readable: bool,
    pub writable: bool,
    /// The peer has closed its writing end (`EPOLLRDHUP`) or everything (`EPOLLHUP`).
    pub read_closed: bool,
    /// `EPOLLERR`: an error waits to be picked up with the next call on the descriptor.
    pub error: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoEvent {
    pub token: u64,
    pub ready: Readiness,
}

const WAKE: mio::Token = mio::Token(usize::MAX);

/// Wakes a loop that waits, from any thread or a signal handler's callee; wakeups coalesce.
#[derive(Debug)]
pub struct Waker {
    inner: mio::Waker,
    /// Set from before the loop starts to wait until it has woken or been woken.
    waiting: AtomicBool,
}

impl Waker {
    /// One system call if the loop waits and nobody has woken it yet, else none.
    pub fn wake(&self) {
        if self.waiting.swap(false, Ordering::AcqRel) {
            // Fails only if the eventfd is gone with its loop: then nobody waits.
            let _ = self.inner.wake();
        }
    }
}

/// How many events one wait brings at most.
const EVENTS: usize = 1024;

pub struct Reactor {
    /// Owns the poller.
    _poll: mio::Poll,
    events: RefCell<Vec<epoll::Event>>,
    registry: mio::Registry,
    epoll: RawFd,
    waker: Arc<Waker>,
}

impl Reactor {
    pub fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let inner = mio::Waker::new(&registry, WAKE)?;
        let waker = Arc::new(Waker { inner, waiting: AtomicBool::new(false) });
        let epoll = poll.as_raw_fd();
        Ok(Self { _poll: poll, events: RefCell::new(Vec::with_capacity(EVENTS)), registry, epoll, waker })
    }

    pub fn waker(&self) -> &Arc<Waker> {
        &self.waker
    }

    /// The poller's own descriptor, for `segue info` and leak checks.
    pub fn fd(&self) -> RawFd {
        self.epoll
    }

    /// Registers for both directions, edge-triggered.
    pub fn register(&self, fd: RawFd, token: u64) -> io::Result<()> {
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        self.registry.register(&mut SourceFd(&fd), mio::Token(token as usize), interest)
    }

    /// Registers for readability, edge-triggered (listeners, read ends of pipes).
    pub fn register_readable(&self, fd: RawFd, token: u64) -> io::Result<()> {
        self.registry.register(&mut SourceFd(&fd), mio::Token(token as usize), mio::Interest::READABLE)
    }

    /// Changes what a registered descriptor is told about, edge-triggered; what is there already is told again.
    pub fn reregister(&self, fd: RawFd, token: u64, writable_too: bool) -> io::Result<()> {
        let interest =
            if writable_too { mio::Interest::READABLE | mio::Interest::WRITABLE } else { mio::Interest::READABLE };
        self.registry.reregister(&mut SourceFd(&fd), mio::Token(token as usize), interest)
    }

    pub fn deregister(&self, fd: RawFd) -> io::Result<()> {
        self.registry.deregister(&mut SourceFd(&fd))
    }

    pub fn add_level(&self, fd: RawFd, token: u64, interest: Interest, trigger: Trigger) -> io::Result<()> {
        crate::level::add(self.epoll, fd, token, interest, trigger)
    }

    pub fn modify_level(&self, fd: RawFd, token: u64, interest: Interest, trigger: Trigger) -> io::Result<()> {
        crate::level::modify(self.epoll, fd, token, interest, trigger)
    }

    pub fn remove_level(&self, fd: RawFd) -> io::Result<()> {
        crate::level::remove(self.epoll, fd)
    }

    /// To be called before letting go of whatever keeps other threads from scheduling; pairs with [`Reactor::wait`].
    pub fn about_to_wait(&self) {
        self.waker.waiting.store(true, Ordering::Release);
    }

    /// Waits at most `timeout` (forever if none), rounded up to a millisecond. An interrupting signal ends the wait
    /// without an error.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: t.subsec_nanos().into() });
        let mut events = self.events.borrow_mut();
        events.clear();
        // SAFETY: open as long as `_poll` is.
        let poller = unsafe { BorrowedFd::borrow_raw(self.epoll) };
        let result = epoll::wait(poller, spare_capacity(&mut events), timeout.as_ref());
        // Nobody can have set it while the loop only looked without letting go of anything.
        if timeout.is_none_or(|t| t.tv_sec != 0 || t.tv_nsec != 0) {
            self.waker.waiting.store(false, Ordering::Release);
        }
        match result {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// What the last wait brought.
    #[inline(always)]
    pub fn for_each_event(&self, mut f: impl FnMut(IoEvent)) {
        for event in self.events.borrow().iter() {
            let token = event.data.u64();
            if token != WAKE.0 as u64 {
                f(IoEvent { token, ready: Readiness::of(event.flags) });
            }
        }
    }
}

impl Readiness {
    #[inline(always)]
    fn of(flags: EventFlags) -> Readiness {
        let has = |any: EventFlags| flags.intersects(any);
        let error = has(EventFlags::ERR);
        let read_closed = has(EventFlags::HUP | EventFlags::RDHUP);
        Readiness {
            readable: has(EventFlags::IN | EventFlags::PRI) || read_closed || error,
            writable: has(EventFlags::OUT | EventFlags::HUP) || error,
            read_closed,
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn events(r: &Reactor) -> Vec<(u64, bool, bool)> {
        r.wait(Some(Duration::ZERO)).unwrap();
        let mut out = Vec::new();
        r.for_each_event(|e| out.push((e.token, e.ready.readable, e.ready.writable)));
        out
    }

    #[test]
    fn level_repeats_and_edge_does_not() {
        let r = Reactor::new().unwrap();
        let (mut a, mut b) = UnixStream::pair().unwrap();
        let (mut c, d) = UnixStream::pair().unwrap();
        r.add_level(b.as_raw_fd(), 1, Interest { readable: true, writable: false }, Trigger::Level).unwrap();
        r.register(d.as_raw_fd(), 2).unwrap();
        a.write_all(b"xy").unwrap();
        c.write_all(b"xy").unwrap();
        let mut first = events(&r);
        first.sort();
        assert_eq!(first, [(1, true, false), (2, true, true)]);
        assert_eq!(events(&r), [(1, true, false)]);
        b.read_exact(&mut [0; 2]).unwrap();
        assert_eq!(events(&r), []);
        r.remove_level(b.as_raw_fd()).unwrap();
        r.deregister(d.as_raw_fd()).unwrap();
    }

    #[test]
    fn once_is_once_until_it_is_armed_again() {
        let r = Reactor::new().unwrap();
        let (mut a, b) = UnixStream::pair().unwrap();
        let interest = Interest { readable: true, writable: false };
        r.add_level(b.as_raw_fd(), 1, interest, Trigger::Once).unwrap();
        a.write_all(b"x").unwrap();
        assert_eq!(events(&r), [(1, true, false)]);
        assert_eq!(events(&r), []);
        r.modify_level(b.as_raw_fd(), 2, interest, Trigger::Once).unwrap();
        assert_eq!(events(&r), [(2, true, false)]);
        drop(a);
        assert_eq!(events(&r), []);
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost_and_wakes_coalesce() {
        let r = Reactor::new().unwrap();
        r.about_to_wait();
        let w = r.waker().clone();
        std::thread::spawn(move || {
            w.wake();
            w.wake();
        })
        .join()
        .unwrap();
        r.wait(None).unwrap();
    }

    #[test]
    fn a_regular_file_is_refused_as_epoll_does() {
        let r = Reactor::new().unwrap();
        let f = std::fs::File::open("/proc/self/exe").unwrap();
        let e =
            r.add_level(f.as_raw_fd(), 1, Interest { readable: true, writable: false }, Trigger::Level).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(libc::EPERM));
    }
}
