//! The system calls on a non-blocking descriptor, with an outcome instead of an errno to compare.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

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

fn last_error_is_would_block() -> Result<(), io::Error> {
    let e = io::Error::last_os_error();
    match e.kind() {
        io::ErrorKind::WouldBlock => Ok(()),
        _ => Err(e),
    }
}

fn is_interrupted() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
}

/// `read(2)`: works for sockets, pipes and terminals alike.
pub fn read(fd: RawFd, buf: &mut [MaybeUninit<u8>]) -> Received {
    loop {
        // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`.
        let n = unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) };
        return match n {
            0 => Received::Eof,
            n if n > 0 => Received::Bytes(n as usize),
            _ if is_interrupted() => continue,
            _ => match last_error_is_would_block() {
                Ok(()) => Received::WouldBlock,
                Err(e) => Received::Failed(e),
            },
        };
    }
}

fn sent(n: isize) -> Option<Sent> {
    if n >= 0 {
        return Some(Sent::Bytes(n as usize));
    }
    if is_interrupted() {
        return None;
    }
    Some(match last_error_is_would_block() {
        Ok(()) => Sent::WouldBlock,
        Err(e) => Sent::Failed(e),
    })
}

/// `send(2)` without SIGPIPE.
pub fn send(fd: RawFd, data: &[u8]) -> Sent {
    loop {
        // SAFETY: the kernel reads at most `data.len()` bytes from `data`.
        let n = unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), libc::MSG_NOSIGNAL) };
        if let Some(outcome) = sent(n) {
            return outcome;
        }
    }
}

/// `write(2)`, for pipes. Python ignores SIGPIPE, so a broken pipe is an error here too.
pub fn write(fd: RawFd, data: &[u8]) -> Sent {
    loop {
        // SAFETY: the kernel reads at most `data.len()` bytes from `data`.
        let n = unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) };
        if let Some(outcome) = sent(n) {
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
        if let Some(outcome) = sent(n) {
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

/// `accept4(2)`: non-blocking and close-on-exec.
pub fn accept(fd: RawFd) -> Accepted {
    loop {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: null address and length are allowed.
        let n = unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
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
