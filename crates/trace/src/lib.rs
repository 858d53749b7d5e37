//! What happened?
//!
//! | part | question it answers |
//! |---|---|
//! | [`event`] | what happened, in 32 bytes |
//! | [`ring`] | how events get from the thread of a loop to whoever reads them, in fixed memory |
//! | [`flight`] | the events of the last seconds, and when they are worth a file |
//! | [`file`] | how a recording lies on disk, and what can be read of a damaged one |
//! | [`tables`] | which words and places the events' numbers stand for |
//! | [`recording`] | a recording as a whole: the program, its tasks, its events |
//! | [`model`] | the tasks, from the events |
//! | [`history`], [`life`] | the events themselves; what a task did when |
//! | [`queries`] | any question about a recording, answered as JSON |
//! | [`story`], [`graph`], [`timeline`] | the life of one task in sentences; who has to do with whom, as a picture; who did what when |
//! | [`export`] | the same for other programs: Perfetto, Mermaid, SVG, lines of JSON, flame graphs |
//! | [`warning`] | what is wrong with it, where, and what to write instead |
//! | [`words`] | how is that said to people |
//! | [`synthetic`] | recordings that were made up, for tests and benchmarks |
//! | [`by_address`] | what is known of an address (a table that is asked at every event) |
//! | [`by_number`] | where is the entry of a number (a table for the others) |
//! | [`tasks`] | which tasks there were and what became of them, in bounded memory |

pub mod by_address;
pub mod by_number;
pub mod event;
pub mod export;
pub mod file;
pub mod flight;
pub mod graph;
pub mod history;
pub mod life;
pub mod model;
pub mod queries;
pub mod recording;
pub mod ring;
pub mod story;
pub mod synthetic;
pub mod tables;
pub mod tasks;
pub mod timeline;
pub mod warning;
pub mod words;

pub use recording::Recording;
pub use tables::{PlaceRow, Tables};
pub use tasks::TaskLog;
