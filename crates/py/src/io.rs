//! The loop's descriptors: who is told when one is ready.
//!
//! A source is either a descriptor that belongs to the user, with up to two watchers, or an object of ours (a transport or
//! a listener: edge-triggered, told directly).
//!
//! | a user's descriptor has | in the poller |
//! |---|---|
//! | a handle (`add_reader`, `add_writer`), perhaps an operation too | level-triggered; taken out when nobody watches |
//! | operations only (`sock_recv` and the like) | armed for one event |
//! | nobody, after an operation that had its event | left there, silent: the poller says nothing of it until it is armed again |
//! | nobody, otherwise | taken out |
//!
//! Nothing here remembers what is left there, beyond a hint which call to try first: the poller's own answer (`ENOENT`,
//! `EEXIST`) decides, so closing, reusing a number, duplicating and forking cannot make it wrong.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use net::level::Trigger;
use net::{Interest, Reactor, Readiness};

use crate::raw::Obj;
use crate::sock_ops::Operation;
use crate::watched::Watched;

/// An object of ours that waits for its descriptor.
pub type OnReady = fn(*mut pyo3::ffi::PyObject, Readiness) -> crate::raw::R<()>;

/// Who waits for one direction of a descriptor that belongs to the user.
#[derive(Clone)]
pub enum Watcher {
    /// `add_reader`, `add_writer`.
    Handle(Obj),
    /// `sock_recv` and the like.
    Operation(Rc<Operation>),
}

impl Watcher {
    fn try_for_each<E>(&self, f: &mut impl FnMut(&Obj) -> Result<(), E>) -> Result<(), E> {
        match self {
            Watcher::Handle(handle) => f(handle),
            Watcher::Operation(operation) => operation.try_for_each(f),
        }
    }
}

enum Source {
    /// `file` is what the user gave, if it was no number: it names the source even after it was closed.
    Watch {
        reader: Option<Watcher>,
        writer: Option<Watcher>,
        file: Option<Obj>,
        fd: RawFd,
        /// An event has come since it was armed for one event only: the poller says no more of it.
        told: bool,
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
    watched: Watched,
    /// Descriptors of our transports, which users may not watch; the object each belongs to.
    owned: HashMap<RawFd, u32>,
}

/// What is to be done about an event.
pub enum Ready {
    Watchers(RawFd, Option<Watcher>, Option<Watcher>),
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

    fn side(&mut self, index: u32, direction: Direction) -> Option<&mut Option<Watcher>> {
        match &mut self.entries[index as usize].source {
            Some(Source::Watch { reader, writer, .. }) => {
                Some(if direction == Direction::Read { reader } else { writer })
            }
            _ => None,
        }
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

    /// Watches a user's descriptor; returns who did before, in this direction.
    pub fn watch(
        &self,
        fd: RawFd,
        file: Option<Obj>,
        direction: Direction,
        watcher: Watcher,
    ) -> io::Result<Option<Watcher>> {
        let mut sources = self.sources.borrow_mut();
        let (index, is_new) = match sources.watched.get(fd) {
            Some(index) => (index, false),
            None => (sources.insert(Source::Watch { reader: None, writer: None, file, fd, told: false }).0, true),
        };
        let Some(side) = sources.side(index, direction) else { return Ok(None) };
        let old = side.replace(watcher);
        let result = self.arm(&mut sources, index, fd);
        let Err(e) = result else {
            if is_new {
                sources.watched.set(fd, index);
            }
            return Ok(old);
        };
        // Who watched before goes on; the refused one is dropped when nothing is borrowed, since that may run Python code.
        let refused = match sources.side(index, direction) {
            Some(side) => std::mem::replace(side, old),
            None => None,
        };
        let source = if is_new { sources.remove(index) } else { None };
        drop(sources);
        drop((refused, source));
        Err(e)
    }

    /// Tells the poller what is waited for, which is something. It may know the descriptor already (left there by an
    /// operation that is over) or no longer (closed, and opened again under the same number): what it answers decides.
    fn arm(&self, sources: &mut Sources, index: u32, fd: RawFd) -> io::Result<()> {
        let token = sources.token(index);
        let Some(Source::Watch { reader, writer, told, .. }) = &mut sources.entries[index as usize].source else {
            return Ok(());
        };
        *told = false;
        let interest = Interest { readable: reader.is_some(), writable: writer.is_some() };
        let has_handle = [reader, writer].iter().any(|side| matches!(side, Some(Watcher::Handle(_))));
        let trigger = if has_handle { Trigger::Level } else { Trigger::Once };
        let known = sources.watched.is_in_poller(fd);
        let result = if known {
            match self.reactor.modify_level(fd, token, interest, trigger) {
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {
                    self.reactor.add_level(fd, token, interest, trigger)
                }
                other => other,
            }
        } else {
            match self.reactor.add_level(fd, token, interest, trigger) {
                Err(e) if e.raw_os_error() == Some(libc::EEXIST) && !sources.owned.contains_key(&fd) => {
                    self.reactor.modify_level(fd, token, interest, trigger)
                }
                other => other,
            }
        };
        sources.watched.note_in_poller(fd, result.is_ok());
        result
    }

    /// Stops watching in one direction; returns who did.
    pub fn unwatch(&self, fd: RawFd, direction: Direction) -> Option<Watcher> {
        self.unwatch_if(fd, direction, |_| true)
    }

    /// An operation is over, or nobody waits for it any more. Nothing happens if it isn't watching.
    pub fn finish(&self, fd: RawFd, direction: Direction, operation: &Operation) {
        drop(self.unwatch_if(
            fd,
            direction,
            |w| matches!(w, Watcher::Operation(o) if std::ptr::eq(Rc::as_ptr(o), operation)),
        ));
    }

    fn unwatch_if(&self, fd: RawFd, direction: Direction, wanted: impl Fn(&Watcher) -> bool) -> Option<Watcher> {
        let mut sources = self.sources.borrow_mut();
        let index = sources.watched.get(fd)?;
        let old = sources.side(index, direction)?.take_if(|w| wanted(w))?;
        let mut gone = None;
        let Some(Source::Watch { reader, writer, told, .. }) = &sources.entries[index as usize].source else {
            return Some(old);
        };
        // Whoever watched a socket that is closed since may outlive it until a transport has got the number.
        let is_watchers = !self.is_inherited() && !sources.owned.contains_key(&fd);
        if reader.is_some() || writer.is_some() {
            if is_watchers {
                let _ = self.arm(&mut sources, index, fd);
            }
        } else {
            // What was told once is silent: it stays in the poller, where the next operation finds it. A descriptor that is
            // already closed has left by itself.
            if !*told && is_watchers {
                let _ = self.reactor.remove_level(fd);
                sources.watched.note_in_poller(fd, false);
            }
            sources.watched.remove(fd);
            gone = sources.remove(index);
        }
        drop(sources);
        drop(gone);
        Some(old)
    }

    /// An operation has to wait for another event.
    pub fn wait_again(&self, fd: RawFd) -> io::Result<()> {
        let mut sources = self.sources.borrow_mut();
        match sources.watched.get(fd) {
            Some(index) if !sources.owned.contains_key(&fd) => self.arm(&mut sources, index, fd),
            _ => Ok(()),
        }
    }

    /// The operation that a future belongs to, wherever it waits; `fd` is where it is looked for first.
    pub fn operation_of(
        &self,
        fd: RawFd,
        future: *mut pyo3::ffi::PyObject,
    ) -> Option<(RawFd, Direction, Rc<Operation>)> {
        let sources = self.sources.borrow();
        let at = |fd: RawFd, index: u32| match &sources.entries[index as usize].source {
            Some(Source::Watch { reader, writer, .. }) => [(Direction::Read, reader), (Direction::Write, writer)]
                .into_iter()
                .find_map(|(direction, side)| match side {
                    Some(Watcher::Operation(o)) if o.future.as_ptr() == future => Some((fd, direction, o.clone())),
                    _ => None,
                }),
            _ => None,
        };
        let first = sources.watched.get(fd).and_then(|index| at(fd, index));
        first.or_else(|| sources.watched.iter().find_map(|(fd, index)| at(fd, index)))
    }

    /// Registers an object of ours. `readable_only` is for listeners and read ends.
    pub fn register(&self, fd: RawFd, object: Obj, on_ready: OnReady, readable_only: bool) -> io::Result<u64> {
        let mut sources = self.sources.borrow_mut();
        let (index, token) = sources.insert(Source::Object { object, on_ready });
        let result =
            if readable_only { self.reactor.register_readable(fd, token) } else { self.reactor.register(fd, token) };
        // An operation that is over may have left it in the poller.
        let result = match result {
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) && sources.watched.get(fd).is_none() => {
                self.reactor.reregister(fd, token, !readable_only)
            }
            other => other,
        };
        match result {
            Ok(()) => {
                sources.owned.insert(fd, index);
                sources.watched.note_in_poller(fd, false);
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

    /// Whether an object of ours that was registered for reading hears about writability too.
    pub fn hear_of_writability(&self, fd: RawFd, token: u64, wanted: bool) -> io::Result<()> {
        self.reactor.reregister(fd, token, wanted)
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
        let mut sources = self.sources.borrow_mut();
        let Some(entry) = sources.entries.get_mut(token as u32 as usize) else { return Ready::Nothing };
        if u64::from(entry.generation) != token >> 32 {
            return Ready::Nothing;
        }
        match &mut entry.source {
            Some(Source::Object { object, on_ready }) => Ready::Object(object.clone(), *on_ready),
            Some(Source::Watch { reader, writer, fd, told, .. }) => {
                *told = [&*reader, &*writer].iter().all(|side| !matches!(side, Some(Watcher::Handle(_))));
                Ready::Watchers(
                    *fd,
                    reader.clone().filter(|_| ready.readable),
                    writer.clone().filter(|_| ready.writable),
                )
            }
            None => Ready::Nothing,
        }
    }

    /// The descriptor under which a file object is watched.
    pub fn watched_as(&self, file: *mut pyo3::ffi::PyObject) -> Option<RawFd> {
        let sources = self.sources.borrow();
        let mut all = sources.watched.iter();
        all.find_map(|(fd, index)| match &sources.entries[index as usize].source {
            Some(Source::Watch { file: Some(known), .. }) if known.as_ptr() == file => Some(fd),
            _ => None,
        })
    }

    /// Whether a user's descriptor is watched for reading and for writing.
    pub fn watched(&self, fd: RawFd) -> (bool, bool) {
        let sources = self.sources.borrow();
        match sources.watched.get(fd).and_then(|i| sources.entries[i as usize].source.as_ref()) {
            Some(Source::Watch { reader, writer, .. }) => (reader.is_some(), writer.is_some()),
            _ => (false, false),
        }
    }

    /// Takes everything out, for a loop that is being closed; what comes back is for the caller to drop.
    pub fn take_all(&self) -> Vec<Watcher> {
        let taken = std::mem::take(&mut *self.sources.borrow_mut());
        let mut out = Vec::new();
        let watched = taken.watched.iter().map(|(fd, _)| fd).filter(|fd| !taken.owned.contains_key(fd));
        for fd in watched.chain(taken.owned.keys().copied()) {
            if !self.is_inherited() {
                let _ = self.reactor.remove_level(fd);
            }
        }
        for entry in taken.entries {
            match entry.source {
                Some(Source::Watch { reader, writer, file, .. }) => {
                    out.extend(reader.into_iter().chain(writer).chain(file.map(Watcher::Handle)))
                }
                Some(Source::Object { object, .. }) => out.push(Watcher::Handle(object)),
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
                Some(Source::Watch { reader, writer, file, .. }) => {
                    file.iter().try_for_each(&mut *f)?;
                    reader.iter().chain(writer).try_for_each(|side| side.try_for_each(&mut *f))?
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
