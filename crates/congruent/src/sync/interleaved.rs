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

macro_rules! atomic {
    ($($atomic:ident of $int:ident),*) => {
        $(
            /// `core`'s atomic of this name with a place to switch before every operation.
            #[repr(transparent)]
            #[derive(Debug)]
            pub(crate) struct $atomic(atomic::$atomic);

            #[allow(dead_code, reason = "not all of both")]
            impl $atomic {
                pub(crate) const fn new(value: $int) -> Self {
                    Self(atomic::$atomic::new(value))
                }

                pub(crate) fn load(&self, _: Ordering) -> $int {
                    congruent_may_switch();
                    self.0.load(Ordering::SeqCst)
                }

                pub(crate) fn store(&self, value: $int, _: Ordering) {
                    congruent_may_switch();
                    self.0.store(value, Ordering::SeqCst);
                }

                pub(crate) fn compare_exchange(&self, from: $int, to: $int, _: Ordering, _: Ordering) -> Result<$int, $int> {
                    congruent_may_switch();
                    self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
                }

                /// Never fails without a reason: that one that does is tried again is no question of order.
                pub(crate) fn compare_exchange_weak(&self, from: $int, to: $int, done: Ordering, failed: Ordering) -> Result<$int, $int> {
                    self.compare_exchange(from, to, done, failed)
                }

                pub(crate) fn fetch_add(&self, value: $int, _: Ordering) -> $int {
                    congruent_may_switch();
                    self.0.fetch_add(value, Ordering::SeqCst)
                }

                pub(crate) fn fetch_sub(&self, value: $int, _: Ordering) -> $int {
                    congruent_may_switch();
                    self.0.fetch_sub(value, Ordering::SeqCst)
                }

                pub(crate) fn fetch_or(&self, value: $int, _: Ordering) -> $int {
                    congruent_may_switch();
                    self.0.fetch_or(value, Ordering::SeqCst)
                }

                pub(crate) fn fetch_and(&self, value: $int, _: Ordering) -> $int {
                    congruent_may_switch();
                    self.0.fetch_and(value, Ordering::SeqCst)
                }
            }
        )*
    };
}

atomic!(AtomicU32 of u32, AtomicUsize of usize);
