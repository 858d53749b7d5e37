//! What a datagram transport has beside the state that all transports share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::raw::{c_int, c_void};

use net::Address;
use pyo3::ffi::{self, PyObject};

use crate::address;
use crate::raw::obj::visit_ptr;
use crate::raw::{Obj, Slot, R};

#[derive(Default)]
pub struct Datagrams {
    /// The only address that `sendto` accepts: what `create_datagram_endpoint` was given as `remote_addr`.
    pub remote: Slot,
    /// The kernel knows the peer.
    pub connected: Cell<bool>,
    pub family: Cell<c_int>,
    /// Received together with one that made the protocol pause, or that raised: data and address.
    pub inbox: RefCell<VecDeque<(Obj, Obj)>>,
    pub peers: RefCell<Peers>,
    /// The reactor tells of writability: something waits to be sent.
    pub hears_of_writability: Cell<bool>,
    /// A timer will try to send again.
    pub will_retry: Cell<bool>,
}

impl Datagrams {
    /// # Safety
    /// The collector's visitor.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        let mut r = 0;
        let mut show = |o: *mut PyObject| {
            if r == 0 {
                // SAFETY: passed on; null or alive.
                r = unsafe { visit_ptr(o, visit, arg) };
            }
        };
        show(self.remote.get());
        if let Ok(inbox) = self.inbox.try_borrow() {
            for (data, from) in inbox.iter() {
                show(data.as_ptr());
                show(from.as_ptr());
            }
        }
        if let Ok(peers) = self.peers.try_borrow() {
            peers.rows.iter().flatten().for_each(|(_, o)| show(o.as_ptr()));
        }
        r
    }

    /// Drops all objects.
    pub fn clear(&self) {
        self.remote.clear();
        self.forget();
    }

    /// Drops what belongs to the open socket.
    pub fn forget(&self) {
        let inbox = self.inbox.try_borrow_mut().map(|mut inbox| std::mem::take(&mut *inbox));
        let peers = self.peers.try_borrow_mut().map(|mut peers| std::mem::take(&mut *peers));
        drop((inbox, peers));
    }
}

/// Addresses of the last peers as Python has them, so that the same peer's next datagram makes no new tuple, and an answer
/// to it needs no parsing. Each address has one place; who comes there later takes it.
#[derive(Default)]
pub struct Peers {
    rows: Vec<Option<(Address, Obj)>>,
    last: usize,
}

const FEWEST_ROWS: usize = 4;
const MOST_ROWS: usize = 64;

impl Peers {
    /// The Python address, if this peer was here before.
    pub fn known(&mut self, from: &Address) -> Option<Obj> {
        let place = self.place(from)?;
        let (address, object) = self.rows[place].as_ref()?;
        if address != from {
            return None;
        }
        self.last = place;
        Some(object.clone())
    }

    /// Remembers a peer; returns what had to go, for the caller to drop outside any borrow.
    pub fn remember(&mut self, from: &Address, object: Obj) -> Vec<Option<(Address, Obj)>> {
        let mut gone = Vec::new();
        let taken = self.place(from).is_none_or(|place| self.rows[place].is_some());
        if taken && self.rows.len() < MOST_ROWS {
            let rows = (self.rows.len() * 2).max(FEWEST_ROWS);
            gone = std::mem::replace(&mut self.rows, (0..rows).map(|_| None).collect());
        }
        if let Some(place) = self.place(from) {
            self.last = place;
            gone.push(self.rows[place].replace((*from, object)));
        }
        gone
    }

    /// The kernel's form of the address that was given to Python last, if `o` is that very object.
    #[inline]
    pub fn if_last(&self, o: *mut PyObject) -> Option<Address> {
        match self.rows.get(self.last) {
            Some(Some((address, object))) if object.as_ptr() == o => Some(*address),
            _ => None,
        }
    }

    fn place(&self, address: &Address) -> Option<usize> {
        let hash = address.bytes().chunks(8).fold(0u64, |hash, part| {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            (hash.rotate_left(5) ^ u64::from_ne_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        // The number of rows is a power of two.
        (!self.rows.is_empty()).then(|| (hash >> 32) as usize & (self.rows.len() - 1))
    }
}

/// A peer's address for Python.
pub fn peer(d: &Datagrams, from: &Address) -> R<Obj> {
    if let Some(known) = d.peers.borrow_mut().known(from) {
        return Ok(known);
    }
    let object = address::to_python(from)?;
    // A peer without a name has nothing to be known by.
    if from.bytes().len() > std::mem::size_of::<libc::sa_family_t>() {
        let gone = d.peers.borrow_mut().remember(from, object.clone());
        drop(gone);
    }
    Ok(object)
}
