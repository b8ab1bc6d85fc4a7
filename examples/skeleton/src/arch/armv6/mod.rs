//! ARMv6 (ARM1136, ARM1176): memory is mapped at 3 GiB, a window is an entry of a second-level table that covers the window area.
//!
//! Boot code puts the table's physical address into the first-level table (`arm_window_table`). Sources: ARM1176JZF-S Technical
//! Reference Manual (DDI 0301H), "c0, Cache Type Register", "c7, Cache operations", "c8, TLB Operations Register", "Page table
//! format" (subpages disabled, `XP` set); ARM1136 erratum 411920 for the instruction cache.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use congruent::{CacheGeometry, Frame, VirtAddr};

use super::lines;
use crate::machine::SLOTS;

/// The permanent mapping begins here.
pub const LINEAR: u64 = 0xc000_0000;
/// The MiB at which windows are mapped.
pub const WINDOWS: u64 = 0xff00_0000;

/// A second-level table: 256 pages, aligned to its size.
#[repr(align(1024))]
struct Table([AtomicU32; 256]);

static TABLE: Table = Table([const { AtomicU32::new(0) }; 256]);

// One table is enough for ways of up to 64 KiB; ARM1136 and ARM1176 have 16 at most.
const _: () = assert!(SLOTS << 16 <= 256 << 12);

/// Where the window table is, for the boot code that links it into the first-level table.
#[unsafe(no_mangle)]
extern "C" fn arm_window_table() -> *const u8 {
    TABLE.0.as_ptr().cast()
}

/// What the processor says of itself.
#[derive(Debug)]
pub struct Hardware {
    geometry: CacheGeometry,
}

/// Writes to a register of the system control coprocessor: cache operations (c7) and TLB operations (c8).
macro_rules! cp15 {
    ($register:literal, $operation:literal, $value:expr) => {
        // SAFETY: see the caller's.
        unsafe { asm!(concat!("mcr p15, 0, {0}, ", $register, ", ", $operation), in(reg) $value, options(nostack)) }
    };
}

/// Data Synchronization Barrier: what was begun before is complete.
fn dsb() {
    cp15!("c7, c10", "4", 0);
}

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

    pub(crate) fn data_cache(&self) -> CacheGeometry {
        self.geometry
    }

    /// Changes the entry of a page of the window area. Table walks go past the data cache, so the entry is written back.
    fn write_entry(&self, slot: VirtAddr, entry: u32) {
        let place = &TABLE.0[(slot.0 - WINDOWS) as usize >> 12];
        place.store(entry, Ordering::Relaxed);
        cp15!("c7, c10", "1", place.as_ptr() as u32); // clean one line
        dsb();
    }

    pub(crate) unsafe fn map(&self, slot: VirtAddr, frame: Frame) {
        // An extended small page that nobody executes from (0b11), bufferable, cacheable, TEX 1: normal memory, write-back,
        // write-allocate; readable and writable for the kernel alone (AP 1); global, not shared.
        let entry = (frame.0 as u32) << 12 | 1 << 6 | 1 << 4 | 0b1111;
        self.write_entry(slot, entry);
    }

    pub(crate) unsafe fn unmap(&self, slot: VirtAddr) {
        self.write_entry(slot, 0);
        cp15!("c8, c7", "1", slot.0 as u32); // one entry of the unified TLB
        dsb();
    }

    pub(crate) fn flush_user_tlb(&self) {
        cp15!("c8, c7", "0", 0);
        dsb();
    }
}

// Operations by modified virtual address select the set by that address and compare the physical tag; each loop covers every line that the range
// touches and ends with a barrier.
impl Hardware {
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
        // Three more times would be needed on an ARM1136 before r1p5
        // (erratum 411920), with interrupts off.
        cp15!("c7, c5", "0", 0);
        cp15!("c7, c5", "6", 0); // branch predictor
        dsb();
        cp15!("c7, c5", "4", 0); // prefetch buffer
    }
}
