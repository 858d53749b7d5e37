//! Reads a recording block by block, and as much of a damaged one as there is. No bytes make it panic, loop or take more
//! memory than a block's.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};

use super::{file_head, kinds, read_definitions, u32_at, u64_at, BlockHead};
use super::{BLOCK_HEAD, BLOCK_MAGIC, FILE_HEAD, MAGIC, VERSION};
use crate::event::{Definition, Event, SIZE};

const CHUNK: usize = 64 * 1024;

/// Why nothing could be read.
#[derive(Debug)]
pub enum Error {
    Io(io::Error),
    /// Less than a head, but so far what a recording begins with.
    Cut {
        bytes: usize,
    },
    NotARecording,
    /// Line ends were changed on the way.
    ChangedAsText,
    Newer {
        version: u32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(error) => write!(f, "it can't be read: {error}"),
            Error::Cut { bytes } => {
                write!(f, "it was cut off at byte {bytes}, within its head: there is nothing to be read")
            }
            Error::NotARecording => write!(f, "it is not a recording: at byte 0 it doesn't begin as one"),
            Error::ChangedAsText => {
                write!(f, "at byte 5 its line ends were changed: it was transferred as text, not as it is")
            }
            Error::Newer { version } => {
                write!(f, "it was written by a newer Segue: its format is {version}, this one reads {VERSION}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// What is wrong, and at which byte of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub at: u64,
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.what)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    Information(String),
    Definitions(Vec<Definition>),
    /// Those of kinds that are not known, too.
    Events {
        loop_number: u32,
        events: Vec<Event>,
    },
    Damage(Damage),
}

/// The blocks of a file, in its order.
pub struct Reader<R> {
    source: Source<R>,
    /// To be given next.
    ready: VecDeque<Block>,
    events: u64,
    skipped: u64,
    complete: bool,
    done: bool,
}

impl<R: Read> Reader<R> {
    pub fn new(from: R) -> Result<Self, Error> {
        let mut source = Source { from, buffer: Vec::new(), begin: 0, at: 0, ended: false, failed: None };
        let ready = read_head(&mut source)?.map(Block::Damage).into_iter().collect();
        source.skip(FILE_HEAD);
        Ok(Reader { source, ready, events: 0, skipped: 0, complete: false, done: false })
    }

    /// Once everything was read: whether the file has its end. If not, it was cut off, or its end is damaged.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Blocks and definitions so far that a newer Segue has written and this one doesn't know.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn damage(&mut self, at: u64, what: String) {
        self.ready.push_back(Block::Damage(Damage { at, what }));
    }

    /// Puts what comes next into `ready`, if anything; or is done.
    fn read(&mut self) {
        let window = self.source.fill(BLOCK_HEAD);
        let Some(head) = BlockHead::from_bytes(window) else {
            let beginning = window.len().min(BLOCK_MAGIC.len());
            let is_cut = window.len() < BLOCK_HEAD && window[..beginning] == BLOCK_MAGIC[..beginning];
            return if is_cut { self.cut_off() } else { self.find_next("no block begins here".into()) };
        };
        let (whole, name) = (BLOCK_HEAD + head.length, kinds::name(head.contents));
        let at = self.source.at;
        let window = self.source.fill(whole);
        let Some(body) = window.get(BLOCK_HEAD..whole) else {
            // The last block of a file that was cut off, unless others follow: then these are missing in the middle.
            return match first_head(&window[1..]) {
                None => self.cut_off(),
                Some(_) => self.find_next(format!("of a block ({name}) only a part of its {whole} bytes is there")),
            };
        };
        if crc32fast::hash(body) != head.sum {
            return self.find_next(format!("the checksum of a block ({name}) is wrong"));
        }
        match head.contents {
            kinds::INFORMATION => {
                self.ready.push_back(Block::Information(String::from_utf8_lossy(body).into_owned()));
            }
            kinds::DEFINITIONS => {
                let read = read_definitions(body);
                self.skipped += read.skipped;
                self.ready.push_back(Block::Definitions(read.good));
                if read.rest > 0 {
                    self.damage(at, format!("the last {} bytes of a block are no definition", read.rest));
                }
            }
            kinds::EVENTS => {
                let (loop_number, chunks) = (head.loop_number, body.chunks_exact(SIZE));
                let rest = chunks.remainder().len();
                let event = |bytes: &[u8]| Event::from_bytes(&std::array::from_fn(|i| bytes[i]));
                let events: Vec<_> = chunks.map(event).collect();
                self.events += events.len() as u64;
                self.ready.push_back(Block::Events { loop_number, events });
                if rest > 0 {
                    self.damage(at, format!("the last {rest} bytes of a block are no event"));
                }
            }
            kinds::END if head.length >= 8 => {
                let count = u64_at(body, 0);
                self.complete = true;
                self.source.skip(whole);
                return self.end(at, count);
            }
            kinds::END => self.damage(at, "the block of the end is too short".into()),
            _ => self.skipped += 1,
        }
        self.source.skip(whole);
    }

    fn end(&mut self, at: u64, count: u64) {
        self.done = true;
        if self.events < count {
            self.damage(at, format!("{} of {count} events are missing", count - self.events));
        }
        if !self.source.fill(1).is_empty() {
            self.damage(self.source.at, "something follows the end".into());
        }
    }

    /// The file is over without its end.
    fn cut_off(&mut self) {
        self.done = true;
        if let Some(error) = self.source.failed.take() {
            let at = self.source.at + self.source.rest() as u64;
            self.damage(at, format!("reading failed: {error}"));
        }
    }

    /// Goes on at the next head of a block after the one here, which is bad.
    fn find_next(&mut self, what: String) {
        let from = self.source.at;
        self.source.skip(1);
        loop {
            let window = self.source.fill(BLOCK_HEAD);
            let (length, found) = (window.len(), first_head(window));
            let is_over = length < BLOCK_HEAD;
            // Where none is found the last bytes may be the beginning of one.
            self.source.skip(found.unwrap_or(if is_over { length } else { length - (BLOCK_HEAD - 1) }));
            let bytes = self.source.at - from;
            if found.is_some() {
                return self.damage(from, format!("{what}; {bytes} bytes are left out"));
            }
            if is_over {
                self.damage(from, format!("{what}; the {bytes} bytes from here to the end of the file are left out"));
                return self.cut_off();
            }
        }
    }
}

/// What is wrong with the file's head, if it is nothing worse.
fn read_head(source: &mut Source<impl Read>) -> Result<Option<Damage>, Error> {
    let first = source.fill(FILE_HEAD + BLOCK_HEAD);
    let Some((head, rest)) = first.split_at_checked(FILE_HEAD) else {
        let bytes = first.len();
        let begins_well = first.iter().zip(MAGIC).all(|(&byte, magic)| byte == magic);
        return Err(match source.failed.take() {
            Some(error) => Error::Io(error),
            None if begins_well => Error::Cut { bytes },
            None => Error::NotARecording,
        });
    };
    let version = u32_at(head, 8);
    if *head == file_head(VERSION) {
        return Ok(None);
    }
    if *head == file_head(version) {
        return Err(Error::Newer { version });
    }
    if head.starts_with(&MAGIC) || BlockHead::from_bytes(rest).is_some() {
        return Ok(Some(Damage { at: 0, what: "the file's head is damaged".into() }));
    }
    Err(if head.starts_with(&MAGIC[..5]) { Error::ChangedAsText } else { Error::NotARecording })
}

fn first_head(window: &[u8]) -> Option<usize> {
    let places = 0..(window.len() + 1).saturating_sub(BLOCK_HEAD);
    places.into_iter().find(|&at| window[at] == BLOCK_MAGIC[0] && BlockHead::from_bytes(&window[at..]).is_some())
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        while self.ready.is_empty() && !self.done {
            self.read();
        }
        self.ready.pop_front()
    }
}

/// A file's bytes from where the reader is, as many as it looks at.
struct Source<R> {
    from: R,
    buffer: Vec<u8>,
    /// Where in `buffer` the reader is, and where that is in the file.
    begin: usize,
    at: u64,
    /// There is nothing behind `buffer`, or it can't be read.
    ended: bool,
    failed: Option<io::Error>,
}

impl<R: Read> Source<R> {
    /// The bytes from here on: at least so many, or all that there are.
    fn fill(&mut self, wanted: usize) -> &[u8] {
        if self.rest() < wanted && !self.ended {
            self.buffer.drain(..self.begin);
            self.begin = 0;
            while self.buffer.len() < wanted && !self.ended {
                self.read_some();
            }
        }
        &self.buffer[self.begin..]
    }

    fn read_some(&mut self) {
        let old = self.buffer.len();
        self.buffer.resize(old + CHUNK, 0);
        let read = self.from.read(&mut self.buffer[old..]);
        self.buffer.truncate(old + *read.as_ref().unwrap_or(&0).min(&CHUNK));
        match read {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                self.ended = true;
                self.failed = Some(error);
            }
        }
    }

    /// How many bytes are in memory.
    fn rest(&self) -> usize {
        self.buffer.len() - self.begin
    }

    /// At most as many as `fill` gave.
    fn skip(&mut self, bytes: usize) {
        self.begin += bytes;
        self.at += bytes as u64;
    }
}
