//! The caches of MIPS32: their shapes, and the operations of `CacheOps`.
//!
//! Hit operations select the set by the virtual address and compare the physical tag; each loop covers every line that the range touches and
//! ends with `sync`. Sources: MIPS32 Architecture Volume II, `CACHE`, `SYNC`, `SYNCI`; Volume III, "Config1 Register".

use core::arch::asm;

use congruent::{CacheGeometry, VirtAddr};

use super::super::lines;
use super::{Hardware, LINEAR, cpus};
use crate::duty::{Duty, forgotten};

/// Bytes of one way, ways, and bytes of a line, from a field of Config1: three bits each of sets, line and ways.
const fn shape(field: u32) -> (u32, u32, u32) {
    let sets = 32 << (((field >> 6 & 7) + 1) & 7);
    let line = match field >> 3 & 7 {
        0 => 0,
        line => 2 << line,
    };
    (sets * line, (field & 7) + 1, line)
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

impl Hardware {
    pub(super) fn with_caches_of(config1: u32) -> Self {
        let (way, ways, line) = shape(config1 >> 7);
        let Ok(geometry) = CacheGeometry::new(way * ways, ways, line) else { panic!("no data cache: Config1 is {config1:#x}") };
        let (way, ways, instruction_line) = shape(config1 >> 16);
        Self { geometry, instruction_bytes: way * ways, instruction_line }
    }

    pub(crate) unsafe fn write_back(&self, start: VirtAddr, len: u32) {
        for line in lines(start, len, self.geometry.line()) {
            cache!("0x19", line); // hit, write back
        }
        sync();
    }

    pub(crate) unsafe fn invalidate(&self, start: VirtAddr, len: u32) {
        for line in lines(start, len, self.geometry.line()) {
            cache!("0x11", line); // hit, invalidate
        }
        sync();
    }

    pub(crate) unsafe fn write_back_invalidate(&self, start: VirtAddr, len: u32) {
        for line in lines(start, len, self.geometry.line()) {
            cache!("0x15", line); // hit, write back and invalidate
        }
        sync();
    }

    pub(crate) fn empty(&self) {
        for line in lines(VirtAddr(LINEAR), self.geometry.size(), self.geometry.line()) {
            cache!("0x01", line); // index, write back and invalidate: the bits above a way's size choose the way
        }
        sync();
        self.drop_own_instructions();
    }

    /// Operations by index reach the CPU alone that carries them out; those by address, above, all (the Coherence Manager sees to that).
    pub(crate) fn drop_instructions(&self) {
        self.drop_own_instructions();
        if !forgotten(Duty::OtherInstructions) {
            cpus::ask_others(cpus::INSTRUCTIONS);
        }
    }

    pub(super) fn drop_own_instructions(&self) {
        if self.instruction_line != 0 {
            for line in lines(VirtAddr(LINEAR), self.instruction_bytes, self.instruction_line) {
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
