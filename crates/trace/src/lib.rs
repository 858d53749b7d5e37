//! What happened?
//!
//! | part | question it answers |
//! |---|---|
//! | [`ring`] | the last events, in fixed memory |
//! | [`tasks`] | which tasks there were and what became of them, in bounded memory |

pub mod ring;
pub mod tasks;

pub use ring::{Ring, Stamped};
pub use tasks::TaskLog;
