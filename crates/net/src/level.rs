//! Registration of descriptors that belong to the user: level-triggered (`add_reader`, `add_writer`), or for one event
//! (`sock_recv` and the like).
//!
//! mio registers edge-triggered, which suits our own transports: they read until nothing is left. A user's callback may
//! read a part and rightly expects to be called again, so its descriptor goes into the same epoll instance without
//! `EPOLLET`. Linux only; a kqueue twin of this file would register without `EV_CLEAR`.

use std::io;
use std::os::fd::RawFd;

use crate::reactor::Interest;

/// How often a descriptor is told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// As long as it is ready.
    Level,
    /// Once; then the poller says nothing of it until it is armed again, and it costs nothing to leave it there.
    Once,
}

fn control(
    epoll: RawFd,
    op: libc::c_int,
    fd: RawFd,
    token: u64,
    interest: Interest,
    trigger: Trigger,
) -> io::Result<()> {
    let mut events = if trigger == Trigger::Once { libc::EPOLLONESHOT as u32 } else { 0 };
    if interest.readable {
        events |= (libc::EPOLLIN) as u32;
    }
    if interest.writable {
        events |= libc::EPOLLOUT as u32;
    }
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: `event` is valid for the call; a wrong descriptor is answered with an error.
    match unsafe { libc::epoll_ctl(epoll, op, fd, &mut event) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(crate) fn add(epoll: RawFd, fd: RawFd, token: u64, interest: Interest, trigger: Trigger) -> io::Result<()> {
    control(epoll, libc::EPOLL_CTL_ADD, fd, token, interest, trigger)
}

pub(crate) fn modify(epoll: RawFd, fd: RawFd, token: u64, interest: Interest, trigger: Trigger) -> io::Result<()> {
    control(epoll, libc::EPOLL_CTL_MOD, fd, token, interest, trigger)
}

pub(crate) fn remove(epoll: RawFd, fd: RawFd) -> io::Result<()> {
    control(epoll, libc::EPOLL_CTL_DEL, fd, 0, Interest::default(), Trigger::Level)
}
