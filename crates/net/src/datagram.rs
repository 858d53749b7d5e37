//! Datagrams and their addresses: many received with one system call, one sent to where it shall go.
//!
//! What an address means (its text, its port) is not decided here: an [`Address`] is what the kernel gave or shall get.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use crate::socket::{outcome_of_send, Accepted, Received, Sent};

/// A socket address as the kernel has it.
#[derive(Clone, Copy)]
pub struct Address {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl Default for Address {
    fn default() -> Self {
        // SAFETY: all-zero is a valid sockaddr_storage.
        Address { storage: unsafe { std::mem::zeroed() }, len: 0 }
    }
}

impl Address {
    pub fn v4(ip: Ipv4Addr, port: u16) -> Self {
        // SAFETY: all-zero is a valid sockaddr_in.
        let mut a: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        a.sin_family = libc::AF_INET as libc::sa_family_t;
        a.sin_port = port.to_be();
        a.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
        Self::of(&a)
    }

    pub fn v6(ip: Ipv6Addr, port: u16, flow: u32, scope: u32) -> Self {
        // SAFETY: all-zero is a valid sockaddr_in6.
        let mut a: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
        a.sin6_family = libc::AF_INET6 as libc::sa_family_t;
        a.sin6_port = port.to_be();
        a.sin6_flowinfo = flow.to_be();
        a.sin6_addr.s6_addr = ip.octets();
        a.sin6_scope_id = scope;
        Self::of(&a)
    }

    fn of<T: Copy>(a: &T) -> Self {
        let mut out = Address { len: std::mem::size_of::<T>() as libc::socklen_t, ..Self::default() };
        // SAFETY: the two callers' types are smaller than the storage, and plain memory.
        unsafe {
            std::ptr::copy_nonoverlapping((a as *const T).cast::<u8>(), (&raw mut out.storage).cast(), out.len as usize)
        };
        out
    }

    /// The address as bytes; empty if there is none. Its first two are the family.
    pub fn bytes(&self) -> &[u8] {
        let len = (self.len as usize).min(std::mem::size_of::<libc::sockaddr_storage>());
        // SAFETY: within the storage, which is initialised throughout.
        unsafe { std::slice::from_raw_parts((&raw const self.storage).cast(), len) }
    }

    /// `AF_UNSPEC` if there is none.
    pub fn family(&self) -> libc::c_int {
        if self.len == 0 {
            return libc::AF_UNSPEC;
        }
        self.storage.ss_family.into()
    }

    pub fn as_v4(&self) -> Option<(Ipv4Addr, u16)> {
        let b = self.bytes();
        if self.family() != libc::AF_INET || b.len() < 8 {
            return None;
        }
        Some((Ipv4Addr::new(b[4], b[5], b[6], b[7]), u16::from_be_bytes([b[2], b[3]])))
    }

    /// Address, port, flow information and scope.
    pub fn as_v6(&self) -> Option<([u8; 16], u16, u32, u32)> {
        let b = self.bytes();
        if self.family() != libc::AF_INET6 || b.len() < 28 {
            return None;
        }
        let word = |i: usize| [b[i], b[i + 1], b[i + 2], b[i + 3]];
        let mut ip = [0; 16];
        ip.copy_from_slice(&b[8..24]);
        Some((ip, u16::from_be_bytes([b[2], b[3]]), u32::from_be_bytes(word(4)), u32::from_ne_bytes(word(24))))
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

/// `recvfrom(2)`, which never blocks. No bytes are a datagram too: this never says [`Received::Eof`].
pub fn receive_from(fd: RawFd, buf: &mut [u8]) -> (Received, Address) {
    let mut from = Address::default();
    loop {
        from.len = std::mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        let (to, room, name) = (buf.as_mut_ptr().cast(), buf.len(), (&raw mut from.storage).cast());
        // SAFETY: the kernel writes at most `room` bytes to `to` and at most `len` into the storage.
        let n = unsafe { libc::recvfrom(fd, to, room, libc::MSG_DONTWAIT, name, &mut from.len) };
        if n >= 0 {
            return (Received::Bytes(n as usize), from);
        }
        let e = io::Error::last_os_error();
        let received = match e.kind() {
            io::ErrorKind::Interrupted => continue,
            io::ErrorKind::WouldBlock => Received::WouldBlock,
            _ => Received::Failed(e),
        };
        return (received, Address::default());
    }
}

/// `sendto(2)` without SIGPIPE, which never blocks.
pub fn send_to(fd: RawFd, data: &[u8], to: &Address) -> Sent {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    loop {
        let (from, address) = (data.as_ptr().cast(), (&raw const to.storage).cast());
        // SAFETY: the kernel reads `data` and the first `len` bytes of the storage.
        let n = unsafe { libc::sendto(fd, from, data.len(), flags, address, to.len) };
        if let Some(outcome) = outcome_of_send(n) {
            return outcome;
        }
    }
}

/// `accept4(2)`, non-blocking and close-on-exec, with the peer's address.
pub fn accept_from(fd: RawFd) -> (Accepted, Address) {
    let mut from =
        Address { len: std::mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t, ..Address::default() };
    let accepted = crate::socket::accept_into(fd, (&raw mut from.storage).cast(), &mut from.len);
    (accepted, from)
}

/// As many datagrams as one call receives at most.
pub const AT_ONCE: usize = 16;

/// No IP packet is larger.
pub const IP_MAX: usize = 64 * 1024;

const ROOM: usize = AT_ONCE * IP_MAX;

/// What [`Batch::receive`] brought.
#[derive(Debug)]
pub enum Batched {
    /// So many, and whether more may wait.
    Messages(usize, bool),
    WouldBlock,
    Failed(io::Error),
}

/// Room for [`AT_ONCE`] datagrams, filled with one `recvmmsg(2)`. Pages that no datagram reaches are never touched.
pub struct Batch {
    room: Box<[MaybeUninit<u8>]>,
    names: Box<[Address; AT_ONCE]>,
    slices: Box<[libc::iovec; AT_ONCE]>,
    /// Point into the three above, which never move.
    headers: Box<[libc::mmsghdr; AT_ONCE]>,
    /// How large a datagram the slices are laid out for; 0 at first.
    largest: usize,
    /// The kernel (or a sandbox) has no `recvmmsg`.
    one_by_one: bool,
}

impl Default for Batch {
    fn default() -> Self {
        // SAFETY: all-zero iovecs and headers are valid.
        let (slices, headers) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Batch {
            room: Box::new_uninit_slice(ROOM),
            names: Box::new([Address::default(); AT_ONCE]),
            slices: Box::new(slices),
            headers: Box::new(headers),
            largest: 0,
            one_by_one: false,
        }
    }
}

impl Batch {
    /// Receives datagrams of at most `largest` bytes each, without waiting; longer ones are cut off.
    pub fn receive(&mut self, fd: RawFd, largest: usize) -> Batched {
        if self.largest != largest {
            self.lay_out(largest);
        }
        let wanted = if self.one_by_one { 1 } else { (ROOM / largest).min(AT_ONCE) };
        loop {
            let n = self.call(fd, wanted);
            if n >= 0 {
                let n = n as usize;
                for (name, header) in self.names.iter_mut().zip(&mut self.headers[..n]) {
                    name.len = header.msg_hdr.msg_namelen;
                    header.msg_hdr.msg_namelen = std::mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
                }
                return Batched::Messages(n, n == wanted);
            }
            let e = io::Error::last_os_error();
            match e.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => return Batched::WouldBlock,
                Some(libc::ENOSYS) if !self.one_by_one => {
                    self.one_by_one = true;
                    return self.receive(fd, largest);
                }
                _ => return Batched::Failed(e),
            }
        }
    }

    fn call(&mut self, fd: RawFd, wanted: usize) -> isize {
        if self.one_by_one {
            // SAFETY: the header points to room and name of the first message, as laid out.
            let n = unsafe { libc::recvmsg(fd, &mut self.headers[0].msg_hdr, libc::MSG_DONTWAIT) };
            self.headers[0].msg_len = n.max(0) as libc::c_uint;
            return n.min(1).max(if n < 0 { -1 } else { 1 });
        }
        // SAFETY: `wanted` headers, each with room and a name of its own, as laid out; no timeout.
        let n = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                wanted as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        n as isize
    }

    /// One of the messages that the last `receive` brought, and where it came from.
    pub fn message(&self, i: usize) -> (&[u8], &Address) {
        let len = (self.headers[i].msg_len as usize).min(self.largest);
        let room = &self.room[i * self.largest..][..len];
        // SAFETY: the kernel has initialised the first `msg_len` bytes of the message's room.
        (unsafe { std::slice::from_raw_parts(room.as_ptr().cast(), len) }, &self.names[i])
    }

    fn lay_out(&mut self, largest: usize) {
        self.largest = largest;
        for (i, header) in self.headers.iter_mut().enumerate().take((ROOM / largest).min(AT_ONCE)) {
            self.slices[i] = libc::iovec { iov_base: self.room[i * largest..].as_mut_ptr().cast(), iov_len: largest };
            header.msg_hdr.msg_iov = &raw mut self.slices[i];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut self.names[i].storage).cast();
            header.msg_hdr.msg_namelen = std::mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    fn received(batch: &Batch, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|i| batch.message(i).0.to_vec()).collect()
    }

    fn check_batches(one_by_one: bool) {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut batch = Batch { one_by_one, ..Batch::default() };
        assert!(matches!(batch.receive(to.as_raw_fd(), IP_MAX), Batched::WouldBlock));
        let sent: Vec<Vec<u8>> = (0..AT_ONCE + 3).map(|n| vec![b'x'; n * 100]).collect();
        for data in &sent {
            from.send_to(data, to.local_addr().unwrap()).unwrap();
        }
        let mut got = Vec::new();
        while let Batched::Messages(count, _) = batch.receive(to.as_raw_fd(), IP_MAX) {
            got.extend(received(&batch, count));
            let port = from.local_addr().unwrap().port();
            assert_eq!(batch.message(0).1.as_v4(), Some((Ipv4Addr::LOCALHOST, port)));
        }
        assert_eq!(got, sent);
    }

    #[test]
    fn nothing_is_lost_between_batches_and_no_bytes_are_a_datagram() {
        check_batches(false);
        check_batches(true);
    }

    #[test]
    fn an_error_comes_before_what_follows_it() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        socket.connect(gone).unwrap();
        socket.send(b"to nobody").unwrap();
        let mut batch = Batch::default();
        let Batched::Failed(e) = batch.receive(socket.as_raw_fd(), IP_MAX) else { panic!("no error") };
        assert_eq!(e.raw_os_error(), Some(libc::ECONNREFUSED));
        assert!(matches!(batch.receive(socket.as_raw_fd(), IP_MAX), Batched::WouldBlock));
    }

    #[test]
    fn addresses_keep_their_parts() {
        let v6 = Address::v6(Ipv6Addr::LOCALHOST, 7, 5, 3);
        assert_eq!(v6.as_v6(), Some((Ipv6Addr::LOCALHOST.octets(), 7, 5, 3)));
        assert_eq!(v6.as_v4(), None);
        let v4 = Address::v4(Ipv4Addr::new(1, 2, 3, 4), 65535);
        assert_eq!(v4.as_v4(), Some((Ipv4Addr::new(1, 2, 3, 4), 65535)));
        assert!(v4 == Address::v4(Ipv4Addr::new(1, 2, 3, 4), 65535) && v4 != v6);
        assert_eq!(Address::default().family(), libc::AF_UNSPEC);
    }

    #[test]
    fn sent_and_received_one_at_a_time() {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = to.local_addr().unwrap().port();
        let address = Address::v4(Ipv4Addr::LOCALHOST, port);
        assert!(matches!(send_to(from.as_raw_fd(), b"", &address), Sent::Bytes(0)));
        let mut room = [0; 10];
        let (received, peer) = receive_from(to.as_raw_fd(), &mut room);
        assert!(matches!(received, Received::Bytes(0)));
        assert_eq!(peer.as_v4().map(|(_, port)| port), Some(from.local_addr().unwrap().port()));
    }
}
