//! A reference virtual-memory system on the library `congruent`, run on a machine whose caches really hold bytes.
//!
//! Workloads are lists of [`Step`]s: a task and the [`Op`] that it does. The same steps run under every policy, and on a model
//! without caches that says what every byte must be.

#![no_std]
#![deny(unsafe_code)]
extern crate alloc;

mod board;
mod errno;
mod kernel;
mod model;
mod op;
mod outcome;
mod platform;
mod point;
mod policy;
mod script;
mod setup;
mod simulation;
mod site;
mod tables;
mod watch;

pub use errno::Errno;
pub use op::{AreaId, Bytes, FileId, Op, PipeId, Place, Step, TaskId, pattern};
pub use outcome::{Corruption, Maintenance, Operations, Outcome, StepOutcome, Whereabouts, Witness};
pub use point::Point;
pub use script::{MOST_STEPS, ParseStepError, ScriptError, ScriptErrorReason, parse_script, write_script};
pub use setup::{NoSuchPolicy, PolicyKind, Setup, SetupError};
pub use simulation::Simulation;
pub use site::{site_name, site_named, sites};
