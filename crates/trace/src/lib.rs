//! What happened?
//!
//! | part | question it answers |
//! |---|---|
//! | [`ring`] | the last events, in fixed memory |

pub mod ring;

pub use ring::{Ring, Stamped};
