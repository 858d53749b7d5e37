//! `FILE.segue`: what a recording looks like on disk. All numbers are little-endian.
//!
//! The head, 16 bytes: [`MAGIC`], the format's version (4), the CRC-32 of these twelve (4). Then blocks:
//!
//! | bytes | of a block's head |
//! |---|---|
//! | 4 | [`BLOCK_MAGIC`] |
//! | 4 | what is in it: 1 information, 2 definitions, 3 events, 4 the end |
//! | 4 | the loop's number, of events |
//! | 4 | how many bytes of contents follow, at most [`LIMIT`] |
//! | 4 | CRC-32 of the contents |
//! | 4 | CRC-32 of the twenty bytes before |
//!
//! | block | contents |
//! |---|---|
//! | information | JSON about the program; of several the last counts |
//! | definitions | each its kind (1), the length of the rest (4), the rest. Kind 1, a text: number (4), UTF-8. Kind 2, a place: number, file, line, function (4 each), owner (1) |
//! | events | [`Event`]s of 32 bytes, in the order in which the loop wrote them |
//! | end | how many events there are in the file (8) |
//!
//! A file without the end was cut off: what is there is good up to the last whole block. Readers leave out what they don't
//! know (kinds of blocks, definitions and events, additional bytes at the end of a definition or of the end), so that only
//! what changes the meaning of the rest needs another version.
//!
//! [`Writer`] is for the recorder's thread, [`Reader`] for whoever wants blocks; [`Contents`] is a whole file.

mod contents;
mod reader;
mod writer;

pub use contents::Contents;
pub use reader::{Block, Damage, Error, Reader};
pub use writer::Writer;

use crate::event::{Definition, Owner, Place, Text};

/// The bytes after the name show what a transfer as text does to a file.
pub const MAGIC: [u8; 8] = *b"SEGUE\r\n\x1a";
pub const VERSION: u32 = 1;
/// Not UTF-8: no text has it.
pub const BLOCK_MAGIC: [u8; 4] = [0xf5, b'S', b'g', 0xff];
/// Bytes of a block's contents: more is damage, so that a wrong length takes no memory.
pub const LIMIT: usize = 1 << 20;
/// Bytes of a text; the rest is cut off when it is written.
pub const LONGEST_TEXT: usize = 60_000;

const FILE_HEAD: usize = 16;
const BLOCK_HEAD: usize = 24;

/// What is in a block. A newer Segue may have others.
mod kinds {
    pub const INFORMATION: u32 = 1;
    pub const DEFINITIONS: u32 = 2;
    pub const EVENTS: u32 = 3;
    pub const END: u32 = 4;

    pub fn name(number: u32) -> &'static str {
        match number {
            INFORMATION => "information",
            DEFINITIONS => "definitions",
            EVENTS => "events",
            END => "the end",
            _ => "something newer",
        }
    }
}

const TEXT: u8 = 1;
const PLACE: u8 = 2;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn file_head(version: u32) -> [u8; FILE_HEAD] {
    let mut head = [0; FILE_HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&version.to_le_bytes());
    let sum = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&sum.to_le_bytes());
    head
}

struct BlockHead {
    contents: u32,
    loop_number: u32,
    length: usize,
    sum: u32,
}

impl BlockHead {
    fn to_bytes(&self) -> [u8; BLOCK_HEAD] {
        let mut head = [0; BLOCK_HEAD];
        head[..4].copy_from_slice(&BLOCK_MAGIC);
        for (at, number) in [(4, self.contents), (8, self.loop_number), (12, self.length as u32), (16, self.sum)] {
            head[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32fast::hash(&head[..20]);
        head[20..].copy_from_slice(&sum.to_le_bytes());
        head
    }

    /// None if these are not the bytes of a block's head, or not all of them.
    fn from_bytes(bytes: &[u8]) -> Option<BlockHead> {
        let bytes = bytes.get(..BLOCK_HEAD)?;
        let length = u32_at(bytes, 12) as usize;
        if bytes[..4] != BLOCK_MAGIC || length > LIMIT || u32_at(bytes, 20) != crc32fast::hash(&bytes[..20]) {
            return None;
        }
        Some(BlockHead { contents: u32_at(bytes, 4), loop_number: u32_at(bytes, 8), length, sum: u32_at(bytes, 16) })
    }
}

fn write_definition(definition: &Definition, to: &mut Vec<u8>) {
    let numbers =
        |to: &mut Vec<u8>, numbers: &[u32]| numbers.iter().for_each(|n| to.extend_from_slice(&n.to_le_bytes()));
    match definition {
        Definition::Text { number, text } => {
            let mut length = text.len().min(LONGEST_TEXT);
            while !text.is_char_boundary(length) {
                length -= 1;
            }
            to.push(TEXT);
            numbers(to, &[4 + length as u32, *number]);
            to.extend_from_slice(&text.as_bytes()[..length]);
        }
        Definition::Place { number, file, line, function, owner } => {
            to.push(PLACE);
            numbers(to, &[17, *number, *file, *line, *function]);
            to.push(*owner as u8);
        }
    }
}

/// What was read of a block of definitions.
#[derive(Default)]
struct Definitions {
    good: Vec<Definition>,
    /// Of kinds that are not known.
    skipped: u64,
    /// Bytes at the end that are no definition.
    rest: usize,
}

fn read_definitions(mut bytes: &[u8]) -> Definitions {
    let mut read = Definitions::default();
    while bytes.len() >= 5 {
        let (kind, length) = (bytes[0], u32_at(bytes, 1) as usize);
        let Some(body) = bytes[5..].get(..length) else { break };
        match kind {
            TEXT if length >= 4 => {
                let text = String::from_utf8_lossy(&body[4..]).into();
                read.good.push(Definition::Text { number: u32_at(body, 0) as Text, text });
            }
            PLACE if length >= 17 => {
                let owner = match body[16] {
                    0 => Owner::Program,
                    1 => Owner::Library,
                    _ => Owner::Loop,
                };
                let [number, file, line, function] = std::array::from_fn(|i| u32_at(body, 4 * i));
                read.good.push(Definition::Place { number: number as Place, file, line, function, owner });
            }
            TEXT | PLACE => break,
            _ => read.skipped += 1,
        }
        bytes = &bytes[5 + length..];
    }
    read.rest = bytes.len();
    read
}
