//! How many atomic operations a call of the library needs (`tests/counted`). Never part of a kernel.
//!
//! One count for all threads, so whoever counts runs alone.

use core::sync::atomic::{AtomicUsize, Ordering};

static PASSING: AtomicUsize = AtomicUsize::new(0);
static MODIFYING: AtomicUsize = AtomicUsize::new(0);

/// Loads and stores so far, and read-modify-writes so far.
#[must_use]
pub fn operations() -> (usize, usize) {
    (PASSING.load(Ordering::Relaxed), MODIFYING.load(Ordering::Relaxed))
}

/// Before a load or a store.
pub(super) fn passes() {
    PASSING.fetch_add(1, Ordering::Relaxed);
}

/// Before a read-modify-write.
pub(super) fn modifies() {
    MODIFYING.fetch_add(1, Ordering::Relaxed);
}
