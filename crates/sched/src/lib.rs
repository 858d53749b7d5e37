//! What runs next?
//!
//! The scheduler of Segue in plain Rust: no Python, no socket, no thread. The binding (`crates/py`) gives it
//! jobs, the reactor (`crates/net`) is its [`Driver`]; a simulated world can take either's place.
//!
//! | part | question it answers |
//! |---|---|
//! | [`clock`] | what time is it? |
//! | [`ready`] | which jobs run now, in which order? |
//! | [`timers`] | which jobs become ready later? |
//! | [`turn`] | what is one turn of the loop? |
//! | [`cancel`] | which tasks does a cancelled scope reach? |
//! | [`instrument`] | who is told what happened? |
#![forbid(unsafe_code)]

pub mod cancel;
pub mod clock;
pub mod instrument;
pub mod ready;
pub mod timers;
pub mod turn;

pub use cancel::{CancelTree, ScopeId, TaskSlot};
pub use clock::{Clock, Nanos};
pub use instrument::{CancelSource, Doing, Event, Hooks, Instrument, Kind, SiteId, TaskId};
pub use ready::ReadyQueue;
pub use timers::{TimerHeap, TimerToken};
pub use turn::{Driver, Flow, Scheduler, Wait};
