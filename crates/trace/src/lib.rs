//! What happened?
//!
//! | part | question it answers |
//! |---|---|
//! | [`event`] | what happened, in 32 bytes |
//! | [`ring`] | how events get from the thread of a loop to whoever reads them, in fixed memory |
//! | [`file`] | how a recording lies on disk, and what can be read of a damaged one |
//! | [`recording`] | a whole recording in memory |
//! | [`last`] | the last events as the hooks tell them |
//! | [`tables`] | which words and places the events' numbers stand for |
//! | [`by_number`] | where is the entry of a number (a table for the others) |
//! | [`tasks`] | which tasks there were and what became of them, in bounded memory |

pub mod by_number;
pub mod event;
pub mod file;
pub mod last;
pub mod recording;
pub mod ring;
pub mod tables;
pub mod tasks;

pub use last::{Ring, Stamped};
pub use recording::Recording;
pub use tables::{PlaceRow, Tables};
pub use tasks::TaskLog;
