//! Writes a recording. The recorder's thread calls it; it knows no ring and no clock.

use std::io::{self, Write};

use super::{file_head, kinds, write_definition, BlockHead, BLOCK_HEAD, LIMIT, VERSION};
use crate::event::{Definition, Event, SIZE};

/// A block is written once it has so many bytes of contents.
const FULL: usize = 64 * 1024;

/// Collects blocks and writes each with one call. Nothing is forced to the disk: what was written survives the process, not the
/// machine. After an error some events are missing in the file and the writer can go on; a reader finds out.
pub struct Writer<W> {
    to: W,
    /// Each begins with room for the block's head.
    definitions: Vec<u8>,
    events: Vec<u8>,
    /// Whose `events` are.
    loop_number: u32,
    /// How many events were given.
    count: u64,
}

impl<W: Write> Writer<W> {
    /// `information` is JSON about the program, at most [`LIMIT`] bytes.
    pub fn new(mut to: W, information: &str) -> io::Result<Self> {
        to.write_all(&file_head(VERSION))?;
        let room = || {
            let mut bytes = Vec::with_capacity(BLOCK_HEAD + FULL + SIZE);
            bytes.resize(BLOCK_HEAD, 0);
            bytes
        };
        let mut writer = Writer { to, definitions: room(), events: room(), loop_number: 0, count: 0 };
        writer.information(information)?;
        Ok(writer)
    }

    /// Says it anew: it takes the place of what was said before.
    pub fn information(&mut self, information: &str) -> io::Result<()> {
        if information.len() > LIMIT {
            let message = format!("{} bytes of information about the program; at most {LIMIT}", information.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut block = vec![0; BLOCK_HEAD];
        block.extend_from_slice(information.as_bytes());
        write_block(&mut self.to, kinds::INFORMATION, 0, &mut block)
    }

    /// Must come before the events that use them.
    pub fn definitions(&mut self, definitions: &[Definition]) -> io::Result<()> {
        for definition in definitions {
            write_definition(definition, &mut self.definitions);
            if self.definitions.len() >= BLOCK_HEAD + FULL {
                self.write_definitions()?;
            }
        }
        Ok(())
    }

    pub fn events(&mut self, loop_number: u32, mut events: &[Event]) -> io::Result<()> {
        if loop_number != self.loop_number {
            self.write_events()?;
            self.loop_number = loop_number;
        }
        self.count += events.len() as u64;
        while !events.is_empty() {
            let (now, later) = events.split_at(events.len().min((BLOCK_HEAD + FULL - self.events.len()) / SIZE));
            for event in now {
                self.events.extend_from_slice(&event.to_bytes());
            }
            events = later;
            if self.events.len() == BLOCK_HEAD + FULL {
                self.write_events()?;
            }
        }
        Ok(())
    }

    /// Writes what was collected, so that it is there should the process be killed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_events()?;
        self.to.flush()
    }

    /// The end: without it readers say that the file was cut off.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_events()?;
        let mut block = vec![0; BLOCK_HEAD];
        block.extend_from_slice(&self.count.to_le_bytes());
        write_block(&mut self.to, kinds::END, 0, &mut block)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn write_definitions(&mut self) -> io::Result<()> {
        write_if_any(&mut self.to, kinds::DEFINITIONS, 0, &mut self.definitions)
    }

    /// With the definitions, which come first.
    fn write_events(&mut self) -> io::Result<()> {
        self.write_definitions()?;
        write_if_any(&mut self.to, kinds::EVENTS, self.loop_number, &mut self.events)
    }
}

fn write_if_any(to: &mut impl Write, contents: u32, loop_number: u32, block: &mut Vec<u8>) -> io::Result<()> {
    if block.len() == BLOCK_HEAD {
        return Ok(());
    }
    let written = write_block(to, contents, loop_number, block);
    block.truncate(BLOCK_HEAD);
    written
}

fn write_block(to: &mut impl Write, contents: u32, loop_number: u32, block: &mut [u8]) -> io::Result<()> {
    let (head, body) = block.split_at_mut(BLOCK_HEAD);
    let sum = crc32fast::hash(body);
    head.copy_from_slice(&BlockHead { contents, loop_number, length: body.len(), sum }.to_bytes());
    to.write_all(block)
}
