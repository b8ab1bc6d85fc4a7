//! Atomics that count: how many operations a call of the library needs (`tests/counted`). Never part of a kernel.
//!
//! One count for all threads, so whoever counts runs alone.

use core::sync::atomic::{self, Ordering};

static PLAIN: atomic::AtomicUsize = atomic::AtomicUsize::new(0);
static MODIFYING: atomic::AtomicUsize = atomic::AtomicUsize::new(0);

/// Loads and stores so far, and read-modify-writes so far.
#[must_use]
pub fn operations() -> (usize, usize) {
    (PLAIN.load(Ordering::Relaxed), MODIFYING.load(Ordering::Relaxed))
}

fn count(kind: &atomic::AtomicUsize) {
    kind.fetch_add(1, Ordering::Relaxed);
}

macro_rules! atomic {
    ($($atomic:ident of $int:ident),*) => {
        $(
            /// `core`'s atomic of this name whose operations are counted.
            #[repr(transparent)]
            #[derive(Debug)]
            pub(crate) struct $atomic(atomic::$atomic);

            #[allow(dead_code, reason = "not all of both")]
            impl $atomic {
                pub(crate) const fn new(value: $int) -> Self {
                    Self(atomic::$atomic::new(value))
                }

                pub(crate) fn load(&self, order: Ordering) -> $int {
                    count(&PLAIN);
                    self.0.load(order)
                }

                pub(crate) fn store(&self, value: $int, order: Ordering) {
                    count(&PLAIN);
                    self.0.store(value, order);
                }

                pub(crate) fn compare_exchange(&self, from: $int, to: $int, done: Ordering, failed: Ordering) -> Result<$int, $int> {
                    count(&MODIFYING);
                    self.0.compare_exchange(from, to, done, failed)
                }

                /// Never fails without a reason, so that counts do not vary.
                pub(crate) fn compare_exchange_weak(&self, from: $int, to: $int, done: Ordering, failed: Ordering) -> Result<$int, $int> {
                    self.compare_exchange(from, to, done, failed)
                }

                pub(crate) fn fetch_add(&self, value: $int, order: Ordering) -> $int {
                    count(&MODIFYING);
                    self.0.fetch_add(value, order)
                }

                pub(crate) fn fetch_sub(&self, value: $int, order: Ordering) -> $int {
                    count(&MODIFYING);
                    self.0.fetch_sub(value, order)
                }

                pub(crate) fn fetch_or(&self, value: $int, order: Ordering) -> $int {
                    count(&MODIFYING);
                    self.0.fetch_or(value, order)
                }

                pub(crate) fn fetch_and(&self, value: $int, order: Ordering) -> $int {
                    count(&MODIFYING);
                    self.0.fetch_and(value, order)
                }
            }
        )*
    };
}

atomic!(AtomicU32 of u32, AtomicUsize of usize);
