//! Atomics before each of which another CPU, another thread or an interrupt can come (`tests/interleaved`). Never part of a kernel.
//!
//! Sequentially consistent, whatever order is asked for: what weaker orders allow is `tests/loom/tests/every.rs`'s.

use core::sync::atomic::{self, Ordering};

unsafe extern "Rust" {
    /// Defined by the test: somebody else may go on now.
    safe fn congruent_may_switch();
    /// Defined by the test: nothing comes of going on before somebody else has.
    safe fn congruent_must_switch();
}

pub(crate) fn wait_for_another_cpu() {
    congruent_must_switch();
}

/// An `AtomicU32` with a place to switch before every operation.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct AtomicU32(atomic::AtomicU32);

impl AtomicU32 {
    pub(crate) const fn new(value: u32) -> Self {
        Self(atomic::AtomicU32::new(value))
    }

    pub(crate) fn load(&self, _: Ordering) -> u32 {
        congruent_may_switch();
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn store(&self, value: u32, _: Ordering) {
        congruent_may_switch();
        self.0.store(value, Ordering::SeqCst);
    }

    pub(crate) fn compare_exchange(&self, from: u32, to: u32, _: Ordering, _: Ordering) -> Result<u32, u32> {
        congruent_may_switch();
        self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
    }

    /// Never fails without a reason: that one that does is tried again is no question of order.
    pub(crate) fn compare_exchange_weak(&self, from: u32, to: u32, done: Ordering, failed: Ordering) -> Result<u32, u32> {
        self.compare_exchange(from, to, done, failed)
    }

    pub(crate) fn fetch_add(&self, value: u32, _: Ordering) -> u32 {
        congruent_may_switch();
        self.0.fetch_add(value, Ordering::SeqCst)
    }

    pub(crate) fn fetch_sub(&self, value: u32, _: Ordering) -> u32 {
        congruent_may_switch();
        self.0.fetch_sub(value, Ordering::SeqCst)
    }

    pub(crate) fn fetch_or(&self, value: u32, _: Ordering) -> u32 {
        congruent_may_switch();
        self.0.fetch_or(value, Ordering::SeqCst)
    }

    pub(crate) fn fetch_and(&self, value: u32, _: Ordering) -> u32 {
        congruent_may_switch();
        self.0.fetch_and(value, Ordering::SeqCst)
    }
}
