//! A computer with caches that really hold bytes: the ground truth that the judge is held against.
//!
//! Today it is one memory line and the copies that its colours may hold of it, in two forms that share no code with the judge:
//! - [`Schedules`]: *every* schedule of evictions, write-backs, refills and placements at once, as the set of states that the
//!   line can be in. It says which bytes of an access some schedule makes old, and can name that schedule.
//! - [`Line`]: one line with one schedule and real bytes. It carries out a named schedule step by step, refuses a step that no
//!   hardware could take, and returns what the bytes then are.
//!
//! Guarantees: nothing is assumed about replacement, capacity or timing. A clean copy may be dropped at any moment, a dirty
//! unit of a copy may be written back at any moment and stays, clean; a line is filled only at an access or a prefetch, into
//! any way of its set. Deterministic, no I/O, no clock.

#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod line;
mod schedules;
mod state;
mod step;

pub use line::{Impossible, Line};
pub use schedules::{Schedules, StateSet, Witness};
pub use step::{Bypass, Groups, Move, Op, Shape, Step, Verdict};
