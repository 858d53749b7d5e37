//! One stream transport over TCP, Unix sockets and pipes: `segue._core.Transport`, a heap subtype of `asyncio.Transport`;
//! and one for datagrams, `segue._core.DatagramTransport`, which has state, flow control and closing in common with it.
//!
//! | it is | `closing` | `lost` | reads | writes |
//! |---|---|---|---|---|
//! | new | no | 0 | after `connection_made` | at once |
//! | open | no | 0 | unless paused or at EOF | at once; what doesn't fit waits in the outbox |
//! | closing, outbox not empty | yes | 0 | no | the outbox, then connection_lost(None) |
//! | closing | yes | > 0 | no | dropped, counted in `lost` |
//! | closed | yes | > 0 | `sock`, `protocol`, `loop_` are empty | dropped |
//!
//! Rule 1: connection_made, then data_received (datagram_received) and at most one eof_received, then connection_lost exactly once.
//! Rule 2: pause_writing and resume_writing alternate.
//! Rule 3: every protocol call runs in the context in which the transport was made.
//! Rule 4: edge-triggered: after an event we read until a short read; a reader that was paused reads again when it resumes.
//!
//! | part | what it does |
//! |---|---|
//! | [`state`] | the fields, and finding them in an object |
//! | [`reading`] | readiness to protocol calls |
//! | [`streams`] | reading for asyncio's streams without their Python code |
//! | [`writing`] | write, the outbox, flow control |
//! | [`closing`] | close, abort, errors, connection_lost |
//! | [`methods`] | the Python type, and what both types share of it |
//! | [`datagrams`], [`datagram_state`], [`datagram_methods`] | what is different for datagrams |

pub mod closing;
pub mod datagram_methods;
pub mod datagram_state;
pub mod datagrams;
pub mod methods;
pub mod reading;
pub mod state;
pub mod streams;
pub mod writing;
