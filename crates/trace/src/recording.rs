//! A whole recording in memory, from which models are built: what the file's blocks say, with the events of all loops in order.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::event::{Event, Kind, LOOP_SHIFT};
use crate::file::{Block, Error, Reader};
use crate::tables::Tables;

#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// JSON about the program; "" if that is missing.
    pub info: String,
    pub tables: Tables,
    /// In the order of their times; of the same time, as they were written. What is of a loop and not of a task (`Loop`,
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

impl Recording {
    pub fn open(path: &Path) -> Result<Recording, Error> {
        Recording::read(File::open(path).map_err(Error::Io)?)
    }

    pub fn read(from: impl Read) -> Result<Recording, Error> {
        let mut reader = Reader::new(from)?;
        let mut recording = Recording::default();
        for block in &mut reader {
            recording.take(block);
        }
        recording.complete = reader.is_complete();
        recording.skipped += reader.skipped();
        recording.events.sort_by_key(|event| event.at);
        Ok(recording)
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
                        Some(kind @ (Kind::Loop | Kind::Turn | Kind::Lost)) => {
                            if kind == Kind::Lost {
                                self.lost = self.lost.saturating_add(event.a);
                            }
                            let key = u64::from(loop_number) << LOOP_SHIFT;
                            self.events.push(Event::new(kind, event.at, key, event.a, event.b, event.c));
                        }
                        Some(_) => self.events.push(event),
                    }
                }
            }
        }
    }
}
