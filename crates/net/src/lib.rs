//! How do bytes move?
//!
//! | part | question it answers |
//! |---|---|
//! | [`clock`] | the real time |
//! | [`reactor`] | which descriptors are ready? |
//! | [`level`] | the same, level-triggered, for descriptors that belong to the user |
//! | [`socket`] | the system calls on a non-blocking descriptor |
//! | [`datagram`] | datagrams, many at once, and addresses |
//! | [`outbox`] | what waits to be written, and when the writer must pause |

pub mod clock;
pub mod datagram;
pub mod level;
pub mod outbox;
pub mod reactor;
pub mod socket;

pub use datagram::Address;
pub use outbox::{FlowChange, Outbox};
pub use reactor::{Interest, IoEvent, Reactor, Readiness, Waker};
