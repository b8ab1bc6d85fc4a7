//! Where the steps of the reference VM come from, other than from a script: seeded workloads, and logs of what real programs did.
//!
//! - [`Workload`]: steps without end or to any length, the same for the same seed on every host.
//! - [`translate`]: a log that `strace -f` wrote, as steps.
//! - [`shrink`]: a list of steps that shows something, made short.
//!
//! Guarantees: pure and deterministic. Steps are data; nothing here knows caches or policies, and nothing runs.

#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod generate;
mod kind;
mod shrink;
mod strace;

pub use generate::Workload;
pub use kind::{Kind, UnknownKind};
pub use shrink::shrink;
pub use strace::{Replay, StraceError, StraceErrorReason, translate};
