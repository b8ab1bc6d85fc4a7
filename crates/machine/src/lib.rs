//! A computer with caches that really hold bytes: the ground truth that the judge is held against.
//!
//! [`Machine`] is the whole computer: memory, level-1 caches, TLBs, CPUs, devices. A load returns what the cache returns, stale or
//! not. It says what happens as events, so the judge can listen.
//!
//! Beside it, one memory line and the copies that its colours may hold of it, in two forms that share no code with the judge:
//! - [`Schedules`]: *every* schedule of evictions, write-backs, refills and placements at once, as the set of states that the
//!   line can be in. It says which bytes of an access some schedule makes old, and can name that schedule.
//! - [`Line`]: one line with one schedule and real bytes. It carries out a named schedule step by step, refuses a step that no
//!   hardware could take, and returns what the bytes then are.
//!
//! Guarantees: deterministic, no I/O, no clock; what is left to chance comes from seeds. Of `Schedules` and `Line`: nothing is
//! assumed about replacement, capacity or timing. A clean copy may be dropped at any moment, a dirty unit of a copy may be
//! written back at any moment and stays, clean; a line is filled only at an access or a prefetch, into any way of its set. Of
//! `Machine`: it does nothing that these do not allow, and under adversarial replacement everything that they allow has a
//! chance (`tests/theorem.rs`).
//!
//! Not modelled: speculative fills beside aliases or of the instruction side, write buffers that programs could notice, memory orders
//! weaker than one total order.

#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod access;
mod adversary;
mod cache;
mod computer;
mod config;
mod costs;
mod counters;
mod device;
mod disk;
mod fill;
mod interleave;
mod maintain;
mod memory;
mod random;
mod schedules;
mod sink;
mod tlb;

pub use computer::Machine;
pub use config::{CacheConfig, Config, ConfigError, Indexing, L2Config, Maintained, Replacement, Writes};
pub use costs::{COSTS, CostModel, Cycles, Figure, Source, cost_model};
pub use counters::Counters;
pub use device::NoSuchMemory;
pub use disk::{Damaged, Disk, DiskError, DiskErrorReason, Medium, MediumError, SECTOR};
pub use interleave::{Program, Progress, interleave};
pub use memory::Memory;
pub use random::Random;
pub use schedules::{
    Bypass, CodeShape, Groups, Impossible, Line, Move, Op, RemapStep, RemapVerdict, RemappedSchedules, Schedules, Shape,
    StateSet, Step, Verdict, Witness,
};
pub use sink::{Ignore, Sink};
pub use tlb::{Asid, Fault, FaultKind, Mapping, Refill, Rights};
