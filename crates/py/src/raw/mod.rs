//! Raw FFI: the hand-built types (Future, Task, Handle, the transports) and what they need.
//!
//! Everything here runs attached to the interpreter. Functions that can fail return [`R`]; `Err(Raised)` means that
//! Python's error indicator is set.

pub mod args;
pub mod awaiting;
pub mod contexts;
pub mod frame_layout;
pub mod frame_objects;
pub mod frames;
pub mod future;
pub mod future_iter;
pub mod globals;
pub mod handle;
pub mod heap_type;
pub mod obj;
#[cfg_attr(Py_3_14, path = "registry_3_14.rs")]
pub mod registry;
pub mod task;
pub mod task_handle;
pub mod task_list;
pub mod task_step;

pub use obj::{Obj, Raised, Slot, R};
