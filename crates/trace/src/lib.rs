//! What happened?
//!
//! | part | question it answers |
//! |---|---|
//! | [`event`] | what happened, in 32 bytes |
//! | [`ring`] | the last events, in fixed memory |
//! | [`by_address`] | what is known of an address (a table that is asked at every event) |
//! | [`by_number`] | where is the entry of a number (a table for the others) |
//! | [`tasks`] | which tasks there were and what became of them, in bounded memory |

pub mod by_address;
pub mod by_number;
pub mod event;
pub mod ring;
pub mod tasks;

pub use ring::{Ring, Stamped};
pub use tasks::TaskLog;
