//! The system calls on a non-blocking descriptor, with an outcome instead of an errno to compare.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// What a read brought.
#[derive(Debug)]
pub enum Received {
    Bytes(usize),
    /// The peer closed its writing end.
    Eof,
    /// Nothing there now.
    WouldBlock,
    Failed(io::Error),
}

/// What a write did.
#[derive(Debug)]
pub enum Sent {
    Bytes(usize),
    WouldBlock,
    Failed(io::Error),
}

fn borrowed<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: used for one system call only. A descriptor that is closed is answered with EBADF; -1 never comes here.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

#[inline(always)]
fn received(outcome: Result<usize, Errno>) -> Option<Received> {
    Some(match outcome {
        Ok(0) => Received::Eof,
        Ok(n) => Received::Bytes(n),
        Err(Errno::INTR) => return None,
        Err(Errno::AGAIN) => Received::WouldBlock,
        Err(e) => Received::Failed(e.into()),
    })
}

/// `recv(2)` from a socket, `read(2)` from a pipe or terminal.
#[inline]
pub fn read(fd: RawFd, is_socket: bool, buf: &mut [u8]) -> Received {
    if is_socket {
        return receive(fd, buf);
    }
    loop {
        if let Some(received) = received(rustix::io::read(borrowed(fd), &mut *buf)) {
            return received;
        }
    }
}

/// As [`read`], into memory that nobody has written to yet.
#[inline]
pub fn read_spare(fd: RawFd, is_socket: bool, spare: &mut [MaybeUninit<u8>]) -> Received {
    loop {
        let outcome = if is_socket {
            rustix::net::recv(borrowed(fd), &mut *spare, RecvFlags::DONTWAIT).map(|(_, n)| n)
        } else {
            rustix::io::read(borrowed(fd), &mut *spare).map(|(filled, _)| filled.len())
        };
        if let Some(received) = received(outcome) {
            return received;
        }
    }
}

/// `recv(2)` that never blocks, whatever the open file's flags say. It costs the kernel less than `read` and `readv`, which go
/// through the file system's checks first.
#[inline]
pub fn receive(fd: RawFd, buf: &mut [u8]) -> Received {
    loop {
        let outcome = rustix::net::recv(borrowed(fd), &mut *buf, RecvFlags::DONTWAIT).map(|(_, n)| n);
        if let Some(received) = received(outcome) {
            return received;
        }
    }
}

/// What a sending function of the C library returned; none if it has to be repeated.
pub(crate) fn outcome_of_send(n: isize) -> Option<Sent> {
    sent(libc_outcome(n))
}

#[inline(always)]
fn sent(outcome: Result<usize, Errno>) -> Option<Sent> {
    Some(match outcome {
        Ok(n) => Sent::Bytes(n),
        Err(Errno::INTR) => return None,
        Err(Errno::AGAIN) => Sent::WouldBlock,
        Err(e) => Sent::Failed(e.into()),
    })
}

fn libc_outcome(n: isize) -> Result<usize, Errno> {
    usize::try_from(n).map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// `send(2)` without SIGPIPE; never blocks, whatever the open file's flags say.
#[inline]
pub fn send(fd: RawFd, data: &[u8]) -> Sent {
    let flags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
    loop {
        if let Some(outcome) = sent(rustix::net::send(borrowed(fd), data, flags)) {
            return outcome;
        }
    }
}

/// `write(2)`, for pipes. Python ignores SIGPIPE, so a broken pipe is an error here too.
pub fn write(fd: RawFd, data: &[u8]) -> Sent {
    loop {
        if let Some(outcome) = sent(rustix::io::write(borrowed(fd), data)) {
            return outcome;
        }
    }
}

/// How many slices one gathered write takes at most (`IOV_MAX` is 1024 on Linux).
pub const MAX_GATHER: usize = 256;

/// `writev(2)`; for sockets `sendmsg(2)` without SIGPIPE.
pub fn gather(fd: RawFd, slices: &[io::IoSlice<'_>], is_socket: bool) -> Sent {
    let count = slices.len().min(MAX_GATHER);
    loop {
        let n = if is_socket {
            // SAFETY: an all-zero msghdr is valid.
            let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
            msg.msg_iov = slices.as_ptr() as *mut libc::iovec;
            msg.msg_iovlen = count as _;
            // SAFETY: IoSlice has the layout of iovec (documented); the kernel only reads from the slices.
            unsafe { libc::sendmsg(fd, &msg, libc::MSG_NOSIGNAL) }
        } else {
            // SAFETY: as above.
            unsafe { libc::writev(fd, slices.as_ptr().cast(), count as libc::c_int) }
        };
        if let Some(outcome) = outcome_of_send(n) {
            return outcome;
        }
    }
}

/// What accepting brought.
pub enum Accepted {
    Socket(RawFd),
    WouldBlock,
    /// This connection is gone; try the next (`ECONNABORTED` and the network errors Linux passes on).
    Aborted,
    /// Out of descriptors or memory: stop accepting for a while.
    Exhausted(io::Error),
    Failed(io::Error),
}

/// Whether accepting would have something to say, be it an error. `accept4` has no flag that keeps it from blocking on a
/// listener whose open file was set to blocking.
pub fn may_accept(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd; no time is waited.
    unsafe { libc::poll(&mut poll, 1, 0) != 0 }
}

/// `accept4(2)`: non-blocking and close-on-exec.
pub fn accept(fd: RawFd) -> Accepted {
    accept_into(fd, std::ptr::null_mut(), std::ptr::null_mut())
}

/// The same; the peer's address goes to `address`, unless that is null.
pub(crate) fn accept_into(fd: RawFd, address: *mut libc::sockaddr, len: *mut libc::socklen_t) -> Accepted {
    loop {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: both null, or room for `len` bytes of an address: this crate's two callers see to it.
        let n = unsafe { libc::accept4(fd, address, len, flags) };
        if n >= 0 {
            return Accepted::Socket(n);
        }
        let e = io::Error::last_os_error();
        return match e.raw_os_error().unwrap_or(0) {
            libc::EINTR => continue,
            libc::EAGAIN => Accepted::WouldBlock,
            libc::ECONNABORTED => Accepted::Aborted,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => Accepted::Exhausted(e),
            _ => Accepted::Failed(e),
        };
    }
}

/// `shutdown(2)` of the writing direction.
pub fn shutdown_write(fd: RawFd) -> io::Result<()> {
    // SAFETY: no memory is passed.
    match unsafe { libc::shutdown(fd, libc::SHUT_WR) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
