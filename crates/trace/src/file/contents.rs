//! A whole file in memory, of which a [`crate::Recording`] is made: what its blocks say, with the events of all loops in order.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::event::{Event, Kind};
use crate::tables::Tables;

use super::{Block, Error, Reader};

#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// JSON about the program; "" if that is missing.
    pub info: String,
    pub tables: Tables,
    /// In the order in which they were written; of several loops, by when that was. What is of a loop and not of a task (`Loop`,
    /// `Turn`, `Lost`) has the loop's own key here, its number and task 0. All are of known kinds.
    pub events: Vec<Event>,
    /// Events that found no room in memory when they happened.
    pub lost: u64,
    /// Blocks, definitions and events of a newer Segue that are left out.
    pub skipped: u64,
    /// Whether the file has its end; it has none while it is written, and when the program was killed.
    pub complete: bool,
    /// What is wrong with the file, and where. A file that was only cut off has no damage.
    pub damage: Vec<String>,
}

impl Contents {
    pub fn open(path: &Path) -> Result<Contents, Error> {
        Contents::read(File::open(path).map_err(Error::Io)?)
    }

    pub fn read(from: impl Read) -> Result<Contents, Error> {
        let mut reader = Reader::new(from)?;
        let mut contents = Contents::default();
        for block in &mut reader {
            contents.take(block);
        }
        contents.complete = reader.is_complete();
        contents.skipped += reader.skipped();
        contents.events.sort_by_key(Event::written);
        Ok(contents)
    }

    fn take(&mut self, block: Block) {
        match block {
            Block::Information(info) => self.info = info,
            Block::Definitions(definitions) => definitions.into_iter().for_each(|d| self.tables.define(d)),
            Block::Damage(damage) => self.damage.push(damage.to_string()),
            Block::Events { loop_number, events } => {
                for event in events {
                    match event.kind() {
                        None => self.skipped += 1,
                        Some(kind) => {
                            if kind == Kind::Lost {
                                self.lost = self.lost.saturating_add(event.a);
                            }
                            self.events.push(event.in_loop(loop_number));
                        }
                    }
                }
            }
        }
    }
}
