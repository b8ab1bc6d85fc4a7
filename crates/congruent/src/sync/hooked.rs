//! Atomics before each operation of which something happens: it is counted (`counted.rs`), or somebody else goes on (`interleaved.rs`).
//! Never part of a kernel.

use core::sync::atomic::{self, Ordering};

#[cfg(counted)]
use super::counted::{modifies, passes};
#[cfg(interleaved)]
use super::interleaved::{modifies, passes};

macro_rules! atomic {
    ($($atomic:ident of $int:ident),*) => {
        $(
            /// `core`'s atomic of this name.
            #[repr(transparent)]
            #[derive(Debug)]
            pub(crate) struct $atomic(atomic::$atomic);

            #[allow(dead_code, reason = "not all of both")]
            impl $atomic {
                pub(crate) const fn new(value: $int) -> Self {
                    Self(atomic::$atomic::new(value))
                }

                pub(crate) fn load(&self, order: Ordering) -> $int {
                    passes();
                    self.0.load(order)
                }

                pub(crate) fn store(&self, value: $int, order: Ordering) {
                    passes();
                    self.0.store(value, order);
                }

                pub(crate) fn compare_exchange(&self, from: $int, to: $int, done: Ordering, failed: Ordering) -> Result<$int, $int> {
                    modifies();
                    self.0.compare_exchange(from, to, done, failed)
                }

                /// Never fails without a reason, so that counts and schedules do not vary.
                pub(crate) fn compare_exchange_weak(&self, from: $int, to: $int, done: Ordering, failed: Ordering) -> Result<$int, $int> {
                    self.compare_exchange(from, to, done, failed)
                }

                pub(crate) fn fetch_add(&self, value: $int, order: Ordering) -> $int {
                    modifies();
                    self.0.fetch_add(value, order)
                }

                pub(crate) fn fetch_sub(&self, value: $int, order: Ordering) -> $int {
                    modifies();
                    self.0.fetch_sub(value, order)
                }

                pub(crate) fn fetch_or(&self, value: $int, order: Ordering) -> $int {
                    modifies();
                    self.0.fetch_or(value, order)
                }

                pub(crate) fn fetch_and(&self, value: $int, order: Ordering) -> $int {
                    modifies();
                    self.0.fetch_and(value, order)
                }
            }
        )*
    };
}

atomic!(AtomicU32 of u32, AtomicUsize of usize);
