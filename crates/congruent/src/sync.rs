//! The atomics in use: the processor's; loom's when the model checker drives the word; counted ones when a test counts.

#[cfg(counted)]
pub mod counted;

#[cfg(counted)]
pub(crate) use core::sync::atomic::Ordering;
#[cfg(not(any(loom, counted)))]
pub(crate) use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(counted)]
pub(crate) use counted::AtomicU32;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
