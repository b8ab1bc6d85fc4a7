//! A reference virtual-memory system on the library `congruent`, run on a machine whose caches really hold bytes.
//!
//! Workloads are lists of [`Step`]s: a task and the [`Op`] that it does. The same steps run under every policy, and on a model
//! without caches that says what every byte must be.

#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod op;
mod script;

pub use op::{AreaId, Bytes, FileId, Op, PipeId, Place, Step, TaskId};
pub use script::{MOST_STEPS, ParseStepError, ScriptError, ScriptErrorReason, parse_script, write_script};
