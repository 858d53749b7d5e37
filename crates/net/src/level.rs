//! Level-triggered registration for descriptors that belong to the user (`add_reader`, `add_writer`).
//!
//! mio registers edge-triggered, which suits our own transports: they read until nothing is left. A user's callback may
//! read a part and rightly expects to be called again, so its descriptor goes into the same epoll instance without
//! `EPOLLET`. Linux only; a kqueue twin of this file would register without `EV_CLEAR`.

use std::io;
use std::os::fd::RawFd;

use crate::reactor::Interest;

fn control(epoll: RawFd, op: libc::c_int, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
    let mut events = 0u32;
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

pub(crate) fn add(epoll: RawFd, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
    control(epoll, libc::EPOLL_CTL_ADD, fd, token, interest)
}

pub(crate) fn modify(epoll: RawFd, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
    control(epoll, libc::EPOLL_CTL_MOD, fd, token, interest)
}

pub(crate) fn remove(epoll: RawFd, fd: RawFd) -> io::Result<()> {
    control(epoll, libc::EPOLL_CTL_DEL, fd, 0, Interest::default())
}
