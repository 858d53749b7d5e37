//! The loop's descriptors: who is told when one is ready.
//!
//! A source is either a descriptor that belongs to the user (`add_reader`, `add_writer`: level-triggered, up to two
//! handles) or an object of ours (a transport or a listener: edge-triggered, told directly).

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;

use net::{Interest, Reactor, Readiness};

use crate::raw::Obj;

/// An object of ours that waits for its descriptor.
pub type OnReady = fn(*mut pyo3::ffi::PyObject, Readiness) -> crate::raw::R<()>;

enum Source {
    /// `file` is what the user gave, if it was no number: it names the source even after it was closed.
    Watch {
        reader: Option<Obj>,
        writer: Option<Obj>,
        file: Option<Obj>,
    },
    Object {
        object: Obj,
        on_ready: OnReady,
    },
}

struct Entry {
    generation: u32,
    source: Option<Source>,
}

#[derive(Default)]
struct Sources {
    entries: Vec<Entry>,
    free: Vec<u32>,
    watched: HashMap<RawFd, u32>,
    /// Descriptors of our transports, which users may not watch; the object each belongs to.
    owned: HashMap<RawFd, u32>,
}

/// What is to be done about an event.
pub enum Ready {
    Handles(Option<Obj>, Option<Obj>),
    Object(Obj, OnReady),
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

pub struct Io {
    pub reactor: Reactor,
    sources: RefCell<Sources>,
    /// The fork generation in which the poller was made; in a later one it belongs to the parent process.
    generation: u32,
}

impl Sources {
    fn insert(&mut self, source: Source) -> (u32, u64) {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.entries.push(Entry { generation: 0, source: None });
                (self.entries.len() - 1) as u32
            }
        };
        let entry = &mut self.entries[index as usize];
        entry.source = Some(source);
        (index, u64::from(entry.generation) << 32 | u64::from(index))
    }

    fn token(&self, index: u32) -> u64 {
        u64::from(self.entries[index as usize].generation) << 32 | u64::from(index)
    }

    fn remove(&mut self, index: u32) -> Option<Source> {
        let entry = &mut self.entries[index as usize];
        // Stays below 2^31, so that no token is ever the reactor's own.
        entry.generation = (entry.generation + 1) & 0x7fff_ffff;
        self.free.push(index);
        entry.source.take()
    }
}

impl Io {
    pub fn new() -> io::Result<Self> {
        Ok(Io { reactor: Reactor::new()?, sources: RefCell::default(), generation: crate::fork::generation() })
    }

    /// Whether the poller came here through `fork`: then it is the parent's, and nothing may be changed in it.
    pub fn is_inherited(&self) -> bool {
        self.generation != crate::fork::generation()
    }

    /// Watches a user's descriptor; returns the handle that was there before.
    pub fn watch(&self, fd: RawFd, file: Option<Obj>, direction: Direction, handle: Obj) -> io::Result<Option<Obj>> {
        let mut sources = self.sources.borrow_mut();
        let Some(&index) = sources.watched.get(&fd) else {
            let (reader, writer) = match direction {
                Direction::Read => (Some(handle), None),
                Direction::Write => (None, Some(handle)),
            };
            let interest = Interest { readable: reader.is_some(), writable: writer.is_some() };
            let (index, token) = sources.insert(Source::Watch { reader, writer, file });
            if let Err(e) = self.reactor.add_level(fd, token, interest) {
                let refused = sources.remove(index);
                drop(sources);
                drop(refused);
                return Err(e);
            }
            sources.watched.insert(fd, index);
            return Ok(None);
        };
        let token = sources.token(index);
        let Some(Source::Watch { reader, writer, .. }) = &mut sources.entries[index as usize].source else {
            return Ok(None);
        };
        let old = if direction == Direction::Read { reader.replace(handle) } else { writer.replace(handle) };
        let interest = Interest { readable: reader.is_some(), writable: writer.is_some() };
        drop(sources);
        self.modify(fd, token, interest)?;
        Ok(old)
    }

    /// A descriptor that was closed and opened again under the same number has to be added anew.
    fn modify(&self, fd: RawFd, token: u64, interest: Interest) -> io::Result<()> {
        match self.reactor.modify_level(fd, token, interest) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => self.reactor.add_level(fd, token, interest),
            other => other,
        }
    }

    /// Stops watching in one direction; returns the handle.
    pub fn unwatch(&self, fd: RawFd, direction: Direction) -> Option<Obj> {
        let mut gone = None;
        let mut sources = self.sources.borrow_mut();
        let index = *sources.watched.get(&fd)?;
        let token = sources.token(index);
        let Some(Source::Watch { reader, writer, .. }) = &mut sources.entries[index as usize].source else {
            return None;
        };
        let old = if direction == Direction::Read { reader.take() } else { writer.take() };
        let interest = Interest { readable: reader.is_some(), writable: writer.is_some() };
        if interest == Interest::default() {
            sources.watched.remove(&fd);
            gone = sources.remove(index);
            // A descriptor that is already closed has left the poller by itself.
            if !self.is_inherited() {
                let _ = self.reactor.remove_level(fd);
            }
        } else if old.is_some() && !self.is_inherited() {
            let _ = self.modify(fd, token, interest);
        }
        drop(sources);
        drop(gone);
        old
    }

    /// Registers an object of ours. `readable_only` is for listeners and read ends.
    pub fn register(&self, fd: RawFd, object: Obj, on_ready: OnReady, readable_only: bool) -> io::Result<u64> {
        let mut sources = self.sources.borrow_mut();
        let (index, token) = sources.insert(Source::Object { object, on_ready });
        let result =
            if readable_only { self.reactor.register_readable(fd, token) } else { self.reactor.register(fd, token) };
        match result {
            Ok(()) => {
                sources.owned.insert(fd, index);
                Ok(token)
            }
            Err(e) => {
                let refused = sources.remove(index);
                drop(sources);
                drop(refused);
                Err(e)
            }
        }
    }

    /// Forgets an object of ours, before its descriptor is closed.
    pub fn deregister(&self, fd: RawFd, token: u64) {
        let mut sources = self.sources.borrow_mut();
        let index = token as u32;
        if sources.entries.get(index as usize).is_none_or(|e| e.source.is_none()) || sources.token(index) != token {
            return;
        }
        sources.owned.remove(&fd);
        let gone = sources.remove(index);
        drop(sources);
        if !self.is_inherited() {
            let _ = self.reactor.deregister(fd);
        }
        drop(gone);
    }

    /// The object of ours that a descriptor belongs to.
    pub fn owner(&self, fd: RawFd) -> Option<Obj> {
        let sources = self.sources.borrow();
        let index = *sources.owned.get(&fd)?;
        match &sources.entries[index as usize].source {
            Some(Source::Object { object, .. }) => Some(object.clone()),
            _ => None,
        }
    }

    #[inline(always)]
    pub fn look_up(&self, token: u64, ready: Readiness) -> Ready {
        let sources = self.sources.borrow();
        let Some(entry) = sources.entries.get(token as u32 as usize) else { return Ready::Nothing };
        if u64::from(entry.generation) != token >> 32 {
            return Ready::Nothing;
        }
        match &entry.source {
            Some(Source::Object { object, on_ready }) => Ready::Object(object.clone(), *on_ready),
            Some(Source::Watch { reader, writer, .. }) => {
                Ready::Handles(reader.clone().filter(|_| ready.readable), writer.clone().filter(|_| ready.writable))
            }
            None => Ready::Nothing,
        }
    }

    /// The descriptor under which a file object is watched.
    pub fn watched_as(&self, file: *mut pyo3::ffi::PyObject) -> Option<RawFd> {
        let sources = self.sources.borrow();
        sources.watched.iter().find_map(|(&fd, &index)| match &sources.entries[index as usize].source {
            Some(Source::Watch { file: Some(known), .. }) if known.as_ptr() == file => Some(fd),
            _ => None,
        })
    }

    /// Whether a user's descriptor is watched for reading and for writing.
    pub fn watched(&self, fd: RawFd) -> (bool, bool) {
        let sources = self.sources.borrow();
        match sources.watched.get(&fd).and_then(|&i| sources.entries[i as usize].source.as_ref()) {
            Some(Source::Watch { reader, writer, .. }) => (reader.is_some(), writer.is_some()),
            _ => (false, false),
        }
    }

    /// Takes everything out, for a loop that is being closed.
    pub fn take_all(&self) -> Vec<Obj> {
        let taken = std::mem::take(&mut *self.sources.borrow_mut());
        let mut out = Vec::new();
        for (fd, _) in taken.watched.iter().chain(&taken.owned) {
            if !self.is_inherited() {
                let _ = self.reactor.remove_level(*fd);
            }
        }
        for entry in taken.entries {
            match entry.source {
                Some(Source::Watch { reader, writer, file }) => {
                    out.extend(reader.into_iter().chain(writer).chain(file))
                }
                Some(Source::Object { object, .. }) => out.push(object),
                None => {}
            }
        }
        out
    }

    pub fn try_for_each<E>(&self, f: &mut impl FnMut(&Obj) -> Result<(), E>) -> Result<(), E> {
        let Ok(sources) = self.sources.try_borrow() else {
            return Ok(());
        };
        for entry in &sources.entries {
            match &entry.source {
                Some(Source::Watch { reader, writer, file }) => {
                    reader.iter().chain(writer).chain(file).try_for_each(&mut *f)?
                }
                Some(Source::Object { object, .. }) => f(object)?,
                None => {}
            }
        }
        Ok(())
    }

    pub fn counts(&self) -> (usize, usize) {
        let s = self.sources.borrow();
        (s.watched.len(), s.owned.len())
    }
}
