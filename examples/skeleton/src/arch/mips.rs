//! MIPS32 Release 2: KSEG0 is the permanent mapping, a window is a wired TLB entry.
//!
//! A wired entry is not replaced by refills, so a window stays whatever else the TLB has to hold (SH's first `kmap_coherent` lost
//! its entry in mid-copy). Sources: MIPS32 Architecture Volume II, `CACHE`, `SYNC`, `SYNCI`; Volume III, "Config1 Register",
//! "Wired Register", "TLB Initialization".

use core::arch::asm;

use congruent::{CacheGeometry, CacheOps, Frame, VirtAddr};

use super::lines;
use crate::Machine;
use crate::machine::SLOTS;

/// KSEG0.
pub const LINEAR: u64 = 0x8000_0000;
/// In KSEG2, which the TLB maps.
pub const WINDOWS: u64 = 0xc000_0000;

/// What the processor says of itself.
#[derive(Debug)]
pub struct Hardware {
    geometry: CacheGeometry,
    instruction_bytes: u32,
    instruction_line: u32,
}

/// Bytes of one way, ways, and bytes of a line, from a field of Config1: three bits each of sets, line and ways.
const fn shape(field: u32) -> (u32, u32, u32) {
    let sets = 32 << (((field >> 6 & 7) + 1) & 7);
    let line = match field >> 3 & 7 {
        0 => 0,
        line => 2 << line,
    };
    (sets * line, (field & 7) + 1, line)
}

impl Hardware {
    /// Reads the caches' shapes, and reserves a TLB entry for each window.
    ///
    /// # Panics
    /// If there is no data cache.
    #[must_use]
    pub fn new() -> Self {
        let config1: u32;
        // SAFETY: reads a register that every Release 1 processor has.
        unsafe { asm!(".set noat", "mfc0 {0}, $16, 1", out(reg) config1, options(nomem, nostack)) };
        let (way, ways, line) = shape(config1 >> 7);
        let Ok(geometry) = CacheGeometry::new(way * ways, ways, line) else { panic!("no data cache: Config1 is {config1:#x}") };
        let (way, ways, instruction_line) = shape(config1 >> 16);
        // SAFETY: the entries below become ours; boot has put nothing in them.
        unsafe { asm!(".set noat", "mtc0 {0}, $6", "ehb", in(reg) SLOTS as u32, options(nostack)) };
        let hardware = Self { geometry, instruction_bytes: way * ways, instruction_line };
        for slot in 0..SLOTS as u32 {
            hardware.write_entry(slot, unused(slot), 0, 0);
        }
        hardware
    }

    pub(crate) fn data_cache(&self) -> CacheGeometry {
        self.geometry
    }

    /// The entry of a window is that of its slot, because a slot has one window open at a time.
    fn entry(&self, slot: VirtAddr) -> u32 {
        (slot.0 as u32 - WINDOWS as u32) / self.geometry.way_size()
    }

    pub(crate) unsafe fn map(&self, slot: VirtAddr, frame: Frame) {
        // Cacheable, non-coherent (3), dirty (writable), valid, global: bits 5 to 0 of EntryLo. The other page of the pair is
        // global, too, and not valid.
        let lo = (frame.0 as u32) << 6 | 3 << 3 | 0b111;
        let odd = slot.0 & 0x1000 != 0;
        let (lo0, lo1) = if odd { (1, lo) } else { (lo, 1) };
        self.write_entry(self.entry(slot), slot.0 as u32 & !0x1fff, lo0, lo1);
    }

    pub(crate) unsafe fn unmap(&self, slot: VirtAddr) {
        let entry = self.entry(slot);
        self.write_entry(entry, unused(entry), 0, 0);
    }

    /// Writes a TLB entry, interrupts off, and leaves EntryHi, which holds the current address space, as it was.
    fn write_entry(&self, entry: u32, hi: u32, lo0: u32, lo1: u32) {
        // SAFETY: the entry is one that this kernel has reserved for windows, and maps kernel addresses only.
        unsafe {
            asm!(
                ".set push",
                ".set noat",
                "di {status}",
                "ehb",
                "mfc0 {saved}, $10",
                "mtc0 {entry}, $0",
                "mtc0 {hi}, $10",
                "mtc0 {lo0}, $2",
                "mtc0 {lo1}, $3",
                "mtc0 $zero, $5",
                "ehb",
                "tlbwi",
                "ehb",
                "mtc0 {saved}, $10",
                "mtc0 {status}, $12",
                "ehb",
                ".set pop",
                status = out(reg) _,
                saved = out(reg) _,
                entry = in(reg) entry,
                hi = in(reg) hi,
                lo0 = in(reg) lo0,
                lo1 = in(reg) lo1,
                options(nostack),
            );
        }
    }

    /// Drops every entry that is not wired.
    pub(crate) fn flush_user_tlb(&self) {
        let config1: u32;
        // SAFETY: as in `new`.
        unsafe { asm!(".set noat", "mfc0 {0}, $16, 1", out(reg) config1, options(nomem, nostack)) };
        for entry in SLOTS as u32..=(config1 >> 25 & 0x3f) {
            self.write_entry(entry, unused(entry), 0, 0);
        }
    }
}

/// An address for an entry that maps nothing: another one for each, and never looked up, because KSEG0 is not mapped by the TLB.
const fn unused(entry: u32) -> u32 {
    LINEAR as u32 + (entry << 13)
}

/// One `cache` instruction: operation in bits 4..2, cache in bits 1..0 (0 instruction, 1 data).
macro_rules! cache {
    ($operation:literal, $address:expr) => {
        // SAFETY: see the caller's.
        unsafe { asm!(".set noat", concat!("cache ", $operation, ", 0({0})"), in(reg) $address, options(nostack)) }
    };
}

fn sync() {
    // SAFETY: orders memory, changes none.
    unsafe { asm!("sync", options(nostack)) };
}

// SAFETY: hit operations select the set by the virtual address and compare the physical tag; each loop covers every line that the
// range touches and ends with `sync`. One CPU.
unsafe impl CacheOps for Machine {
    unsafe fn write_back(&self, start: VirtAddr, len: u32) {
        for line in lines(start, len, self.hardware.geometry.line()) {
            cache!("0x19", line); // hit, write back
        }
        sync();
    }

    unsafe fn invalidate(&self, start: VirtAddr, len: u32) {
        for line in lines(start, len, self.hardware.geometry.line()) {
            cache!("0x11", line); // hit, invalidate
        }
        sync();
    }

    unsafe fn write_back_invalidate(&self, start: VirtAddr, len: u32) {
        for line in lines(start, len, self.hardware.geometry.line()) {
            cache!("0x15", line); // hit, write back and invalidate
        }
        sync();
    }

    unsafe fn empty(&self) {
        let geometry = self.hardware.geometry;
        for line in lines(VirtAddr(LINEAR), geometry.size(), geometry.line()) {
            cache!("0x01", line); // index, write back and invalidate: the bits above a way's size choose the way
        }
        sync();
        // SAFETY: it looks at no address: all of it goes.
        unsafe { self.drop_instructions(VirtAddr(0), 0) };
    }

    unsafe fn drop_instructions(&self, _: VirtAddr, _: u32) {
        // All of it, by index: the frame may be there under any colour.
        let hardware = &self.hardware;
        if hardware.instruction_line != 0 {
            for line in lines(VirtAddr(LINEAR), hardware.instruction_bytes, hardware.instruction_line) {
                cache!("0x00", line); // index, invalidate
            }
        }
        sync();
        // Empties the pipeline of what was fetched before.
        // SAFETY: jumps to the next instruction.
        unsafe {
            asm!(
                ".set push",
                ".set noat",
                ".set noreorder",
                "move {saved}, $ra",
                "bal 2f",
                "nop",
                "2: addiu {next}, $ra, 16", // past these four
                "move $ra, {saved}",
                "jr.hb {next}",
                "nop",
                ".set pop",
                saved = out(reg) _,
                next = out(reg) _,
                options(nostack),
            );
        }
    }
}
