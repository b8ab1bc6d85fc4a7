//! The caches of ARMv6: their shape, and the operations of `CacheOps`.
//!
//! Operations by modified virtual address select the set by that address and compare the physical tag; each loop covers every line that the range
//! touches and ends with a barrier. Sources: ARM1176JZF-S Technical Reference Manual (DDI 0301H), "c0, Cache Type Register", "c7, Cache
//! operations"; ARM1136 erratum 411920 for the instruction cache.

use core::arch::asm;

use congruent::{CacheGeometry, VirtAddr};

use super::super::lines;
use super::{Hardware, cp15, dsb};

impl Hardware {
    /// Reads the data cache's shape.
    ///
    /// # Panics
    /// If the register does not describe a cache.
    #[must_use]
    pub fn new() -> Self {
        let kind: u32;
        // SAFETY: reads the Cache Type Register.
        unsafe { asm!("mrc p15, 0, {0}, c0, c0, 1", out(reg) kind, options(nomem, nostack)) };
        let (size, ways, line) = (512 << (kind >> 18 & 15), 1 << (kind >> 15 & 7), 8 << (kind >> 12 & 3));
        let Ok(geometry) = CacheGeometry::new(size, ways, line) else { panic!("no data cache: the type register is {kind:#x}") };
        Self { geometry }
    }

    pub(crate) unsafe fn write_back(&self, start: VirtAddr, len: u32) {
        for line in lines(start, len, self.geometry.line()) {
            cp15!("c7, c10", "1", line);
        }
        dsb();
    }

    pub(crate) unsafe fn invalidate(&self, start: VirtAddr, len: u32) {
        for line in lines(start, len, self.geometry.line()) {
            cp15!("c7, c6", "1", line);
        }
        dsb();
    }

    pub(crate) unsafe fn write_back_invalidate(&self, start: VirtAddr, len: u32) {
        for line in lines(start, len, self.geometry.line()) {
            cp15!("c7, c14", "1", line);
        }
        dsb();
    }

    pub(crate) fn empty(&self) {
        cp15!("c7, c14", "0", 0);
        dsb();
        self.drop_instructions();
    }

    pub(crate) fn drop_instructions(&self) {
        // Three more times would be needed on an ARM1136 before r1p5 (erratum 411920), with interrupts off.
        cp15!("c7, c5", "0", 0);
        cp15!("c7, c5", "6", 0); // branch predictor
        dsb();
        cp15!("c7, c5", "4", 0); // prefetch buffer
    }
}
