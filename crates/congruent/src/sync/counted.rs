//! Atomics that count: how many operations a call of the library needs (`tests/counted`). Never part of a kernel.
//!
//! One count for all threads, so whoever counts runs alone.

use core::sync::atomic::{self, AtomicUsize, Ordering};

static PLAIN: AtomicUsize = AtomicUsize::new(0);
static MODIFYING: AtomicUsize = AtomicUsize::new(0);

/// Loads and stores so far, and read-modify-writes so far.
#[must_use]
pub fn operations() -> (usize, usize) {
    (PLAIN.load(Ordering::Relaxed), MODIFYING.load(Ordering::Relaxed))
}

fn count(kind: &AtomicUsize) {
    kind.fetch_add(1, Ordering::Relaxed);
}

/// An `AtomicU32` whose operations are counted.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct AtomicU32(atomic::AtomicU32);

impl AtomicU32 {
    pub(crate) const fn new(value: u32) -> Self {
        Self(atomic::AtomicU32::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> u32 {
        count(&PLAIN);
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: u32, order: Ordering) {
        count(&PLAIN);
        self.0.store(value, order);
    }

    pub(crate) fn compare_exchange(&self, from: u32, to: u32, done: Ordering, failed: Ordering) -> Result<u32, u32> {
        count(&MODIFYING);
        self.0.compare_exchange(from, to, done, failed)
    }

    /// Never fails without a reason, so that counts do not vary.
    pub(crate) fn compare_exchange_weak(&self, from: u32, to: u32, done: Ordering, failed: Ordering) -> Result<u32, u32> {
        self.compare_exchange(from, to, done, failed)
    }

    pub(crate) fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        count(&MODIFYING);
        self.0.fetch_add(value, order)
    }

    pub(crate) fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
        count(&MODIFYING);
        self.0.fetch_sub(value, order)
    }

    pub(crate) fn fetch_or(&self, value: u32, order: Ordering) -> u32 {
        count(&MODIFYING);
        self.0.fetch_or(value, order)
    }

    pub(crate) fn fetch_and(&self, value: u32, order: Ordering) -> u32 {
        count(&MODIFYING);
        self.0.fetch_and(value, order)
    }
}
