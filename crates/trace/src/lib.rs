//! What happened?
//!
//! | part | question it answers |
//! |---|---|
//! | [`event`] | what happened, in 32 bytes |
//! | [`ring`] | the last events, in fixed memory |
//! | [`tables`] | which words and places the events' numbers stand for |
//! | [`by_number`] | where is the entry of a number (a table for the others) |
//! | [`tasks`] | which tasks there were and what became of them, in bounded memory |

pub mod by_number;
pub mod event;
pub mod ring;
pub mod tables;
pub mod tasks;

pub use ring::{Ring, Stamped};
pub use tables::{PlaceRow, Tables};
pub use tasks::TaskLog;
