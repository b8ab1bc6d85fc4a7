//! The atomics in use: the processor's; loom's when the model checker drives the word; counted ones when a test counts; ones at which
//! a scheduler switches when a test tries every interleaving.

#[cfg(counted)]
pub mod counted;
#[cfg(interleaved)]
mod interleaved;

#[cfg(any(counted, interleaved))]
pub(crate) use core::sync::atomic::Ordering;
#[cfg(not(any(loom, counted, interleaved)))]
pub(crate) use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(counted)]
pub(crate) use counted::AtomicU32;
#[cfg(interleaved)]
pub(crate) use interleaved::AtomicU32;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};

/// Another CPU is at work, for a bounded time.
#[inline]
pub(crate) fn wait_for_another_cpu() {
    #[cfg(interleaved)]
    interleaved::wait_for_another_cpu();
    #[cfg(loom)]
    loom::hint::spin_loop();
    #[cfg(not(any(interleaved, loom)))]
    core::hint::spin_loop();
}
