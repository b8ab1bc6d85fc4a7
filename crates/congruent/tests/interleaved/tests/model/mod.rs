//! What the interleaved tests drive the library with: a scheduler, a machine with users and devices, a kernel's calls.
#![allow(missing_docs, dead_code)]

#[path = "../../../model/line.rs"]
pub mod line;

pub mod calls;
pub mod platform;
pub mod random;
pub mod schedule;
pub mod world;
