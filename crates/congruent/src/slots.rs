//! Which window slots of a CPU are taken: one bit each, so that nesting, interrupts and preemption cannot collide.
//!
//! A slot is taken by an atomic operation on the bits of its own CPU; an interrupt that comes in between finds the bit set and
//! takes another one, of its own share. Nothing is assumed about the order in which windows are closed. (Linux/MIPS allows only
//! last-in-first-out, and one window per colour and context.) Other CPUs have no business here, so nothing costs a barrier.

use crate::sync::{ordered, AtomicU32, Ordering};

/// The window slots of one CPU: a word that the kernel keeps per CPU, zero at boot.
///
/// ```
/// # use congruent::CpuSlots;
/// static SLOTS: [CpuSlots; 2] = [CpuSlots::new(), CpuSlots::new()];
/// assert_eq!(SLOTS[1].taken(), 0);
/// ```
#[repr(transparent)]
#[derive(Debug)]
pub struct CpuSlots(AtomicU32);

impl CpuSlots {
    /// All slots free.
    #[must_use]
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// All slots free.
    #[must_use]
    #[cfg(loom)]
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Takes a free slot among `candidates` (one bit each).
    pub(crate) fn take(&self, candidates: u32) -> Option<u32> {
        let mut taken = self.0.load(Ordering::Relaxed);
        loop {
            let free = candidates & !taken;
            if free == 0 {
                return None;
            }
            let bit = free & free.wrapping_neg();
            match ordered(true, Ordering::Acquire, |order| {
                self.0.compare_exchange_weak(taken, taken | bit, order, Ordering::Relaxed)
            }) {
                Ok(_) => return Some(bit.trailing_zeros()),
                Err(now) => taken = now,
            }
        }
    }

    pub(crate) fn give_back(&self, slot: u32) {
        let bit = 1 << slot;
        let before = ordered(true, Ordering::Release, |order| self.0.fetch_and(!bit, order));
        assert!(before & bit != 0, "slot {} was given back twice", bit.trailing_zeros());
    }

    /// How many slots are taken now.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.0.load(Ordering::Relaxed).count_ones()
    }
}

impl Default for CpuSlots {
    fn default() -> Self {
        Self::new()
    }
}
